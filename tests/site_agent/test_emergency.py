"""Emergencies (D5): called by people, asked twice, in force until their end, and told to everybody."""

import asyncio

import pytest

from shared.errors import Failure
from site_agent.ports import DoorEvent, DoorsRefused
from site_agent.services.people import Asker
from site_agent.store import emergencies
from tests.site_agent.emergency_world import after, alarms, by_hand, called, quiet, several_doors, started_anew, state, told, wish
from tests.site_agent.site_world import FRONT, NOON, away, code_of, opened


@pytest.fixture
async def world(tmp_path):
    async with by_hand(tmp_path) as w:
        yield w


async def test_the_first_call_is_a_question_that_says_what_it_does_to_guests(world):
    await world.booked(1, 0)
    playing = await world.booked(2, 0)
    await world.staff.post(f"/api/bookings/{playing['id']}/check-in", {"open_doors": False})
    answer = await world.staff.post("/api/doors/emergency", wish(sure=False))
    assert code_of(answer) == (409, "confirm")
    detail = answer.json()["detail"]
    assert detail.startswith("Until 12:30 no PIN, code or card opens any door, not even of guests with a booking")
    assert "1 guest plays here now, 1 more is expected by then. Bookings stay as they are." in detail
    assert world.doors.mode == "normal" and not alarms(world)


async def test_a_lock_down_is_in_force_at_once_told_to_everybody_and_ends_by_itself(world):
    panel = await called(world)
    assert world.doors.mode == "lockdown" and panel["standing"]["state"] == "on" and panel["standing"]["until"] == "12:30"
    sentence = (
        "Lock-down until 12:30: no door opens for guests, not even with a booking. Ada Example called it: Somebody shouts in the hall."
    )
    panels = (await world.staff.get("/api/panels", date="2026-11-21")).json()
    assert [one["text"] for one in panels["alarms"] if one["code"].startswith("emergency")] == [sentence]
    assert sentence in (await world.anybody.get("/health/ready")).text
    await after(world, 29 * 60, step=60)
    assert world.doors.mode == "lockdown"
    await after(world, 120, step=60)
    assert world.doors.mode == "normal" and state(world) == "over" and not alarms(world)
    assert told(world) == [
        "The lock-down ended at 12:30: its time was over.",
        "Lock-down was in force at 12:00.",
        "Ada Example called a lock-down at 12:00: Somebody shouts in the hall.",
    ]
    whats = [row[2] for row in world.journal() if "emergency" in row[2]]
    assert whats == ["emergency over: lockdown", "emergency called: lockdown"]


async def test_a_restart_forgets_nothing_and_ends_it_in_time(world):
    await called(world)
    anew = started_anew(world)
    await anew.start()
    assert anew.barred() and len(anew.alarms()) == 1
    world.clock.forward(1801)
    await anew.tick()
    await world.until(lambda: state(world) == "over")
    assert world.doors.mode == "normal"
    await anew.stop()


async def test_a_clock_that_is_set_meanwhile_neither_shortens_nor_prolongs_it(world):
    await called(world)
    world.clock._now += 86_400
    await after(world, 2)
    assert state(world) == "on"
    world.clock._now -= 2 * 86_400
    await after(world, 1800, step=600)
    assert state(world) == "over" and world.doors.mode == "normal"


async def test_a_clock_that_is_set_back_while_the_doors_are_not_let_go_keeps_nobody_waiting(world):
    await called(world)
    world.doors.failure = away()
    await after(world, 1803, step=601)
    assert state(world) == "ending"
    world.clock._now -= 86_400
    world.doors.failure = None
    await after(world, 10)
    assert state(world) == "over" and world.doors.mode == "normal"


@pytest.mark.parametrize("doubt", ["", "The clock was not set."])
async def test_after_a_restart_with_a_clock_that_is_behind_it_lasts_no_longer_than_it_was_called_for(world, doubt):
    await called(world)
    world.clock._now -= 86_400
    world.agent.desk.clock_doubt = lambda: doubt
    anew = started_anew(world)
    await anew.start()
    world.clock.forward(1801)
    await anew.tick()
    await world.until(lambda: state(world) == "over")
    assert world.doors.mode == "normal"
    await anew.stop()


async def test_a_call_that_is_sent_again_after_a_restart_does_not_begin_its_time_anew(world):
    await called(world)
    ada = Asker("staff", "staff-ada", "Ada Example", frozenset({"emergency"}))
    anew = started_anew(world)
    await anew.start()
    world.clock.forward(1500)
    known = world.db.read(lambda tx: emergencies.one(tx, "emergency-1"))
    await anew.call("emergency-1", "lockdown", "again", 30, True, Asker("staff", known.by_id, ada.name, ada.rights))
    world.clock.forward(301)
    await anew.tick()
    await world.until(lambda: state(world) == "over")
    assert world.doors.mode == "normal"
    await anew.stop()


async def test_a_wish_that_comes_while_the_controller_is_slow_is_carried_out_next_and_not_lost(world):
    slow, let = asyncio.Event(), world.doors.emergency

    async def waits(mode):
        await slow.wait()
        await let(mode)

    world.doors.emergency = waits
    first = asyncio.create_task(world.staff.post("/api/doors/emergency", wish()))
    await world.until(lambda: world.kit.emergency._working is not None and state(world) == "wanted")
    second = asyncio.create_task(world.staff.post("/api/doors/emergency", wish(mode="evacuation", number=2)))
    await world.until(lambda: len(world.kit.emergency._standing) == 2)
    slow.set()
    assert (await first).status_code == (await second).status_code == 200
    await quiet(world)
    assert world.doors.mode == "evacuation" and (state(world, 1), state(world, 2)) == ("over", "on")


async def test_while_the_controller_is_away_the_wish_stays_and_is_carried_out_when_it_answers(world):
    world.doors.failure = away()
    panel = await called(world)
    assert panel["standing"]["state"] == "wanted"
    assert alarms(world) == [
        "A lock-down was called, but the doors have not done it yet. The door controller does not answer. They are asked until 12:30."
        " Ada Example called it: Somebody shouts in the hall."
    ]
    await after(world, 60, step=10)
    assert state(world) == "wanted"
    world.doors.failure = None
    await after(world, 4)
    assert state(world) == "on" and world.doors.mode == "lockdown"


async def test_a_wish_that_may_have_reached_the_controller_is_taken_back_until_it_answers(world):
    world.doors.failure = away()
    await called(world, minutes=1)
    await after(world, 120, step=10)
    assert state(world) == "ending"
    assert alarms(world) == ["The lock-down is over, but the doors have not been let go yet. The door controller does not answer."]
    world.doors.failure, world.doors.mode = None, "lockdown"
    await after(world, 4)
    assert world.doors.mode == "normal" and state(world) == "over"
    assert told(world)[0] == "The lock-down that Ada Example called was over at 12:02 and had never been in force."


async def test_what_the_controller_does_not_offer_is_said_and_ends_with_its_time(world):
    async def refuse(mode):
        raise DoorsRefused("The door controller does not offer emergencies.", code="not_supported")

    world.doors.emergency = refuse
    await called(world, minutes=1)
    assert "The door controller does not offer emergencies." in alarms(world)[0]
    await after(world, 61, step=61)
    assert state(world) == "ending", "it may have done it all the same"
    del world.doors.emergency
    await after(world, 60, step=20)
    assert state(world) == "over" and not alarms(world)


async def test_during_a_lock_down_no_guest_is_let_in_from_here_and_staff_still_open_by_hand(world):
    booking = await world.booked(1, 0)
    await called(world)
    came = (await world.kiosk.post("/api/check-in", {"code": booking["pin"]})).json()
    assert (came["door"], world.doors.unlocked) == ("failed", [])
    assert (
        "You are checked in, but the facility is locked down, so no door is opened from here. Please call 902-555-0100." in came["sentence"]
    )
    assert any("which did not work: The facility is locked down" in sentence for sentence in told(world))
    answer = await world.staff.post(f"/api/doors/{FRONT}/unlock", {"request_id": "req-00000001", "reason": "the police are here"})
    assert answer.status_code == 200 and len(world.doors.unlocked) == 1


async def test_a_controller_that_opens_nothing_while_locked_down_is_told_in_words_and_its_own_stay_in_the_journal(world):
    its = "The controller refused (HTTP 200, CODE_OPERATION_FORBIDDEN)."
    for number, (locked, error, said) in enumerate(
        [
            (False, DoorsRefused(its), its),
            (True, DoorsRefused("The token lacks a permission.", code="token_refused"), "The token lacks a permission."),
            (True, DoorsRefused(its), "The facility is locked down, so this door was not opened. End the lock-down first, under “Doors”."),
        ]
    ):
        world.doors.failure = None
        if locked:
            await called(world)
        world.doors.failure = error
        answer = await world.staff.post(f"/api/doors/{FRONT}/unlock", {"request_id": f"req-0000001{number}"})
        assert (code_of(answer), answer.json()["detail"]) == ((409, "door_refused"), said)
    await world.until(lambda: sum(its in row[4] for row in world.journal()) == 2)


async def test_all_doors_open_is_told_to_each_door_for_its_minutes_and_taken_back_where_it_still_stands(world):
    await called(world, mode="unlock_all", minutes=20)
    assert (world.doors.holds, world.doors.mode) == ({FRONT: "unlocked_for"}, "normal")
    assert "hold unlocked_for 20" in world.doors.calls
    answer = await world.staff.post("/api/doors/emergency/end", {"reason": "delivery is in"})
    assert answer.status_code == 200 and answer.json()["standing"] is None
    assert world.doors.holds == {FRONT: "normal"}
    assert told(world)[0] == "The opening of all doors ended at 12:00: ended by Ada Example."
    await called(world, mode="unlock_all", minutes=20, number=2)
    world.doors.holds[FRONT] = "locked"
    await after(world, 1260, step=60)
    assert world.doors.holds == {FRONT: "locked"}, "what somebody else set there meanwhile stays"


async def test_a_door_that_cannot_be_held_is_named_keeps_no_other_shut_and_is_asked_again_until_the_end(world):
    several_doors(world, "door-side", "door-rear", "door-yard", "door-loft")
    let, tried = world.doors.hold, []

    async def rear_cannot(door_id, rule, minutes=0):
        if door_id == "door-rear" and rule == "unlocked_for":
            tried.append(minutes)
            raise DoorsRefused("This door's hub does not offer a door that is held open or shut.", code="not_supported")
        await let(door_id, rule, minutes)

    world.doors.hold = rear_cannot
    others = {FRONT, "door-side", "door-yard", "door-loft"}
    await called(world, mode="unlock_all")
    assert world.doors.holds == dict.fromkeys(others, "unlocked_for") and state(world) == "wanted"
    assert "Not every door stands open. Rear door: This door's hub does not offer" in alarms(world)[0]
    await after(world, 60, step=10)
    assert len(tried) == 3, "every half minute"
    del world.doors.hold
    await after(world, 31)
    assert world.doors.holds == dict.fromkeys([*others, "door-rear"], "unlocked_for") and state(world) == "on"
    await after(world, 1860, step=60)
    assert state(world) == "over" and set(world.doors.holds.values()) == {"normal"}


async def test_a_door_that_cannot_be_let_go_keeps_no_other_open(world):
    several_doors(world, "door-side")
    let = world.doors.held

    async def front_is_away(door_id):
        if door_id == FRONT:
            raise away()
        return await let(door_id)

    await called(world, mode="unlock_all")
    world.doors.held = front_is_away
    await world.staff.post("/api/doors/emergency/end", {"reason": "over"})
    assert world.doors.holds == {FRONT: "unlocked_for", "door-side": "normal"} and state(world) == "ending"
    world.doors.held = let
    await after(world, 10)
    assert world.doors.holds == {FRONT: "normal", "door-side": "normal"} and state(world) == "over"


async def test_all_doors_open_called_again_lasts_longer_and_no_door_is_let_go_in_between(world):
    several_doors(world, "door-side")
    await called(world, mode="unlock_all", minutes=10)
    let, failing = world.doors.hold, True

    async def side_is_away(door_id, rule, minutes=0):
        if door_id == "door-side" and failing:
            raise away()
        await let(door_id, rule, minutes)

    world.doors.hold = side_is_away
    await called(world, mode="unlock_all", minutes=40, number=2)
    assert world.doors.holds == {FRONT: "unlocked_for", "door-side": "unlocked_for"} and state(world, 2) == "wanted"
    failing = False
    await after(world, 10)
    assert (state(world, 1), state(world, 2)) == ("over", "on")
    assert world.doors.holds == {FRONT: "unlocked_for", "door-side": "unlocked_for"}
    assert "hold normal 0" not in world.doors.calls and world.doors.calls.count("hold unlocked_for 40") == 2
    await after(world, 2400, step=60)
    assert world.doors.holds == {FRONT: "normal", "door-side": "normal"} and state(world, 2) == "over"


async def test_while_all_doors_are_meant_to_stand_open_none_is_an_alarm_for_it(world):
    await called(world, mode="evacuation")
    opened_leaf = DoorEvent(NOON, FRONT, "Front", False, "", "", "", "", "", kind="opened", key="leaf-1", lock="unlocked")
    await world.kit.door_trail.keep([opened_leaf])
    world.clock.forward(300)
    await world.kit.door_trail.tick()
    assert not world.kit.door_trail.alerts()
    await world.staff.post("/api/doors/emergency/end", {"reason": "over"})
    await world.kit.door_trail.tick()
    assert [alert.kind for alert in world.kit.door_trail.alerts()] == ["held"]


async def test_another_call_takes_the_place_of_the_first_without_a_moment_between(world):
    await called(world)
    world.doors.calls.clear()
    panel = await called(world, mode="evacuation", number=2, reason="fire")
    assert (world.doors.mode, panel["standing"]["mode"], state(world, 1), state(world, 2)) == ("evacuation", "evacuation", "over", "on")
    assert world.doors.calls == ["emergency"], "it was never let go in between"
    await called(world, mode="unlock_all", number=3)
    assert (world.doors.mode, world.doors.holds[FRONT]) == ("normal", "unlocked_for")


async def test_the_same_call_again_is_one_and_another_under_its_id_is_refused(world):
    await called(world)
    await called(world)
    assert len([row for row in world.journal() if row[2] == "emergency called: lockdown"]) == 1
    assert code_of(await world.staff.post("/api/doors/emergency", wish(mode="evacuation"))) == (409, "id_reused")


async def test_a_call_that_makes_no_sense_is_refused_before_any_door_is_asked(world):
    for change in ({"reason": ""}, {"reason": "   "}, {"minutes": 0}, {"minutes": 481}, {"mode": "party"}, {"request_id": "x"}):
        answer = await world.staff.post("/api/doors/emergency", wish() | change)
        assert answer.status_code == 400 and world.doors.mode == "normal", change


async def test_admins_and_staff_may_call_one_and_nobody_else(world):
    for user in ("vi", "clea", "con"):
        answer = await (await world.signed_in(user)).post("/api/doors/emergency", wish())
        assert (answer.status_code, world.doors.mode) == (403, "normal"), user
        assert answer.json()["detail"] == "You are not allowed to hold doors open, open them all, or lock them down here."
    assert (await (await world.signed_in("sam")).post("/api/doors/emergency", wish())).status_code == 200
    assert world.doors.mode == "lockdown"


async def test_a_mode_that_was_begun_at_the_controller_is_shown_told_once_and_can_be_ended_here(world):
    world.doors.mode = "evacuation"
    event = DoorEvent(NOON, "", "", False, "evacuation", "", "", "", "", kind="emergency", key="k")
    world.doors.happens.put_nowait(event)
    await world.until(lambda: world.doors.happens.empty())
    await after(world, 2)
    assert alarms(world) == [
        "The door controller is in evacuation: every door is open. Nobody called that here; it was begun at the controller, or by something connected to it."
    ]
    await after(world, 120, step=30)
    assert told(world) == ["The door controller went into an evacuation at 12:00; nobody called that here."]
    answer = await world.staff.post("/api/doors/emergency/end", {"reason": "false alarm"})
    assert answer.status_code == 200 and world.doors.mode == "normal" and not alarms(world)
    assert code_of(await world.staff.post("/api/doors/emergency/end", {})) == (404, "not_found")


async def test_a_controller_that_tells_its_mode_a_moment_late_is_not_taken_for_somebody_elses_lock_down(world):
    await called(world)
    for mode in ("lockdown", "normal"):
        told_now = asyncio.Future()
        told_now.set_result(mode)
        world.doors.emergency_now = lambda told_now=told_now: told_now
        if mode == "lockdown":
            await world.staff.post("/api/doors/emergency/end", {"reason": "over"})
        else:
            await after(world, 10)
        assert not alarms(world) and not world.kit.emergency.barred(), mode
    assert not any("nobody called that here" in sentence for sentence in told(world))


async def test_whoever_ends_ours_at_the_controller_has_the_last_word(world):
    await called(world)
    world.doors.mode = "normal"
    await after(world, 60)
    assert state(world) == "over" and world.doors.mode == "normal" and not alarms(world)
    assert "ended by somebody at the controller" in told(world)[0]


async def test_a_controller_that_does_not_tell_its_mode_is_believed_to_do_as_it_was_asked(world):
    await called(world)

    async def silent():
        raise Failure("Nothing to hear.")

    world.doors.emergency_now = silent
    await after(world, 120, step=10)
    assert state(world) == "on"


async def test_without_a_controller_there_is_nothing_to_call(tmp_path):
    async with opened(tmp_path) as w:
        w.kit.emergency._doors = None
        assert code_of(await w.staff.post("/api/doors/emergency", wish())) == (409, "no_doors")
        assert (await w.staff.get("/api/doors/emergency")).json() == {"configured": False, "standing": None, "outside": "", "told": []}
