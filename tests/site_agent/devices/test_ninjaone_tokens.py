"""The consent at NinjaOne over crashes, races and full disks: it is lost only where NinjaOne itself gives it up."""

import asyncio
import os
import stat

import msgspec
import pytest

from deploy.emulators.ninjaone.variants import Variants
from shared.errors import Failure
from site_agent.devices.ninjaone.consent import Consent, Denied, Listener
from site_agent.devices.ninjaone.machines import CONSENT
from site_agent.devices.ninjaone.tokens import ConsentFile
from site_agent.devices.ninjaone.wire import WireError
from site_agent.ports import MachinesRefused, MachinesUnavailable
from tests.deploy.ninjaone_world import CONSENTING, READER
from tests.site_agent.devices.ninjaone_rig import BOX, SCRIPT, rigged

LATER_S = 3600


class Crash(BaseException):
    """The power goes."""


async def test_the_consent_on_the_disk_is_sealed_and_its_owners_only(tmp_path):
    async with rigged(tmp_path) as rig:
        path = tmp_path / CONSENT
        kept = rig.kept
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert kept.refresh not in path.read_text() and kept.access not in path.read_text()
        assert kept.scopes == "monitoring management offline_access"


async def test_what_needs_no_person_uses_no_consent(tmp_path):
    async with rigged(tmp_path) as rig:
        rig.clock.forward(LATER_S)
        await rig.machines.machines()
        await rig.machines.bookmark(BOX)
        assert rig.renewals() == 0


async def test_a_restart_goes_on_with_the_access_token_that_it_had(tmp_path):
    async with rigged(tmp_path) as rig:
        await rig.opened().command(BOX, SCRIPT)
        assert rig.renewals() == 0 and rig.scripts_run() == 1


async def test_many_at_once_renew_once(tmp_path):
    async with rigged(tmp_path, variants=Variants(old_refresh="family")) as rig:
        rig.clock.forward(LATER_S)
        assert rig.machines.person is not None
        found = await asyncio.gather(*(rig.machines.person.get() for _ in range(20)))
        assert len(set(found)) == 1 and rig.renewals() == 1


async def test_two_programs_at_once_renew_once(tmp_path):
    async with rigged(tmp_path, variants=Variants(old_refresh="family")) as rig:
        rig.clock.forward(LATER_S)
        others = [rig.machines, rig.opened(), rig.opened()]
        found = await asyncio.gather(*(one.person.get() for one in others))
        assert len(set(found)) == 1 and rig.renewals() == 1


async def test_the_new_token_is_on_the_disk_before_it_is_used(tmp_path, monkeypatch):
    async with rigged(tmp_path) as rig:
        rig.clock.forward(LATER_S)
        order, write = [], ConsentFile.write

        def watched(file: ConsentFile, kept) -> None:
            write(file, kept)
            order.append("kept")

        monkeypatch.setattr(ConsentFile, "write", watched)
        rig.estate.journal.write = lambda *args, **more: order.append("used")  # type: ignore[method-assign]
        await rig.machines.command(BOX, SCRIPT)
        assert order[:2] == ["kept", "used"]


async def crashed_in_renewal(rig, monkeypatch) -> None:
    """The power goes between NinjaOne's answer and the disk."""
    rig.clock.forward(LATER_S)
    with monkeypatch.context() as patched:

        def cut(file: ConsentFile, kept) -> None:
            raise Crash

        patched.setattr(ConsentFile, "write", cut)
        with pytest.raises(Crash):
            await rig.machines.person.get()


async def test_a_crash_between_the_answer_and_the_disk_keeps_the_consent_where_the_old_token_still_works(tmp_path, monkeypatch):
    async with rigged(tmp_path, variants=Variants(old_refresh="grace")) as rig:
        before = rig.kept
        await crashed_in_renewal(rig, monkeypatch)
        assert rig.kept == before
        await rig.opened().command(BOX, SCRIPT)
        assert rig.scripts_run() == 1 and rig.renewals() == 2


@pytest.mark.parametrize("variant", ["strict", "family"])
async def test_where_ninjaone_gives_the_old_token_up_at_once_staff_are_told_what_to_do_and_reading_goes_on(tmp_path, monkeypatch, variant):
    async with rigged(tmp_path, variants=Variants(old_refresh=variant)) as rig:
        await crashed_in_renewal(rig, monkeypatch)
        again = rig.opened()
        with pytest.raises(MachinesRefused, match="connect"):
            await again.command(BOX, SCRIPT)
        assert "connect" in again.alarms()[0] and rig.kept.lost
        asked = len(rig.ninja.emulator.requests)
        with pytest.raises(MachinesRefused):  # a dead consent is not asked for again and again
            await again.command(BOX, SCRIPT)
        assert len(rig.ninja.emulator.requests) == asked
        assert len(await again.machines()) == 2
        await rig.connect()
        assert again.alarms() == []
        await again.command(BOX, SCRIPT)


async def test_a_crash_after_the_disk_loses_nothing_even_where_old_tokens_die_at_once(tmp_path, monkeypatch):
    async with rigged(tmp_path, variants=Variants(old_refresh="family")) as rig:
        rig.clock.forward(LATER_S)
        write = ConsentFile.write

        def cut(file: ConsentFile, kept) -> None:
            write(file, kept)
            raise Crash

        with monkeypatch.context() as patched:
            patched.setattr(ConsentFile, "write", cut)
            with pytest.raises(Crash):
                await rig.machines.person.get()
        await rig.opened().command(BOX, SCRIPT)
        assert rig.renewals() == 1


async def test_who_waits_may_go_away_and_the_renewal_still_comes_to_its_end(tmp_path):
    async with rigged(tmp_path, variants=Variants(old_refresh="family")) as rig:
        rig.clock.forward(LATER_S)
        before = rig.kept
        rig.faults.next("slow", path="/ws/oauth/token", seconds=0.2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await rig.machines.person.get()
        async with asyncio.timeout(5):
            while rig.kept == before:
                await asyncio.sleep(0.01)
        assert (await rig.machines.person.get()) == rig.kept.access and rig.renewals() == 1


@pytest.mark.parametrize("kind", ["lost", "html", "status", "inside", "empty"])
async def test_a_renewal_whose_answer_was_lost_or_wrong_does_not_end_the_consent(tmp_path, kind):
    async with rigged(tmp_path) as rig:
        rig.clock.forward(LATER_S)
        rig.faults.next(kind, path="/ws/oauth/token")
        with pytest.raises(MachinesUnavailable) as away:
            await rig.machines.command(BOX, SCRIPT)
        assert not away.value.outcome_unknown  # the token is away; the script was never sent
        await rig.machines.command(BOX, SCRIPT)
        assert rig.scripts_run() == 1 and not rig.kept.lost


async def test_a_full_disk_keeps_the_new_token_from_being_used_until_it_can_be_kept(tmp_path, monkeypatch):
    async with rigged(tmp_path, variants=Variants(old_refresh="family")) as rig:
        rig.clock.forward(LATER_S)

        def full(file: ConsentFile, kept) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(ConsentFile, "write", full)
            for _ in range(2):
                with pytest.raises(MachinesUnavailable, match="no space left"):
                    await rig.machines.command(BOX, SCRIPT)
        assert rig.scripts_run() == 0
        await rig.machines.command(BOX, SCRIPT)
        assert rig.scripts_run() == 1 and rig.renewals() == 1


async def test_a_tenant_that_does_not_change_refresh_tokens_is_fine(tmp_path):
    async with rigged(tmp_path, variants=Variants(rotates=False)) as rig:
        first = rig.kept.refresh
        for _ in range(3):
            rig.clock.forward(LATER_S)
            await rig.machines.person.get()
        assert rig.kept.refresh == first and rig.renewals() == 3


async def test_a_consent_that_was_taken_back_is_told_and_read_by_nobody_else(tmp_path):
    async with rigged(tmp_path) as rig:
        rig.ninja.emulator.oauth.end_consent()
        with pytest.raises(MachinesRefused) as refused:
            await rig.machines.command(BOX, SCRIPT)
        assert (refused.value.code, refused.value.ours) == ("consent_lost", True)


@pytest.mark.parametrize("harm", [b"", b"not sealed", b"\xff\xfe", None])
async def test_a_consent_file_that_cannot_be_opened_is_told_as_such(tmp_path, harm):
    async with rigged(tmp_path) as rig:
        if harm is None:  # another box's key
            (tmp_path / "ninjaone.key").unlink()
        else:
            (tmp_path / CONSENT).write_bytes(harm)
        other = rig.opened()
        assert "connect" in other.alarms()[0]
        with pytest.raises(Failure, match="connect"):
            await other.command(BOX, SCRIPT)
        assert len(await other.machines()) == 2


async def test_a_consent_of_another_app_or_instance_is_not_ours(tmp_path):
    async with rigged(tmp_path) as rig:
        await asyncio.to_thread(rig.file.write, msgspec.structs.replace(rig.kept, url="https://eu.ninjarmm.com"))
        assert "Nobody has consented" in rig.machines.alarms()[0]


def test_a_damaged_key_keeps_no_facility_from_opening(tmp_path):
    from shared.runtime.clock import ManualClock
    from site_agent.devices.machine_ways import Around, open_machines

    (tmp_path / "ninjaone.key").write_text("damaged")
    os.chmod(tmp_path / "ninjaone.key", 0o600)
    table = {"url": "https://ca.ninjarmm.com", "client_id": "x", "secret_file": "y", "consent_client_id": "z"}
    assert open_machines("ninjaone", table, Around(lambda file, key: file, tmp_path, ManualClock())).alarms()


# ---- the browser's way back
async def browse(url: str) -> tuple[int, str]:
    import httpx

    async with httpx.AsyncClient() as client:
        answer = await client.get(url)
        return answer.status_code, answer.text


async def test_the_browser_brings_the_code_back_to_this_machine_and_strangers_bring_nothing(tmp_path):
    async with rigged(tmp_path, consent=False) as rig, Listener() as listener:
        consent = Consent(rig.machines._wire, CONSENTING.client_id, "", listener.redirect_uri)
        waiting = asyncio.create_task(listener.code(consent, 5))
        await asyncio.sleep(0)
        for strange in ("?code=forged&state=wrong", "?code=forged", "?error=access_denied", "?state="):
            assert (await browse(listener.redirect_uri + strange))[0] == 400
        assert (await browse(listener.redirect_uri.replace("/ninjaone", "/")))[0] == 404
        assert not waiting.done()
        async with rig.ninja.http as http:
            from urllib.parse import parse_qsl, urlsplit

            query = dict(parse_qsl(urlsplit(consent.url).query))
            gone = await http.post("/ws/oauth/authorize", data=query | {"answer": "allow"})
            assert "can be closed" in (await browse(gone.headers["location"]))[1]
        kept = await consent.keep(await waiting, rig.file, int(rig.clock.now()))
        assert rig.kept == kept and rig.machines.alarms() == []


async def test_a_person_who_says_no_ends_the_waiting(tmp_path):
    async with rigged(tmp_path, consent=False) as rig, Listener() as listener:
        consent = Consent(rig.machines._wire, CONSENTING.client_id, "", listener.redirect_uri)
        waiting = asyncio.create_task(listener.code(consent, 5))
        await asyncio.sleep(0)
        from urllib.parse import parse_qsl, urlsplit

        query = dict(parse_qsl(urlsplit(consent.url).query))
        gone = await rig.ninja.http.post("/ws/oauth/authorize", data=query | {"answer": "deny"})
        assert "Nothing was allowed" in (await browse(gone.headers["location"]))[1]
        with pytest.raises(Denied, match="access_denied"):
            await waiting


async def test_an_app_that_gives_no_refresh_token_is_told_of_at_once_and_nothing_is_kept(tmp_path):
    apps = (READER, msgspec.structs.replace(CONSENTING, refreshes=False, scopes=("monitoring", "management", "offline_access")))
    async with rigged(tmp_path, consent=False, apps=apps) as rig:
        with pytest.raises(ValueError, match="refresh token"):
            await rig.connect()
        assert rig.file.read() is None


async def test_a_code_of_somebody_else_is_worth_nothing(tmp_path):
    async with rigged(tmp_path, consent=False) as rig:
        consent = Consent(rig.machines._wire, CONSENTING.client_id, "", "http://127.0.0.1:1/ninjaone")
        with pytest.raises(WireError) as refused:
            await consent.keep("forged", rig.file, 0)
        assert refused.value.kind == "consent" and rig.file.read() is None
