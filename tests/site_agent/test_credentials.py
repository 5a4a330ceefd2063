"""What the door controller holds follows what the books say, whatever fails in between."""

import asyncio
import uuid

import pytest
from msgspec.structs import replace

from shared.ledger import records
from site_agent.ports import DoorsRefused, PinTaken
from site_agent.store import door_work
from tests.site_agent.site_world import FRONT, NOON, SITE, away


async def settled(world):
    """The worker's round, by hand: nothing else runs beside it in these tests."""
    await world.kit.credentials.settle()


async def test_a_booking_gets_a_visitor_with_its_pin_and_window(world):
    booking = await world.booked(2, 0)
    await settled(world)
    (credential,) = world.doors.visitors.values()
    assert credential.booking_id == booking["id"] and credential.pin == booking["pin"]
    assert (credential.opens_at, credential.closes_at) == (NOON - 900, NOON + 3600 + 900)
    assert credential.door_ids == (FRONT, "door-side") and "Testa" not in credential.label and credential.label.startswith("Box 2")
    assert world.kit.credentials.counts() == (0, 1)


async def test_a_commit_wakes_the_worker_by_itself(world):
    booking = await world.booked(1, 0)
    await world.until(lambda: world.doors.visitors)
    assert [c.booking_id for c in world.doors.visitors.values()] == [booking["id"]]


async def test_it_stops_although_something_came_up_at_the_same_moment(world):
    world.doors.failure = away()
    await world.booked(1, 0)
    await world.until(lambda: world.kit.credentials.stuck())
    await asyncio.sleep(0.05)  # the worker waits for the next try
    world.kit.credentials._awake.set()
    async with asyncio.timeout(5):
        await world.kit.credentials.stop()
    assert world.kit.credentials._worker.done()


async def test_cancelling_revokes(world):
    booking = await world.booked(1, 0)
    await settled(world)
    await world.staff.post(f"/api/bookings/{booking['id']}/cancel", {})
    await settled(world)
    assert world.doors.visitors == {} and world.kit.credentials.counts() == (0, 0)


async def test_a_revocation_is_tried_again_until_it_is_done(world):
    booking = await world.booked(1, 0)
    await settled(world)
    world.doors.failure = away()
    answer = await world.staff.post(f"/api/bookings/{booking['id']}/cancel", {})
    assert answer.status_code == 200, "a booking never waits for the controller"
    await settled(world)
    (stuck,) = world.kit.credentials.stuck()
    assert (stuck.wanted, stuck.error) == ("revoke", "The door controller does not answer.") and stuck.next_at > NOON
    assert (await world.staff.get("/api/panels", date="2026-11-21")).json()["credentials"][0]["booking_id"] == booking["id"]
    world.doors.failure = None
    world.clock.forward(stuck.next_at - NOON)
    await settled(world)
    assert world.doors.visitors == {} and world.kit.credentials.stuck() == []


async def test_the_back_off_grows_and_has_an_end(world):
    world.doors.failure = away()
    await world.booked(1, 40)
    waits = []
    for _ in range(12):
        await settled(world)
        (stuck,) = world.kit.credentials.stuck()
        waits.append(stuck.next_at - int(world.clock.now()))
        world.clock.forward(waits[-1])
    assert waits == sorted(waits) and waits[0] <= 4 and waits[-1] == 300


async def test_a_moved_booking_takes_its_credential_with_it(world):
    old = await world.booked(1, 0)
    await settled(world)
    new_id = str(uuid.uuid4())
    body = {"booking_id": new_id, "resource_id": f"{SITE}.box-1", "start": world.at(6), "end": world.at(8)}
    await world.staff.post(f"/api/bookings/{old['id']}/reschedule", body)
    await settled(world)
    (credential,) = world.doors.visitors.values()
    assert credential.booking_id == new_id and credential.pin == old["pin"] and credential.opens_at == NOON + 3 * 3600 - 900


async def test_a_taken_pin_is_granted_without_it_and_told(world):
    grant = world.doors.grant

    async def taken(credential):
        if credential.pin is not None:
            raise PinTaken("Another credential of this site has the PIN already.")
        return await grant(credential)

    world.doors.grant = taken
    await world.booked(1, 0)
    await settled(world)
    (credential,) = world.doors.visitors.values()
    (stuck,) = world.kit.credentials.stuck()
    assert credential.pin is None and "works at the kiosk" in stuck.error and stuck.next_at == NOON + 600


async def test_a_pin_that_becomes_free_is_put_on_the_door_at_once(world):
    other = await world.booked(2, 0)
    await settled(world)
    grant, regrant, held = world.doors.grant, world.doors.regrant, f"v-{other['id']}"

    def taken(let):
        async def put(*asked):
            if held in world.doors.visitors and asked[-1].pin is not None:
                raise PinTaken("Another credential of this site has the PIN already.")
            return await let(*asked)

        return put

    world.doors.grant, world.doors.regrant = taken(grant), taken(regrant)
    mine = await world.booked(1, 0)
    await settled(world)
    assert world.doors.visitors[f"v-{mine['id']}"].pin is None
    await world.staff.post(f"/api/bookings/{other['id']}/cancel", {})
    await settled(world)
    assert world.doors.visitors[f"v-{mine['id']}"].pin == mine["pin"] and world.kit.credentials.stuck() == []


async def test_a_grant_whose_answer_was_lost_is_taken_off_although_the_booking_was_changed_meanwhile(world):
    grant = world.doors.grant

    async def answer_is_lost(credential):
        await grant(credential)
        raise away()

    world.doors.grant = answer_is_lost
    booking = await world.booked(1, 0)
    await settled(world)
    assert len(world.doors.visitors) == 1
    credentials = world.kit.credentials
    moved = world.db.read(lambda tx: records.booking(tx, booking["id"]))
    world.db.write_now(lambda tx: records.put_booking(tx, replace(moved, pin="907733")))
    await credentials._plan()  # while the controller is left alone, nothing else is done
    await world.staff.post(f"/api/bookings/{booking['id']}/cancel", {})
    world.doors.grant = grant
    world.clock.forward(20)
    await settled(world)
    assert world.doors.visitors == {} and credentials.counts() == (0, 0)


async def test_a_clock_that_is_set_back_makes_no_wait_longer(world):
    booking = await world.booked(1, 0)
    await settled(world)
    world.doors.failure = away()
    await world.staff.post(f"/api/bookings/{booking['id']}/cancel", {})
    await settled(world)
    world.doors.failure = None
    world.clock._now -= 7200
    await settled(world)
    assert world.doors.visitors == {}


async def test_a_controller_that_says_no_is_shown_and_tried_now_and_then(world):
    world.doors.failure = DoorsRefused("The token was refused.", code="token_refused")
    await world.booked(1, 0)
    await settled(world)
    (stuck,) = world.kit.credentials.stuck()
    assert stuck.error == "The token was refused." and stuck.next_at == NOON + 600


async def test_what_events_missed_the_sweep_finds(world):
    await world.booked(1, 0)
    world.kit.credentials._touched.clear()
    world.db.write_now(lambda tx: tx.run("DELETE FROM door_work"))
    world.doors.visitors.clear()
    await world.kit.credentials.sweep()
    await settled(world)
    assert len(world.doors.visitors) == 1


async def test_a_grant_whose_answer_was_lost_is_found_again_by_the_revocation(world):
    grant = world.doors.grant

    async def lost(credential):
        await grant(credential)
        raise away("Nobody heard the answer.")

    world.doors.grant = lost
    booking = await world.booked(1, 0)
    await settled(world)
    world.doors.grant = grant
    await world.staff.post(f"/api/bookings/{booking['id']}/cancel", {})
    await settled(world)
    assert world.doors.visitors == {}


async def test_far_bookings_wait_and_old_ones_are_erased(world):
    booking = await world.booked(1, 0)
    await settled(world)
    world.clock.forward(2 * 3600)
    await world.kit.credentials.sweep()
    await settled(world)
    assert world.doors.visitors, "a visit that is over stays for the log"
    world.clock.forward(2 * 86400)
    await world.kit.credentials.sweep()
    await settled(world)
    assert world.doors.visitors == {} and world.db.read(lambda tx: door_work.work(tx, booking["id"])) is None


async def test_a_displaced_booking_opens_nothing_until_it_is_seated(world):
    booking = await world.booked(1, 0)
    await settled(world)
    block = {"block_id": str(uuid.uuid4()), "resource_id": f"{SITE}.box-1", "start": world.at(0), "end": world.at(4), "kind": "maintenance"}
    await world.staff.post("/api/blocks", block)
    await settled(world)
    assert world.doors.visitors == {}
    await world.staff.post(f"/api/bookings/{booking['id']}/reseat", {"resource_id": f"{SITE}.box-2"})
    await settled(world)
    (credential,) = world.doors.visitors.values()
    assert credential.door_ids == (FRONT, "door-side") and credential.label.startswith("Box 2")


# ---- clock-2
@pytest.mark.rule("clock-2")
@pytest.mark.parametrize("years", [-3, 3])
async def test_a_clock_in_doubt_takes_no_guests_pin_off_the_door(world, years):
    """As after a power cut, on a box whose clock has no battery: nobody in the hall can be asked for the time."""
    booking, gone = await world.booked(1, 0), await world.booked(2, 0)
    await settled(world)
    desk = world.kit.credentials._desk
    world.clock.forward(years * 365 * 86_400)
    desk.clock_doubt = lambda: "nothing has confirmed the time"
    await world.kit.credentials.sweep()
    await settled(world)
    world.db.write_now(lambda tx: tx.tell("booking", booking["id"]))
    await settled(world)
    assert {c.booking_id for c in world.doors.visitors.values()} == {booking["id"], gone["id"]}
    world.db.write_now(lambda tx: records.put_booking(tx, replace(records.booking(tx, gone["id"]), status="cancelled")))
    await settled(world)
    assert {c.booking_id for c in world.doors.visitors.values()} == {booking["id"]}, "what is cancelled needs no clock"
    world.clock.forward(-years * 365 * 86_400 + 2 * 3600)
    desk.clock_doubt = lambda: ""
    await world.kit.credentials.sweep()
    await settled(world)
    assert world.kit.credentials.counts() == (0, 1)
