"""The bays' own program and its place at the site agent, together: who is believed, what is done once, and what is said when it goes wrong."""

import asyncio
import json

import msgspec
import pytest

from deploy.bay_agent import signing as pc_signing
from deploy.bay_agent.journal import Entry
from site_agent.devices.bay_agent import signing
from site_agent.devices.bay_agent.tasks import Tasks
from site_agent.ports import Activity, BayAnswer, MachineCommand, MachinesRefused, MachinesUnavailable
from tests.site_agent.devices.bay_rig import BOX, NOBODYS, OTHER, REBOOT, SCRIPT, rigged

SHUTDOWN = MachineCommand("shutdown", "mark-4")


@pytest.fixture
async def rig(tmp_path):
    async with rigged(tmp_path) as rig:
        yield rig


@pytest.fixture
def pc(rig):
    return rig.pcs[BOX]


async def given(rig, command=SCRIPT, bay=BOX) -> str:
    return await rig.machines.command(bay, command)


async def outcome(rig, command=SCRIPT) -> tuple[str, str]:
    found = await rig.machines.outcome(BOX, command, await rig.machines.bookmark(BOX), "")
    return found.state, found.text


async def state(rig):
    return {one.machine_id: one for one in await rig.machines.machines()}[BOX]


# ---- who is believed
def test_both_sides_sign_alike():
    key = bytes(range(32))
    words = (key, "/bay/poll", BOX, "1795276800", "n-1")
    assert pc_signing.of_request(*words, b"{}") == signing.of_request(*words, b"{}")
    assert pc_signing.of_answer(*words, 200, b"{}") == signing.of_answer(*words, 200, b"{}") != signing.of_request(*words, b"{}")
    assert pc_signing.key_text(BOX, key) == signing.key_text(BOX, key) and pc_signing.read_key(signing.key_text(BOX, key)) == (BOX, key)
    assert signing.read_key(signing.key_text(BOX, key), BOX) == key and signing.read_key(signing.key_text(BOX, key), OTHER) is None


@pytest.mark.parametrize(
    ("more", "alarm"),
    [
        ({"key": b"x" * 32}, "Somebody spoke as Box 1's PC with a wrong key, once within a day. If it was that PC, enrol it again."),
        ({"body": b'{"wait_s":0}', "signature": "0" * 64}, "Somebody spoke as Box 1's PC with a wrong key, once within a day."),
        ({"path": "/bay/report", "signature": ""}, "Somebody spoke as Box 1's PC with a wrong key"),
        ({"nonce": ""}, "Somebody spoke as Box 1's PC with a wrong key"),
        ({"bay": NOBODYS}, "Somebody spoke as Box 3's PC, once within a day, and that PC was never enrolled."),
        ({"bay": "../../etc/passwd"}, "Somebody spoke as the PC of a bay that this facility does not have, once within a day."),
    ],
)
async def test_a_forged_bay_agent_is_told_nothing_and_staff_are(rig, pc, more, alarm):
    await given(rig)
    answer = await rig.said(pc, more.pop("path", "/bay/poll"), more.pop("body", b"{}"), **more)
    assert answer.status == 401 and b"commands" not in answer.body and signing.SIGNATURE not in dict(answer.headers)
    assert [one.startswith(alarm) for one in rig.machines.alarms()] == [True]
    await rig.forward(1)
    assert await outcome(rig) == ("done", "All is well") and (await state(rig)).health == "good"
    rig.clock.forward(86_401)
    assert rig.machines.alarms() == []


async def test_what_was_said_before_is_not_heard_twice(rig, pc):
    await rig.forward(20)
    heard = pc.said[-1]
    again = await rig.machines.called(heard)
    assert (again.status, json.loads(again.body)["code"]) == (409, "replayed")
    assert rig.machines.alarms() == ["Somebody repeated what Box 1's PC had said, once within a day. It was not heard."]


async def test_a_site_agent_that_has_just_begun_hears_nothing_from_before(rig, pc):
    await rig.forward(20)
    heard = pc.said[-1]
    rig.clock.forward(30)
    await rig.restarted()
    answer = await rig.machines.called(heard)
    assert (answer.status, json.loads(answer.body)["code"]) == (409, "clock")


@pytest.mark.parametrize(("off_s", "word"), [(600, "10 minutes fast"), (-3600, "60 minutes slow"), (-(10**9), "slow")])
async def test_a_clock_that_is_off_is_told_the_time_and_works_all_the_same(rig, pc, off_s, word):
    answer = await rig.said(pc, "/bay/poll", off_s=off_s)
    told = json.loads(answer.body)
    assert (answer.status, told["code"], told["now"]) == (409, "clock", rig.clock.now()) and word in told["detail"]
    pc.clock_off_s = off_s
    pc.start()
    await given(rig)
    await rig.forward(25)
    assert await outcome(rig) == ("done", "All is well")
    assert [word in one and one.startswith("The clock of Box 1's PC") for one in rig.machines.alarms()] == [True]
    pc.clock_off_s = 0
    pc.start()
    await rig.forward(25)
    assert rig.machines.alarms() == [] and (await state(rig)).health == "good"


async def test_without_the_memory_of_what_was_said_it_would_be_heard_twice(rig, pc, monkeypatch):
    monkeypatch.setattr(rig.machines._guard, "_new", lambda call, now: True)
    await rig.forward(20)
    assert (await rig.machines.called(pc.said[-1])).status == 200


@pytest.mark.parametrize("forged", ["unsigned", "other key", "other answer", "no sense", "older term"])
async def test_a_forged_site_agent_can_run_nothing(rig, pc, forged):
    command = {"id": "evil-1", "kind": "script", "what": "restart-sim", "parameters": "", "ttl_s": 600}
    kept: list[BayAnswer] = []

    def answered(call) -> BayAnswer:
        body = json.dumps({"commands": [command], "asked": [], "term": 2 if forged == "older term" else 9, "now": rig.clock.now()}).encode()
        at, key = str(int(rig.clock.now())), b"k" * 32 if forged == "other key" else pc.key
        nonce = "another" if forged == "other answer" else call.nonce
        if forged == "no sense":
            body = b"[]"
        signed = "" if forged == "unsigned" else signing.of_answer(key, call.path, call.bay, at, nonce, 200, body)
        kept.append(BayAnswer(200, body, ((signing.TIME, at), (signing.SIGNATURE, signed))))
        return kept[-1]

    pc._send = answered
    pc.start()
    await rig.forward(25)
    assert kept and pc.ran == []
    text = " ".join(pc.log)
    assert {"older term": "was replaced", "no sense": "makes no sense"}.get(forged, "does not show that it is our site agent") in text


async def test_a_key_that_is_made_anew_ends_the_old_one_at_once_and_a_damaged_one_is_told(rig, pc):
    old, new = pc.key, pc_signing.read_key(rig.machines._keys.make(BOX))[1]
    assert (await rig.said(pc, "/bay/poll", key=old)).status == 401
    assert (await rig.said(pc, "/bay/poll", key=new, nonce="n-2")).status == 200
    (rig.folder / "bay_agent" / f"{BOX}.key").write_text("clubos-bay-1 half of it")
    assert (await rig.said(pc, "/bay/poll", key=new, nonce="n-3")).status == 401
    assert any("The key of Box 1's PC is damaged" in one for one in rig.machines.alarms())
    rig.machines._keys.remove(BOX)
    assert rig.machines.reaches(BOX, "31") == "" and [one.machine_id for one in await rig.machines.machines()] == [OTHER]
    with pytest.raises(MachinesRefused, match="no bay agent that was enrolled"):
        await given(rig)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/bay/poll", b'{"wait_s": 26}'), ("/bay/poll", b"\xff"), ("/bay/hello", b"[" * 5000), ("/bay/hello", b'{"idle_s": -1}'),
        ("/bay/report", b'{"outcomes": [{"id": "x", "state": "glorious"}]}'), ("/bay/hello", b'{"programs": "all"}'),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_said_so_in_a_signed_answer(rig, pc, path, body):
    answer = await rig.said(pc, path, body)
    assert answer.status == 400 and "makes no sense" in json.loads(answer.body)["detail"] and signing.SIGNATURE in dict(answer.headers)


# ---- what is known of a PC
async def test_what_is_promised_needs_a_young_heartbeat_and_what_it_is_for_is_known_beyond_a_restart(rig, pc):
    kinds = {"restart", "shutdown", "service", "script", "message"}
    assert rig.machines.does(BOX) == rig.machines.able(BOX) == kinds and rig.machines.able(NOBODYS) == frozenset()
    assert rig.machines.activity(BOX) == Activity(int(rig.clock.now()), int(rig.clock.now()) - 42, True)
    pc.on = False
    await rig.forward(120)
    assert rig.machines.able(BOX) == kinds
    await rig.forward(1)
    assert rig.machines.able(BOX) == frozenset() and rig.machines.does(BOX) == kinds and rig.machines.activity(BOX) is None
    with pytest.raises(MachinesUnavailable, match="has not been heard of for 2 minutes") as away:
        await given(rig)
    assert not away.value.outcome_unknown
    await rig.restarted()
    assert rig.machines.does(BOX) == kinds and rig.machines.able(BOX) == frozenset()
    assert (await state(rig)).health == "unknown"  # it has just begun, and nobody has had time to call
    await rig.forward(121)
    assert ((await state(rig)).health, (await state(rig)).online) == ("trouble", False)
    pc.on = True
    await rig.forward(3 * 3600)
    assert (await state(rig)).health == "good" and rig.machines.able(BOX) == kinds


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"programs": {"TrackMan": False}}, ("TrackMan does not run on its PC.",)),
        ({"disk_free_mb": 10}, ("The disk of its PC is nearly full: less than 1000 MB are left.",)),
        ({"idle_s": None}, ()),
    ],
)
async def test_what_troubles_a_pc_is_a_sentence_and_goes_when_it_is_mended(rig, pc, change, told):
    before = {name: getattr(pc, name) for name in change}
    vars(pc).update(change)
    await rig.forward(20)
    assert ((await state(rig)).health, (await state(rig)).troubles) == ("trouble" if told else "good", told)
    await rig.machines.maintenance(BOX, int(rig.clock.now()) + 3600, "New screen")
    assert (await state(rig)).health == "good"
    await rig.restarted()
    await rig.machines.maintenance(BOX, 0, "")
    vars(pc).update(before)
    await rig.forward(20)
    assert (await state(rig)).health == "good"


async def test_whether_somebody_plays_is_by_the_last_input_and_not_guessed_without_one(rig, pc):
    for idle_s, playing in ((599, True), (600, False), (None, None)):
        pc.idle_s = idle_s
        await rig.forward(20)
        found = rig.machines.activity(BOX)
        assert (found.playing, found.last_input_at) == (playing, 0 if idle_s is None else found.at - idle_s)
    pc.idle_s, pc.uptime_s = 95, 100
    await rig.forward(20)
    found = rig.machines.activity(BOX)
    assert (found.playing, found.last_input_at) == (False, 0), "a PC that was woken or restarted is nobody's game"


@pytest.mark.parametrize(("kind", "worth_s"), [("cleanup", 120), ("prepare", 120), ("message", 600)])
def test_what_resets_a_bay_is_begun_soon_or_not_at_all_since_somebody_else_comes(kind, worth_s):
    tasks = Tasks()
    tasks.give(MachineCommand(kind, "mark-9"), 0)
    assert tasks.waiting(worth_s - 1) and not tasks.waiting(worth_s) and tasks.outcome("mark-9", worth_s).state == "failed"


async def test_a_clock_of_the_site_that_was_set_back_keeps_no_pc_out(rig, pc):
    await rig.forward(20)
    rig.clock._now -= 7200
    for _ in range(15):
        await rig.forward(10)
    assert (await state(rig)).health == "good"


async def test_a_pc_that_was_told_to_shut_down_is_no_trouble_until_it_was_on_again(rig, pc):
    await given(rig, SHUTDOWN)
    await rig.forward(1)
    assert (await outcome(rig, SHUTDOWN))[0] == "done"
    pc.on = False
    await rig.forward(7200)
    assert ((await state(rig)).health, (await state(rig)).online) == ("unknown", False)
    await rig.restarted()
    await rig.forward(200)
    assert (await state(rig)).health == "unknown"
    pc.on, pc.boots = True, 2
    pc.start()
    await rig.forward(20)
    assert (await state(rig)).health == "good"
    pc.on = False
    await rig.forward(200)
    assert (await state(rig)).health == "trouble"


# ---- commands
async def test_a_command_is_done_with_its_parameters_in_one_piece_and_its_words_are_told(rig, pc):
    pc.ends = [(0, "Ready; $(reboot) & all")]
    await given(rig, msgspec.structs.replace(SCRIPT, parameters="-Bay 1;\n rm -rf ~"))
    assert await given(rig) == SCRIPT.mark  # the same mark is one command
    await rig.forward(1)
    assert pc.ran == [("script", "restart-sim", "-Bay 1; rm -rf ~")] and await outcome(rig) == ("done", "Ready; $(reboot) & all")


@pytest.mark.parametrize(
    "command", [MachineCommand("script", "m", "9", name="other"), MachineCommand("lights", "m", "on"), MachineCommand("cleanup", "m")]
)
async def test_what_a_pcs_own_settings_do_not_list_is_never_sent_and_never_run(rig, pc, command):
    with pytest.raises(MachinesRefused, match="settings on Box 1's PC do not allow") as refused:
        await given(rig, command)
    assert refused.value.code == "command_unknown"
    await rig.forward(1)
    pc.agent._take({"id": "sent-anyway", "kind": command.kind, "what": command.name or command.what, "ttl_s": 600})
    await rig.forward(1)
    assert pc.ran == [] and pc.journal.one("sent-anyway").text == "This PC's settings do not allow that."


async def test_a_restart_is_done_when_the_pc_is_back_and_cools_down_on_both_sides(rig, pc):
    await given(rig, REBOOT)
    await rig.forward(1)
    assert await outcome(rig, REBOOT) == ("running", "The PC is restarting.")
    await rig.forward(60)
    assert await outcome(rig, REBOOT) == ("done", "The PC has restarted.") and len(pc.ran) == 1
    again = msgspec.structs.replace(REBOOT, mark="mark-7")
    with pytest.raises(MachinesUnavailable, match="less than 5 minutes ago") as cooling:
        await given(rig, again)
    assert cooling.value.busy and 200 < cooling.value.retry_after_s < 300
    await rig.restarted()  # which has forgotten that; the PC has not
    await rig.forward(25)
    await given(rig, again)
    await rig.forward(1)
    assert (await outcome(rig, again))[0] == "failed" and "may be done again in" in (await outcome(rig, again))[1] and len(pc.ran) == 1
    await rig.forward(300)
    await given(rig, msgspec.structs.replace(REBOOT, mark="mark-8"))
    await rig.forward(1)
    assert len(pc.ran) == 2


async def test_a_restart_that_does_not_come_has_failed(rig, pc):
    await given(rig, REBOOT)
    await rig.forward(1)
    pc.booting_s = 0
    await rig.forward(150)
    assert (await outcome(rig, REBOOT))[0] == "running"
    await rig.forward(160)
    assert await outcome(rig, REBOOT) == ("failed", "The PC took the restart, and has not restarted within 5 minutes.")


async def test_a_pc_that_is_off_for_hours_leaves_the_command_undone_and_says_so(rig, pc):
    pc.on = False
    await given(rig)
    await rig.forward(599)
    assert (await outcome(rig))[0] == "waiting"
    await rig.forward(1)
    assert await outcome(rig) == ("failed", "The bay's PC did not ask for it within 10 minutes, so it was not done.")
    pc.on = True
    await rig.forward(4 * 3600)
    assert pc.ran == [] and (await state(rig)).health == "good"


async def test_a_command_that_comes_too_late_to_its_turn_is_not_begun(rig, pc):
    await given(rig)
    await asyncio.to_thread(pc.agent.turn, 0)
    rig.clock.forward(601)
    pc.agent.work()
    assert pc.ran == [] and pc.journal.one(SCRIPT.mark).text == "It came too late to be begun, so it was not done."


async def test_an_answer_that_never_arrived_is_given_again_and_done_once(rig, pc):
    await given(rig)
    assert b"mark-1" in (await rig.said(pc, "/bay/poll")).body  # and is lost on its way
    await rig.forward(5)
    await rig.forward(5)
    assert await outcome(rig) == ("done", "All is well") and len(pc.ran) == 1


# ---- ends in the middle
async def test_a_site_agent_that_restarts_before_the_pc_took_the_command_knows_that_it_was_not_done(rig, pc):
    pc.reached = False
    await given(rig)
    await rig.forward(1)
    await rig.restarted()
    pc.reached = True
    assert (await outcome(rig))[0] == "waiting"
    await rig.forward(5)
    assert await outcome(rig) == ("failed", "The site agent was started anew before the PC had taken it, so it was not done.")
    assert pc.ran == []


async def test_a_site_agent_that_restarts_while_the_command_runs_hears_its_end(rig, pc):
    await given(rig)
    await asyncio.to_thread(pc.agent.turn, 0)
    assert (await outcome(rig))[0] == "running"
    pc.reached = False
    pc.agent.work()
    await rig.restarted()
    assert (await outcome(rig))[0] == "waiting"
    pc.reached = True
    await rig.forward(5)
    assert await outcome(rig) == ("done", "All is well") and len(pc.ran) == 1


async def test_a_site_agent_that_restarts_after_it_heard_the_end_hears_it_again(rig, pc):
    await given(rig)
    await rig.forward(1)
    await rig.restarted()
    assert (await outcome(rig))[0] == "waiting"
    await rig.forward(5)
    assert await outcome(rig) == ("done", "All is well") and len(pc.ran) == 1


@pytest.mark.parametrize(("dies_at", "times"), [("before", 0), ("after", 1)])
async def test_a_bay_agent_that_ends_in_the_middle_never_begins_it_again_and_nobody_pretends_to_know(rig, pc, dies_at, times):
    await given(rig)
    await asyncio.to_thread(pc.agent.turn, 0)
    pc.dies_at = dies_at
    with pytest.raises(KeyboardInterrupt):
        pc.agent.work()
    pc.dies_at = ""
    pc.start()
    await rig.forward(5)
    found, text = await outcome(rig)
    assert found == "running" and "nobody knows how it ended" in text and len(pc.ran) == times


async def test_without_writing_down_what_is_begun_it_would_be_said_to_be_undone(rig, pc, monkeypatch):
    await given(rig)
    await asyncio.to_thread(pc.agent.turn, 0)
    write = pc.journal._write
    monkeypatch.setattr(pc.journal, "_write", lambda row: None if row.get("state") == "running" else write(row))
    pc.dies_at = "after"
    with pytest.raises(KeyboardInterrupt):
        pc.agent.work()
    pc.dies_at = ""
    pc.start()
    await rig.forward(5)
    assert (await outcome(rig))[0] == "failed" and len(pc.ran) == 1


async def test_a_bay_agent_that_ends_before_it_began_says_that_it_was_not_done(rig, pc):
    await given(rig)
    await asyncio.to_thread(pc.agent.turn, 0)
    pc.start()
    await rig.forward(5)
    assert (await outcome(rig))[0] == "failed" and "so it was not done" in (await outcome(rig))[1] and pc.ran == []


async def test_a_disk_that_takes_no_note_lets_nothing_begin(rig, pc, monkeypatch):
    await given(rig)
    await asyncio.to_thread(pc.agent.turn, 0)

    def full(row: dict) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pc.journal, "_write", full)
    pc.agent.work()
    assert pc.ran == [] and "was not done" in pc.log[-1]


# ---- waiting
async def test_a_poll_waits_for_work_and_ends_at_once_with_it_with_another_poll_and_when_the_site_agent_stops(rig, pc):
    async def poll(nonce: str) -> asyncio.Task[BayAnswer]:
        task = asyncio.create_task(rig.said(pc, "/bay/poll", b'{"wait_s": 25}', nonce=nonce))
        await asyncio.sleep(0)
        return task

    async with asyncio.timeout(2):
        first = await poll("n-1")
        second = await poll("n-2")
        assert json.loads((await first).body)["commands"] == []
        await given(rig)
        assert [one["id"] for one in json.loads((await second).body)["commands"]] == ["mark-1"]
        await rig.forward(1)
        third = await poll("n-3")
        assert not third.done()
        rig.machines.hang_up()
        assert json.loads((await third).body)["commands"] == []
        assert (await rig.said(pc, "/bay/poll", b'{"wait_s": 25}', nonce="n-4")).status == 200


async def test_a_site_agent_that_is_away_is_missed_and_found_again_in_two_lines(rig, pc):
    pc.reached = False
    for _ in range(5):
        await rig.forward(30)
    pc.reached = True
    await rig.forward(30)
    assert pc.log == ["The site agent does not answer.", "The site agent answers again."]


async def test_the_journal_forgets_after_a_day_what_was_taken_and_grows_no_further(rig, pc):
    for number in range(150):
        pc.journal.take(Entry(f"old-{number}", "script", "restart-sim", "", rig.clock.now(), 600.0))
        pc.journal.change(pc.journal.one(f"old-{number}"), "done", "x" * 900)
        pc.journal.took(f"old-{number}", "done")
    rig.clock.forward(86_500)
    await rig.forward(1)
    await given(rig)
    await rig.forward(1)
    assert pc.journal.one("old-0") is None and pc.journal._lines < 400
    assert await outcome(rig) == ("done", "All is well")
