"""The clock and the mark as the facility's people meet them: API, kiosk, health, metrics, door controller, link."""

from datetime import UTC, datetime

import pytest

from shared.ledger import records
from shared.runtime.clock import Chance, ManualClock
from shared.runtime.database import InlineWriter
from site_agent import app
from site_agent.config import load
from tests.site_agent.site_world import CONFIG, NOON, code_of, opened

pytestmark = [pytest.mark.rule("clock-2")]
HOUR = 3600


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


async def set_back(world, seconds: float = HOUR) -> None:
    """Somebody sets the wall clock back; the machine's uptime does not notice."""
    await world.kit.time.tick()
    world.clock._now -= seconds


async def test_a_trusted_clock_is_told_everywhere(world):
    told = (await world.staff.get("/api/clock")).json()
    assert told == {"now_at": NOON, "trusted": True, "why": "", "confirmed_by": "real-time clock", "newest_at": told["newest_at"]}
    assert (await world.anybody.get("/health/ready")).json()["clock"] == "trusted"
    assert b"site_clock_trusted 1.0" in world.kit.metrics.render()
    panels = (await world.staff.get("/api/panels", date="2026-11-21")).json()
    assert panels["clock"]["trusted"] is True
    assert panels["mark"] == {"configured": False, "trouble": "", "same_medium": False}


async def test_a_clock_set_back_stops_sales_and_says_why_on_every_screen(world):
    await set_back(world)
    answer = await world.staff.post("/api/bookings", world.wish(1, 0))
    assert code_of(answer) == (409, "clock_untrusted") and "its own records go to" in answer.json()["detail"]
    assert code_of(await world.kiosk.post("/api/bookings", world.wish(1, 0)))[1] == "clock_untrusted"
    ready = await world.anybody.get("/health/ready")
    assert (ready.status_code, ready.json()["clock"]) == (200, "in doubt")
    assert "clock_untrusted" in [alarm["code"] for alarm in ready.json()["alarms"]]
    assert b"site_clock_trusted 0.0" in world.kit.metrics.render()
    screen = await world.screen()
    for path in ("/kiosk", "/kiosk/book"):
        page = await screen.get(path)
        assert page.status_code == 200 and "until the staff have confirmed the time" in page.text, path
    assert "902-555-0100" in page.text


async def test_check_in_goes_on_while_the_clock_is_in_doubt(world):
    booking = await world.booked(1, 0)
    await set_back(world, 300)
    assert code_of(await world.staff.post("/api/bookings", world.wish(2, 0)))[1] == "clock_untrusted"
    came = await world.staff.post(f"/api/bookings/{booking['id']}/check-in", {"open_doors": False})
    assert came.status_code == 200, came.text


@pytest.mark.rule("clock-1")
@pytest.mark.parametrize("moved_h", [-8, 5])
async def test_a_kiosk_lets_in_by_the_time_that_was_trusted_last_whoever_moved_the_clock(world, moved_h):
    now, later = await world.booked(1, 0), await world.booked(1, 5)
    await set_back(world, -moved_h * HOUR)
    assert world.kit.time.doubt()
    world.clock.forward(600)
    early = await world.kiosk.post("/api/check-in", {"code": later["pin"]})
    assert code_of(early) == (403, "pass_early") and "that clock is in doubt" in early.json()["detail"]
    came = await world.kiosk.post("/api/check-in", {"code": now["pin"]})
    assert came.status_code == 200 and came.json()["door"] == "opened", came.text
    assert (await world.anybody.get("/health/ready")).json()["halted"] == []  # nor does the watch of windows think otherwise


async def test_where_nothing_has_told_the_time_a_guest_is_sent_to_the_doors_reader(world):
    booking = await world.booked(1, 0)
    world.kit.time._trust._confirmed_by = ""
    world.clock._now -= 8 * HOUR
    no = await world.kiosk.post("/api/check-in", {"code": booking["pin"]})
    assert code_of(no) == (403, "pass_early") and "use your PIN at the door's reader" in no.json()["detail"] and "902-555-0100" in no.json()["detail"]


async def test_staff_confirm_the_time_shown_and_sales_go_on(world):
    await set_back(world)
    shown = (await world.staff.get("/api/clock")).json()
    answer = await world.staff.post("/api/clock/confirm", {"shown_at": iso(shown["now_at"])})
    assert answer.status_code == 200 and answer.json()["trusted"] is True and answer.json()["confirmed_by"] == "person"
    assert (await world.staff.post("/api/bookings", world.wish(1, 2))).status_code == 201
    said = [row for row in world.journal() if row[2] == "clock confirmed"]
    assert [(row[1], "its own records" in row[4]) for row in said] == [("staff-ada", True)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"shown_at": iso(NOON + 300)}, "clock_moved"),
        ({"shown_at": iso(NOON - 300)}, "clock_moved"),
        ({"shown_at": "1970-01-01T00:00:00Z"}, "bad_request"),
        ({"shown_at": "noon"}, "bad_request"),
        ({"shown_at": "2026-11-21T12:00:00"}, "bad_request"),
        ({}, "bad_request"),
        ({"shown_at": iso(NOON), "sure": True}, "bad_request"),
    ],
)
async def test_a_confirmation_of_another_time_or_of_none_is_refused(world, body, code):
    answer = await world.staff.post("/api/clock/confirm", body)
    assert 400 <= answer.status_code < 500 and (code == "bad_request" or answer.json()["code"] == code), answer.text
    assert not [row for row in world.journal() if row[2] == "clock confirmed"]


async def test_a_kiosk_may_not_confirm_and_a_stranger_sees_nothing(world):
    assert (await world.kiosk.post("/api/clock/confirm", {"shown_at": iso(NOON)})).status_code == 403
    assert (await world.anybody.get("/api/clock")).status_code == 401


async def test_the_door_controller_confirms_after_a_jump_ahead(world):
    await world.kit.time.tick()
    world.clock._now += 5 * HOUR
    assert "went ahead" in world.kit.time.doubt()
    world.doors.skew_s = -5.0 * HOUR
    await world.kit.time.tick()
    assert world.kit.time.doubt(), "a controller that says another time confirms nothing"
    world.doors.skew_s = 2.0
    await world.kit.time.tick()
    assert world.kit.time.doubt() == ""


async def test_the_staff_page_is_told_when_the_clock_comes_into_doubt_and_out_of_it(world):
    told = []
    world.kit.time.watch(lambda: told.append(world.kit.time.state().trusted))
    await set_back(world)
    await world.kit.time.tick()
    await world.kit.time.tick()
    await world.staff.post("/api/clock/confirm", {"shown_at": iso(world.clock.now())})
    assert told == [False, True]


@pytest.mark.rule("clock-1")
async def test_the_hub_confirms_and_a_difference_is_shown(tmp_path):
    async with opened(tmp_path, linked=True) as world:
        await world.kit.time.tick()
        world.hub.pump.clock = ManualClock(world.clock.now() - 20)
        await world.saying_hello(world.kit.link.skew_is_shown)
        assert world.kit.link.skew_s() >= 5
        ready = (await world.anybody.get("/health/ready")).json()
        assert "clocks_differ" in [alarm["code"] for alarm in ready["alarms"]] and ready["clock"] == "trusted"
        assert b"site_clock_skew_seconds -" in world.kit.metrics.render()


# ---- the mark
async def _agent(tmp_path, config: str):
    (tmp_path / "site.toml").write_text(config)
    loaded = load(tmp_path / "site.toml")
    db = InlineWriter(loaded.data_dir / app.DATABASE)
    return app.build(loaded, clock=ManualClock(NOON + HOUR), chance=Chance(6), db=db)


@pytest.mark.rule("loss-1")
async def test_a_site_file_put_back_from_an_older_day_sells_nothing(tmp_path):
    config = CONFIG.replace('staff_file = "staff.toml"\n', 'staff_file = "staff.toml"\nmark_file = "stick/bedford.mark"\n')
    (tmp_path / "stick").mkdir()
    async with opened(tmp_path, config=config) as world:
        older = world.db._c.serialize()
        await world.booked(1, 0)
        assert (await world.staff.get("/api/panels", date="2026-11-21")).json()["mark"]["trouble"] == ""
    books = tmp_path / "data" / app.DATABASE
    for name in (books, books.with_name(books.name + "-wal"), books.with_name(books.name + "-shm")):
        name.unlink(missing_ok=True)
    books.write_bytes(older)
    agent = await _agent(tmp_path, config)
    await agent.start()
    assert "older copy" in agent.kit.db.read(lambda tx: tx.one("SELECT fenced FROM streams"))[0]
    assert [row[2] for row in agent.kit.db.read(lambda tx: records.journal_of(tx, "bedford"))][:2] == ["started", "fenced"]
    await agent.stop()


@pytest.mark.rule("loss-1")
async def test_a_mark_whose_medium_is_away_is_an_alarm_and_no_failed_start(tmp_path):
    config = CONFIG.replace('staff_file = "staff.toml"\n', 'staff_file = "staff.toml"\nmark_file = "unplugged/bedford.mark"\n')
    async with opened(tmp_path, config=config) as world:
        ready = (await world.anybody.get("/health/ready")).json()
        assert "mark_failing" in [alarm["code"] for alarm in ready["alarms"]]
        assert b"site_mark_failing 1.0" in world.kit.metrics.render()
        assert (await world.booked(1, 0))["status"] == "confirmed"
