"""The outage drill: what is unplugged, what goes on, how it ends, and that its report is what happened."""

import asyncio
import json
import os
import re

import pytest

from shared.ledger import digests
from site_agent import __main__ as command
from site_agent.services.outage import CATCH_UP_MAX_S, SPOOL, Drill, sentences
from site_agent.services.tally import Tally
from site_agent.store import spool
from tests.site_agent.site_world import FRONT, NOON, SITE, away, code_of, opened


async def drill(w, minutes: int = 10):
    answer = await w.staff.post("/api/drills", {"minutes": minutes})
    assert answer.status_code == 201, answer.text
    return answer.json()


def act(report: dict, what: str) -> dict:
    return next(one for one in report["counts"]["acts"] if one["what"] == what)


async def reported(w) -> dict:
    """The report, once the two sides have caught up."""
    await w.linked()
    await w.kit.outage.tick()
    if w.kit.outage._drill is not None:
        w.clock.forward(CATCH_UP_MAX_S)  # nobody compares books here
        await w.kit.outage.tick()
    return (await w.staff.get("/api/drills")).json()[0]


async def test_the_hub_hears_nothing_and_the_facility_goes_on_selling(linked):
    w = linked
    told = await drill(w)
    assert (told["state"], told["minutes"], told["ends_at"]) == ("running", 10, NOON + 600) or told["ends_at"] == told["started_at"] + 600
    w.clock.forward(11)
    assert not w.hub.pump.fresh()
    assert not w.kit.link.up() and w.kit.link.state().configured
    assert (await w.kiosk.post("/api/bookings", w.wish(1, 2))).status_code == 201
    assert code_of(await w.kiosk.post("/api/bookings", w.wish(2, 40))) == (409, "hub_unreachable")
    before = w.hub.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM bookings"))[0]
    w.kit.link.hello()
    w.hub.pump.hello()
    await asyncio.sleep(0.02)
    assert w.hub.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM bookings"))[0] == before and not w.kit.link.up()


async def test_the_report_counts_what_happened_and_nothing_else(linked):
    w = linked
    await w.booked(1, 30)  # before the drill: not its business
    await drill(w)
    sold = await w.booked(1, 0)
    await w.booked(1, 4)
    await w.kiosk.post("/api/bookings", w.wish(1, 4))
    await w.kiosk.post("/api/bookings", w.wish(2, 40))
    times = {"resource_id": f"{SITE}.box-1", "start": w.at(8), "end": w.at(10), "hold_id": "hold-000001"}
    await w.kiosk.post("/api/holds", times)
    await w.kiosk.post("/api/check-in", {"code": sold["pin"]})
    await w.kiosk.post("/api/check-in", {"code": "000000"})
    gone = await w.booked(1, 12)
    await w.staff.post(f"/api/bookings/{gone['id']}/cancel", {})
    w.doors.failure = away()
    await w.staff.post(f"/api/doors/{FRONT}/unlock", {"request_id": "request-1"})
    w.doors.failure = None
    running = (await w.staff.get("/api/panels", date="2026-11-21")).json()["drill"]
    assert running["state"] == "running" and act(running, "sales")["worked"] == 3
    w.clock.forward(599)
    await w.kit.outage.tick()
    assert w.kit.outage.current().state == "running"
    w.clock.forward(2)
    await w.kit.outage.tick()
    await w.booked(1, 16)  # after it: neither
    report = await reported(w)
    assert act(report, "sales")["worked"] == 3
    assert {why["code"]: why["count"] for why in act(report, "sales")["refused"]} == {"slot_taken": 1, "hub_unreachable": 1}
    assert (act(report, "holds")["worked"], act(report, "cancels")["worked"]) == (1, 1)
    assert act(report, "check-ins")["worked"] == 1 and act(report, "check-ins")["refused"][0]["code"] == "pin_unknown"
    assert act(report, "door openings")["worked"] == 1 and act(report, "door openings")["refused"][0]["code"] == "unavailable"
    assert report["ended"] == "time" and 600 <= report["duration_s"] <= 601 and 0 <= report["dark_after_s"] < 10
    assert report["waiting_at_end"] >= 5 and report["caught_up_s"] >= 0 and report["counts"]["longest_what"]
    assert w.hub.db.read(lambda tx: tx.one("SELECT status FROM bookings WHERE id = :i", {"i": sold["id"]})) == ("confirmed",)
    whats = [(row[1], row[2], row[4]) for row in w.journal() if "drill" in row[2]]
    assert ("staff-ada", "outage drill started", "10 min") in whats and ("agent", "outage drill ended", "time") in whats


@pytest.mark.parametrize(("days", "books"), [(0, "equal"), (2, "differ")])
async def test_the_report_says_what_the_comparison_of_both_books_said(linked, days, books):
    w = linked
    await drill(w)
    await w.staff.post("/api/drills/end")
    await w.linked()
    await w.kit.outage.tick()
    assert w.kit.outage.current().books == "not compared"
    now = w.agent.desk.now()
    said = {"stated_at": now, "answered_at": now, "answered_differing": days, "compared_at": now}
    w.db.write_now(lambda tx: digests._note(tx, SITE, **said))
    await w.kit.outage.tick()
    report = (await w.staff.get("/api/drills")).json()[0]
    assert (report["state"], report["books"]) == ("done", books)


async def test_a_cancel_of_a_web_booking_is_asked_and_counted_as_such(linked):
    w = linked
    web = w.hub.sell(2, 40)
    await w.quiet()
    await drill(w)
    answer = await w.staff.post(f"/api/bookings/{web.id}/cancel", {})
    assert answer.status_code == 202
    assert act(msg(w), "cancels")["asked"] == 1 and act(msg(w), "cancels")["worked"] == 0


def msg(w) -> dict:
    import msgspec

    return msgspec.to_builtins(w.kit.outage.current())


async def test_staff_may_plug_in_again_before_the_time(linked):
    w = linked
    await drill(w, 60)
    ended = await w.staff.post("/api/drills/end")
    assert ended.status_code == 200 and ended.json()["ended"] == "early"
    assert code_of(await w.staff.post("/api/drills/end")) == (409, "no_drill")
    assert code_of(await w.staff.post("/api/drills", {"minutes": 1})) == (409, "drill_running")  # its report is not there yet
    report = await reported(w)
    assert report["state"] == "done"
    await w.linked()
    assert any(row[1:3] == ("staff-ada", "outage drill ended") for row in w.journal())
    await drill(w, 1)


@pytest.mark.parametrize("minutes", [0, 61, -1, 1.5, "ten", None])
async def test_minutes_that_are_none_are_refused_and_nothing_is_unplugged(linked, minutes):
    answer = await linked.staff.post("/api/drills", {"minutes": minutes})
    assert answer.status_code == 400 and linked.kit.link.up()
    assert (await linked.staff.get("/api/drills")).json() == []


async def test_only_one_drill_at_a_time_and_none_in_a_real_outage_or_without_a_link(linked, tmp_path):
    w = linked
    both = await asyncio.gather(w.staff.post("/api/drills", {"minutes": 5}), w.staff.post("/api/drills", {"minutes": 5}))
    assert sorted(code_of(one) for one in both if one.status_code != 201) == [(409, "drill_running")]
    await w.staff.post("/api/drills/end")
    await reported(w)
    w.cut()
    await w.until(lambda: not w.kit.link.up())
    assert code_of(await w.staff.post("/api/drills", {"minutes": 5})) == (409, "hub_unreachable")
    (tmp_path / "alone").mkdir()
    async with opened(tmp_path / "alone") as alone:
        assert code_of(await alone.staff.post("/api/drills", {"minutes": 5})) == (409, "no_broker")


async def test_who_may_not_drill_may_not_and_a_forged_request_is_refused(linked):
    w = linked
    for user in ("vi", "clea", "con"):
        client = await w.signed_in(user)
        assert code_of(await client.post("/api/drills", {"minutes": 5})) == (403, "not_allowed")
    assert (await w.kiosk.post("/api/drills", {"minutes": 5})).status_code == 403
    sam = await w.signed_in("sam")
    token = sam.http.headers.pop("x-csrf-token")
    assert code_of(await sam.post("/api/drills", {"minutes": 5})) == (403, "csrf_failed")
    sam.http.headers["x-csrf-token"] = token
    assert (await sam.post("/api/drills", {"minutes": 5})).status_code == 201


async def test_a_restart_in_the_middle_ends_the_drill_and_keeps_what_was_counted(linked):
    w = linked
    await drill(w)
    await w.booked(1, 2)
    await w.kit.outage.tick()
    killed = w.kit.outage  # the process dies here; the next one finds the books as they are
    w.clock.forward(30)
    from site_agent.services.outage import Outage

    again = Outage(w.db, w.agent.desk, SITE, w.kit.link, None, Tally(w.clock.monotonic), w.clock.monotonic, w.loaded.data_dir)
    await again.begin()
    told = again.current()
    assert (told.state, told.ended, told.duration_s) == ("done", "restart", 30) and told.counts.acts[0].worked == 1
    assert told.caught_up_s == -1 and told.books == "not compared"
    assert any("ended by a restart" in line for line in sentences(told))
    killed._drill = None


async def test_the_agent_that_is_stopped_says_its_last_and_closes_the_report(tmp_path):
    async with opened(tmp_path, linked=True) as w:
        await drill(w)
        await w.kit.outage.stop()
        assert w.kit.outage.current().ended == "stopped" and w.kit.outage.current().state == "done"


async def test_the_clock_on_the_wall_cannot_make_a_drill_longer(linked):
    w = linked
    await drill(w, 1)
    w.clock._now -= 3600
    w.clock._monotonic += 61
    await w.kit.outage.tick()
    assert w.kit.outage.current().ended == "time"


async def test_the_command_leaves_an_errand_that_the_agent_takes_up_and_answers(linked, monkeypatch):
    w = linked
    left = spool.leave(w.loaded.data_dir / SPOOL, spool.Errand(kind="drill", name="command", minutes=2, ends_at=NOON + 10_000))
    await w.kit.outage.tick()
    assert w.kit.outage.current().by == "command" and not left.exists()
    second = spool.leave(w.loaded.data_dir / SPOOL, spool.Errand(kind="drill", name="command", minutes=2, ends_at=NOON + 10_000))
    await w.kit.outage.tick()
    assert "under way" in json.loads(spool.answer_of(second).read_bytes())["refused"]
    assert json.loads(spool.answer_of(left).read_bytes())["state"] == "running"
    w.clock.forward(121)
    await w.kit.outage.tick()
    await reported(w)
    told = json.loads(spool.answer_of(left).read_bytes())
    assert (told["state"], told["ended"]) == ("done", "time")


async def test_an_errand_that_is_too_old_or_nonsense_unplugs_nothing(linked):
    w = linked
    folder = w.loaded.data_dir / SPOOL
    old = spool.leave(folder, spool.Errand(kind="drill", name="command", minutes=2, ends_at=NOON))
    (folder / "bad.json").write_text("{")
    await w.kit.outage.tick()
    assert w.kit.outage.current() is None and not old.exists() and not (folder / "bad.json").exists()


async def test_an_errand_that_is_refused_says_why(linked):
    w = linked
    w.cut()
    await w.until(lambda: not w.kit.link.up())
    left = spool.leave(w.loaded.data_dir / SPOOL, spool.Errand(kind="drill", name="command", minutes=2, ends_at=NOON + 10_000))
    await w.kit.outage.tick()
    assert "an outage already" in json.loads(spool.answer_of(left).read_bytes())["refused"]


def test_the_command_says_so_when_no_agent_runs_or_the_minutes_are_wrong(tmp_path, monkeypatch, capsys):
    from tests.site_agent.site_world import CONFIG, staff_file

    (tmp_path / "site.toml").write_text(CONFIG)
    (tmp_path / "staff.toml").write_text(staff_file())
    monkeypatch.setattr(command, "TAKEN_WITHIN_S", 0.3)
    said = ["drill", "outage", "--config", str(tmp_path / "site.toml")]
    assert command.main([*said, "--minutes", "61"]) == 2
    assert "lasts 1 to 60 minutes" in capsys.readouterr().err
    assert command.main(said) == 2
    assert "nothing was unplugged" in capsys.readouterr().err
    assert os.listdir(tmp_path / "data" / SPOOL) == []  # nor will an agent that starts later


async def test_the_command_waits_and_prints_the_report(linked, capsys):
    w = linked
    line = ["drill", "outage", "--minutes", "1", "--wait", "--config", str(w.loaded.file)]
    w.clock._now = __import__("time").time()
    running = asyncio.create_task(asyncio.to_thread(command.main, line))
    async with asyncio.timeout(8):
        while w.kit.outage.current() is None:
            await w.kit.outage.tick()
            await asyncio.sleep(0.01)
    w.clock.forward(61)
    await w.kit.outage.tick()
    w.staff = await w.signed_in("ada")  # whoever signed in at the world's beginning is signed out by the real time
    await reported(w)
    assert await asyncio.wait_for(running, 8) == 0
    said = capsys.readouterr().out
    assert re.search(r"Outage drill 1: 6\d s unplugged of 1 min, as planned\.", said) and "Sales: 0 worked, 0 refused." in said
    assert os.listdir(w.loaded.data_dir / SPOOL) == []


async def test_the_command_says_why_a_drill_is_refused(linked, capsys):
    w = linked
    w.clock._now = __import__("time").time()
    line = ["drill", "outage", "--minutes", "1", "--config", str(w.loaded.file)]
    for code, said in ((0, "Unplugged for 1 min"), (2, "drill is under way")):
        running = asyncio.create_task(asyncio.to_thread(command.main, line))
        async with asyncio.timeout(8):
            while not running.done():
                await w.kit.outage.tick()
                await asyncio.sleep(0.01)
        told = capsys.readouterr()
        assert await running == code and said in told.out + told.err, told


def test_a_report_in_words_names_the_reasons():
    from site_agent.services.tally import Act, Counts, Why

    counts = Counts((Act("sales", 2, 1, (Why("slot_taken", 3, "This time has just been taken."),)),), 12.5, "sales")
    told = sentences(Drill(no=4, by="staff-ada", minutes=5, state="done", started_at=NOON, ends_at=NOON + 300, duration_s=300, ended="time",
                           dark_after_s=0, waiting_at_end=2, caught_up_s=1.5, books="equal", counts=counts))  # fmt: skip
    assert "Sales: 2 worked, 1 asked of the booking centre, 3 refused." in told
    assert "  3 × slot_taken: This time has just been taken." in told
    assert "They were told 1.5 s after plugging in. The two sides' books: equal." in told


async def test_a_tally_that_is_not_asked_for_counts_nothing_and_changes_no_answer():
    class Service:
        async def act(self, fail: bool) -> str:
            if fail:
                raise KeyError("x")
            return "done"

    service, tally = Service(), Tally(lambda: 0.0)
    tally.over(service, act="acts")
    assert await service.act(False) == "done" and tally.changes == 0
    tally.begin()
    assert await service.act(False) == "done"
    with pytest.raises(KeyError):
        await service.act(True)
    told = tally.end()
    assert told.acts[0].worked == 1 and told.acts[0].refused[0].code == "error"
    assert await service.act(False) == "done" and tally.end().acts == ()
