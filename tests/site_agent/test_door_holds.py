"""One door held open for a while (D2): by those who may, with a reason and an end, shown to everybody, let go before its time."""

import pytest

from site_agent.ports import DoorHold, DoorState, DoorsUnavailable
from tests.site_agent.site_world import FRONT, away, code_of, opened
from tests.site_agent.test_door_trail import leaf


@pytest.fixture
async def world(tmp_path):
    async with opened(tmp_path) as w:
        w.agent.ticker.stop()  # the tests tick by hand
        await w.until(lambda: w.doors.calls == ["doors"])
        yield w


def told(world) -> list[str]:
    return [row.sentence for row in world.kit.door_trail.page().rows]


async def held(world, minutes=30, reason="delivery of chairs", door=FRONT):
    return await world.staff.post(f"/api/doors/{door}/hold", {"minutes": minutes, "reason": reason})


async def let_close(world, reason=""):
    return await world.staff.post(f"/api/doors/{FRONT}/let-close", {"reason": reason})


def shown(world) -> tuple[bool, str]:
    (door,) = [one for one in world.kit.doors.panel().doors if one.id == FRONT]
    return door.held, door.held_until


async def test_a_door_is_held_open_with_a_reason_and_an_end_and_let_close_before_it(world):
    answer = await held(world)
    assert (answer.status_code, answer.json()) == (200, {"door_id": FRONT, "until": "2026-11-21T16:30:00Z"})
    assert world.doors.calls[-1] == "hold unlocked_for 30" and shown(world) == (True, "2026-11-21T16:30:00Z")
    world.clock.forward(600)
    assert (await let_close(world, "all chairs are in")).status_code == 200
    assert world.doors.calls[-1] == "hold normal 0" and shown(world) == (False, "")
    assert told(world) == [
        "Ada Example let the front door close again at 12:10: all chairs are in.",
        "Ada Example held the front door open at 12:00, until 12:30: delivery of chairs.",
    ]
    said = [row for row in world.journal() if "hold" in str(row) or "let" in str(row)]
    assert any("delivery of chairs" in str(row) for row in said) and any("all chairs are in" in str(row) for row in said)
    assert code_of(await let_close(world)) == (404, "not_found"), "nobody holds it any more"


async def test_a_hold_ends_by_itself_and_a_door_that_then_still_stands_open_is_an_alarm_only_then(world):
    await held(world, minutes=5)
    await world.kit.door_trail.keep([leaf("opened")])
    world.clock.forward(290)
    await world.kit.door_trail.tick()
    assert world.kit.door_trail.alerts() == []
    world.clock.forward(20)
    await world.kit.door_trail.tick()
    assert shown(world) == (False, "") and [alert.kind for alert in world.kit.door_trail.alerts()] == ["held"]


@pytest.mark.parametrize(
    ("failure", "code", "sentence"),
    [
        (away(), "door_unavailable", "which did not work: The door controller does not answer."),
        (DoorsUnavailable("No answer.", outcome_unknown=True), "door_unavailable", "and it is not known whether it was done: No answer."),
    ],
)
async def test_a_hold_that_failed_or_may_have_is_told_as_that_and_can_be_let_go(world, failure, code, sentence):
    world.doors.failure = failure
    answer = await held(world)
    assert answer.json()["code"] == code and shown(world)[0] is False
    assert told(world) == [f"Ada Example wanted to hold the front door open at 12:00, until 12:30 (delivery of chairs), {sentence}"]
    world.doors.failure = None
    world.doors.holds[FRONT] = "unlocked_for"  # it was done after all, or by somebody at the controller
    assert (await let_close(world)).status_code == 200 and world.doors.holds[FRONT] == "normal"


@pytest.mark.parametrize(
    "wrong",
    [{"minutes": 0}, {"minutes": 481}, {"minutes": "x"}, {"reason": "  "}, {"reason": "x" * 301}, {"minutes": None}, {"door": "nowhere"}],
)
async def test_a_hold_that_makes_no_sense_is_refused_before_any_door_is_asked(world, wrong):
    answer = await held(world, **wrong)
    assert code_of(answer) == ((404, "not_found") if "door" in wrong else (400, "bad_request"))
    assert world.doors.calls == ["doors"] and told(world) == []


async def test_nobody_else_may_and_not_during_an_emergency(world):
    for asker, status in (
        (world.anybody, 401),
        (world.kiosk, 403),
        (await world.signed_in("vi"), 403),
        (await world.signed_in("con"), 403),
    ):
        for path, body in (("hold", {"minutes": 5, "reason": "x"}), ("let-close", {})):
            assert (await asker.post(f"/api/doors/{FRONT}/{path}", body)).status_code == status
    for mode in ("lockdown", "unlock_all"):
        wish = {"request_id": f"emergency-{mode}", "mode": mode, "reason": "a drill", "minutes": 5, "sure": True}
        await world.staff.post("/api/doors/emergency", wish)
        before = dict(world.doors.holds)
        for answer in (await held(world), await let_close(world)):
            assert code_of(answer) == (409, "door_refused") and "End it first" in answer.json()["detail"]
        assert world.doors.holds == before


async def test_where_there_is_no_controller_it_is_said(tmp_path):
    async with opened(tmp_path) as w:
        w.kit.door_holds._doors = None
        assert code_of(await held(w)) == (409, "no_doors") and code_of(await let_close(w)) == (409, "no_doors")


async def test_what_the_controller_holds_itself_is_shown_also_after_a_restart(world):
    async def unlocked():
        return [DoorState(FRONT, "Front", "Bedford - Front", True, "unlocked", "open")]

    async def by_the_controller(door_id):
        return DoorHold(door_id, *rule)

    world.doors.doors, world.doors.held = unlocked, by_the_controller
    await world.kit.doors.look()
    for rule, seen in (
        (("unlocked_for", int(world.clock.now()) + 900), (True, "2026-11-21T16:15:00Z")),
        (("unlocked", 0), (True, "")),
        (("schedule", int(world.clock.now()) + 900), (False, "")),
        (("none", 0), (False, "")),
    ):
        await world.kit.door_holds.look()
        assert shown(world) == seen, rule
    rule = ("schedule", int(world.clock.now()) + 900)
    answer = await let_close(world)
    assert code_of(answer) == (409, "door_refused") and "schedule" in answer.json()["detail"]
