"""After a loss, as staff, guests, programs and the door controller meet it: fence, floor, the two words of a person, sales found again."""

import sqlite3
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi_access import UnifiAccessEmulator
from shared.errors import Unavailable
from shared.ledger import boxes, fencing, lines, records, streams
from site_agent import jobs
from site_agent.devices.unifi.doors import UnifiDoors, UnifiSettings
from site_agent.ports import DoorCredential
from site_agent.services.doors.door_witness import FOUND, DoorWitness
from site_agent.services.upkeep import Upkeep
from site_agent.store import spool
from tests.site_agent.site_world import FRONT, NOON, SITE, SiteWorld, away, code_of

BOX_1 = f"{SITE}.box-1"
TOKEN = "testing-token-7d1f"


def at_site(w: SiteWorld, act):
    return w.db.write_now(lambda tx: act(tx, w.kit.recovery._desk))


def fence(w: SiteWorld) -> None:
    at_site(w, lambda tx, desk: fencing.fence(tx, desk, SITE, "these books were put back from a backup"))


def floor(w: SiteWorld, hours: float = 30, bay: int = 0) -> None:
    """A floor of every bay (or of one), so many hours after noon, as a repair would leave it."""
    where = "resource_id = :r" if bay else "site_id = :s"
    slot = NOON // 900 + int(hours * 4)
    w.db.write_now(lambda tx: tx.run(f"UPDATE lines SET floor = :f WHERE {where}", {"f": slot, "s": SITE, "r": f"{SITE}.box-{bay}"}))


def unvouched(w: SiteWorld) -> None:
    at_site(w, lambda tx, desk: boxes.mark_restored(tx, desk, SITE, vouched=False, stated=False))


async def panels(w: SiteWorld) -> dict:
    return (await w.staff.get("/api/panels", date="2026-11-21")).json()


async def told(w: SiteWorld) -> list[tuple[str, str]]:
    return [(one["code"], one["text"]) for one in (await panels(w))["alarms"] if one["code"].startswith("recovery_")]


def words(w: SiteWorld) -> list[tuple]:
    return [row[1:3] for row in w.journal()]


# ---- what is said
async def test_sound_books_say_nothing(world):
    assert (await panels(world))["recovery"] == {"state": "sound", "why": "", "floor_at": "", "unvouched": False, "term": 1}
    ready = (await world.anybody.get("/health/ready")).json()
    assert await told(world) == [] and (ready["status"], ready["recovery"], ready["unvouched"]) == ("ready", "sound", False)


async def test_a_fenced_site_says_so_to_staff_programs_and_guests_and_lets_guests_in(world):
    booking, screen = await world.booked(1, 0), await world.screen()
    fence(world)
    [(code, text)] = await told(world)
    assert code == "recovery_fenced" and text.endswith("has been reached. These books were put back from a backup.")
    ready = (await world.anybody.get("/health/ready")).json()
    assert (ready["status"], ready["recovery"]) == ("degraded", "fenced") and "recovery_fenced" in [one["code"] for one in ready["alarms"]]
    assert code_of(await world.kiosk.post("/api/bookings", world.wish(2, 2))) == (409, "fenced")
    page = (await screen.get("/kiosk/book")).text
    assert "this system is being repaired" in page and "902-555-0100" in page and "bay-card" not in page
    assert (await world.kiosk.post("/api/check-in", {"code": booking["pin"]})).status_code == 200


async def test_while_a_hub_that_was_set_back_is_repaired_the_site_sells_on_and_says_so(world):
    screen = await world.screen()
    at_site(world, lambda tx, desk: tx.run("UPDATE streams SET repair = '1.anew', closed = 1, stopped = 'a repair is under way'"))
    [(code, text)] = await told(world)
    assert code == "recovery_repairing" and "goes on selling" in text and "nothing is sold" not in text
    assert (await world.kiosk.post("/api/bookings", world.wish(2, 2))).status_code == 201
    page = (await screen.get("/kiosk/book")).text
    assert "bay-card" in page and "being repaired" not in page


async def test_a_site_whose_hub_is_repaired_goes_on_selling_and_says_why_the_far_times_wait(world):
    world.db.write_now(lambda tx: tx.run("UPDATE streams SET repair = '1.epoch', stopped = 'a repair is under way'"))
    [alarm] = [one for one in (await panels(world))["alarms"] if one["code"] == "recovery_repairing"]
    assert not alarm["bad"] and "goes on selling its own times" in alarm["text"]
    assert (await world.kiosk.post("/api/bookings", world.wish(1, 2))).status_code == 201


async def test_a_retired_box_says_so_and_asks_for_no_word(world):
    unvouched(world)
    at_site(world, lambda tx, desk: boxes.retire(tx, desk, SITE, 2))
    assert [code for code, _ in await told(world)] == ["recovery_retired"]
    screen = await world.screen()
    assert "has been replaced" in (await screen.get("/kiosk")).text
    assert code_of(await world.kiosk.post("/api/bookings", world.wish(2, 2))) == (409, "retired")


async def test_a_floor_is_told_by_the_facilitys_clock_and_nothing_below_it_is_offered_at_the_kiosk(world):
    screen = await world.screen()
    floor(world, 1, bay=1)
    assert await told(world) == [
        ("recovery_floor", "Nothing is sold here that begins before Sat 21 Nov 2026, 13:00. What was sold here before the repair may not be known."
         " Enter what was sold, then say so.")
    ]  # fmt: skip
    assert {o.resource_id: o.start for o in world.kit.walkin.openings()}[BOX_1] == NOON // 900 + 4
    assert code_of(await world.kiosk.post("/api/bookings", world.wish(1, 0))) == (409, "below_floor")
    assert (await world.kiosk.post("/api/bookings", world.wish(1, 2))).status_code == 201
    assert "bay-card" in (await screen.get("/kiosk/book")).text
    floor(world)
    page = (await screen.get("/kiosk/book")).text
    assert "bay-card" not in page and "have still to enter what was sold" in page


async def test_a_guest_who_was_typing_when_the_fence_came_reads_plain_words(world):
    screen = await world.screen()
    form = {"resource_id": BOX_1, "start": str(NOON // 900), "minutes": "60", "booking_id": str(uuid.uuid4()), "name": "Testa Birdie",
            "phone": "902-555-0142"}  # fmt: skip
    csrf = (await screen.get(f"/kiosk/book/{BOX_1}", start=NOON // 900)).text.split('name="csrf_token" value="')[1].split('"')[0]
    fence(world)
    answer = await screen.form("/kiosk/review", csrf_token=csrf, **form)
    assert answer.status_code == 409 and "Nothing can be booked here just now" in answer.text and "Check-in works as always" in answer.text


# ---- the two words
async def test_a_person_vouches_and_states_and_all_times_are_sold_again(world):
    floor(world)
    unvouched(world)
    assert [code for code, _ in await told(world)] == ["recovery_floor", "recovery_unvouched"]
    assert code_of(await world.staff.post("/api/recovery/stated", {"reason": "the paper list is entered"})) == (409, "fenced")
    answer = await world.staff.post("/api/recovery/vouch")
    assert answer.status_code == 200 and answer.json()["unvouched"] is False
    answer = await world.staff.post("/api/recovery/stated", {"reason": "the paper list is entered"})
    assert answer.status_code == 200 and answer.json()["state"] == "sound"
    assert (await world.kiosk.post("/api/bookings", world.wish(1, 0))).status_code == 201
    assert ("staff-ada", "vouched that the old box is off") in words(world) and ("staff-ada", "stated what was sold") in words(world)


async def test_staff_enter_what_was_sold_below_the_floor_with_where_it_is_written_before_they_state_it(world):
    floor(world)
    wish = world.wish(1, 0, name="Testa Paper")
    assert code_of(await world.staff.post("/api/bookings", wish)) == (409, "below_floor")
    entered = await world.staff.post("/api/bookings", {**wish, "override_reason": "the paper list of Saturday"})
    assert entered.status_code == 201
    booking = entered.json()["booking"]
    assert booking["status"] == "confirmed"
    kept = world.db.read(lambda tx: records.booking(tx, booking["id"]))
    assert not kept.override and not kept.displaced  # its own slots, which nobody of the web takes from it
    assert ("staff-ada", "entered below the floor") in words(world)
    again = await world.staff.post("/api/bookings", {**wish, "override_reason": "the paper list of Saturday"})
    assert again.json()["booking"]["id"] == booking["id"] and words(world).count(("staff-ada", "entered below the floor")) == 1
    assert code_of(await world.kiosk.post("/api/bookings", world.wish(1, 2))) == (409, "below_floor")
    answer = await world.staff.post("/api/recovery/stated", {"reason": "the paper list is entered"})
    assert answer.status_code == 200 and (await world.kiosk.post("/api/bookings", world.wish(1, 2))).status_code == 201
    assert code_of(await world.kiosk.post("/api/bookings", world.wish(1, 0))) == (409, "slot_taken")


async def test_nobody_else_enters_below_the_floor_and_a_fence_lets_nobody(world):
    floor(world)
    written = {"override_reason": "the paper list of Saturday"}
    for client in (world.kiosk, await world.signed_in("vi")):
        assert code_of(await client.post("/api/bookings", {**world.wish(1, 0), **written})) == (403, "not_allowed")
    assert (await world.staff.post("/api/bookings", {**world.wish(1, 0), "override_reason": "no"})).status_code == 400
    fence(world)
    assert code_of(await world.staff.post("/api/bookings", {**world.wish(1, 0), **written})) == (409, "fenced")
    assert ("staff-ada", "entered below the floor") not in words(world)


async def test_a_word_that_is_still_owed_stands_when_time_has_passed_the_floor(world):
    floor(world, 1)
    unvouched(world)
    world.clock.forward(2 * 3600)
    assert [code for code, _ in await told(world)] == ["recovery_unvouched"]
    assert (await world.anybody.get("/health/ready")).json()["unvouched"] is True


@pytest.mark.parametrize("user", ["sam", "vi", "clea", "con"])
async def test_others_may_give_neither_word(world, user):
    floor(world)
    client = await world.signed_in(user)
    assert code_of(await client.post("/api/recovery/vouch")) == (403, "not_allowed")
    assert code_of(await client.post("/api/recovery/stated", {"reason": "said so"})) == (403, "not_allowed")
    assert code_of(await world.kiosk.post("/api/recovery/vouch")) == (403, "not_allowed")
    assert (await panels(world))["recovery"]["state"] == "floor"


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 301}, {"reason": 7}, {"reason": "ok", "more": 1}])
async def test_a_statement_needs_words_and_nothing_else(world, body):
    floor(world)
    assert (await world.staff.post("/api/recovery/stated", body)).status_code == 400
    assert (await panels(world))["recovery"]["state"] == "floor"


async def test_neither_word_is_taken_from_a_page_of_somebody_else(world):
    floor(world)
    del world.staff.http.headers["x-csrf-token"]
    assert code_of(await world.staff.post("/api/recovery/vouch")) == (403, "csrf_failed")
    assert code_of(await world.staff.post("/api/recovery/stated", {"reason": "said so"})) == (403, "csrf_failed")


# ---- the door controller as a witness (loss-3)
def visitor(booking_id: str, start: float = 4, length: float = 2, bay: str = BOX_1, shift_s: int = 0) -> DoorCredential:
    opens, closes = NOON + int(start * 1800) - 900 + shift_s, NOON + int((start + length) * 1800) + 900
    return DoorCredential(booking_id, (FRONT,), "314159", opens, closes, "Box 1", bay)


async def keeps(w: SiteWorld, *visitors: DoorCredential) -> None:
    for one in visitors:
        await w.doors.grant(one)


def booking(w: SiteWorld, booking_id: str):
    return w.db.read(lambda tx: records.booking(tx, booking_id))


@pytest.mark.rule("loss-3")
async def test_what_the_door_controller_alone_knows_is_entered_told_to_the_hub_and_shown_to_people(linked):
    floor(linked)
    await keeps(linked, visitor("booking-00000001"))
    assert await linked.kit.witness.look() == 1
    found = booking(linked, "booking-00000001")
    assert (found.resource_id, found.start, found.end, found.status, found.reason) == (BOX_1, NOON // 900 + 8, NOON // 900 + 12, "confirmed", FOUND)
    await linked.quiet()
    at_hub = linked.hub.db.read(lambda tx: records.booking(tx, "booking-00000001"))
    assert (at_hub.status, at_hub.resource_id, at_hub.pin) == ("confirmed", BOX_1, booking(linked, "booking-00000001").pin) and at_hub.pin
    [conflict] = (await panels(linked))["conflicts"]
    assert (conflict["booking"]["id"], conflict["why"]) == ("booking-00000001", FOUND) and "displaced" not in conflict["booking"]
    assert ("door controller", "sale regained") in words(linked)
    assert await linked.kit.witness.look() == 0, "it is known now"
    assert code_of(await linked.staff.post("/api/bookings", linked.wish(1, 4)))[0] == 409


@pytest.mark.rule("loss-3")
async def test_a_persons_word_comes_after_a_last_look_at_the_controller(world):
    floor(world)
    await keeps(world, visitor("booking-00000001"))
    assert (await world.staff.post("/api/recovery/stated", {"reason": "nothing on paper"})).status_code == 200
    assert code_of(await world.kiosk.post("/api/bookings", world.wish(1, 4))) == (409, "slot_taken")


@pytest.mark.parametrize(
    "one",
    [
        visitor("booking-00000001", bay=""),
        visitor("booking-00000001", bay=f"{SITE}.box-9"),
        visitor("booking-00000001", bay="elmsdale.box-1"),
        visitor("booking-00000001", shift_s=60),
        visitor("booking-00000001", start=4, length=0),
        visitor("booking-00000001", start=60),
        visitor("booking-00000001", start=-4),
        visitor("bad id", start=4),
    ],
    ids=["no sale", "unknown bay", "another facility's", "no window of ours", "no time", "above the floor", "over", "no id of ours"],
)
async def test_what_is_no_forgotten_sale_of_ours_is_not_entered_and_stays(world, one):
    floor(world, 24)
    await keeps(world, one)
    assert await world.kit.witness.look() == 0
    assert world.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM bookings"))[0] == 0 and len(world.doors.visitors) == 1


async def test_without_a_floor_and_before_the_repair_nobody_is_asked(world):
    await keeps(world, visitor("booking-00000001"))
    world.doors.calls.clear()
    assert await world.kit.witness.look() == 0
    floor(world)
    fence(world)
    assert await world.kit.witness.look() == 0 and world.doors.calls == []


@pytest.mark.parametrize("state", ["fenced", "floor"])
async def test_no_sweep_takes_off_what_the_books_do_not_know(world, state):
    fence(world) if state == "fenced" else floor(world)
    await keeps(world, visitor("booking-00000001", bay=""), visitor("booking-00000002", start=4))
    await world.kit.credentials.sweep()
    await world.kit.credentials.settle()
    assert set(world.doors.visitors) == {"v-booking-00000001", "v-booking-00000002"}


async def test_a_controller_that_is_away_is_asked_again_and_stops_no_word(world):
    floor(world)
    await keeps(world, visitor("booking-00000001"))
    world.doors.failure = away()
    assert await world.kit.witness.look() == 0
    world.doors.failure = None
    assert await world.kit.witness.look() == 1
    world.doors.failure = away()
    assert (await world.staff.post("/api/recovery/stated", {"reason": "looked"})).json()["state"] == "sound"


async def test_a_visit_that_the_books_call_cancelled_loses_its_credential(world):
    gone = await world.booked(1, 4)
    await world.staff.post(f"/api/bookings/{gone['id']}/cancel", {})
    await world.kit.credentials.settle()
    floor(world)
    await keeps(world, visitor(gone["id"]))
    assert await world.kit.witness.look() == 0
    await world.kit.credentials.settle()
    assert world.doors.visitors == {}


# ---- the whole story, on the emulated controller
@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture
async def controller(linked: SiteWorld, certificates: Path) -> AsyncIterator[tuple[SiteWorld, UnifiAccessEmulator]]:
    """The linked site with its front door on an emulated controller."""
    w = linked
    emulator = UnifiAccessEmulator(doors=[DoorSpec("front")], tokens={TOKEN: AGENT_SCOPES}, clock=w.clock, rng=Random(5), folder=certificates)
    await emulator.start()
    settings = UnifiSettings(host="127.0.0.1", port=emulator.port, token=TOKEN, fingerprint=emulator.fingerprint, warm_every_s=3600)
    doors, house = UnifiDoors(settings, w.clock), w.kit.bookings.house()
    facility = msgspec.structs.replace(house.facility, door_ids=(emulator.door_id("front"),))
    w.db.write_now(lambda tx: records.put_document(tx, "facility", SITE, SITE, 99, records.text(facility)))
    w.kit.recovery._houses._houses.clear()
    w.kit.witness = DoorWitness(w.db, w.kit.recovery._desk, w.kit.recovery._houses, SITE, doors)
    await w.kit.credentials.stop()
    w.kit.credentials._doors = doors
    try:
        yield w, emulator
    finally:
        await doors.stop()
        await emulator.stop()


@pytest.mark.rule("loss-3")
async def test_a_sale_told_to_nobody_before_the_disk_was_put_back_is_found_on_the_controller_and_keeps_its_pin(controller):
    w, emulator = controller
    kept = sqlite3.connect(":memory:")
    w.db._c.backup(kept)
    w.cut()
    lost = await w.booked(1, 4)
    await w.kit.credentials.settle()
    [before] = emulator.box.visitors.visitors.values()
    kept.backup(w.db._c)  # the disk of yesterday
    w.kit.credentials._touched.clear()
    fence(w)
    assert booking(w, lost["id"]) is None
    await w.kit.credentials.sweep()
    await w.kit.credentials.settle()
    assert await w.kit.witness.look() == 0, "the hub may know it: it is asked first"
    w.network.heal("site")
    await w.saying_hello(lambda: not w.db.read(lambda tx: streams.read(tx, SITE)).fenced)
    await w.linked()
    assert w.db.read(lambda tx: lines.floor_of(tx, SITE, BOX_1)) > NOON // 900 + 8 and booking(w, lost["id"]) is None
    assert await w.kit.witness.look() == 1
    await w.quiet()
    found = w.hub.db.read(lambda tx: records.booking(tx, lost["id"]))
    assert (found.start, found.end, found.status) == (NOON // 900 + 8, NOON // 900 + 12, "confirmed")
    await w.kit.credentials.settle()
    [after] = emulator.box.visitors.visitors.values()
    assert (after.id, after.pin_hash) == (before.id, before.pin_hash) and after.pin_hash == emulator.box.visitors._hash(lost["pin"])


# ---- what the command leaves
async def test_a_word_that_cannot_be_written_down_is_answered_so(world, monkeypatch):
    async def full(_):
        raise Unavailable("The disk of this machine is full.")

    left = spool.leave(world.kit.recovery._spool, spool.Errand(kind="vouch", name="Testa Birdie"))
    monkeypatch.setattr(world.db, "write", full)
    await world.kit.recovery.take_wishes()
    assert msgspec.json.decode(spool.answer_of(left).read_bytes()) == {"refused": "The disk of this machine is full."}


# ---- backups
async def test_a_replaced_box_lays_no_backups_among_those_of_its_successor(world):
    calls, made = {}, []

    class Ticks:
        def every(self, seconds, fn, name) -> None:
            calls[name] = fn

    async def tick() -> None:
        made.append(1)

    world.kit.backups.tick = tick
    jobs.register(Ticks(), world.kit, Upkeep(world.db, world.kit.recovery._desk, SITE))
    await calls["backups"]()
    at_site(world, lambda tx, desk: boxes.retire(tx, desk, SITE, 9))
    assert calls["backups"]() is None and made == [1]
