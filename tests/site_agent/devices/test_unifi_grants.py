"""Credentials on the emulated controller: one booking, one visitor, one PIN."""

import uuid

import msgspec
import pytest

from deploy.emulators.unifi.envelope import Style
from site_agent.ports import DoorsRefused, DoorsUnavailable, PinTaken
from tests.site_agent.devices.unifi_words import NOON, credential, until


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


async def test_a_visitor_that_is_erased_while_it_is_looked_for_is_made_anew(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    first = await doors.grant(credential(emulator))
    listed = doors._wire.list_visitors

    async def erased_behind_our_back(*asked, **more):
        rows = await listed(*asked, **more)
        emulator.box.visitors.visitors.pop(first, None)
        return rows

    doors._wire.list_visitors = erased_behind_our_back
    assert await doors.grant(credential(emulator)) != first
    assert emulator.box.read_pin(emulator.door_id("front"), "570121").admitted


@pytest.mark.parametrize("says", ["CODE_NOT_EXISTS", "CODE_PARAMS_INVALID"])
async def test_a_controller_that_has_no_pin_to_take_off_cancels_the_visitor_all_the_same(controller, connect, says):
    emulator = await controller()
    doors = connect(emulator)
    ref = await doors.grant(credential(emulator, pin=None))
    emulator.faults.next("code", code=says, method="DELETE", path=f"/visitors/{ref}/pin_codes")
    await doors.revoke(ref)
    assert emulator.box.visitors.get(ref).cancelled


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


@pytest.mark.rule("pass-4")
async def test_a_spare_pin_becomes_a_bookings_own_without_being_shut_out_in_between_and_its_use_is_in_the_log(controller, connect, clock):
    emulator = await controller()
    doors, front = connect(emulator), emulator.door_id("front")
    ref = await doors.grant(credential(emulator, "spare-0001"))
    assert emulator.box.read_pin(front, "570121").admitted
    clock.forward(2)
    (entry,) = [event for event in await doors.log(NOON - 60, NOON + 60) if event.how == "pin"]
    assert entry.admitted and entry.actor_id == ref
    assert await doors.regrant(ref, credential(emulator, "booking-8472", closes_at=NOON + 7200)) == ref
    assert emulator.box.read_pin(front, "570121").admitted
    assert [(g.booking_id, g.closes_at) for g in await doors.granted()] == [("booking-8472", NOON + 7200)]
