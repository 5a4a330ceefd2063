"""Unlocking against the emulated controller: one request, one pulse."""

import asyncio

import pytest

from site_agent.ports import Actor, DoorsRefused, DoorsUnavailable
from tests.site_agent.devices.unifi_words import GUEST, NOON, until


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
