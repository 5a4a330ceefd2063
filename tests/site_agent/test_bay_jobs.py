"""What bays need by themselves at a site: rows when they are due, judged again when it is their turn, and told to staff."""

import pytest

from shared.ledger import records, work
from site_agent.ports import Activity, CommandOutcome, Machine, MachinesUnavailable
from site_agent.services.bays.machine_work import JOB, order_of
from site_agent.services.bays.machines import MachineDesk
from tests.site_agent.machines_world import BOX, MachinesDouble, machined
from tests.site_agent.site_world import NOON, SITE

ALL = ("restart", "message", "prepare", "cleanup", "shutdown", "wake", "lights")
MIN = 60


@pytest.fixture
async def w(tmp_path):
    async with machined(tmp_path, bay_agent=MachinesDouble(*ALL)) as world:
        world.machines.ends = CommandOutcome("done")
        await world.due()
        yield world


def done(w) -> list[str]:
    return [command.kind for machine_id, command in w.machines.given if machine_id == "31"]


def rows(w) -> dict[str, work.Work]:
    found = w.db.read(lambda tx: work.about(tx, BOX))
    return {order_of(row.body).job: row for row in found if row.kind == JOB}


async def board(w) -> dict:
    return (await w.staff.get("/api/machines/jobs")).json()


async def lately(w) -> dict[str, tuple[str, str]]:
    found = next(one for one in (await board(w))["bays"] if one["resource_id"] == BOX)
    return {one["told"].partition(",")[0]: (one["state"], one["text"]) for one in found["lately"]}


async def test_a_guest_finds_the_bay_awake_lit_prepared_and_welcoming_once(w):
    w.machines.states["31"] = Machine("31", "BOX-1", None, NOON, "unknown")
    await w.booked(1, 2)  # at 13:00
    await w.due()
    before = next(one for one in (await board(w))["bays"] if one["resource_id"] == BOX)
    assert [(one["told"], one["at"]) for one in before["next"]][:2] == [("Wake the PC", NOON + 50 * MIN), ("Lights on", NOON + 50 * MIN)]
    await w.due(49 * MIN)
    assert rows(w) == {}
    for _ in range(9):
        await w.due(11)
    assert done(w) == ["wake", "lights", "prepare", "message"]
    assert "Box 1. It is yours until 14:00" in w.machines.given[3][1].parameters
    assert (await lately(w))["Prepare"][0] == "done" and (await board(w))["needs"] == []


async def test_a_pc_that_somebody_switched_off_is_woken_before_its_bay_is_taken_from_the_guest(w):
    await w.booked(1, 3)  # in an hour and a half
    w.machines.states["31"] = Machine("31", "BOX-1", False, NOON, "trouble", ("Its PC is off.",))
    for _ in range(6):
        await w.due(11)
    assert done(w) == ["wake"]


async def test_what_was_moved_or_cancelled_needs_nothing_and_what_waits_is_dropped(w):
    booking = await w.booked(1, 2)
    w.machines.here = False
    await w.due(51 * MIN)
    assert rows(w)["prepare"].state == "waiting"
    await w.staff.post(f"/api/bookings/{booking['id']}/cancel", {"reason": "Ill"})
    w.machines.here = True
    await w.due(15)
    assert {row.state for row in rows(w).values()} == {"dropped"} and done(w) == []
    assert "moved or cancelled" in rows(w)["prepare"].reason and (await board(w))["needs"] == []


async def test_a_bay_that_could_not_be_prepared_is_told_to_staff_until_the_guest_has_gone(w):
    await w.booked(1, 2)
    w.machines.here = False
    w.machines.failure = MachinesUnavailable("The bay's program is not heard.")
    for _ in range(9):
        await w.due(8 * MIN)
    (told,) = (await board(w))["needs"]
    assert told.startswith("Box 1 was not prepared for 13:00: ") and "The bay's program is not heard." in told
    await w.due(60 * MIN)
    assert (await board(w))["needs"] == []


async def test_a_guest_who_was_reseated_has_the_bay_where_they_sit_prepared(w):
    booking = await w.booked(2, 2)
    visit = records.Attendance(booking_id=booking["id"], site_id=SITE, seat=BOX)
    await w.db.write(lambda tx: records.put_attendance(tx, visit))
    await w.due(51 * MIN)
    assert {machine_id for machine_id, _ in w.machines.given} == {"31"} and "prepare" in done(w)


async def test_the_end_is_told_on_the_screen_with_an_offer_only_where_the_next_half_hour_is_free(w):
    await w.booked(1, 0)
    await w.booked(2, 0)
    await w.booked(2, 2)
    for _ in range(3):
        await w.due(17 * MIN)
    said = {machine_id: command.parameters for machine_id, command in w.machines.given if "minutes are left" in command.parameters}
    assert said["31"] == "9 minutes are left: Box 1 is yours until 13:00. The next half hour is free: extend at the kiosk or on your phone."
    assert said["32"] == "9 minutes are left: Box 2 is yours until 13:00."


async def test_after_a_guest_the_bay_is_cleaned_and_shut_down_and_its_silence_is_no_trouble(w):
    booking = await w.booked(1, 0)
    await w.staff.post(f"/api/bookings/{booking['id']}/check-in", {"open_doors": False})
    await w.due(30 * MIN)
    await w.staff.post(f"/api/bookings/{booking['id']}/attendance", {"state": "completed"})
    for _ in range(4):
        await w.due(10)
        assert "cleanup" not in done(w)
    await w.due(40)
    assert done(w)[-1] == "cleanup"
    w.machines.people = Activity(NOON + 88 * MIN, NOON + 88 * MIN, None)
    await w.due(60 * MIN)
    assert "shutdown" not in done(w)  # somebody has just used it
    await w.due(16 * MIN)
    assert done(w)[-1] == "shutdown"
    # whoever looks after it may say for long that it is on, and has not heard of it since
    w.machines.states["31"] = Machine("31", "BOX-1", True, int(w.clock.now()), "good")
    await w.due(8 * MIN)
    w.machines.states["31"] = Machine("31", "BOX-1", False, int(w.clock.now()) - 8 * MIN, "trouble", ("Its PC is off.",))
    for _ in range(2):
        await w.due(16 * MIN)
    assert done(w).count("shutdown") == 1
    found = await w.bay()
    assert (found["state"], found["told"]) == ("asleep", [])
    await w.booked(1, 8)
    await w.due(NOON + 230 * MIN - w.clock.now())
    for _ in range(4):
        await w.due(11)
    assert done(w)[-4:] == ["wake", "lights", "prepare", "message"]
    await w.due(6 * MIN)
    assert (await w.bay())["state"] == "trouble"  # it was woken, and is not heard of


@pytest.mark.parametrize(("tells", "minutes"), [(None, 60), (False, 11)], ids=["no bay could tell", "the bay tells"])
async def test_a_visit_that_only_the_clock_ended_is_cleaned_up_after_when_somebody_knows_or_after_an_hour(w, tells, minutes):
    booking = await w.booked(1, 0)
    await w.staff.post(f"/api/bookings/{booking['id']}/check-in", {"open_doors": False})
    for _ in range(60 + 63):
        w.machines.people = Activity(int(w.clock.now()) + MIN, 0, tells) if tells is not None else None
        await w.due(MIN)
        await w.kit.presence.tick()
        if "cleanup" in done(w):
            break
    assert w.db.read(lambda tx: records.attendance(tx, booking["id"])).state == "completed"
    assert 0 <= w.clock.now() - (NOON + (60 + minutes) * MIN) <= 2 * MIN


async def test_who_plays_on_after_the_visit_was_ended_keeps_the_game_though_hands_have_rested(w):
    booking = await w.booked(1, 0)
    await w.staff.post(f"/api/bookings/{booking['id']}/check-in", {"open_doors": False})
    await w.due(30 * MIN)
    await w.staff.post(f"/api/bookings/{booking['id']}/attendance", {"state": "completed"})
    for _ in range(40):
        w.machines.people = Activity(int(w.clock.now()) + MIN, NOON, True)
        await w.due(MIN)
    assert "cleanup" not in done(w)


async def test_nothing_ends_a_game_that_began_while_the_job_waited(w):
    booking = await w.booked(1, 0)
    await w.staff.post(f"/api/bookings/{booking['id']}/check-in", {"open_doors": False})
    await w.due(30 * MIN)
    await w.staff.post(f"/api/bookings/{booking['id']}/attendance", {"state": "completed"})
    w.machines.here = False
    await w.due(70)
    assert rows(w)["cleanup"].state == "waiting"
    await w.booked(1, 2)
    await w.due(15 * MIN)  # the next guest may be at the door
    w.machines.here = True
    for _ in range(3):
        await w.due(30)
    assert "cleanup" not in done(w) and "prepare" not in done(w)
    assert (rows(w)["cleanup"].state, rows(w)["cleanup"].reason) == ("waiting", "Somebody is there, or about to come.")


async def test_an_event_is_a_visit_and_where_staff_are_at_work_nothing_is_switched_off(w):
    event = {
        "block_id": "block-0001",
        "resource_id": BOX,
        "start": w.at(2),
        "end": w.at(4),
        "kind": "private_event",
        "reason": "A birthday",
    }
    work_at = event | {"block_id": "block-0002", "start": w.at(4), "end": w.at(8), "kind": "maintenance"}
    for block in (event, work_at):
        assert (await w.staff.post("/api/blocks", block)).status_code == 201
    await w.due(51 * MIN)
    assert "prepare" in done(w)
    for _ in range(4):
        await w.due(45 * MIN)
    assert not {"cleanup", "shutdown"} & set(done(w))
    for _ in range(2):
        await w.due(40 * MIN)
    assert "shutdown" in done(w)


async def test_a_nightly_restart_waits_for_room_and_says_when_there_was_none(w):
    four = NOON + 16 * 3600
    await w.due(four + 60 - NOON)
    assert done(w).count("restart") == 1
    for _ in range(2):
        await w.due(30 * MIN)
    assert done(w).count("restart") == 1
    w.staff = await w.signed_in("ada")
    await w.booked(1, 80, 8)  # the next night, from four to eight
    await w.due(20 * 3600)
    await w.due(5.5 * 3600)
    w.staff = await w.signed_in("ada")
    assert done(w).count("restart") == 1
    told = (await lately(w))["Nightly restart"]
    assert told[0] == "dropped" and "was not restarted: it was not free long enough between 04:00 and 06:00." in told[1]


async def test_staff_may_help_while_a_job_waits_and_a_job_waits_while_staff_help(w):
    await w.booked(1, 2)
    w.machines.here = False
    await w.due(51 * MIN)
    assert (await w.help(sure=True)).status_code == 202
    w.machines.here, w.machines.ends = True, CommandOutcome("running")
    for _ in range(4):
        await w.due(11)
    begun = [kind for kind in done(w) if kind in ("restart", "prepare")]
    assert len(begun) == 1  # the other waits for its end
    w.machines.ends = CommandOutcome("done")
    for _ in range(4):
        await w.due(11)
    assert sorted(kind for kind in done(w) if kind in ("restart", "prepare")) == ["prepare", "restart"]


async def test_with_a_clock_in_doubt_or_without_machines_nothing_is_planned(w, tmp_path):
    await w.booked(1, 2)
    desk = w.agent.desk
    plain, desk.clock_doubt = desk.clock_doubt, lambda: "Nobody has said what time it is."
    await w.due(51 * MIN)
    desk.clock_doubt = plain
    assert rows(w) == {}
    assert isinstance(w.kit.machines, MachineDesk) and (await board(w))["bays"][0]["played_min"] == 0


async def test_maintenance_is_quiet_and_its_end_is_told(w):
    block = {"block_id": "block-0001", "resource_id": BOX, "start": w.at(0), "end": w.at(4), "kind": "maintenance", "reason": "New lamp"}
    assert (await w.staff.post("/api/blocks", block)).status_code == 201
    w.machines.failure, w.machines.failing = MachinesUnavailable("It cannot be reached."), ("maintenance",)
    await w.kit.quiet.tick()
    w.machines.failure = None
    await w.kit.quiet.tick()
    assert w.machines.quiet == []  # it is left alone for a while
    w.clock.forward(31)
    for _ in range(2):
        await w.kit.quiet.tick()
    assert w.machines.quiet == [("31", NOON + 7200, "New lamp")]
    await w.staff.delete("/api/blocks/block-0001")
    for _ in range(2):
        await w.kit.quiet.tick()
    assert w.machines.quiet[1:] == [("31", 0, "Maintenance")]
