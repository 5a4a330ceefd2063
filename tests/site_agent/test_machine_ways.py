"""Several ways to one bay: which is taken, what happens when one fails, and which of their words is believed."""

import msgspec
import pytest

from shared.ledger import work
from site_agent.ports import Bookmark, CommandOutcome, Machine, MachineCommand, MachinesRefused, MachinesUnavailable
from site_agent.services.bays.machine_choice import Told, Word, believed, rested
from site_agent.services.bays.machine_work import Order
from tests.site_agent.devices import lan_rig
from tests.site_agent.machines_world import BOX, MachinesDouble, looked_after, machined
from tests.site_agent.site_world import NOON, SITE, code_of

AWAY = MachinesUnavailable("It cannot be reached.")


@pytest.fixture
async def w(tmp_path):
    ways = {
        "ninjaone": MachinesDouble(),
        "bay_agent": MachinesDouble("restart", "script", "message"),
        "lan": MachinesDouble("restart", "wake", "lights"),
    }
    async with machined(tmp_path, **ways) as world:
        await world.move()
        yield world


async def last(w) -> tuple[str, str, str]:
    one = (await w.bay())["commands"][0]
    return one["state"], one["way"], one["text"]


async def test_a_command_goes_by_the_first_way_that_would_do_it_now_and_the_panel_says_which(w):
    await w.help()
    await w.rest()
    w.ways["ninjaone"].ends = CommandOutcome("done", "It has restarted.")
    await w.move(6)
    assert await last(w) == ("done", "NinjaOne", "It has restarted.")
    assert [row[2] for row in w.journal()[:2]] == ["Restart the PC, Box 1: done (NinjaOne)", "asked: Restart the PC, Box 1"]
    assert [(one["name"], one["able"]) for one in (await w.bay())["ways"]] == [
        ("NinjaOne", True),
        ("the bay's own program", True),
        ("the bay's plug", True),
    ]


async def test_a_way_that_is_away_or_refuses_is_passed_over_and_the_next_does_it(w):
    for failure in (AWAY, MachinesRefused("Nobody has consented yet.", code="consent_missing")):
        w.ways["ninjaone"].failure, w.ways["ninjaone"].failing = failure, ("command",)
        w.ways["bay_agent"].ends = CommandOutcome("done", "It has restarted.")
        await w.help()
        await w.rest()
        await w.move(6)
        assert (await last(w))[:2] == ("done", "the bay's own program")
    assert len(w.ways["bay_agent"].given) == 2 and w.ways["lan"].given == []


async def test_while_one_way_asks_for_patience_the_power_is_not_cut(w):
    w.ways["ninjaone"].here = False
    w.ways["bay_agent"].failure = MachinesUnavailable("The PC was told to do that less than 5 minutes ago.", retry_after_s=200, busy=True)
    w.ways["bay_agent"].failing = ("command",)
    await w.help()
    await w.rest()
    assert w.given("lan") == [] and (await last(w))[0] == "waiting"


async def test_by_a_clock_that_was_set_back_the_machines_are_looked_at_all_the_same(w):
    await w.move(20)
    w.clock._now -= 7200
    w.ways["bay_agent"].states["31"] = Machine("31", "x", True, NOON, "trouble", ("No picture.",))
    for _ in range(2):
        await w.move(12)
    assert w.kit.machines.ways["bay_agent"]._looked_at > w.clock.now() - 15


async def test_what_may_have_been_taken_goes_by_no_second_way(w):
    w.ways["ninjaone"].failure, w.ways["ninjaone"].failing = MachinesUnavailable("No answer came.", outcome_unknown=True), ("command",)
    await w.help()
    await w.rest()
    assert (await last(w))[0] == "unclear"
    for _ in range(3):
        await w.move(30)
    assert w.given("bay_agent") == w.given("lan") == [] and len(w.given()) == 1


async def test_while_no_way_answers_it_waits_says_why_and_ends_with_its_deadline(w):
    for way in w.ways.values():
        way.here, way.failure = False, AWAY
    await w.move(100)
    await w.help()
    await w.rest()
    assert await last(w) == ("waiting", "", "It cannot be reached.")
    w.ways["bay_agent"].here, w.ways["bay_agent"].failure = True, None
    await w.move(11)
    assert w.given("bay_agent") == ["restart"]
    w.ways["bay_agent"].ends, w.ways["bay_agent"].here = CommandOutcome("done"), False
    await w.move(6)
    await w.help("service", "trackman")
    for _ in range(21):
        await w.move(30)
    assert (await last(w))[0] == "dropped" and "It cannot be reached." in (await last(w))[2]


async def test_all_refusals_together_are_the_reason_when_no_way_takes_it(w):
    for name, way in w.ways.items():
        way.failure, way.failing = MachinesRefused(f"Not by {name}."), ("command",)
    await w.help()
    await w.rest()
    assert await last(w) == ("failed", "the bay's plug", "Not by ninjaone. Not by bay_agent. Not by lan.")


async def test_what_only_one_way_does_goes_there_and_what_none_does_is_refused(w):
    offers = {(one["kind"], one["name"]) for one in (await w.panel())["offers"]}
    assert {("lights", "on"), ("wake", "")} <= offers and ("shutdown", "") not in offers
    await w.help("lights", "off")
    await w.rest()
    assert [(c.kind, c.what) for _, c in w.ways["lan"].given] == [("lights", "off")]
    assert code_of(await w.help("shutdown")) == (404, "not_found")
    assert code_of(await w.help("lights", "dim")) == (404, "not_found")


async def test_staff_write_on_a_bays_screen_also_while_somebody_plays(w):
    await w.booked(1, 0)
    body = {"command_id": "message-0001", "text": "The rain has stopped, the terrace is open."}
    for _ in range(2):
        assert (await w.staff.post("/api/machines/bedford.box-1/message", body)).status_code == 202
    await w.rest()
    assert [(c.kind, c.parameters) for _, c in w.ways["bay_agent"].given] == [("message", body["text"])]
    assert code_of(await w.staff.post("/api/machines/bedford.box-1/message", body | {"text": "Another"})) == (409, "id_reused")
    assert code_of(await w.staff.post("/api/machines/bedford.box-3/message", body | {"command_id": "message-0002"})) == (404, "not_found")
    assert code_of(await w.staff.post("/api/machines/bedford.box-1/message", {"command_id": "message-0003", "text": ""})) == (
        400,
        "bad_request",
    )
    cleaner = await w.signed_in("clea")
    assert code_of(await cleaner.post("/api/machines/bedford.box-1/message", body))[0] == 403


async def test_one_way_that_is_away_is_said_and_the_bay_is_as_the_others_say(w):
    w.ways["ninjaone"].failure = AWAY
    for _ in range(4):
        await w.move(70)
    panel = await w.panel()
    assert panel["trouble"] == "It cannot be reached." and panel["bays"][0]["state"] == "good"
    assert panel["bays"][0]["ways"][0]["why"] == "It cannot be reached." and w.kit.machines.trouble == ""


async def test_a_command_from_before_there_were_several_ways_is_followed_to_its_end(w):
    order = Order(
        machine_id="31",
        command=MachineCommand("restart", "mark-1"),
        told="Restart the PC, Box 1",
        by="staff-ada",
        why="x",
        since=Bookmark("700", NOON),
    )
    old = work.Work(
        id="old-command",
        kind="machine",
        lane="ninjaone",
        site_id=SITE,
        subject=BOX,
        state="sent",
        since_at=NOON,
        next_at=NOON + 9999,
        created_at=NOON,
    )
    body = msgspec.json.encode(order).decode()
    await w.db.write(lambda tx: work.put(tx, msgspec.structs.replace(old, body=body)))
    w.ways["ninjaone"].ends = CommandOutcome("done", "It has restarted.")
    await w.move(6)
    assert (await last(w))[::2] == ("done", "It has restarted.")


async def test_with_the_cloud_gone_the_bays_own_plug_restarts_the_pc(tmp_path):
    async with lan_rig.rigged(tmp_path) as lan:
        way = f'[machines.way.lan]\n[[machines.way.lan.bay]]\nid = "{BOX}"\nplug = "{lan.box.listener.url}"\npower_cycle = true\n'
        async with looked_after(tmp_path, more=way) as w:
            await w.ninja.go_down()
            await w.move(70)
            await w.help()
            await w.rest()
            assert not lan.box.plug.on and (await last(w))[:2] == ("going", "the bay's plug")
            await lan.forward(8)
            await w.move(10)
            assert await last(w) == ("done", "the bay's plug", "Its power was off for 8 seconds, and is on again.")
            await lan.box.listener.go_down()
            await w.move(70)
            assert any("The plug of Box 1" in text and "does not answer" in text for text in (await w.panel())["alarms"])


def word(way: str, ago: int, health: str, online: bool | None = True, *troubles: str, of: str = "pc", old: bool = False) -> Word:
    return Word(way, Machine("31", "x", online, NOON - ago, health, troubles, of), NOON, old)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([word("ninjaone", 600, "trouble", False, "Off."), word("bay_agent", 5, "good")], ("good", ())),
        ([word("ninjaone", 20, "good"), word("bay_agent", 300, "trouble", False, "Not heard.")], ("good", ())),
        ([word("ninjaone", 20, "trouble", True, "No picture."), word("bay_agent", 5, "good")], ("trouble", ("No picture.",))),
        ([word("ninjaone", 600, "trouble", False, "Off."), word("lan", 0, "good", of="power")], ("trouble", ("Off.",))),
        ([word("ninjaone", 20, "good"), word("lan", 0, "trouble", False, "No power.", of="power")], ("trouble", ("No power.",))),
        ([word("bay_agent", 5, "trouble", True, "Disk."), word("ninjaone", 9, "trouble", True, "Disk.")], ("trouble", ("Disk.",))),
        ([word("ninjaone", 600, "trouble", False, "Off.", old=True), word("lan", 0, "unknown", None, of="power")], ("unknown", ())),
        ([word("ninjaone", 600, "good", old=True)], ("unknown", ())),
    ],
)
def test_the_newest_word_about_the_pc_is_believed_and_no_trouble_is_lost(words, told):
    found = believed(words)
    assert (found.state, found.told) == told


def test_a_plug_that_measures_too_little_takes_no_word_from_a_pc_that_speaks():
    no_power = word("lan", 0, "trouble", False, "No power.", of="power")
    assert believed([word("bay_agent", 25, "good"), no_power]).online is True
    assert believed([word("bay_agent", 90, "good"), no_power]).online is False


def test_a_machine_that_we_shut_down_is_asleep_until_it_should_have_woken():
    off = Told("trouble", ("Its PC is off.",), NOON, False)
    assert rested(off, NOON, 0, NOON + 9000).state == "asleep" == rested(off, NOON, NOON + 100, NOON + 200).state
    late = rested(off, NOON, NOON + 100, NOON + 500)
    assert late.state == "trouble" and late.told[0] == "It was woken, and has not been heard of since."
    assert rested(Told("good", (), NOON, True), NOON, 0, NOON).state == "good"


async def test_people_are_told_of_a_command_when_it_is_written_and_not_before(w):
    desk, writing, told = w.kit.machines, [], []
    settled = desk.work.settled

    def watched(tx, row, outcome) -> None:
        writing.append(True)
        settled(tx, row, outcome)
        writing.pop()

    desk.work.settled = watched
    desk.watch(lambda: told.append(bool(writing)))
    await w.help()
    await w.rest()
    assert told and not any(told)
