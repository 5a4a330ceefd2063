"""The bench says what it measured: shapes, arithmetic, what makes a figure doubtful, the tables. Nothing here is timed."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from deploy.bench import agents, children, command, days, drills, load, results, sales, scanning, telling
from deploy.bench.bench import Bench
from deploy.bench.command import Measure
from deploy.bench.load import Load
from deploy.bench.results import About, BenchError, Entry, Factor
from deploy.emulators.messages.twilio_api import Sms

ABOUT = About(date="2026-11-21", commit="abc1234", cores=2, flush_ms=0.2, echo_ms=0.09)
GOOD = Entry("fast", "fast | faster", 0.42, 0.3, "×", True)
README = f"# Title\n\nbefore\n\n{results.BEGIN}\nold\n{results.END}\n\nafter\n"


def seen(answers: int = 100, *, per_s: float = 50.0, refused: int = 0, errors: int = 0) -> Load:
    return Load(per_s=per_s, p50_ms=1.0, p95_ms=2.0, refused=refused, errors=errors, answers=answers)


# ---- arithmetic
def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    assert results.ratio([(100, 50), (10, 4), (1000, 900)]) == 0.5


def test_a_naive_way_that_did_nothing_gives_no_ratio() -> None:
    with pytest.raises(BenchError, match="naive"):
        results.ratio([(0.0, 5.0)])


@pytest.mark.parametrize(("per_cent", "wanted"), [(50, 3), (95, 5), (100, 5), (20, 1), (21, 2)])
def test_a_percentile_is_a_value_that_was_seen(per_cent: float, wanted: float) -> None:
    assert results.percentile([5, 1, 4, 2, 3], per_cent) == wanted


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(BenchError):
        results.percentile([], 50)


def test_a_slower_machine_gets_a_higher_bar_and_a_faster_one_the_same() -> None:
    assert Factor("flush", 0.52, 0.26).times == 2.0
    assert Factor("flush", 0.13, 0.26).times == 1.0


def test_a_bar_may_be_met_exactly_from_either_side() -> None:
    assert results.at_least("a", "", 0.3, 0.3, "×").ok and not results.at_least("a", "", 0.29, 0.3, "×").ok
    assert results.at_most("a", "", 25.0, 25.0, "ms").ok and not results.at_most("a", "", 25.1, 25.0, "ms").ok


def test_what_is_doubtful_is_never_ok_and_says_why() -> None:
    entry = results.at_least("a", "a figure", 9.0, 1.0, "×", ["the disk was full"])
    assert not entry.ok
    assert "the disk was full" in entry.what


def test_a_load_that_cannot_do_twice_what_is_measured_is_doubtful() -> None:
    assert results.ceiling_doubt(200.0, 100.0) == []
    assert "150" in results.ceiling_doubt(150.0, 100.0)[0]


# ---- doubts of a round
def test_sales_are_believed_when_the_books_hold_what_was_answered() -> None:
    assert sales.Sold(seen(100), 100).doubts == []
    assert sales.Sold(seen(100), 100 + sales.CONNECTIONS).doubts == []


@pytest.mark.parametrize("rows", [99, 100 + sales.CONNECTIONS + 1])
def test_sales_are_doubted_when_the_books_differ(rows: int) -> None:
    assert f"{rows} bookings" in sales.Sold(seen(100), rows).doubts[0]


@pytest.mark.parametrize("fault", [{"refused": 1}, {"errors": 1}])
def test_sales_are_doubted_when_a_request_was_not_answered_with_yes(fault: dict[str, int]) -> None:
    assert len(sales.Sold(seen(100, **fault), 100).doubts) == 1


def test_every_sale_of_the_script_asks_for_another_hour_or_bay() -> None:
    script = sales.bookings_script("the-key")
    assert f"% {sales.BAYS} + 1" in script and "Bearer the-key" in script
    assert "{" + "{" not in script


def test_a_day_that_was_changed_too_seldom_is_doubted() -> None:
    changes = days.Changes("http://127.0.0.1:1", "key", days.shown_day())
    changes.made, changes.seconds = 30, 3.0
    assert changes.doubts == []
    changes.made = 20
    assert "6.7" in changes.doubts[0]
    changes.made, changes.refused = 30, 1
    assert "1 refused" in changes.doubts[0]


async def test_a_drill_is_measured_beside_sales_and_believed_when_the_books_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DAYS": 3, "ROUNDS": 1, "ALONE_S": 0.1}.items():
        monkeypatch.setattr(drills, name, value)
    said: list[str] = []
    drill, beside = await drills.drills(Bench(tmp_path, said.append))
    assert (drill.id, beside.id) == ("drill", "drill_sales") and "168 bookings on 4 bays" in drill.what
    assert "DOUBTFUL" not in drill.what + beside.what and drill.ok and 0 < drill.value < drill.bar
    assert len(said) == 2


async def test_a_drill_that_fails_is_doubted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DAYS": 3, "ROUNDS": 1, "ALONE_S": 0.1}.items():
        monkeypatch.setattr(drills, name, value)
    monkeypatch.setattr(drills, "_worked", lambda backups: (1.0, "The copy is no sound database."))
    drill, _ = await drills.drills(Bench(tmp_path, lambda line: None))
    assert not drill.ok and "DOUBTFUL: the drill failed: The copy is no sound database." in drill.what


# ---- what wrk says
def test_the_loads_words_are_read() -> None:
    found = load.read("Running 2s test\nRESULT 4000 2000000 1500.000000 4500.000000 3 1\n")
    assert found == Load(per_s=2000.0, p50_ms=1.5, p95_ms=4.5, refused=3, errors=1, answers=4000)


def test_a_load_that_says_nothing_is_an_error() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        load.read("unable to connect to 127.0.0.1:1")


# ---- processes
def test_a_child_is_heard_and_ends_with_its_block(tmp_path: Path) -> None:
    with children.python(["-c", "import time; print('PORT 5', flush=True); time.sleep(60)"], tmp_path / "log") as child:
        assert child.found(r"PORT (\d+)")[1] == "5"
        assert child.running
    assert not child.running


def test_a_child_ends_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), children.python(["-c", "import time; time.sleep(60)"], tmp_path / "log") as child:
        raise ZeroDivisionError
    assert not child.running


def test_a_child_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    with children.python(["-c", "print('no disk left')"], tmp_path / "log") as child, pytest.raises(BenchError, match="no disk left"):
        child.found("PORT")


def test_the_memory_of_this_process_is_some_megabytes_and_of_none_an_error() -> None:
    assert 5 < agents.resident_mb(os.getpid()) < 2000
    with pytest.raises(BenchError):
        agents.resident_mb(2**22 + 1)


# ---- tables
def test_the_readme_gets_the_new_table_and_keeps_the_rest() -> None:
    table = results.markdown([GOOD], ABOUT)
    text = results.with_table(README, table)
    assert text == README.replace("old", table)
    assert results.with_table(text, table) == text
    assert "| `fast` | fast \\| faster | 0.42 × | 0.3 × | ok |" in text
    assert "commit abc1234" in text and "2 cores" in text and "0.20 ms" in text


@pytest.mark.parametrize("text", ["none", results.BEGIN, results.END + results.BEGIN, README + README])
def test_a_readme_without_one_place_for_the_table_is_an_error(text: str) -> None:
    with pytest.raises(BenchError, match="no place"):
        results.with_table(text, "table")


def test_the_terminal_shows_what_was_missed() -> None:
    text = results.text_table([GOOD, results.unmeasured("slow", "no disk", 6.0, "×")])
    assert "ok      fast  0.42 × (bar 0.3)" in text
    assert "MISSED  slow  - × (bar 6)" in text and "not measured: no disk" in text


# ---- the command
@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a README, no machine to measure, and one measure that is good and one that fails."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text(README, "utf-8")
    monkeypatch.setattr(command, "_about", lambda bench: ABOUT)
    return tmp_path


def fails(bench: Bench) -> list[Entry]:
    raise BenchError("It went wrong.\nsecret folder names")


async def good(bench: Bench) -> list[Entry]:
    assert bench.fresh("a") != bench.fresh("a")
    return [GOOD]


def test_what_was_measured_is_written_even_where_something_failed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measures = (Measure((("fast", 0.3, "×"),), (), good), Measure((("slow", 6.0, "×"),), (), fails))
    assert command.run(["fast", "slow"], measures) == 1
    rows = msgspec.json.decode((here / "build/bench.json").read_bytes())
    assert [set(row) for row in rows] == [{"id", "what", "value", "bar", "unit", "ok"}] * 2
    assert rows[0] == {"id": "fast", "what": "fast | faster", "value": 0.42, "bar": 0.3, "unit": "×", "ok": True}
    assert rows[1] == {"id": "slow", "what": "not measured: It went wrong.", "value": None, "bar": 6.0, "unit": "×", "ok": False}
    assert list((here / "build").iterdir()) == [here / "build/bench.json"]
    assert "MISSED  slow" in capsys.readouterr().out


def test_a_missing_program_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(command.HERE, "wrk", lambda: False)
    assert command.run(["fast"], (Measure((("fast", 0.3, "×"),), ("wrk",), good),)) == 1
    assert "apt-get install wrk" in (here / "build/bench.json").read_text("utf-8")


def test_only_a_whole_run_changes_the_readme(here: Path) -> None:
    one = Measure((("fast", 0.3, "×"),), (), good)
    assert command.run(["fast"], (one,)) == 0
    assert (here / "README.md").read_text("utf-8") == README
    whole = tuple(Measure(((name, 0.0, "×"),), (), lambda bench, name=name: [Entry(name, "", 1.0, 0.0, "×", True)]) for name in command.IDS)
    assert command.run(list(command.IDS), whole) == 0
    assert "| `agent_start` |" in (here / "README.md").read_text("utf-8")


def test_the_entries_are_those_that_were_asked_for() -> None:
    assert command.IDS == (
        "hub_sales", "hub_sales_slow_disk", "availability", "availability_304", "site_roundtrip", "checkin_unlock", "door_event", "cancel_revoke",
        "door_reconcile", "door_repair", "qr_decode", "agent_memory", "agent_start", "catch_up", "catch_up_sales", "adopt", "rebuild", "sim_speed",
        "drill", "drill_sales", "confirm_wire", "reminder_burst", "displace",
    )  # fmt: skip


def test_an_unknown_id_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["hub_sails"])
    assert ended.value.code == 2
    assert "hub_sails" in (said := capsys.readouterr().err) and "hub_sales" in said


def test_the_package_is_light_until_it_measures() -> None:
    words = "import sys, deploy.bench; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", words], check=True, cwd=children.PROJECT, capture_output=True, text=True).stdout.split()
    assert "deploy.bench" in loaded and not {"litestar", "deploy.bench.command"} & set(loaded)


# ---- reminders
@pytest.mark.parametrize(
    ("order", "behind"),
    [([1, 1, 2, 3], 0), ([1, 2, 1, 3], 1), ([2, 1, 1, 1], 3), ([1, 2, 2, 2, 1], 3), ([7], 0), ([], 0)],
)
def test_how_far_a_reminder_came_behind_one_that_starts_later(order: list[int], behind: int) -> None:
    assert telling.behind(order) == behind


def sms(to: str, at: float) -> Sms:
    return Sms(id=to, sid=to, to=to, sender="", text="", status="sent", direction="outbound-api", created_at=at, updated_at=at)


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        ([sms("+19025550001", 1000.0)], "one reminder"),
        ([sms("+19025550001", 1000.0), sms("+19025550001", 1000.0)], "one reminder"),
        ([sms("+19025550001", 1000.0), sms("+19025550002", 20 * 900.0)], "1 reminders came after their moment"),
    ],
)
def test_a_burst_in_which_a_reminder_was_missing_or_late_is_no_measurement(sent: list[Sms], wrong: str) -> None:
    with pytest.raises(BenchError, match=wrong):
        telling.sound(sent, {"+19025550001": 20, "+19025550002": 20})


# ---- codes before a camera
async def test_every_frame_of_the_bench_is_read_to_its_own_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RUNS": 1, "LOOKS": 1}.items():
        monkeypatch.setattr(scanning, name, value)
    said: list[str] = []
    (entry,) = await scanning.decode(Bench(tmp_path, said.append))
    assert entry.id == "qr_decode" and entry.value is not None and "12 frames" in entry.what and len(said) == 1


@pytest.mark.parametrize("read", [[], ["CB1.SOMEBODYELSES"]])
async def test_a_frame_that_is_read_wrong_is_no_measurement(monkeypatch: pytest.MonkeyPatch, read: list[str]) -> None:
    monkeypatch.setattr(scanning.qr, "decode", lambda grey, width, height: read)
    with pytest.raises(BenchError, match="was read wrong"):
        await scanning._looks([(b"\x80" * scanning.WIDTH * scanning.HEIGHT, "CB1.OURS")])
