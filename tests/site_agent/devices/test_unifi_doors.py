"""The doors port against the emulated controller, in both of its ways of reporting errors."""

import asyncio
import logging
import uuid

import msgspec
import pytest

from deploy.emulators.unifi.envelope import Style
from shared.errors import Failure
from site_agent.ports import Actor, DoorCredential, DoorsRefused, DoorsUnavailable, PinTaken

NOON = 1_800_000_000
GUEST = Actor("booking-8472", "Booking 8472")


@pytest.fixture(params=["200", "4xx"])
def style(request) -> Style:
    return Style(business_errors=request.param)


def credential(
    emulator, booking_id="booking-8472", pin="570121", door="front", opens_at=NOON - 600, closes_at=NOON + 3600
) -> DoorCredential:
    return DoorCredential(booking_id, (emulator.door_id(door),), pin, opens_at, closes_at, "Box 3, 18:00")


async def test_doors_are_told_with_their_locks_and_leaves(controller, connect):
    emulator = await controller()
    front, side, shed = await connect(emulator).doors()
    assert (front.name, front.controlled, front.lock, front.leaf) == ("front", True, "locked", "closed")
    assert (side.controlled, side.leaf) == (True, "unknown")
    assert (shed.controlled, shed.leaf) == (False, "unknown")


@pytest.mark.parametrize("word", ["none", "", None])
async def test_every_way_of_saying_no_sensor_is_an_unknown_leaf(controller, connect, word):
    emulator = await controller(style=Style(no_sensor=word))
    assert (await connect(emulator).doors())[1].leaf == "unknown"


async def test_an_unlock_is_one_pulse_that_names_actor_and_request(controller, connect, clock):
    emulator = await controller()
    doors = connect(emulator)
    told = await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
    assert (told.request_id, told.confirmed_by, told.at) == ("req-1", "answer", NOON)
    assert (await doors.doors())[0].lock == "unlocked"
    clock.forward(5)
    assert (await doors.doors())[0].lock == "locked"
    pulse = emulator.box.unlocks[-1]
    assert (pulse.actor_name, pulse.extra) == ("Booking 8472", {"request_id": "req-1"})


async def test_the_same_request_is_one_pulse_however_often_it_comes(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    front = emulator.door_id("front")
    await asyncio.gather(*(doors.unlock(front, GUEST, "req-1") for _ in range(5)))
    await doors.unlock(front, GUEST, "req-1")
    assert len(emulator.box.unlocks) == 1
    await doors.unlock(front, GUEST, "req-2")
    assert len(emulator.box.unlocks) == 2


async def test_a_request_cannot_be_used_for_another_door(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
    with pytest.raises(DoorsRefused, match="another door"):
        await doors.unlock(emulator.door_id("side"), GUEST, "req-1")


async def test_whoever_stops_waiting_does_not_cut_the_pulse(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    emulator.faults.next("slow", seconds=0.2, path="/doors")
    waiting = asyncio.create_task(doors.unlock(emulator.door_id("front"), GUEST, "req-1"))
    await until(lambda: emulator.requests("PUT"))
    waiting.cancel()
    told = await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
    assert told.confirmed_by == "answer"
    assert len(emulator.requests("PUT")) == 1


async def test_a_lost_answer_is_an_unknown_outcome_and_the_log_settles_it_without_a_second_pulse(controller, connect, clock):
    emulator = await controller()
    doors = connect(emulator, read_timeout_s=0.2)
    front = emulator.door_id("front")
    emulator.faults.next("lost", seconds=0.5, method="PUT")
    with pytest.raises(DoorsUnavailable, match="Nobody knows yet whether the door opened") as lost:
        await doors.unlock(front, GUEST, "req-1")
    assert lost.value.outcome_unknown and not lost.value.permanent
    with pytest.raises(DoorsUnavailable, match="log does not tell yet") as early:
        await doors.unlock(front, GUEST, "req-1")
    assert early.value.outcome_unknown and early.value.retry_after_s == 3
    clock.forward(2)
    assert (await doors.unlock(front, GUEST, "req-1")).confirmed_by == "log"
    assert len(emulator.box.unlocks) == 1


async def test_an_unlock_that_surely_never_happened_is_carried_out_on_the_next_try(controller, connect, clock):
    emulator = await controller()
    doors = connect(emulator)
    front = emulator.door_id("front")
    emulator.faults.next("html", status=502, method="PUT")
    with pytest.raises(DoorsUnavailable) as unknown:
        await doors.unlock(front, GUEST, "req-1")
    assert unknown.value.outcome_unknown
    clock.forward(4)
    assert (await doors.unlock(front, GUEST, "req-1")).confirmed_by == "answer"
    assert len(emulator.box.unlocks) == 1


async def test_an_unlock_of_unknown_outcome_is_not_repeated_while_the_log_cannot_be_read(controller, connect, clock):
    emulator = await controller()
    doors = connect(emulator)
    emulator.faults.next("status", status=500, method="PUT")
    with pytest.raises(DoorsUnavailable):
        await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
    clock.forward(60)
    emulator.faults.next("status", status=503, method="POST")
    with pytest.raises(DoorsUnavailable) as still:
        await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
    assert still.value.outcome_unknown
    assert len(emulator.requests("PUT")) == 1


async def test_the_log_answers_for_a_request_even_after_a_restart_of_ours(controller, connect, clock):
    emulator = await controller()
    front = emulator.door_id("front")
    await connect(emulator).unlock(front, GUEST, "req-1")
    clock.forward(2)
    anew = connect(emulator)
    assert (await anew.unlocked_already(front, GUEST, "req-1", NOON)).confirmed_by == "log"
    assert await anew.unlocked_already(front, GUEST, "req-2", NOON) is None
    assert await anew.unlocked_already(emulator.door_id("side"), GUEST, "req-1", NOON) is None


async def test_a_door_that_does_not_exist_is_refused_for_good(controller, connect, style):
    emulator = await controller(style=style)
    for strange in ("no-such-door", "../visitors", "a/b?c", "\x00"):
        with pytest.raises(DoorsRefused) as refused:
            await connect(emulator).unlock(strange, GUEST, "req-1")
        assert refused.value.code == "door_unknown" and refused.value.permanent


async def test_a_door_without_hub_is_refused_for_good(controller, connect, style):
    emulator = await controller(style=style)
    with pytest.raises(DoorsRefused) as refused:
        await connect(emulator).unlock(emulator.door_id("shed"), GUEST, "req-1")
    assert refused.value.code == "refused"


async def test_a_door_whose_hub_is_offline_is_unavailable_and_surely_not_opened(controller, connect, style):
    emulator = await controller(style=style)
    doors = connect(emulator)
    emulator.box.door(emulator.door_id("front")).offline = True
    with pytest.raises(DoorsUnavailable) as away:
        await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
    assert not away.value.outcome_unknown
    assert doors.reachable is True


@pytest.mark.parametrize(
    ("actor", "request_id"), [(Actor("", "X"), "r"), (Actor("a", ""), "r"), (Actor("a#b", "X"), "r"), (GUEST, ""), (GUEST, "a#b")]
)
async def test_an_unlock_without_proper_actor_is_refused_before_anything_is_sent(controller, connect, actor, request_id):
    emulator = await controller()
    with pytest.raises(DoorsRefused, match="actor"):
        await connect(emulator).unlock(emulator.door_id("front"), actor, request_id)
    assert emulator.requests("PUT") == []


async def test_a_granted_pin_opens_its_door_in_its_window_and_nothing_else(controller, connect, clock):
    emulator = await controller()
    await connect(emulator).grant(credential(emulator, opens_at=NOON + 600))
    assert not emulator.box.read_pin(emulator.door_id("front"), "570121").admitted
    clock.forward(601)
    assert emulator.box.read_pin(emulator.door_id("front"), "570121").admitted
    assert not emulator.box.read_pin(emulator.door_id("side"), "570121").admitted
    clock.forward(3600)
    assert not emulator.box.read_pin(emulator.door_id("front"), "570121").admitted


async def test_granting_again_renews_the_one_credential_of_the_booking(controller, connect, style):
    emulator = await controller(style=style)
    doors = connect(emulator)
    first = await doors.grant(credential(emulator))
    again = await doors.grant(credential(emulator, pin="112233", door="side"))
    assert first == again and len(emulator.box.visitors.visitors) == 1
    assert emulator.box.read_pin(emulator.door_id("side"), "112233").admitted
    assert not emulator.box.read_pin(emulator.door_id("front"), "570121").admitted


async def test_repeating_a_grant_with_its_own_pin_is_not_a_collision(controller, connect, style):
    emulator = await controller(style=style)
    doors = connect(emulator)
    assert await doors.grant(credential(emulator)) == await doors.grant(credential(emulator))
    assert emulator.box.read_pin(emulator.door_id("front"), "570121").admitted


async def test_a_pin_of_another_booking_or_of_staff_is_taken(controller, connect, style):
    emulator = await controller(style=style, staff_pins=("998877",))
    doors = connect(emulator)
    await doors.grant(credential(emulator))
    for pin in ("570121", "998877"):
        with pytest.raises(PinTaken) as taken:
            await doors.grant(credential(emulator, "booking-9000", pin=pin))
        assert taken.value.code == "pin_taken"
    assert await doors.grant(credential(emulator, "booking-9000", pin="112233"))
    assert len(emulator.box.visitors.visitors) == 2


@pytest.mark.parametrize("pin", ["1234", "12345678"])
async def test_a_pin_of_the_wrong_length_is_refused(controller, connect, style, pin):
    emulator = await controller(style=style)
    with pytest.raises(DoorsRefused) as refused:
        await connect(emulator).grant(credential(emulator, pin=pin))
    assert refused.value.code == "pin_length"


async def test_a_credential_without_door_or_window_is_refused_before_anything_is_sent(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    for wrong in (
        credential(emulator, closes_at=NOON - 600),
        credential(emulator, booking_id=""),
        msgspec.structs.replace(credential(emulator), door_ids=()),
    ):
        with pytest.raises(DoorsRefused):
            await doors.grant(wrong)
    assert not emulator.box.requests


async def test_a_credential_for_a_door_that_does_not_exist_is_refused(controller, connect, style):
    emulator = await controller(style=style)
    with pytest.raises(DoorsRefused):
        await connect(emulator).grant(msgspec.structs.replace(credential(emulator), door_ids=("no-such-door",)))
    assert not emulator.box.visitors.visitors


async def test_a_lost_answer_to_a_create_makes_no_second_visitor(controller, connect):
    emulator = await controller()
    doors = connect(emulator, read_timeout_s=0.3)
    emulator.faults.next("lost", seconds=0.6, method="POST", path="/visitors")
    ref = await doors.grant(credential(emulator))
    assert list(emulator.box.visitors.visitors) == [ref]
    assert emulator.box.read_pin(emulator.door_id("front"), "570121").admitted


async def test_a_create_repeated_without_looking_makes_two_visitors(controller, connect):
    """The twin: the controller itself knows no booking, so only our search keeps them one."""
    emulator = await controller()
    wire = connect(emulator)._wire
    for _ in range(2):
        await wire.create_visitor(
            {"first_name": "ClubOS", "last_name": "booking-8472", "start_time": NOON, "end_time": NOON + 60, "visit_reason": "Others"}
        )
    assert len(emulator.box.visitors.visitors) == 2


async def test_a_create_that_came_through_late_is_merged_by_the_next_grant(controller, connect, clock):
    emulator = await controller()
    doors = connect(emulator, read_timeout_s=0.3)
    emulator.faults.next("slow", seconds=0.5, method="POST", path="/visitors")
    with pytest.raises(DoorsUnavailable):
        await doors.grant(credential(emulator))
    await until(lambda: emulator.box.visitors.visitors)
    ref = await doors.grant(credential(emulator))
    assert list(emulator.box.visitors.visitors) == [ref]


async def test_spare_visitors_of_a_booking_are_removed(controller, connect, clock):
    emulator = await controller()
    doors = connect(emulator)
    first = await doors.grant(credential(emulator))
    clock.forward(5)
    box = emulator.box
    twin = msgspec.structs.replace(
        box.visitors.get(first), id="9b6c1a52-0000-4000-8000-000000000001", pin_hash=None, made_ms=int(clock.now() * 1000)
    )
    box.visitors.visitors[twin.id] = twin
    assert await doors.grant(credential(emulator)) == first
    assert list(box.visitors.visitors) == [first]


async def test_a_booking_whose_id_begins_like_another_keeps_its_own_credential(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    longer = await doors.grant(credential(emulator, "booking-84722", pin="112233"))
    assert await doors.grant(credential(emulator, "booking-8472")) != longer
    assert len(emulator.box.visitors.visitors) == 2


async def test_a_regrant_moves_the_window_and_keeps_the_ref(controller, connect, clock):
    emulator = await controller()
    doors = connect(emulator)
    ref = await doors.grant(credential(emulator))
    assert await doors.regrant(ref, credential(emulator, closes_at=NOON + 7200)) == ref
    assert [(g.booking_id, g.closes_at, g.has_pin) for g in await doors.granted()] == [("booking-8472", NOON + 7200, True)]


async def test_a_regrant_without_pin_takes_the_pin_away(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    ref = await doors.grant(credential(emulator))
    await doors.regrant(ref, credential(emulator, pin=None))
    assert not emulator.box.read_pin(emulator.door_id("front"), "570121").admitted


@pytest.mark.parametrize("word", ["CANCELLED", "CANCELED"])
async def test_a_regrant_of_what_was_deleted_or_cancelled_at_the_console_makes_it_anew(controller, connect, word):
    emulator = await controller(style=Style(cancelled_word=word))
    doors = connect(emulator)
    ref = await doors.grant(credential(emulator))
    emulator.box.visitors.unassign_pin(ref)
    emulator.box.visitors.cancel(ref, force=False)
    second = await doors.regrant(ref, credential(emulator))
    emulator.box.visitors.cancel(second, force=True)
    third = await doors.regrant(second, credential(emulator))
    assert len({ref, second, third}) == 3
    assert emulator.box.read_pin(emulator.door_id("front"), "570121").visitor_id == third


async def test_revoking_frees_the_pin_and_leaves_a_cancelled_record(controller, connect, style):
    emulator = await controller(style=style)
    doors = connect(emulator)
    ref = await doors.grant(credential(emulator))
    await doors.revoke(ref)
    assert emulator.box.visitors.get(ref).cancelled
    assert await doors.granted(ended=True) == []
    assert await doors.grant(credential(emulator, "booking-9000"))


async def test_cancelling_without_unassigning_would_leave_the_pin_taken(controller, connect):
    """The twin: why the PIN goes first."""
    emulator = await controller()
    doors = connect(emulator)
    ref = await doors.grant(credential(emulator))
    emulator.box.visitors.cancel(ref, force=False)
    with pytest.raises(PinTaken):
        await doors.grant(credential(emulator, "booking-9000"))


async def test_erasing_leaves_nothing_and_both_can_be_repeated(controller, connect, style):
    emulator = await controller(style=style)
    doors = connect(emulator)
    ref = await doors.grant(credential(emulator))
    await doors.revoke(ref)
    await doors.revoke(ref)
    await doors.revoke(ref, erase=True)
    await doors.revoke(ref, erase=True)
    assert not emulator.box.visitors.visitors


async def test_granted_lists_ours_only_across_pages_and_ended_ones_on_demand(controller, connect, clock):
    emulator = await controller()
    doors = connect(emulator)
    await doors.grant(credential(emulator))
    await doors.grant(credential(emulator, "booking-past", pin=None, opens_at=NOON - 900, closes_at=NOON - 60))
    sample = next(iter(emulator.box.visitors.visitors.values()))
    for number in range(230):
        extra = msgspec.structs.replace(
            sample, id=str(uuid.UUID(int=number)), last_name=f"future-{number}", start_time=NOON + 60, pin_hash=None
        )
        emulator.box.visitors.visitors[extra.id] = extra
    by_hand = msgspec.structs.replace(sample, id=str(uuid.UUID(int=999)), first_name="Testa", last_name="Birdie")
    emulator.box.visitors.visitors[by_hand.id] = by_hand
    live = await doors.granted()
    assert len(live) == 231
    assert {g.status for g in live} == {"open", "upcoming"}
    assert {g.booking_id for g in await doors.granted(ended=True)} - {g.booking_id for g in live} == {"booking-past"}


async def test_the_door_log_tells_who_came_in_and_who_did_not_oldest_first(controller, connect, clock):
    emulator = await controller()
    doors = connect(emulator)
    front = emulator.door_id("front")
    ref = await doors.grant(credential(emulator))
    emulator.box.read_pin(front, "000000")
    clock.forward(1)
    emulator.box.read_pin(front, "570121")
    clock.forward(1)
    await doors.unlock(front, GUEST, "req-1")
    clock.forward(5)
    events = await doors.log(NOON, NOON + 60)
    assert [(e.at - NOON, e.how, e.admitted, e.actor_id, e.request_id) for e in events] == [
        (0, "pin", False, "", ""),
        (1, "pin", True, ref, ""),
        (2, "remote", True, "booking-8472", "req-1"),
    ]
    assert {e.door_id for e in events} == {front}
    assert [e.how for e in await doors.log(NOON + 2, NOON + 60)] == ["remote"]


async def test_a_long_log_is_read_page_by_page(controller, connect, clock):
    emulator = await controller()
    for _ in range(250):
        emulator.box.read_pin(emulator.door_id("front"), "000000")
        clock.forward(1)
    assert len(await connect(emulator).log(NOON, NOON + 1000)) == 250


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_without_the_permission_is_refused_and_never_tried_again_here(controller, connect, status):
    emulator = await controller(tokens={"testing-token-7d1f": {"view:space"}}, style=Style(missing_scope_status=status))
    doors = connect(emulator)
    assert await doors.doors()
    with pytest.raises(DoorsRefused) as refused:
        await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
    assert (refused.value.code, refused.value.permanent) == ("token_refused", True)
    assert len(emulator.requests("PUT")) == 1 and not emulator.box.unlocks


async def test_a_wrong_or_withdrawn_token_is_refused_with_a_sentence_that_does_not_tell_it(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    emulator.faults.tokens_revoked = True
    with pytest.raises(DoorsRefused, match="token") as refused:
        await doors.doors()
    assert refused.value.code == "token_refused"
    assert "testing-token-7d1f" not in str(refused.value)
    assert "token" in doors.trouble and doors.reachable is False


async def test_too_many_requests_is_transient_and_backs_off_longer_each_time(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    emulator.faults.next("status", 8, status=429)
    hints = []
    for _ in range(8):
        with pytest.raises(DoorsUnavailable) as busy:
            await doors.doors()
        hints.append(busy.value.retry_after_s)
    assert hints == [1, 2, 4, 8, 16, 32, 60, 60]
    assert not busy.value.outcome_unknown
    assert await doors.doors()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_failing_controller_is_transient(controller, connect, status):
    emulator = await controller()
    doors = connect(emulator)
    emulator.faults.next("html", status=status)
    with pytest.raises(DoorsUnavailable):
        await doors.doors()
    assert await doors.doors()


async def test_a_page_in_place_of_json_is_no_success_even_with_status_200(controller, connect):
    emulator = await controller()
    emulator.faults.next("html", status=200, method="PUT")
    with pytest.raises(DoorsUnavailable) as strange:
        await connect(emulator).unlock(emulator.door_id("front"), GUEST, "req-1")
    assert strange.value.outcome_unknown


async def test_a_reboot_is_told_once_when_it_goes_and_once_when_it_is_back(controller, connect, caplog):
    emulator = await controller()
    doors = connect(emulator)
    await doors.doors()
    caplog.set_level(logging.INFO, "site_agent.devices.unifi")
    await emulator.go_down()
    for _ in range(3):
        with pytest.raises(DoorsUnavailable) as away:
            await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
        # Nothing could be sent, so nothing can have happened and the customer may simply press again.
        assert not away.value.outcome_unknown
    await emulator.come_back()
    assert (await doors.unlock(emulator.door_id("front"), GUEST, "req-1")).confirmed_by == "answer"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "testing-token-7d1f" not in caplog.text


async def test_a_controller_that_is_still_starting_is_transient(controller, connect, clock):
    emulator = await controller()
    emulator.faults.starting_until = NOON + 30
    doors = connect(emulator)
    with pytest.raises(DoorsUnavailable):
        await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
    clock.forward(31)
    assert await doors.unlock(emulator.door_id("front"), GUEST, "req-1")


async def test_starting_opens_the_connections_and_survives_a_controller_that_is_away(controller, connect):
    emulator = await controller()
    doors = connect(emulator, warm_every_s=0.05)
    await doors.start()
    assert doors.reachable is True
    await until(lambda: len(emulator.requests("GET", "/doors")) >= 4)
    await emulator.go_down()
    await until(lambda: doors.reachable is False)
    await doors.stop()
    away = connect(emulator)
    await away.start()
    assert away.reachable is False
    await emulator.come_back()


async def test_an_unlock_does_not_queue_behind_housekeeping(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    emulator.faults.next("slow", seconds=1.0, path="/visitors")
    granting = asyncio.create_task(doors.grant(credential(emulator)))
    await until(lambda: emulator.requests("GET", "/visitors"))
    assert await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
    assert not granting.done()
    assert await granting


async def test_every_failure_is_one_of_the_products_own(controller, connect):
    emulator = await controller()
    emulator.faults.next("status", status=418)
    with pytest.raises(Failure):
        await connect(emulator).doors()


async def until(condition, deadline_s: float = 5.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.005)
