"""The door controller is read back and put right, and what it missed while it was away is made up for: tried against the emulator."""

import contextlib
from random import Random

import msgspec
import pytest

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi.envelope import Style
from deploy.emulators.unifi_access import UnifiAccessEmulator
from shared.ledger import records
from shared.runtime.clock import ManualClock
from site_agent.devices.unifi import kept
from site_agent.devices.unifi.doors import UnifiDoors, UnifiSettings
from site_agent.services.doors import credentials
from site_agent.store import door_checks, door_work
from tests.site_agent.site_world import CONFIG, NOON, code_of, opened

TOKEN = "check-token-41c2"
FRONT = DoorSpec("front")


@contextlib.asynccontextmanager
async def facility(folder, *, linked=False, **more):
    """A site with the emulator as its controller, on one clock; its worker rests, so that tests drive it."""
    clock = ManualClock(float(NOON))
    emulator = UnifiAccessEmulator(doors=[FRONT], tokens={TOKEN: AGENT_SCOPES}, rng=Random(7), folder=folder, clock=clock, **more)
    await emulator.start()
    settings = UnifiSettings("127.0.0.1", TOKEN, port=emulator.port, fingerprint=emulator.fingerprint, read_timeout_s=2.0, back_off_s=0.02)
    config = CONFIG.replace("door-front", FRONT.id).replace('door_ids = ["door-side"]\n', "")
    async with opened(folder, linked=linked, config=config, clock=clock, doors=UnifiDoors(settings, clock)) as w:
        w.agent.ticker.stop()
        await w.kit.credentials.stop()
        w.emulator, w.box = emulator, emulator.box
        yield w
    await emulator.stop()


@pytest.fixture
async def w(tmp_path):
    async with facility(tmp_path) as world:
        yield world


async def settled(w):
    await w.kit.credentials.settle()


async def checked(w) -> door_checks.Check:
    """Everything is read back, and what differed is put right."""
    check = await w.kit.door_check.look("test")
    await settled(w)
    return check


def opens(w, booking) -> bool:
    """Whether the PIN opens the front door in the middle of the booking."""
    before = w.clock.now()
    w.clock.forward(NOON + 3600 + 1800 - before)
    admitted = w.box.read_pin(FRONT.id, booking["pin"]).admitted
    w.clock.forward(before - w.clock.now())
    return admitted


def live(w):
    return [v for v in w.box.visitors.visitors.values() if not v.cancelled]


def visitor(w, booking):
    (found,) = [v for v in live(w) if v.last_name == booking["id"]]
    return found


def change(w, booking, **fields):
    one = visitor(w, booking)
    w.box.visitors.visitors[one.id] = msgspec.structs.replace(one, **fields)


async def test_what_is_as_it_should_be_costs_a_request_and_changes_nothing(w):
    for bay in (1, 2):
        await w.booked(bay, 2)
    await settled(w)
    before = len(w.box.requests)
    check = await checked(w)
    assert (check.compared, check.differing, check.trouble) == (2, 0, "")
    assert [path for _, _, path in list(w.box.requests)[before:]] == ["/api/v1/developer/visitors"]


@pytest.mark.parametrize(
    ("kind", "harm"),
    [
        ("missing", lambda w, b: w.box.visitors.cancel(visitor(w, b).id, True)),
        ("cancelled", lambda w, b: w.box.visitors.cancel(visitor(w, b).id, False)),
        ("window", lambda w, b: change(w, b, end_time=NOON + 60, start_time=NOON)),
        ("pin", lambda w, b: change(w, b, pin_hash=None)),
        ("doors", lambda w, b: change(w, b, resources=[])),
    ],
)
async def test_what_somebody_changed_at_the_console_is_put_right_and_told(w, kind, harm):
    booking, other = await w.booked(1, 2), await w.booked(2, 2)
    await settled(w)
    if kind == "cancelled":
        w.box.visitors.unassign_pin(visitor(w, booking).id)
    harm(w, booking)
    assert not opens(w, booking)
    assert (await checked(w)).differing == 1
    assert opens(w, booking) and opens(w, other) and len(live(w)) == 2
    panel = (await w.staff.get("/api/doors/credentials")).json()
    (told,) = panel["drift"]
    assert told["booking_id"] == booking["id"] and told["sentence"].startswith("Box 1, Sat 21 Nov 2026, 13:00 to 14:00 ")
    assert (panel["compared"], panel["differing"], panel["owed"], panel["held"]) == (1 if kind == "missing" else 2, 1, 0, 2)
    assert any(f"credential {kind}" in row for row in w.journal())
    assert (await checked(w)).differing == 0, "it is put right once"


async def test_what_nobody_wants_is_taken_off_and_another_facilitys_is_let_be(w):
    booking = await w.booked(1, 2)
    await settled(w)
    mine = visitor(w, booking)

    def put(number, last_name, remarks, **fields):
        one = msgspec.structs.replace(
            mine, id=f"00000000-0000-4000-8000-{number:012d}", last_name=last_name, remarks=remarks, pin_hash=None, **fields
        )
        w.box.visitors.visitors[one.id] = one
        return one.id

    double = put(1, booking["id"], mine.remarks)
    unknown = put(2, "booking-nobody-has", "Booking booking-nobody-has: Box 1 [bedford.box-1]")
    spare = put(3, "spare-bedford-0001", "Booking spare-bedford-0001: spare PIN")
    theirs = put(4, "booking-of-truro", "Booking booking-of-truro: Box 1 [truro.box-1]")
    their_spare = put(5, "spare-truro-0001", "Booking spare-truro-0001: spare PIN")
    by_hand = put(6, "Birdie", "A friend", first_name="Testa")
    assert (await checked(w)).differing == 3
    assert {one.id for one in live(w)} == {mine.id, theirs, their_spare, by_hand} and not {double, unknown, spare} & {
        one.id for one in live(w)
    }
    assert w.kit.door_check.counts() == (3, 3)


@pytest.mark.rule("loss-3")
async def test_what_may_be_a_forgotten_sale_is_not_taken_off(w):
    booking = await w.booked(1, 2)
    await settled(w)
    one = msgspec.structs.replace(
        visitor(w, booking), id="00000000-0000-4000-8000-000000000009", last_name="booking-forgotten", pin_hash=None
    )
    w.box.visitors.visitors[one.id] = one
    w.db.write_now(lambda tx: tx.run("UPDATE streams SET fenced = 'put back from a backup'"))
    await checked(w)
    assert one.id in {v.id for v in live(w)}
    w.db.write_now(lambda tx: tx.run("UPDATE streams SET fenced = ''"))
    await checked(w)
    assert one.id not in {v.id for v in live(w)}


async def test_a_cancelled_record_goes_a_day_after_its_time(w):
    booking = await w.booked(1, 2)
    await settled(w)
    await w.staff.post(f"/api/bookings/{booking['id']}/cancel", {})
    await settled(w)
    await checked(w)
    assert len(w.box.visitors.visitors) == 1, "its log can still be read"
    w.clock.forward(2 * 86_400)
    await checked(w)
    assert not w.box.visitors.visitors and w.kit.door_check.counts() == (0, 0), "that is no difference"


async def test_a_cancelled_record_of_another_facility_is_let_be(w):
    booking = await w.booked(1, 2)
    await settled(w)
    one = msgspec.structs.replace(
        visitor(w, booking),
        id="00000000-0000-4000-8000-000000000004",
        last_name="booking-of-truro",
        remarks="[truro.box-1]",
        cancelled=True,
        pin_hash=None,
    )
    w.box.visitors.visitors[one.id] = one
    w.clock.forward(3 * 86_400)
    await checked(w)
    assert one.id in w.box.visitors.visitors


async def test_a_firmware_whose_lists_lack_much_is_asked_for_single_records_and_no_more_than_that(w, monkeypatch):
    booking = await w.booked(1, 2)
    await settled(w)
    monkeypatch.setattr(kept, "told", bare(kept.told))
    before = len(w.box.requests)
    assert (await checked(w)).differing == 0
    assert len(w.box.requests) == before + 2, "the list, and the record"
    change(w, booking, pin_hash=None)
    assert (await checked(w)).differing == 1 and opens(w, booking)


def bare(told):
    """Lists tell neither times nor PINs."""

    def one(visitor, *, whole):
        found = told(visitor, whole=whole)
        return found if whole else msgspec.structs.replace(found, opens_at=0, closes_at=0, has_pin=None)

    return one


async def test_a_controller_that_lost_everything_gets_everything_back(w):
    bookings = [await w.booked(bay, 2) for bay in (1, 2, 3, 4)]
    await settled(w)
    w.box.visitors.visitors.clear()
    assert (await checked(w)).differing == 4
    assert all(opens(w, b) for b in bookings) and w.kit.credentials.counts() == (0, 4)
    w.box.visitors.visitors.clear()
    await w.staff.post(f"/api/bookings/{bookings[0]['id']}/cancel", {})
    await settled(w)
    assert w.kit.credentials.counts() == (0, 3) and not w.kit.credentials.stuck(), "what is gone need not be taken off"


async def test_cancels_and_bookings_of_the_hours_it_was_away_are_made_up_for_as_soon_as_it_answers(w):
    await w.until(lambda: w.doors.hearing())
    await w.kit.door_check.tick()
    await w.kit.door_check.stop()
    stays, goes = await w.booked(1, 2), await w.booked(2, 2)
    await settled(w)
    await w.emulator.stop()
    await w.until(lambda: not w.doors.hearing())
    await w.kit.door_check.tick()
    assert (await w.staff.post(f"/api/bookings/{goes['id']}/cancel", {})).status_code == 200
    comes = await w.booked(3, 2)
    for _ in range(20):  # an hour of trying
        await settled(w)
        w.clock.forward(180)
    (first, *_) = w.kit.credentials.stuck()
    assert (first.wanted, first.booking_id) in {("revoke", goes["id"]), ("grant", comes["id"])}
    assert (await w.staff.get("/api/panels", date="2026-11-21")).json()["credentials"], "staff are told"
    assert opens(w, goes), "the controller has heard of nothing"
    await w.emulator.start()
    await w.until(lambda: w.doors.hearing())
    await w.kit.door_check.tick()
    await settled(w)
    assert opens(w, stays) and opens(w, comes) and not opens(w, goes) and not w.kit.credentials.stuck()


async def test_a_comparison_that_cannot_be_made_says_so_and_changes_nothing(w):
    booking = await w.booked(1, 2)
    await settled(w)
    w.emulator.faults.next("status", status=500, path="/visitors")
    answer = await w.staff.post("/api/doors/credentials/check")
    assert code_of(answer) == (409, "door_unavailable")
    panel = (await w.staff.get("/api/doors/credentials")).json()
    assert panel["trouble"] == answer.json()["detail"] and panel["checked_at"] == "" and opens(w, booking)
    answer = await w.staff.post("/api/doors/credentials/check")
    assert answer.status_code == 200 and (answer.json()["compared"], answer.json()["trouble"]) == (1, "")


async def test_who_may_only_look_cannot_have_it_compared(w):
    for user, status in (("vi", 403), ("clea", 403)):
        assert (await (await w.signed_in(user)).post("/api/doors/credentials/check")).status_code == status
    assert (await w.anybody.get("/api/doors/credentials")).status_code == 401


async def test_it_is_compared_once_a_night_and_once_after_the_start(w):
    await w.until(lambda: w.doors.hearing())
    made = []
    w.kit.door_check.look = made_note(made)
    for _ in range(60):
        await w.kit.door_check.tick()
        await w.until(lambda: w.kit.door_check._running is None or w.kit.door_check._running.done())
        w.clock.forward(3600)
    assert made == ["start", "night", "night"]


def made_note(made):
    async def look(why):
        made.append(why)

    return look


# ---- a guest who is there
async def test_an_extension_takes_the_visitor_over_and_its_pin_is_never_off(w):
    booking = await w.booked(1, 0)
    await settled(w)
    one, before = visitor(w, booking), len(w.box.requests)
    await w.staff.post(f"/api/bookings/{booking['id']}/check-in", {})
    answer = await w.staff.post(f"/api/bookings/{booking['id']}/extend", {"booking_id": "booking-extended-1", "minutes": 30})
    assert answer.status_code in (200, 201), answer.text
    await settled(w)
    (after,) = live(w)
    assert (after.id, after.last_name, after.end_time) == (one.id, "booking-extended-1", NOON + 5400 + 900)
    touched = [path for _, method, path in list(w.box.requests)[before:] if path.endswith("/pin_codes") or method == "DELETE"]
    assert touched == [] and w.box.read_pin(FRONT.id, booking["pin"]).admitted


async def test_a_cancel_and_a_guest_at_the_door_do_not_wait_behind_those_of_next_week(w, monkeypatch):
    gone = await w.booked(4, 2)
    await settled(w)
    done = []
    monkeypatch.setattr(credentials.Credentials, "_do", noted(done))
    far = [(await w.booked(1, 20 + 4 * n))["id"] for n in range(6)]
    step = w.kit.credentials._step
    assert await step(paced=False) and len(done) == 1
    walk_in = (await w.booked(1, 0))["id"]
    await w.staff.post(f"/api/bookings/{gone['id']}/cancel", {})
    while await step(paced=False):
        pass
    assert done[1:3] == [("revoke", gone["id"]), ("grant", walk_in)]
    assert done[:1] + done[3:] == [("grant", one) for one in far], "the others by their time"


def noted(done):
    do = credentials.Credentials._do

    async def one(self, row, urgency):
        done.append((row.wanted, row.booking_id))
        await do(self, row, urgency)

    return one


# ---- PINs that the controller does not take
async def test_a_pin_taken_by_a_person_at_the_console_is_told_and_the_guest_gets_in_at_the_kiosk(w):
    booking = await w.booked(1, 0)
    w.box.visitors.staff_hashes.add(w.box.visitors._hash(booking["pin"]))
    await settled(w)
    (stuck,) = w.kit.credentials.stuck()
    assert stuck.error.endswith("The booking's PIN works at the kiosk, not at the door's reader.") and len(live(w)) == 1
    came = await w.kiosk.post("/api/check-in", {"code": booking["pin"]})
    assert came.status_code == 200 and came.json()["door"] == "opened"
    w.box.visitors.staff_hashes.clear()
    w.clock.forward(600)
    await settled(w)
    assert w.box.read_pin(FRONT.id, booking["pin"]).admitted and not w.kit.credentials.stuck()


async def test_a_pin_that_a_cancelled_booking_had_is_put_on_as_soon_as_it_is_off_there(w):
    goes, stays = await w.booked(1, 2), await w.booked(2, 2)
    alike = lambda tx: records.put_booking(tx, msgspec.structs.replace(records.booking(tx, stays["id"]), pin=goes["pin"]))  # noqa: E731
    w.db.write_now(alike)
    await settled(w)
    (stuck,) = w.kit.credentials.stuck()
    assert stuck.booking_id in (goes["id"], stays["id"])
    await w.staff.post(f"/api/bookings/{goes['id']}/cancel", {})
    await settled(w)
    assert opens(w, goes) and visitor(w, stays).pin_hash and not w.kit.credentials.stuck()


async def test_pins_of_another_length_than_the_console_is_set_to_are_told(tmp_path):
    async with facility(tmp_path, pin_length=8, style=Style(business_errors="4xx")) as w:
        booking = await w.booked(1, 0)
        await settled(w)
        (stuck,) = w.kit.credentials.stuck()
        assert "length" in stuck.error and "works at the kiosk" in stuck.error and len(live(w)) == 1
        assert (await w.kiosk.post("/api/check-in", {"code": booking["pin"]})).json()["door"] == "opened"


@pytest.mark.parametrize(("skew_s", "told"), [(30, ""), (300, "5 min ahead of"), (-1200, "20 min behind")])
async def test_a_controller_whose_clock_is_off_is_a_sentence(w, skew_s, told):
    w.kit.door_check._doors.clock_skew_s = lambda: float(skew_s)
    sentences = (await w.staff.get("/api/doors/credentials")).json()["told"]
    assert (told in sentences[0] and ("kiosk" in sentences[0]) == (abs(skew_s) > 900)) if told else sentences == []


async def test_a_stray_that_is_taken_off_leaves_no_row(w):
    booking = await w.booked(1, 2)
    await settled(w)
    one = msgspec.structs.replace(visitor(w, booking), id="00000000-0000-4000-8000-000000000009", pin_hash=None)
    w.box.visitors.visitors[one.id] = one
    await checked(w)
    assert [row.booking_id for row in w.db.read(door_work.all_works)] == [booking["id"]]
