"""Emergencies (D5) with books that take nothing, and with a controller that was out of reach: in force all the same, and told."""

import asyncio
import contextlib
from random import Random

import pytest

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec, Emergency
from deploy.emulators.unifi.envelope import Style
from deploy.emulators.unifi_access import UnifiAccessEmulator
from shared.runtime import database_disk as disk
from site_agent.devices.unifi.doors import UnifiDoors, UnifiSettings
from site_agent.services.doors import emergency, emergency_books
from site_agent.services.doors.emergency import EmergencyDesk
from site_agent.services.people import Asker
from site_agent.store import emergencies
from tests.site_agent.emergency_world import after, alarms, by_hand, called, several_doors, started_anew, state, told, wish
from tests.site_agent.site_world import FRONT, SITE, away, code_of


@pytest.fixture
async def world(tmp_path):
    async with by_hand(tmp_path) as w:
        yield w


# ---- books that take nothing
UNWRITTEN = (
    "The emergency is not written down yet: The disk of this machine is full. Nothing more can be saved until room is made on it; what was confirmed is"
    " kept. What was asked of the doors stands all the same. Please see to that before this machine is restarted, or nobody here will know of it then."
)


def fill_up(world) -> None:
    async def full(fn):
        raise disk.trouble(disk.FULL)

    world.db.write = full


def make_room(world) -> None:
    del world.db.write


async def test_with_a_full_disk_a_lock_down_reaches_the_doors_and_is_written_down_when_there_is_room(world):
    fill_up(world)
    panel = await called(world)
    assert world.doors.mode == "lockdown" and panel["standing"]["state"] == "on" and world.kit.emergency.barred()
    assert alarms(world)[0].startswith("Lock-down until 12:30") and alarms(world)[1] == UNWRITTEN
    await called(world)
    assert code_of(await world.staff.post("/api/doors/emergency", wish(mode="evacuation"))) == (409, "id_reused")
    await after(world, 60, step=10)
    assert alarms(world)[1] == UNWRITTEN and told(world) == []
    make_room(world)
    await after(world, 1)
    assert (state(world), len(alarms(world))) == ("on", 1)
    assert told(world) == ["Lock-down was in force at 12:00.", "Ada Example called a lock-down at 12:00: Somebody shouts in the hall."]
    await after(world, 1800, step=60)
    assert state(world) == "over" and world.doors.mode == "normal"


async def test_with_a_full_disk_it_is_ended_by_people_and_by_its_time_as_ever(world):
    fill_up(world)
    await called(world, mode="evacuation")
    assert (await world.staff.post("/api/doors/emergency/end", {"reason": "over"})).status_code == 200
    assert world.doors.mode == "normal" and world.kit.emergency.panel().standing is None
    await called(world, mode="unlock_all", number=2, minutes=5)
    assert world.doors.holds == {FRONT: "unlocked_for"}
    await after(world, 400, step=20)
    assert world.doors.holds == {FRONT: "normal"} and alarms(world) == [UNWRITTEN]
    make_room(world)
    await after(world, 1)
    whats = [row[2] for row in world.journal() if "emergency" in row[2]]
    assert whats == [
        "emergency over: unlock_all", "emergency called: unlock_all", "emergency over: evacuation", "emergency ended", "emergency called: evacuation",
    ]  # fmt: skip
    assert not alarms(world) and told(world)[0] == "The opening of all doors ended at 12:05: its time was over."


async def test_books_that_are_damaged_where_the_guests_stand_keep_nobody_from_calling_it(world, monkeypatch):
    def damaged(*_):
        raise disk.trouble(disk.DAMAGED)

    monkeypatch.setattr(emergency, "guests", damaged)
    monkeypatch.setattr(emergencies, "one", damaged)
    question = await world.staff.post("/api/doors/emergency", wish(mode="evacuation", sure=False))
    assert question.json()["detail"].endswith("How many guests are here cannot be read just now. Bookings stay as they are.")
    world.db.write = damaged
    await called(world, mode="evacuation")
    assert world.doors.mode == "evacuation" and "The books are damaged" in alarms(world)[1]
    make_room(world)


async def test_a_disk_that_hangs_is_not_waited_for_and_is_handed_nothing_twice(world, monkeypatch):
    monkeypatch.setattr(emergency_books, "WRITE_WAIT_S", 0.01)
    write, let = world.db.write, asyncio.Event()

    async def hangs(fn):
        await let.wait()
        return await write(fn)

    world.db.write = hangs
    await called(world)
    assert world.doors.mode == "lockdown" and "The disk of this machine takes too long." in alarms(world)[1]
    let.set()
    await after(world, 2)
    assert not world.kit.emergency._books.owed and len(alarms(world)) == 1
    assert len([row for row in world.journal() if row[2] == "emergency called: lockdown"]) == 1


async def test_with_a_disk_that_hangs_the_last_of_many_doors_stands_open_no_later_than_the_first(world, monkeypatch):
    monkeypatch.setattr(emergency_books, "WRITE_WAIT_S", 0.1)
    doors = [f"door-{n}" for n in range(9)]
    several_doors(world, *doors)
    let = asyncio.Event()

    async def hangs(fn):
        await let.wait()

    world.db.write = hangs
    before = asyncio.get_running_loop().time()
    await called(world, mode="unlock_all")
    took_s = asyncio.get_running_loop().time() - before
    let.set()
    make_room(world)
    assert set(world.doors.holds) == {FRONT, *doors} and took_s < 0.5, "the disk is waited for once"


async def test_what_is_owed_while_others_wait_for_the_disk_is_waited_for_too_and_is_no_trouble(world):
    write, begun = world.db.write, []

    async def slow(fn):
        begun.append(fn)
        await asyncio.sleep(0.02)
        return await write(fn)

    world.db.write = slow
    books = world.kit.emergency._books
    books.journal("staff-ada", "emergency ended", "", "first")
    both = [asyncio.ensure_future(books.flush()) for _ in range(2)]
    await world.until(lambda: begun)
    books.journal("staff-ada", "emergency ended", "", "second")
    for one in reversed(both):
        await one
        assert (books.trouble, books.owed) == ("", False)


async def test_what_was_never_written_down_is_after_a_restart_told_as_one_that_nobody_called(world):
    fill_up(world)
    await called(world)
    await world.kit.emergency.stop()
    anew = started_anew(world)
    make_room(world)
    await anew.start()
    await anew.tick()
    await world.until(lambda: anew.panel().outside == "lockdown")
    assert anew.barred() and "Nobody called that here" in anew.alarms()[0].text
    await anew.stop()


# ---- a controller that was away
def stream_of(world) -> dict:
    """Whether the controller's events are heard live."""
    line = {"live": True}
    world.doors.hearing = lambda: line["live"]
    return line


async def test_a_controller_that_forgot_the_lock_down_while_it_was_away_is_put_into_it_again_and_people_read_so(world):
    line = stream_of(world)
    await called(world)
    await after(world, 10)
    world.doors.mode, line["live"] = "normal", False
    await after(world, 2)
    line["live"] = True
    world.clock.forward(600)
    await after(world, 3)
    assert world.doors.mode == "lockdown" and state(world) == "on"
    lost = "The controller had lost it while it was out of reach, and was put into it again at 12:10. Whoever ended it there on purpose must end it here too."
    assert alarms(world) == [
        f"Lock-down until 12:30: no door opens for guests, not even with a booking. Ada Example called it: Somebody shouts in the hall. {lost}"
    ]
    assert told(world)[0] == "The door controller had lost the lock-down while it was out of reach, and was put into it again at 12:10."
    world.doors.mode = "normal"
    await after(world, 60)
    assert state(world) == "over" and world.doors.mode == "normal", "people there have the last word"


async def test_a_controller_that_kept_the_lock_down_is_not_asked_for_it_twice(world):
    line = stream_of(world)
    await called(world)
    for live in (False, True):
        line["live"] = live
        await after(world, 40)
    assert world.doors.calls.count("emergency") == 1 and "lost it" not in alarms(world)[0]


async def test_without_events_a_controller_that_did_not_answer_counts_as_away(world):
    stream_of(world)["live"] = False
    await called(world)
    world.doors.failure = away()
    await after(world, 40, step=10)
    world.doors.failure, world.doors.mode = None, "normal"
    await after(world, 40)
    assert world.doors.mode == "lockdown" and state(world) == "on"
    world.doors.mode = "normal"
    await after(world, 60)
    assert state(world) == "over"


async def test_after_a_power_cut_that_both_went_through_it_is_put_into_force_again(world):
    await called(world)
    world.doors.mode = "normal"
    anew = started_anew(world)
    await anew.start()
    for _ in range(3):
        await anew.tick()
        await world.until(lambda: anew._working is None or anew._working.done())
    assert world.doors.mode == "lockdown" and state(world) == "on"
    await anew.stop()


async def test_doors_whose_hold_was_forgotten_are_held_again_and_one_that_people_locked_meanwhile_is_not(world):
    several_doors(world, "door-side")
    line = stream_of(world)
    await called(world, mode="unlock_all")
    await after(world, 2)
    line["live"] = False
    await after(world, 2)
    world.doors.holds = {"door-side": "locked"}
    line["live"] = True
    await after(world, 3)
    assert world.doors.holds == {FRONT: "unlocked_for", "door-side": "locked"} and state(world) == "on"
    assert (
        told(world)[0]
        == "The door controller had lost the opening of all doors while it was out of reach, and was put into it again at 12:00."
    )


@contextlib.asynccontextmanager
async def emulated(world, folder, style: Style | None = None):
    """The emergency desk before the emulated controller, whose front door a guest's PIN opens."""
    token = "testing-token-7d1f"
    emulator = UnifiAccessEmulator(
        doors=[DoorSpec("front")], tokens={token: AGENT_SCOPES}, clock=world.clock, rng=Random(5), folder=folder, style=style
    )
    await emulator.start()
    settings = UnifiSettings(host="127.0.0.1", port=emulator.port, token=token, fingerprint=emulator.fingerprint, warm_every_s=3600)
    doors = UnifiDoors(settings, world.clock)
    desk = EmergencyDesk(world.db, world.agent.desk, world.kit.bookings._houses, SITE, doors, world.clock.monotonic)
    try:
        yield emulator, desk
    finally:
        await desk.stop()
        await doors.stop()
        await emulator.stop()


async def test_before_the_emulated_controller_a_reboot_at_its_end_lets_the_doors_go_when_it_is_back(world, tmp_path):
    ada = Asker("staff", "staff-ada", "Ada Example", frozenset({"emergency"}))
    async with emulated(world, tmp_path) as (emulator, desk):

        async def ticked() -> None:
            world.clock.forward(4)
            await desk.tick()
            await world.until(lambda: desk._working is None or desk._working.done())

        panel = await desk.call("emergency-1", "lockdown", "shouting", 10, True, ada)
        assert panel.standing.state == "on" and emulator.box.emergency.lockdown
        await emulator.go_down()
        world.clock.forward(600)
        await ticked()
        assert "have not been let go yet. The controller cannot be reached." in desk.panel().told[0]
        await emulator.come_back()
        await ticked()
        assert not emulator.box.emergency.lockdown and desk.panel().standing is None
        emulator.box.set_emergency(Emergency(lockdown=False, evacuation=True))
        desk.hint()
        await ticked()  # so soon after our own word its own is heard twice
        await ticked()
        assert desk.panel().outside == "evacuation"
        await desk.call("emergency-2", "unlock_all", "delivery", 5, True, ada)
        assert emulator.box.door(emulator.door_id("front")).rule.type == "custom"


@pytest.mark.parametrize(("mode", "keeps"), [("lockdown", True), ("lockdown", False), ("unlock_all", False)])
async def test_before_the_emulated_controller_an_emergency_outlives_its_reboot_whether_it_keeps_it_or_not(world, tmp_path, mode, keeps):
    ada = Asker("staff", "staff-ada", "Ada Example", frozenset({"emergency"}))

    def stands(emulator) -> bool:
        rule = emulator.box.door(emulator.door_id("front")).rule
        return emulator.box.emergency.lockdown if mode == "lockdown" else rule is not None and rule.type == "custom"

    async with emulated(world, tmp_path, Style(keeps_emergency=keeps)) as (emulator, desk):

        async def ticked() -> None:
            world.clock.forward(31)
            await desk.tick()
            await world.until(lambda: desk._working is None or desk._working.done())

        await desk.call("emergency-1", mode, "shouting", 10, True, ada)
        await emulator.go_down()
        await ticked()
        await emulator.come_back()
        assert stands(emulator) is keeps
        for _ in range(2):
            await ticked()
        assert stands(emulator) and desk.panel().standing.state == "on"
        assert ("had lost it" in desk.panel().told[0]) is not keeps
