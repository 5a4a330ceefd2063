"""The doors port against the emulated controller: what it tells, and how it bears failures."""

import asyncio
import logging

import pytest

from deploy.emulators.unifi.envelope import Style
from shared.errors import Failure
from site_agent.ports import DoorsRefused, DoorsUnavailable
from tests.site_agent.devices.unifi_words import GUEST, NOON, TOKEN, credential, until


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
    emulator = await controller(tokens={TOKEN: {"view:space"}}, style=Style(missing_scope_status=status))
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
    assert TOKEN not in str(refused.value)
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
    assert TOKEN not in caplog.text


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
