"""A bay whose books are not sound, as staff, guests and programs meet it; and a door that stays shut outside the booking's time."""

import contextlib
import sqlite3

import pytest

from shared import passes
from shared.errors import Refused
from shared.ledger import standing, watch
from shared.runtime.clock import Chance, ManualClock
from site_agent.__main__ import main
from site_agent.app import build
from site_agent.config import load
from site_agent.services.booking import Ask
from site_agent.services.people import Asker
from tests.site_agent.site_world import CONFIG, NOON, SITE, code_of, staff_file

BOX_1 = f"{SITE}.box-1"


async def broken(world, bay: int = 1) -> dict:
    """A booking has lost its slots, and the watch has looked."""
    booking = await world.booked(bay, 4)
    world.db.write_now(lambda tx: tx.run("DELETE FROM claims WHERE ref = :b", {"b": booking["id"]}))
    await world.kit.halts.watch.look()
    return booking


async def test_a_bay_whose_books_were_changed_while_the_box_was_off_is_not_sold_once(tmp_path):
    (tmp_path / "site.toml").write_text(CONFIG)
    (tmp_path / "staff.toml").write_text(staff_file())

    def agent():
        return build(load(tmp_path / "site.toml"), clock=ManualClock(float(NOON)), chance=Chance(5))

    first = agent()
    await first.start()
    await first.stop()
    with contextlib.closing(sqlite3.connect(first.kit.db.path, isolation_level=None)) as c:
        c.execute("INSERT INTO claims VALUES (?, ?, 'block', 'ghost-0001')", (BOX_1, NOON // 900 + 8))
    again = agent()
    await again.start()
    try:
        wish = Ask(booking_id="booking-0001", resource_id=BOX_1, start=NOON // 900 + 4, end=NOON // 900 + 8, name="Testa Birdie", phone="902-555-0142")
        with pytest.raises(Refused) as no:
            await again.kit.bookings.book(wish, Asker("staff", "staff-ada", "Ada", frozenset({"book"})))
        assert no.value.refusal.code == "bay_halted"
    finally:
        await again.stop()


async def lift(client, reason: str = "looked at the day", resource_id: str = BOX_1):
    return await client.post("/api/halts/lift", {"resource_id": resource_id, "reason": reason})


async def panels(world) -> dict:
    return (await world.staff.get("/api/panels", date="2026-11-21")).json()


async def test_a_stopped_bay_is_refused_in_plain_words_at_the_kiosk_and_the_others_go_on(world):
    await broken(world)
    answer = await world.kiosk.post("/api/bookings", world.wish(1, 4))
    assert code_of(answer) == (409, "bay_halted") and "staff have been told" in answer.json()["detail"]
    assert (await world.kiosk.post("/api/bookings", world.wish(1, 10))).status_code == 409
    assert (await world.kiosk.post("/api/bookings", world.wish(2, 2))).status_code == 201


async def test_staff_health_and_metrics_are_told(world):
    booking = await broken(world)
    told = await panels(world)
    [halt] = told["halts"]
    assert (halt["resource_id"], halt["bay"]) == (BOX_1, "Box 1") and booking["id"] not in halt["found"][0]
    assert f"Booking {booking['reference']} (Box 1, {booking['clock']}) is confirmed" in halt["found"][0]
    [alarm] = [one for one in told["alarms"] if one["code"] == "bay_halted"]
    assert alarm["text"].startswith("Box 1 is not sold") and booking["id"] not in alarm["text"] and alarm["runbook"] == "bay-halted"
    ready = (await world.anybody.get("/health/ready")).json()
    assert (ready["status"], ready["halted"]) == ("degraded", [BOX_1])
    assert b"site_breaches 1.0" in world.kit.metrics.render()


async def test_somebody_with_the_right_lifts_it_with_a_reason_and_both_stand_in_the_journal(world):
    booking = await broken(world)
    answer = await lift(world.staff)
    assert answer.status_code == 200 and answer.json() == {"resource_id": BOX_1, "left": []}
    assert code_of(await world.kiosk.post("/api/bookings", world.wish(1, 4))) == (409, "slot_taken"), "the booking has its slots again"
    assert (await world.kiosk.post("/api/bookings", world.wish(1, 8))).status_code == 201
    rows = [row[1:] for row in world.journal()]
    assert ("staff-ada", "sales resumed", BOX_1, "looked at the day") in rows
    assert any(row[:3] == ("invariants", "sales halted", BOX_1) and booking["id"] in row[3] for row in rows)
    assert (await panels(world))["halts"] == [] and (await world.anybody.get("/health/ready")).json()["status"] == "ready"


@pytest.mark.parametrize("user", ["sam", "vi", "clea", "con"])
async def test_others_may_not_lift_it(world, user):
    await broken(world)
    assert code_of(await lift(await world.signed_in(user))) == (403, "not_allowed")
    assert code_of(await lift(world.kiosk)) == (403, "not_allowed")
    assert len((await panels(world))["halts"]) == 1


async def test_lifting_asks_for_a_reason_for_a_stop_and_for_the_pages_token(world):
    assert code_of(await lift(world.staff)) == (409, "not_halted")
    await broken(world)
    assert code_of(await lift(world.staff, "   ")) == (400, "bad_request")
    assert (await lift(world.staff, "")).status_code == 400
    assert code_of(await lift(world.staff, resource_id=f"{SITE}.box-2")) == (409, "not_halted")
    del world.staff.http.headers["x-csrf-token"]
    assert code_of(await lift(world.staff)) == (403, "csrf_failed")


async def test_a_pass_that_is_let_through_outside_its_time_opens_no_door_and_stops_the_bay(world, monkeypatch):
    booking = await world.booked(1, 8)
    monkeypatch.setitem(passes._AT_THE_DOOR, "window", lambda arrival: None)
    answer = await world.kiosk.post("/api/check-in", {"code": booking["pin"]})
    assert answer.status_code == 200 and answer.json()["door"] == "failed" and "902-555-0100" in answer.json()["about_door"]
    assert world.doors.unlocked == []
    assert any(row[2] == "unlock withheld" and row[3] == booking["id"] for row in world.journal())
    [halt] = world.db.read(lambda tx: standing.halts(tx, SITE))
    assert halt.resource_id == BOX_1 and "outside its time" in halt.why
    assert [s.breach.kind for s in world.db.read(lambda tx: watch.known(tx, SITE))] == ["window"]


async def test_a_window_that_closes_while_the_door_is_asked_keeps_it_shut_and_stops_nothing(world, monkeypatch):
    booking = await world.booked(1, 0)
    closes_at = passes.window(NOON // 900, NOON // 900 + 4)[1]
    world.clock.forward(closes_at - NOON - 1)
    attend = world.kit.checkin._came

    def slowly(*args):
        world.clock.forward(2)
        return attend(*args)

    monkeypatch.setattr(world.kit.checkin, "_came", slowly)
    answer = await world.kiosk.post("/api/check-in", {"code": booking["pin"]})
    assert answer.status_code == 200 and world.doors.unlocked == []
    assert world.db.read(lambda tx: standing.halts(tx, SITE)) == []


async def test_staff_who_vouch_open_the_door_at_any_time(world):
    booking = await world.booked(1, 8)
    answer = await world.staff.post(f"/api/bookings/{booking['id']}/check-in", {})
    assert answer.status_code == 200 and len(world.doors.unlocked) == 1


async def test_the_command_verifies_the_journal_beside_the_running_agent(world, capsys):
    words = ["journal", "verify", "--config", str(world.loaded.file)]
    assert main(words) == 0 and f"{SITE}: " in capsys.readouterr().out
    world.db.write_now(lambda tx: tx.run("UPDATE journal SET actor = 'nobody' WHERE what = 'sign in'"))
    assert main(words) == 1 and "is not what was written" in capsys.readouterr().err
    await world.kit.halts.watch.look_at_all()
    assert [one["code"] for one in (await panels(world))["alarms"] if one["code"].startswith("journal")] == ["journal_changed"]
