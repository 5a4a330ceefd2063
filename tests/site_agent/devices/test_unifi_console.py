"""The house as a whole against the emulated controller: emergencies, doors that are held, devices, and what the token may do."""

import pytest

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi.envelope import Style
from site_agent.ports import DoorsRefused, DoorsUnavailable
from tests.site_agent.devices.unifi_words import GUEST, NOON, TOKEN, credential, until


async def test_an_emergency_is_called_read_back_and_ended(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    assert await doors.emergency_now() == "normal"
    await doors.grant(credential(emulator))
    for mode, admitted, locks in (("lockdown", False, "locked"), ("evacuation", True, "unlocked")):
        await doors.emergency(mode)
        assert await doors.emergency_now() == mode
        assert {door.lock for door in await doors.doors() if door.controlled} == {locks}
        assert emulator.box.read_pin(emulator.door_id("front"), "570121").admitted is admitted
    await doors.emergency("normal")
    assert await doors.emergency_now() == "normal"


async def test_lock_down_and_evacuation_together_are_told_as_the_one_that_lets_people_out(controller, connect):
    emulator = await controller()
    emulator.box.emergency.lockdown = emulator.box.emergency.evacuation = True
    assert await connect(emulator).emergency_now() == "evacuation"


async def test_a_door_is_held_for_minutes_until_it_is_let_go_and_locked_against_pins(controller, connect, clock):
    emulator = await controller()
    doors, front = connect(emulator), emulator.door_id("front")
    await doors.grant(credential(emulator))
    assert (await doors.held(front)).rule == "none"
    await doors.hold(front, "unlocked_for", 10)
    assert ((await doors.held(front)).rule, (await doors.held(front)).until_at) == ("unlocked_for", NOON + 600)
    clock.forward(601)
    assert ((await doors.held(front)).rule, (await doors.doors())[0].lock) == ("none", "locked")
    await doors.hold(front, "unlocked")
    assert ((await doors.held(front)).rule, (await doors.held(front)).until_at) == ("unlocked", 0)
    await doors.hold(front, "locked")
    assert not emulator.box.read_pin(front, "570121").admitted
    await doors.hold(front, "normal")
    assert emulator.box.read_pin(front, "570121").admitted
    for minutes in (0, -1, 1441):
        with pytest.raises(DoorsRefused, match="1 to 1440 minutes"):
            await doors.hold(front, "unlocked_for", minutes)


async def test_a_running_schedule_is_told_and_ended_early(controller, connect):
    emulator = await controller()
    doors, front = connect(emulator), emulator.door_id("front")
    emulator.box.door(front).schedule_until = NOON + 3600
    assert ((await doors.held(front)).rule, (await doors.held(front)).until_at) == ("schedule", NOON + 3600)
    await doors.hold(front, "end_schedule")
    assert (await doors.held(front)).rule == "schedule_ended"
    with pytest.raises(DoorsRefused):
        await doors.hold(emulator.door_id("side"), "end_schedule")


@pytest.mark.parametrize("says", ["404", "CODE_DEVICE_API_NOT_SUPPORTED", "CODE_SYSTEM_ERROR"])
async def test_what_a_firmware_lacks_is_refused_with_a_sentence_and_asked_again_after_an_hour(controller, connect, clock, says):
    emulator = await controller(style=Style(lacks=frozenset({"hold"}), lacks_as=says))
    doors, front = connect(emulator), emulator.door_id("front")
    for _ in range(3):
        with pytest.raises(
            DoorsRefused, match="does not offer a door that is held open or shut. Holding a door needs Access 1.24.6"
        ) as lacks:
            await doors.hold(front, "unlocked")
        assert lacks.value.code == "not_supported"
    assert len(emulator.requests("PUT")) == 1, "it was asked once"
    emulator.box.style = Style()
    clock.forward(3601)
    await doors.hold(front, "unlocked")


async def test_what_has_been_offered_is_asked_for_again_after_an_answer_as_if_it_were_not(controller, connect):
    emulator = await controller()
    doors, front = connect(emulator), emulator.door_id("front")
    await doors.emergency("lockdown")
    await doors.hold(front, "unlocked")
    emulator.faults.next("html", status=404, count=2)
    with pytest.raises(DoorsRefused, match="does not offer"):
        await doors.emergency("normal")
    with pytest.raises(DoorsRefused, match="does not offer"):
        await doors.held(front)
    await doors.emergency("normal")
    await doors.hold(front, "normal")
    assert await doors.emergency_now() == "normal" and (await doors.held(front)).rule == "none"


async def test_an_emergency_is_asked_for_even_where_none_was_offered_a_moment_ago(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    emulator.faults.next("html", status=404)
    with pytest.raises(DoorsRefused, match="does not offer emergencies"):
        await doors.emergency_now()
    await doors.emergency("lockdown")
    assert emulator.box.emergency.lockdown


async def test_without_emergencies_the_rest_goes_on(controller, connect):
    emulator = await controller(style=Style(lacks=frozenset({"emergency"})))
    doors = connect(emulator)
    with pytest.raises(DoorsRefused, match="does not offer emergencies"):
        await doors.emergency("lockdown")
    assert doors.reachable is not False and await doors.unlock(emulator.door_id("front"), GUEST, "req-1")


async def test_the_doors_are_told_with_floor_and_building_and_their_devices_with_what_they_read(controller, connect):
    emulator = await controller()
    doors, front = connect(emulator), emulator.door_id("front")
    place = next(one for one in await doors.places() if one.door_id == front)
    assert (place.name, place.floor, place.group, place.controlled) == ("front", "bedford", "All Doors", True)
    emulator.box.door(front).reader_offline = True
    hub, reader = [one for one in await doors.devices() if one.door_id == front]
    assert (hub.kind, hub.online, hub.reads) == ("hub", True, ())
    assert (reader.kind, reader.online, reader.reads, reader.firmware) == ("reader", False, ("pin", "nfc", "qr"), "v2.7.18.0")


async def test_devices_of_which_little_is_said_are_told_without_guessing_whether_they_are_online(controller, connect):
    emulator = await controller(style=Style(devices_tell="little"))
    hub, reader, *_ = await connect(emulator).devices()
    assert (hub.kind, reader.kind, hub.online, reader.door_id) == ("hub", "reader", None, "")


async def test_what_the_token_may_do_is_found_out_by_reading_alone(controller, connect):
    emulator = await controller(tokens={TOKEN: AGENT_SCOPES - {"view:device", "view:system_log"}}, style=Style(lacks=frozenset({"hold"})))
    found = {one.what: one for one in await connect(emulator).check()}
    assert {what for what, one in found.items() if one.good is False} == {"right view:device", "right view:system_log", "hold"}
    assert {what for what, one in found.items() if one.good} == {
        "right view:space",
        "right view:visitor",
        "right view:credential",
        "PIN length",
        "emergency",
    }
    unproven = {what for what, one in found.items() if one.good is None}
    assert unproven == {"right edit:space", "right edit:visitor", "right edit:credential"}
    assert all(one.text.endswith(".") and TOKEN not in one.text for one in found.values())
    assert {one.what: one.text for one in await connect(emulator).check(8)}["PIN length"] == (
        "The controller takes PINs of 6 digits, and ours have 8: set doors.pin_digits to the same."
    )
    assert emulator.requests("PUT") == emulator.requests("DELETE") == []


async def test_a_check_of_a_controller_that_is_away_says_so_once(controller, connect):
    emulator = await controller()
    await emulator.go_down()
    with pytest.raises(DoorsUnavailable):
        await connect(emulator).check()
    await emulator.come_back()


async def test_a_wish_to_be_left_alone_is_kept_for_housekeeping_and_a_guest_at_the_door_is_asked_for_all_the_same(
    controller, connect, clock
):
    emulator = await controller()
    doors = connect(emulator)
    emulator.faults.next("status", status=429, retry_after="30", path="/visitors")
    with pytest.raises(DoorsUnavailable):
        await doors.granted()
    asked = len(emulator.box.requests)
    for call in (doors.doors, doors.granted, doors.devices, lambda: doors.log(0, 1)):
        with pytest.raises(DoorsUnavailable, match="left alone for 30 s") as busy:
            await call()
        assert busy.value.retry_after_s == 30
    assert len(emulator.box.requests) == asked, "nothing was sent"
    assert await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
    clock.forward(31)
    assert await doors.doors()


async def test_a_reboot_in_mid_unlock_is_one_pulse_whoever_asks_again(controller, connect, clock):
    emulator = await controller()
    doors, front = connect(emulator, read_timeout_s=1.0), emulator.door_id("front")
    emulator.faults.next("reboot", seconds=0.3, method="PUT")
    with pytest.raises(DoorsUnavailable) as cut:
        await doors.unlock(front, GUEST, "req-1")
    assert cut.value.outcome_unknown
    clock.forward(5)
    await until(lambda: emulator.serving)
    assert (await doors.unlock(front, GUEST, "req-1")).confirmed_by == "log"
    assert len(emulator.box.unlocks) == 1


@pytest.mark.parametrize("code", ["CODE_SYSTEM_ERROR", "CODE_DEVICE_DEVICE_OFFLINE", "CODE_OPERATION_FORBIDDEN"])
async def test_a_200_with_an_error_inside_is_no_success(controller, connect, code):
    emulator = await controller()
    doors = connect(emulator)
    emulator.faults.next("code", code=code, method="PUT")
    with pytest.raises((DoorsUnavailable, DoorsRefused)):
        await doors.emergency("lockdown")
    assert await doors.emergency_now() == "normal"


def test_the_emulated_doors_have_readers_of_their_own():
    from deploy.emulators.unifi.doors import Door

    assert Door(DoorSpec("front")).reader_id != Door(DoorSpec("front")).hub_id
