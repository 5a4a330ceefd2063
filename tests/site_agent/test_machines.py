"""The bays' machines at a site: how staff see them, help from afar, and commands whose outcome nobody hears."""

import asyncio
from collections.abc import AsyncIterator
from unittest import mock

import msgspec
import pytest

from shared.ledger import records, work
from site_agent import app as site_app
from site_agent.config import load
from site_agent.ports import CommandOutcome, Machine, MachinesRefused, MachinesUnavailable
from site_agent.services.bays import machine_work
from site_agent.services.people import ROLES
from tests.site_agent.machines_world import BOX, Doubled, MachinesDouble, machined
from tests.site_agent.site_world import NOON, SITE, code_of


@pytest.fixture
async def w(tmp_path) -> AsyncIterator[Doubled]:
    async with machined(tmp_path) as world:
        await world.move()
        yield world


# ---- how they are
async def test_each_bays_machine_is_shown_and_a_bay_without_one_has_none(w):
    w.machines.states["32"] = Machine("32", "BOX-2", True, NOON, "trouble", ("The projector shows no picture",))
    await w.move(70)
    states = {one["bay"]: (one["state"], one["told"]) for one in (await w.panel())["bays"]}
    assert states == {
        "Box 1": ("good", []),
        "Box 2": ("trouble", ["The projector shows no picture"]),
        "Box 3": ("none", []),
        "Box 4": ("none", []),
    }


async def test_what_was_not_heard_of_for_long_is_unknown_and_since_when(w):
    w.machines.failure = MachinesUnavailable("NinjaOne cannot be reached.")
    for _ in range(4):
        await w.move(70)
    found = await w.bay()
    assert (found["state"], found["seen_at"]) == ("unknown", NOON)
    assert (await w.panel())["trouble"] == "NinjaOne cannot be reached."
    w.machines.failure = None
    await w.move(900)
    assert (await w.bay())["state"] == "good" and (await w.panel())["trouble"] == ""


async def test_a_short_silence_is_no_news(w):
    w.machines.failure = MachinesUnavailable("NinjaOne cannot be reached.")
    await w.move(70)
    assert (await w.bay())["state"] == "good"


async def test_a_machine_that_nobody_knows_or_says_nothing_of_is_unknown(w):
    w.machines.states = {"32": Machine("32", "BOX-2", None, 0, "unknown")}
    await w.move(70)
    assert [((await w.bay(n))["state"], bool((await w.bay(n))["told"])) for n in (1, 2)] == [("unknown", True), ("unknown", True)]


async def test_one_that_is_away_is_asked_ever_more_seldom_and_patience_that_it_asks_for_is_had(w):
    w.machines.failure = MachinesUnavailable("NinjaOne cannot be reached.")
    begun = len(w.machines.calls)
    for _ in range(60):
        await w.move(60)
    assert 6 <= len(w.machines.calls) - begun <= 14
    w.machines.failure = MachinesUnavailable("NinjaOne asks for fewer requests.", retry_after_s=3000, busy=True)
    await w.move(1000)
    asked = len(w.machines.calls)
    await w.move(2000)
    assert len(w.machines.calls) == asked


async def test_what_was_known_is_known_after_a_restart_until_it_is_old(tmp_path):
    async with machined(tmp_path) as first:
        first.machines.states["31"] = Machine("31", "BOX-1", False, NOON - 100, "trouble", ("Its PC is off.",))
        await first.move()
    again = site_app.build(load(tmp_path / "site.toml"), clock=first.clock, machines={"ninjaone": MachinesDouble()}, doors=first.doors)
    await again.start()
    try:
        bay = again.kit.machines.panel().bays[0]
        assert (bay.state, bay.told, bay.seen_at) == ("trouble", ("Its PC is off.",), NOON - 100)
        first.clock.forward(1000)
        assert (again.kit.machines.panel().bays[0].state, again.kit.machines.panel().bays[0].seen_at) == ("unknown", NOON)
    finally:
        await again.stop()


async def test_looking_writes_to_the_books_only_what_is_new(w):
    await w.move(70)
    before = w.db.read(lambda tx: tx.one("SELECT MAX(heard_at) FROM machines")[0])
    await w.move(70)
    assert w.db.read(lambda tx: tx.one("SELECT MAX(heard_at) FROM machines")[0]) == before == NOON
    await w.move(600)
    assert w.db.read(lambda tx: tx.one("SELECT MAX(heard_at) FROM machines")[0]) > before


async def test_what_a_person_must_do_about_our_access_is_shown(w):
    w.machines.told = ["The consent lapses in about 5 days."]
    assert (await w.panel())["alarms"] == ["The consent lapses in about 5 days."]


async def test_a_site_without_machines_says_so(tmp_path):
    from tests.site_agent.site_world import opened

    async with opened(tmp_path) as w:
        assert (await w.staff.get("/api/machines")).json() == {"configured": False, "trouble": "", "alarms": [], "offers": [], "bays": []}
        body = {"command_id": "command-1", "kind": "restart", "reason": "x"}
        assert code_of(await w.staff.post(f"/api/machines/{BOX}/help", body)) == (409, "no_machines")
        assert w.kit.worker is None


# ---- help
async def test_what_may_be_done_is_what_the_settings_list(w):
    offers = [(one["kind"], one["name"], one["label"]) for one in (await w.panel())["offers"]]
    assert offers == [
        ("restart", "", "Restart the PC"),
        ("service", "trackman", "Restart: TrackMan service"),
        ("script", "restart-sim", "Restart the simulator"),
    ]


@pytest.mark.parametrize(
    ("kind", "name", "command"),
    [
        ("restart", "", ("restart", "", "", "")),
        ("service", "trackman", ("service", "TrackManPerformance", "", "")),
        ("script", "restart-sim", ("script", "146", "-Bay 1 -Name box-1", "system")),
    ],
)
async def test_help_is_given_once_followed_to_its_end_and_journalled(w, kind, name, command):
    answer = await w.help(kind, name)
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    await w.rest()
    ((machine_id, given),) = w.machines.given
    assert machine_id == "31" and (given.kind, given.what, given.parameters, given.run_as) == command
    assert given.reason == "The picture froze (Ada Example, ClubOS)"
    assert (await w.last())[0] == "going"
    w.machines.ends = CommandOutcome("done", "All is well again", "s-1")
    await w.move(6)
    assert await w.last() == ("done", "All is well again")
    told = [(row[1], row[2].partition(",")[0], row[4]) for row in w.journal() if row[3] == BOX]
    label = answer.json()["told"].partition(",")[0]
    assert told == [("staff-ada", label, "All is well again"), ("staff-ada", f"asked: {label}", "The picture froze")]


async def test_the_machines_own_words_tell_why_it_failed(w):
    await w.help("script", "restart-sim")
    await w.rest()
    w.machines.ends = CommandOutcome("failed", "The licence is gone (exit code 3)", "s-1")
    await w.move(6)
    assert await w.last() == ("failed", "The licence is gone (exit code 3)")


async def test_an_end_that_never_comes_is_nobodys_knowledge_and_no_failure(w):
    await w.help()
    await w.rest()
    for _ in range(45):
        await w.move(15)
    state, text = await w.last()
    assert state == "unknown" and text.startswith("Nobody knows how it ended")
    assert len(w.machines.given) == 1


async def test_a_lost_answer_is_looked_up_and_never_given_again(w):
    w.machines.failure, w.machines.failing = MachinesUnavailable("NinjaOne did not answer.", outcome_unknown=True), ("command",)
    await w.help()
    await w.rest()
    assert (await w.last())[0] == "unclear"
    w.machines.failure, w.machines.ends = None, CommandOutcome("done", "It has restarted.", "s-1")
    for _ in range(4):
        await w.move(20)
    assert await w.last() == ("done", "It has restarted.") and len(w.machines.given) == 1


async def test_where_nothing_ever_shows_whether_it_was_taken_nobody_knows(w):
    w.machines.failure, w.machines.failing = MachinesUnavailable("NinjaOne did not answer.", outcome_unknown=True), ("command",)
    w.machines.ends = CommandOutcome("waiting")
    await w.help()
    for _ in range(50):
        await w.move(30)
    state, text = await w.last()
    assert state == "unknown" and text.startswith("Nobody knows whether it was done") and len(w.machines.given) == 1


async def test_one_that_is_away_gets_the_command_when_it_is_back(w):
    w.machines.failure = MachinesUnavailable("NinjaOne cannot be reached.")
    await w.help()
    await w.rest()
    assert await w.last() == ("waiting", "NinjaOne cannot be reached.") and w.machines.given == []
    w.machines.failure = None
    await w.move(60)
    assert len(w.machines.given) == 1


async def test_after_ten_minutes_nothing_is_begun_any_more(w):
    w.machines.failure = MachinesUnavailable("NinjaOne cannot be reached.")
    await w.help()
    for _ in range(20):
        await w.move(60)
    w.machines.failure = None
    await w.move(300)
    state, text = await w.last()
    assert state == "dropped" and "NinjaOne cannot be reached." in text and w.machines.given == []


async def test_what_only_a_person_can_mend_is_told_at_once(w):
    w.machines.failure, w.machines.failing = MachinesRefused("Nobody has consented yet.", code="consent_missing"), ("command",)
    await w.help("script", "restart-sim")
    await w.rest()
    assert await w.last() == ("failed", "Nobody has consented yet.")
    w.machines.failure = None
    assert (await w.help()).status_code == 202  # and keeps nothing else from being done
    await w.rest()
    assert len(w.machines.given) == 2


async def test_the_agent_may_end_at_any_moment_and_the_command_is_given_once(tmp_path):
    """It ends before the command is given, and after; the next agent finds out which."""
    for point, again in (("bookmark", 2), ("command", 1)):
        folder = tmp_path / point
        folder.mkdir()
        async with machined(folder) as w:
            await w.move()
            w.machines.failure, w.machines.failing = None, ()
            hang = asyncio.Event()
            plain = getattr(w.machines, point)

            async def stuck(*args, plain=plain, hang=hang):
                await plain(*args)
                await hang.wait()

            setattr(w.machines, point, stuck)
            await w.help()
            await w.until(lambda w=w, point=point: w.machines.calls.count(point) == 1)
            with mock.patch("shared.ledger.worker.STOP_S", 0.05):
                await w.kit.worker.stop()
            delattr(w.machines, point)
            w.machines.ends = CommandOutcome("done", "It has restarted.", "s-1")
            fresh = site_app._worker(
                w.kit.loaded, w.kit.machines, w.db, w.agent.desk, w.clock, __import__("shared.runtime.clock").runtime.clock.Chance(1)
            )
            w.kit.worker = fresh
            fresh.start()
            for _ in range(6):
                await w.move(30)
            assert await w.last() == ("done", "It has restarted."), point
            assert w.machines.calls.count("bookmark") == again and len(w.machines.given) == 1, point


# ---- who may, and when
async def test_a_bay_in_use_asks_whether_it_is_meant(w):
    booking = await w.booked(1, 0)
    assert (await w.bay())["in_use"] == "It is booked until 13:00, and nobody has checked in."
    await w.staff.post(f"/api/bookings/{booking['id']}/check-in", {"open_doors": False})
    assert (await w.bay())["in_use"] == "Somebody plays here until 13:00."
    refused = await w.help()
    assert code_of(refused) == (409, "bay_in_use") and "all the same?" in refused.json()["detail"]
    assert (await w.help(bay=f"{SITE}.box-2")).status_code == 202
    assert (await w.help(sure=True)).status_code == 202
    await w.rest()
    assert sorted(machine_id for machine_id, _ in w.machines.given) == ["31", "32"]


async def test_a_guest_who_comes_while_the_command_waits_is_not_surprised(w):
    w.machines.failure = MachinesUnavailable("NinjaOne cannot be reached.")
    await w.help()
    await w.rest()
    await w.booked(1, 0)
    w.machines.failure = None
    await w.move(60)
    state, text = await w.last()
    assert state == "dropped" and "booked until" in text and w.machines.given == []


async def test_a_guest_who_was_reseated_plays_where_they_sit_and_who_left_plays_nowhere(w):
    booking = await w.booked(1, 0)
    await w.staff.post(f"/api/bookings/{booking['id']}/check-in", {"open_doors": False})
    visit = w.db.read(lambda tx: records.attendance(tx, booking["id"]))
    await w.db.write(lambda tx: records.put_attendance(tx, msgspec.structs.replace(visit, seat=f"{SITE}.box-2", version=visit.version + 1)))
    assert [bool((await w.bay(n))["in_use"]) for n in (1, 2)] == [False, True]
    await w.staff.post(f"/api/bookings/{booking['id']}/attendance", {"state": "completed"})
    assert [bool((await w.bay(n))["in_use"]) for n in (1, 2)] == [False, False]


async def test_a_machine_has_one_command_at_a_time(w):
    await w.help()
    await w.rest()
    assert code_of(await w.help()) == (409, "command_running")
    w.machines.ends = CommandOutcome("done")
    await w.move(6)
    assert (await w.help()).status_code == 202


async def test_the_same_command_again_is_the_same_command(w):
    same = {"command_id": "command-0001"}
    first, second = await w.help(**same), await w.help(**same)
    await w.rest()
    third = await w.help(**same)
    assert (first.status_code, second.status_code, third.status_code) == (202, 202, 202) and len(w.machines.given) == 1
    assert code_of(await w.help("script", "restart-sim", **same)) == (409, "id_reused")
    assert code_of(await w.help(**same, reason="Another")) == (409, "id_reused")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"kind": "script", "name": "format"}, (404, "not_found")),
        ({"kind": "service", "name": "restart-sim"}, (404, "not_found")),
        ({"kind": "restart", "name": "x"}, (404, "not_found")),
        ({"bay": f"{SITE}.box-3"}, (404, "not_found")),
        ({"bay": f"{SITE}.box-9"}, (404, "resource_not_found")),
        ({"reason": ""}, (400, "bad_request")),
        ({"reason": "   "}, (400, "bad_request")),
        ({"reason": "a\nb"}, (400, "bad_request")),
        ({"kind": "explode"}, (400, "bad_request")),
        ({"command_id": "x"}, (400, "bad_request")),
        ({"parameters": "-Bay 9"}, (400, "bad_request")),
    ],
)
async def test_what_is_not_offered_or_not_said_properly_is_refused(w, more, code):
    assert code_of(await w.help(**more)) == code
    assert w.machines.given == [] and w.db.read(lambda tx: work.counts(tx)) == {}


async def test_only_who_may_helps(w):
    for user, role in (("sam", "staff"), ("vi", "viewer"), ("clea", "cleaner"), ("con", "contractor")):
        client = await w.signed_in(user)
        answer = await w.help(who=client, bay=f"{SITE}.box-{1 if role == 'staff' else 2}")
        assert (role, answer.status_code == 202) == (role, "machines" in ROLES[role])
    assert (await w.help(who=w.anybody)).status_code in (401, 403)


async def test_a_fenced_site_begins_no_command(w):
    await w.db.write(lambda tx: tx.run("UPDATE streams SET fenced = 'restored' WHERE site_id = ?", (SITE,)))
    await w.help()
    await w.move(30)
    assert w.machines.given == []


def test_the_deadline_is_ten_minutes():
    assert machine_work.DEADLINE_S == 600
