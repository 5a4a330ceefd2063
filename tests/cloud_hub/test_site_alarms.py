"""What people must see to at a site reaches the staff of the hub: from its beginning to its end, once, whatever the link does."""

import pytest

from shared.ledger import site_alarms, streams
from shared.model import SiteAlarm
from site_agent.ports import DoorEvent
from site_agent.services import alarms_up
from site_agent.services.alarms import Alarm
from site_agent.services.alarms_up import AlarmsUp
from site_agent.services.people import Asker
from tests.site_agent.site_world import FRONT, NOON, SITE
from tests.two_apps import both

STAFF = Asker(kind="staff", id="staff-sam", name="Sam Example", rights=frozenset({"unlock", "emergency", "view"}))


@pytest.fixture
async def w(tmp_path):
    async with both(tmp_path) as world:
        yield world


async def told(w) -> list:
    await w.kit.alarms_up.tick()
    await w.quiet()
    return [one for one in w.hub.conditions.judged().open.values() if one.kind == "site_alarm"]


async def test_a_door_that_was_forced_is_told_at_once_and_its_answer_ends_that(w):
    event = DoorEvent(NOON, FRONT, "Front", False, "", "", "", "", "", kind="forced", key="event-1")
    await w.kit.door_trail.keep([event])
    (one,) = await told(w)
    assert (one.text, one.why, one.urgent, one.since_at) == (
        "An alert of a door at Bedford waits for somebody",
        "Front door was forced open.",
        True,
        NOON,
    )
    (alert,) = w.kit.door_trail.alerts()
    await w.kit.door_trail.answer(alert.n, "The wind", STAFF)
    assert await told(w) == []


async def test_of_more_alerts_than_are_told_one_by_one_the_rest_is_counted_and_none_is_told_as_ended(w, monkeypatch):
    monkeypatch.setattr(alarms_up, "DOOR_ALERTS_MAX", 2)

    async def happens(n: int, kind: str) -> None:
        await w.kit.door_trail.keep([DoorEvent(NOON + n, f"door-{n}", f"Door {n}", False, "", "", "", "", "", kind=kind, key=f"event-{n}")])
        w.clock.forward(1)

    for n in range(4):
        await happens(n, "held")
    first = await told(w)
    assert [(one.why, one.urgent) for one in first] == [
        ("Door-0 stood open for too long.", False), ("Door-1 stood open for too long.", False), ("And 2 more alerts of doors wait for somebody.", False)
    ]  # fmt: skip
    await happens(4, "forced")
    *both_, more = await told(w)
    assert [one.id for one in both_] == [one.id for one in first[:2]], "nothing is told as ended that is not"
    assert (more.why, more.urgent) == ("And 3 more alerts of doors wait for somebody, 1 of them of a door that was forced open.", True)
    for alert in w.kit.door_trail.alerts():
        if alert.sentence.startswith(("Door-0", "Door-2")):
            await w.kit.door_trail.answer(alert.n, "The wind", STAFF)
    assert [one.why.partition(" ")[0] for one in await told(w)] == ["Door-1", "Door-3", "And"]
    assert await w.kit.alarms_up.tick() == 0


async def test_what_began_and_ended_in_a_cut_is_told_of_no_more_and_what_stands_is_told_after_it(w):
    w.cut()
    forced = DoorEvent(NOON, FRONT, "Front", False, "", "", "", "", "", kind="forced", key="event-1")
    held = DoorEvent(NOON + 5, FRONT, "Front", False, "", "", "", "", "", kind="held", key="event-2")
    await w.kit.door_trail.keep([forced, held])
    await w.kit.alarms_up.tick()
    await w.kit.door_trail.answer(next(one.n for one in w.kit.door_trail.alerts() if one.kind == "forced"), "The wind", STAFF)
    w.clock.forward(60)
    await w.kit.alarms_up.tick()
    await w.heal()
    (one,) = await told(w)
    assert one.why == "Front door stood open for too long." and not one.urgent


async def test_an_emergency_and_a_full_disk_are_told_by_their_codes_for_as_long_as_they_stand(w):
    standing = [
        Alarm("emergency_lockdown", "Sam Example locked all doors until 14:30."),
        Alarm("disk_low", "The disk is nearly full.", bad=False),
    ]
    up = AlarmsUp(w.kit.db, w.agent.desk, SITE, str, lambda: standing)
    assert await up.tick() == 2 and await up.tick() == 0
    await w.quiet()
    found = [one for one in w.hub.conditions.judged().open.values() if one.kind == "site_alarm"]
    assert {(one.text, one.why, one.urgent) for one in found} == {
        ("Bedford is in an emergency", "Sam Example locked all doors until 14:30.", True), ("Bedford needs somebody", "The disk is nearly full.", False)
    }  # fmt: skip
    w.clock.forward(1)
    standing.pop(0)
    assert await up.tick() == 1
    standing.insert(0, Alarm("emergency_lockdown", "Again."))
    assert await up.tick() == 1, "another emergency is another alarm"


def _alarm(n: int = 1, **more) -> SiteAlarm:
    return SiteAlarm(id=f"emergency-{n}", site_id=SITE, kind="emergency_lockdown", text="Locked down by Sam.", since_at=NOON, **more)


async def test_what_has_ended_stays_ended_whatever_comes_late(w):
    said = lambda alarm: w.db.write(lambda tx: site_alarms.apply(tx, w.hub.desk, site_alarms.AlarmStated(alarm=alarm)))  # noqa: E731
    await said(_alarm())
    assert [one.text for one in w.hub.conditions.judged().open.values() if one.kind == "site_alarm"] == ["Bedford is in an emergency"]
    await said(_alarm(ended=True))
    await said(_alarm())
    assert w.db.read(lambda tx: site_alarms.current(tx, SITE)) == []


async def test_in_a_new_epoch_all_is_told_again_and_an_older_hub_is_told_nothing(w):
    state = lambda *standing: w.kit.db.write(lambda tx: site_alarms.state(tx, w.agent.desk, SITE, standing))  # noqa: E731
    await w.kit.db.write(lambda tx: tx.run("UPDATE streams SET peer_schema = 3"))
    assert await state(_alarm(1), _alarm(2)) == 0
    await w.kit.db.write(lambda tx: tx.run("UPDATE streams SET peer_schema = 4"))
    assert await state(_alarm(1), _alarm(2)) == 2 and await state(_alarm(1), _alarm(2)) == 0
    assert await state(_alarm(1)) == 1, "the end of one"
    await w.kit.db.write(lambda tx: tx.run("UPDATE site_alarms SET told_epoch = 'before'"))
    assert await state(_alarm(1)) == 2, "a hub that was set back may have the ended one standing"
    assert w.kit.db.read(lambda tx: streams.read(tx, SITE)).stopped == ""


async def test_no_more_are_kept_than_there_is_room_for(w):
    many = [_alarm(n) for n in range(site_alarms.OPEN_MAX + 10)]
    await w.kit.db.write(lambda tx: site_alarms.state(tx, w.agent.desk, SITE, many))
    assert len(w.kit.db.read(lambda tx: site_alarms.current(tx, SITE))) == site_alarms.OPEN_MAX
    assert not w.kit.db.read(lambda tx: site_alarms.differs(tx, SITE, many))
