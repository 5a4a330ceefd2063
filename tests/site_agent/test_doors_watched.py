"""Whether staff are shown what the doors are now: against the emulated controller, on a clock that only the test moves."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi_access import UnifiAccessEmulator
from shared.errors import Refused
from shared.runtime.clock import ManualClock
from site_agent.devices.unifi.doors import UnifiDoors, UnifiSettings
from site_agent.ports import Actor
from site_agent.services.doors.door_holds import DoorHolds
from site_agent.services.doors.doors import DoorDesk
from site_agent.services.people import Asker
from tests.site_agent.site_world import SITE, SiteWorld, opened

TOKEN = "testing-token-7d1f"
ADA = Actor("staff-ada", "Ada Example")


class Watched:
    """The desk of one emulated door that stays unlocked for five seconds, and how often the controller was asked for its doors."""

    def __init__(self, world: SiteWorld, emulator: UnifiAccessEmulator, clock: ManualClock, desk: DoorDesk):
        self.world, self.emulator, self.clock, self.desk = world, emulator, clock, desk
        self.told = 0
        desk.watch(self._tell)

    def _tell(self) -> None:
        self.told += 1

    @property
    def looks(self) -> int:
        return len(self.emulator.requests("GET", "/doors"))

    @property
    def lock(self) -> str:
        """What is known now; unlike a panel this asks nobody."""
        return self.desk._view(self.emulator.door_id("front")).lock

    async def unlock(self) -> None:
        door_id, before = self.emulator.door_id("front"), self.looks
        tasks = self.desk.ask((door_id,), ADA, "", "test")
        assert (await self.desk.answered(tasks)).any
        await self.world.until(lambda: self.looks > before and self.lock == "unlocked")

    async def after(self, seconds: float, *, watched: bool = False) -> None:
        """Time goes on second by second, with what the ticker does in each."""
        for _ in range(int(seconds)):
            self.clock.forward(1)
            await self.desk.tick(watched=watched)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture
async def watched(tmp_path: Path, certificates: Path) -> AsyncIterator[Watched]:
    async with opened(tmp_path) as w:
        clock = w.clock
        emulator = UnifiAccessEmulator(
            doors=[DoorSpec("front")], tokens={TOKEN: AGENT_SCOPES}, clock=clock, rng=Random(5), folder=certificates
        )
        await emulator.start()
        settings = UnifiSettings(host="127.0.0.1", port=emulator.port, token=TOKEN, fingerprint=emulator.fingerprint, warm_every_s=3600)
        desk = DoorDesk(w.db, w.kit.doors._desk, w.kit.doors._houses, SITE, UnifiDoors(settings, clock))
        await desk.start()
        found = Watched(w, emulator, clock, desk)
        try:
            await w.until(lambda: found.lock == "locked")
            yield found
        finally:
            await desk.stop()
            await emulator.stop()


async def test_after_an_unlock_the_controller_is_asked_again_until_the_door_reads_locked(watched):
    await watched.unlock()
    before = watched.looks
    await watched.after(1)
    assert watched.looks == before
    await watched.after(1)
    assert (watched.looks, watched.lock) == (before + 1, "unlocked")
    await watched.after(5)
    assert (watched.looks, watched.lock) == (before + 2, "locked")
    await watched.after(20)
    assert watched.looks == before + 2, "nobody watches, nothing is due"


async def test_a_door_that_reads_locked_at_the_first_second_look_is_not_asked_for_again(watched):
    watched.emulator.box.pulse_s = 1
    await watched.unlock()
    before = watched.looks
    await watched.after(20)
    assert (watched.looks, watched.lock) == (before + 1, "locked")


async def test_a_door_held_open_is_known_again_after_a_restart_and_locks_by_the_controllers_own_clock(watched):
    def holds() -> DoorHolds:
        made = DoorHolds(watched.world.db, watched.world.kit.doors._desk, SITE, watched.desk._doors, watched.desk)
        watched.desk.held = made.held
        return made

    door_id = watched.emulator.door_id("front")
    asker = Asker("staff", "staff-ada", "Ada Example", frozenset({"emergency"}))
    until_at = await holds().hold(door_id, 5, "a delivery", asker)
    await watched.desk.look()
    later = holds()
    assert later.held(door_id) is None
    await later.look()
    assert later.held(door_id).until_at == until_at and watched.lock == "unlocked"
    await watched.after(301)
    await watched.desk.look()
    assert later.held(door_id) is None and watched.lock == "locked"


async def test_an_unlock_during_the_wait_begins_it_anew(watched):
    await watched.unlock()
    await watched.after(6)
    await watched.unlock()
    await watched.after(2)
    assert watched.lock == "unlocked"
    await watched.after(5)
    assert watched.lock == "locked"


async def test_while_somebody_watches_a_door_opened_at_its_reader_is_seen_every_fifteen_seconds_and_not_more_often(watched):
    watched.emulator.box.pulse_s = 16
    watched.emulator.box.remote_unlock(watched.emulator.door_id("front"), "reader", "Reader", None)
    before, told = watched.looks, watched.told
    await watched.after(14, watched=True)
    assert (watched.looks, watched.lock) == (before, "locked")
    await watched.after(1, watched=True)
    assert (watched.looks, watched.lock, watched.told) == (before + 1, "unlocked", told + 1)
    await watched.after(15, watched=True)
    assert (watched.looks, watched.lock, watched.told) == (before + 2, "locked", told + 2)


async def test_an_old_word_is_not_shown_and_a_page_that_loads_has_it_renewed_and_is_told(watched):
    await watched.unlock()
    watched.clock.forward(300)
    told = watched.told
    assert watched.desk.panel().doors[0].lock == "unknown"
    await watched.world.until(lambda: watched.lock == "locked")
    assert watched.told == told + 1
    looks = watched.looks
    watched.clock.forward(4)
    watched.desk.refresh()
    watched.clock.forward(1)
    watched.desk.refresh()
    await watched.world.until(lambda: watched.looks == looks + 1)


async def test_a_controller_that_is_away_is_told_once_and_nothing_is_made_up(watched):
    await watched.unlock()
    await watched.emulator.go_down()
    told = watched.told
    await watched.after(60, watched=True)
    assert (watched.lock, watched.told) == ("unknown", told + 1)
    await watched.emulator.come_back()
    await watched.after(15, watched=True)
    assert watched.lock == "locked"


FAULTS = {
    "a wrong token": ("The controller does not accept the token", lambda e: setattr(e.faults, "tokens_revoked", True)),
    "a missing scope": ("or the token lacks a permission", lambda e: e.box.tokens.update({TOKEN: frozenset({"view:visitor"})})),
    "too many requests": ("The controller asks for fewer requests", lambda e: e.faults.next("status", 99, status=429)),
    "a 200 with an error inside": (
        "The controller could not carry it out (HTTP 200, CODE_SYSTEM_ERROR)",
        lambda e: e.faults.next("code", 99),
    ),
    "a page in place of its API": ("answered something that is not its API", lambda e: e.faults.next("html", 99, status=200)),
    "a controller that starts": ("The controller could not carry it out (HTTP 503)", lambda e: setattr(e.faults, "starting_until", 4e9)),
}


async def test_every_fault_of_the_controller_is_a_sentence_for_staff_until_it_is_mended(watched):
    rights = dict(watched.emulator.box.tokens)
    for fault, (sentence, begin) in FAULTS.items():
        begin(watched.emulator)
        await watched.after(15, watched=True)
        await watched.world.until(lambda told=sentence: told in watched.desk.trouble)
        assert watched.desk.trouble.endswith(".") and TOKEN not in watched.desk.trouble and watched.lock == "unknown", fault
        assert [one.text for one in watched.desk.alarms()] == ([watched.desk.trouble] if fault in ("a wrong token", "a missing scope") else [])
        watched.emulator.faults.clear()
        watched.emulator.box.tokens.update(rights)
        await watched.after(15, watched=True)
        await watched.world.until(lambda: watched.desk.trouble == "" and watched.lock == "locked")
        assert watched.desk.alarms() == []


async def test_another_certificate_is_a_sentence_for_staff_and_nothing_is_sent_to_whoever_shows_it(watched):
    await watched.emulator.renew_certificate()
    asked = len(watched.emulator.box.requests)
    await watched.after(15, watched=True)
    await watched.world.until(lambda: "shows another certificate than the pinned one (SHA-256 " in watched.desk.trouble)
    assert len(watched.emulator.box.requests) == asked


async def test_a_reboot_in_mid_unlock_opens_once_and_leaves_one_row_that_says_what_is_known(watched):
    front = watched.emulator.door_id("front")
    watched.emulator.faults.next("reboot", seconds=0.2, method="PUT")
    asker = Asker("staff", "staff-ada", "Ada Example", frozenset({"unlock"}))
    with pytest.raises(Refused, match="Nobody knows yet whether the door opened"):
        await watched.desk.unlock_by(front, "req-00000001", asker, "parcel")
    await watched.world.until(lambda: watched.emulator.serving)
    watched.clock.forward(5)
    assert (await watched.desk.unlock_by(front, "req-00000001", asker, "parcel")).confirmed_by == "log"
    assert len(watched.emulator.box.unlocks) == 1


async def test_loading_the_staff_page_and_opening_its_stream_ask_the_controller(world):
    await world.until(lambda: world.doors.calls == ["doors"])
    world.clock.forward(5)
    assert (await world.staff.get("/staff")).status_code == 200
    await world.until(lambda: world.doors.calls == ["doors"] * 2)
    world.kit.live.close()  # so that the stream ends at once
    world.clock.forward(5)
    assert (await world.staff.get("/staff/events", date="2026-11-21")).status_code == 200
    await world.until(lambda: world.doors.calls == ["doors"] * 3)
