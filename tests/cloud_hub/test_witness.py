"""The hub's second machine (protocol loss-7): what may be said before it has a sale, what it keeps, and what comes back from it."""

import asyncio
import subprocess
import sys
from functools import partial

import httpx
import msgspec
import pytest

from cloud_hub.config import LossSettings, load
from cloud_hub.ports import WitnessRow
from cloud_hub.services.witness import Witnessing
from cloud_hub.services.witness_shelf import Shelf
from cloud_hub.store.segments import Line, Segments
from cloud_hub.vendors.witness import HttpWitness
from cloud_hub.vendors.witness_wire import SIGNED, Wire, is_signed, seal, signature, unseal
from cloud_hub.web.witness import BODY_MAX, WitnessServer
from shared.errors import Broken, Unavailable
from shared.ledger import fencing, records, secured, streams
from shared.runtime import keyfile
from shared.runtime.config import ConfigError
from tests.cloud_hub.hub_world import SITE, opened
from tests.cloud_hub.visitor import Visitor

KEY = bytes(range(32))
pytestmark = pytest.mark.rule("loss-7")


class SecondMachine:
    """The witness as built for earnest, in this process; `away` takes the network from it."""

    def __init__(self, folder, key: bytes = KEY):
        self.segments = Segments(folder)
        self.server = WitnessServer(Shelf(self.segments), partial(is_signed, KEY))
        self.away = False
        self.requests = 0
        self.port = HttpWitness(Wire("http://witness.test", key, transport=self._Net(self)), key)

    class _Net(httpx.AsyncBaseTransport):
        def __init__(self, machine):
            self.machine, self.inner = machine, httpx.ASGITransport(machine.server)

        async def handle_async_request(self, request):
            self.machine.requests += 1
            if self.machine.away:
                raise httpx.ConnectError("no route")
            return await self.inner.handle_async_request(request)


@pytest.fixture
def second(tmp_path) -> SecondMachine:
    return SecondMachine(tmp_path / "witness")


def row(no: int, body: str = "{}", site_id: str = SITE, epoch: str = "e1") -> WitnessRow:
    return WitnessRow(site_id, epoch, no, 1, body)


async def dark(w) -> None:
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))


# ---- what is said
async def test_a_sale_for_a_dark_site_is_confirmed_when_the_second_machine_has_it(tmp_path, second):
    async with opened(tmp_path, witness=second.port) as w:
        await dark(w)
        answer = await w.post("/bookings", w.wish(1, 40))
        assert (answer.status_code, answer.json()["status"]) == (201, "confirmed") and answer.json()["pin"]
        kept = await second.port.kept()
        assert any("booking-0001" in one.body and '"type":"Sold"' in one.body for one in kept)
        assert all("Testa" not in line.sealed and "booking-0001" not in line.sealed for line in second.segments.lines())


async def test_while_the_second_machine_is_away_a_sale_is_made_but_not_called_confirmed(tmp_path, second):
    async with opened(tmp_path, witness=second.port) as w:
        second.away = True
        await dark(w)
        answer = await w.post("/bookings", w.wish(1, 40))
        told = answer.json()
        assert (answer.status_code, told["status"], told["shown"], told["reason"]) == (202, "requested", "requested", "being_secured")
        assert told["pin"] == "" and answer.headers["retry-after"]
        assert (await w.get("/bookings/booking-0001")).json()["status"] == "requested"
        assert (await w.get("/bookings/booking-0001/pass")).json()["code"] == "illegal_move"
        # the slot is taken all the same, and a retry is the same booking
        other = await w.post("/bookings", w.wish(1, 40, booking_id="booking-0002", who=2))
        assert other.json()["code"] == "slot_taken"
        assert (await w.post("/bookings", w.wish(1, 40))).status_code == 202
        health = (await w.client.get("/health/ready")).json()
        assert (health["second_machine"], health["possible_loss"]) == ("away", {SITE: 1}) and health["possible_loss_since"]
        second.away = False
        await w.until(lambda: w.hub.witnessing.state().sales == 0, 8)
        assert (await w.get("/bookings/booking-0001")).json()["status"] == "confirmed"


async def test_the_site_itself_is_a_second_machine_too(tmp_path, second):
    async with opened(tmp_path, witness=second.port) as w:
        second.away = True
        answer = await w.post("/bookings", w.wish(1, 40))
        assert answer.status_code == 201 and answer.json()["status"] == "confirmed"
        assert w.site.booking("booking-0001").status == "confirmed"


async def test_a_guest_who_was_told_to_wait_may_withdraw_and_a_move_waits_too(tmp_path, second):
    async with opened(tmp_path, witness=second.port) as w:
        first = await w.post("/bookings", w.wish(1, 40))
        assert first.status_code == 201
        second.away = True
        await dark(w)
        moved = await w.post("/bookings/booking-0001/reschedule", {**w.time(2, 48), "booking_id": "booking-0003"})
        assert (moved.status_code, moved.json()["reason"]) == (202, "being_secured")
        await w.post("/bookings", w.wish(3, 40, booking_id="booking-0002", who=2))
        gone = await w.post("/bookings/booking-0002/withdraw", {})
        assert gone.status_code in (200, 202) and gone.json()["booking"]["status"] in ("cancelling", "cancelled")


async def test_a_hub_that_does_without_says_so_and_shows_what_it_could_lose(tmp_path):
    async with opened(tmp_path) as w:
        await dark(w)
        assert (await w.post("/bookings", w.wish(1, 40))).status_code == 201
        health = (await w.client.get("/health/ready")).json()
        assert (health["second_machine"], health["possible_loss"]) == ("none", {SITE: 1})
        site = (await w.get(f"/sites/{SITE}")).json()
        assert site["possible_loss"] == 1 and site["possible_loss_since"]
        numbers = (await w.client.get("/metrics")).text if "127.0.0.1" in w.config.hub.http.metrics_from else ""
        assert not numbers or f'possible_loss_sales{{site="{SITE}"}} 1.0' in numbers
        await w.heal()
        await w.greeting_until(lambda: w.hub.witnessing.state().sales == 0)
        assert (await w.client.get("/health/ready")).json()["possible_loss"] == {SITE: 0}


async def test_a_guest_reads_that_the_booking_is_being_secured_and_then_that_it_stands(tmp_path, second):
    async with opened(tmp_path, witness=second.port) as w:
        second.away = True
        await dark(w)
        page = await Visitor(w).booked(40, date="2026-11-21")
        assert page.heading == "Securing your booking…" and "stored on a second machine" in page.words and "Your PIN" not in page.words
        assert "being asked" not in page.words.casefold() and "data-waiting" in page.text
        second.away = False
        await w.until(lambda: w.hub.witnessing.state().sales == 0, 8)
        later = await Visitor(w).get(page.address)
        assert "Your PIN" in later.words and "second machine" not in later.words


# ---- what comes back
async def test_a_hub_set_back_to_an_old_copy_regains_the_sales_that_its_witness_has(tmp_path, second):
    import sqlite3

    async with opened(tmp_path, witness=second.port) as w:
        await dark(w)
        assert (await w.post("/bookings", w.wish(1, 40))).status_code == 201
        old = sqlite3.connect(":memory:")
        w.db._c.backup(old)
        assert (await w.post("/bookings", w.wish(2, 40, booking_id="booking-0002", who=2))).status_code == 201
        assert (await w.post("/bookings", w.wish(3, 40, booking_id="booking-0003", who=3))).status_code == 201
        await w.post("/bookings/booking-0001/cancel", {})
        await w.until(lambda: not w.db.read(lambda tx: secured.to_keep(tx, SITE)))
        await w.hub.witnessing.stop()
        old.backup(w.db._c)
        w.db.write_now(lambda tx: fencing.fence(tx, w.hub.desk, SITE, "restored from a backup"))
        known = w.db.read(lambda tx: records.booking(tx, "booking-0002"))
        assert known is None
        again = Witnessing(w.db, w.hub.desk, SecondMachine(tmp_path / "witness").port)
        await again.start()
        await w.until(lambda: again.regained)
        await again.stop()
        assert again.regained == 2
        statuses = {i: w.db.read(lambda tx, i=i: records.booking(tx, f"booking-000{i}")).status for i in (1, 2, 3)}
        assert statuses == {1: "cancelling", 2: "confirmed", 3: "confirmed"}
        taken = w.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM claims WHERE ref IN ('booking-0002', 'booking-0003')"))
        assert taken[0] == 8
        assert sum(entry[2] == "sale regained" for entry in w.db.read(lambda tx: records.journal_of(tx, SITE))) == 2


async def test_a_healthy_start_takes_nothing_back_and_changes_nothing(tmp_path, second):
    async with opened(tmp_path, witness=second.port) as w:
        await dark(w)
        await w.post("/bookings", w.wish(1, 40))
        rows = [secured.Kept(*msgspec.structs.astuple(one)) for one in await second.port.kept()]
        before = w.db.read(lambda tx: tx.all("SELECT id, doc FROM bookings"))
        assert rows and w.db.write_now(lambda tx: secured.regain(tx, w.hub.desk, rows)) == 0
        assert w.db.read(lambda tx: tx.all("SELECT id, doc FROM bookings")) == before


async def test_a_cancel_that_was_refused_since_is_not_made_again_by_old_rows(tmp_path, second):
    async with opened(tmp_path, witness=second.port) as w:
        await dark(w)
        await w.post("/bookings", w.wish(1, 40))
        await w.post("/bookings/booking-0001/cancel", {})
        await w.until(lambda: not w.db.read(lambda tx: secured.to_keep(tx, SITE)))
        rows = [secured.Kept(*msgspec.structs.astuple(one)) for one in await second.port.kept()]
        b = w.db.read(lambda tx: records.booking(tx, "booking-0001"))
        w.db.write_now(lambda tx: records.put_booking(tx, msgspec.structs.replace(b, status="confirmed", reason="")))
        w.db.write_now(lambda tx: secured.regain(tx, w.hub.desk, rows))
        assert w.db.read(lambda tx: records.booking(tx, "booking-0001")).status == "confirmed"


async def test_what_the_site_has_applied_is_let_go(tmp_path, second):
    async with opened(tmp_path, witness=second.port) as w:
        await dark(w)
        await w.post("/bookings", w.wish(1, 40))
        second.segments._open = None  # as after a restart of the witness: a new file is begun
        await w.post("/bookings", w.wish(2, 40, booking_id="booking-0002", who=2))
        assert len(list((tmp_path / "witness").glob("*.jsonl"))) == 2
        await w.heal()
        await w.quiet()
        await w.until(lambda: w.db.read(secured.settled))
        w.hub.witnessing._wake.set()
        await w.until(lambda: len(list((tmp_path / "witness").glob("*.jsonl"))) == 1)


# ---- the witness itself
async def test_rows_come_back_as_they_were_given_in_their_order(second):
    rows = [row(1, '{"a":1}'), row(2), row(1, site_id="halifax"), row(3)]
    await second.port.keep(rows[:2], {})
    await second.port.keep(rows[2:], {})
    assert await second.port.kept() == rows


async def test_a_torn_line_is_passed_over_and_never_written_behind(tmp_path, second):
    await second.port.keep([row(1)], {})
    [path] = (tmp_path / "witness").glob("*.jsonl")
    path.write_bytes(path.read_bytes() + b'{"site_id":"bedf')
    again = SecondMachine(tmp_path / "witness")
    await again.port.keep([row(2)], {})
    assert [one.no for one in await again.port.kept()] == [1, 2]


def test_only_whole_settled_files_go_and_the_open_one_stays(tmp_path):
    segments = Segments(tmp_path, segment_bytes=1)
    for no in (1, 2, 3):
        segments.add([Line(SITE, "e1", no, "x"), Line("halifax", "h1", no, "x")])
    assert segments.settle({SITE: ("e1", 3)}) == 0  # halifax has not said
    assert segments.settle({SITE: ("e1", 3), "halifax": ("h1", 1)}) == 1
    assert segments.settle({SITE: ("e2", 1), "halifax": ("h1", 3)}) == 1  # an epoch that has ended, told anew in the next
    assert [line.no for line in segments.lines()] == [3, 3]


async def test_a_request_that_is_not_signed_or_sound_is_refused(second):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(second.server), base_url="http://witness.test") as stranger:
        assert (await stranger.get("/health/live")).json() == {"status": "live"}
        assert (await stranger.get("/rows")).status_code == 401
        assert (await stranger.get("/rows", headers={SIGNED: "é".encode("latin-1")})).status_code == 401
        body = b'{"rows":[],"settled":{}}'
        signed = {SIGNED: signature(KEY, "POST", "/rows", body)}
        assert (await stranger.post("/rows", content=body, headers=signed)).status_code == 204
        assert (await stranger.post("/rows", content=body + b" ", headers=signed)).status_code == 401
        assert (await stranger.post("/rows?x=1", content=body, headers=signed)).status_code == 401
        assert (await stranger.post("/rows", content=b"x" * (BODY_MAX + 1), headers=signed)).status_code == 413
        for path, method, text, status in (("/rows", "POST", b"{}", 400), ("/else", "GET", b"", 404), ("/rows", "DELETE", b"", 404)):
            headers = {SIGNED: signature(KEY, method, path, text)}
            assert (await stranger.request(method, path, content=text, headers=headers)).status_code == status


async def test_another_key_is_not_taken_and_a_full_disk_is_no_answer(second, tmp_path, monkeypatch):
    stranger = SecondMachine(tmp_path / "other", key=bytes(32))
    with pytest.raises(Broken, match="same key file"):
        await stranger.port.keep([row(1)], {})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(second.segments, "add", full)
    with pytest.raises(Unavailable, match="507"):
        await second.port.keep([row(1)], {})


def test_a_row_is_believed_only_in_its_own_place():
    sealed = seal(KEY, "bedford e1 1", b"content")
    assert unseal(KEY, "bedford e1 1", sealed) == b"content"
    for key, place, text in ((KEY, "bedford e1 2", sealed), (bytes(32), "bedford e1 1", sealed), (KEY, "bedford e1 1", "bm8="), (KEY, "x", "é")):
        with pytest.raises(Broken):
            unseal(key, place, text)


# ---- configuration and command
HUB = 'hub_id = "hub-1"\ndata_dir = "data"\n[[sites]]\nid = "bedford"\nname = "Bedford"\n'


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        ('second_machine = "somewhere"', "loss.second_machine"),
        ('second_machine = "http://192.0.2.8:8090"', "loss.key_file"),
        ('second_machine = "http://192.0.2.8:8090"\nkey_file = "missing.key"', "loss.key_file"),
        ('second_machine = "http://192.0.2.8:8090"\nkey_file = "bad.key"', "loss.key_file"),
        ('key_file = "witness.key"', "loss.second_machine"),
    ],
)
def test_a_second_machine_that_is_half_configured_is_told(tmp_path, loss, why):
    (tmp_path / "hub.toml").write_text(f"{HUB}[loss]\n{loss}\n")
    (tmp_path / "bad.key").write_text("no key")
    (tmp_path / "bad.key").chmod(0o600)
    with pytest.raises(ConfigError, match=why):
        load(tmp_path / "hub.toml")


def test_a_second_machine_that_is_configured_is_found_and_none_is_the_rule(tmp_path):
    (tmp_path / "hub.toml").write_text(HUB)
    assert load(tmp_path / "hub.toml").witness_key == b"" and load(tmp_path / "hub.toml").hub.loss == LossSettings()
    key = keyfile.load_or_create(tmp_path / "witness.key")
    (tmp_path / "hub.toml").write_text(f'{HUB}[loss]\nsecond_machine = "http://192.0.2.8:8090"\nkey_file = "witness.key"\n')
    assert load(tmp_path / "hub.toml").witness_key == key


@pytest.mark.slow
async def test_the_command_serves_keeps_through_a_kill_and_makes_its_key(tmp_path):
    line = [sys.executable, "-m", "cloud_hub", "witness", "--listen", "127.0.0.1:0", "--dir", str(tmp_path / "w"), "--key-file", str(tmp_path / "k")]
    for turn in (1, 2):
        child = await asyncio.create_subprocess_exec(*line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            async with asyncio.timeout(20):
                while b"witness.serving" not in (said := await child.stdout.readline()):
                    assert said, "the witness did not start"
            port = msgspec.json.decode(said)["port"]
            key = keyfile.load_or_create(tmp_path / "k")
            witness = HttpWitness(Wire(f"http://127.0.0.1:{port}", key), key)
            await witness.keep([row(turn)], {})
            assert [one.no for one in await witness.kept()] == list(range(1, turn + 1))
            await witness.close()
        finally:
            child.kill()
            await child.wait()


def test_streams_that_nobody_knows_are_left_alone(tmp_path):
    from tests.two_sides import books_in_memory

    db = books_in_memory()
    assert db.read(lambda tx: secured.possible_loss(tx, "nowhere")) == secured.Loss()
    assert db.read(lambda tx: secured.to_keep(tx, "nowhere")) == [] and db.read(streams.sites) == []
