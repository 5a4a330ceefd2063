"""The program for a bay's PC by itself: its settings, what it runs and how, what it sees, whom it speaks to, and the one file that it is."""

import dataclasses
import http.server
import os
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from deploy import bay_pack
from deploy.bay_agent import config, facts, runner, signing
from deploy.bay_agent.__main__ import Log, main
from deploy.bay_agent.journal import Entry, Journal
from deploy.bay_agent.wire import SiteTime, Wire, WireError
from deploy.emulators.tls import self_signed

KEY = bytes(range(32))
BAY = "bedford.box-1"
PLAIN = 'url = "http://192.0.2.10:8080"\nkey_file = "bay.key"\n'


def written(folder: Path, text: str, key: str = "") -> Path:
    (folder / "bay.key").write_text(key or signing.key_text(BAY, KEY))
    (folder / "bay-agent.toml").write_text(text)
    return folder / "bay-agent.toml"


# ---- settings
def test_the_example_is_right_and_has_what_windows_has_for_it(tmp_path):
    text = (Path(config.__file__).parent / "bay-agent.example.toml").read_text()
    path = written(tmp_path, text.replace('kind = "message"', 'kind = "message"\nargv = ["show"]'))
    found = config.load(path)
    assert (found.bay, found.state_folder, found.fingerprint) == (BAY, tmp_path / "state", "")
    kinds = [(one.kind, one.what, one.cool_down_s) for one in found.commands]
    assert kinds[0] == ("restart", "", 300) and ("script", "restart-simulator", 60) in kinds and ("cleanup", "", 0) in kinds
    assert config.usual_argv("restart", "", windows=True)[:2] == ("shutdown.exe", "/r")
    assert config.usual_argv("message", "", windows=True) == (config.SHOW, config.PARAMETERS)
    assert KEY.hex() not in repr(found) and str(KEY) not in repr(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("url =", "is no TOML"), ('url = "ftp://x"\nkey_file = "bay.key"', "site agent's address"), ("", "'key_file' is missing"),
        (PLAIN + "cheese = 1", "no setting 'cheese'"), (PLAIN + 'fingerprint = "ab"', "64 hexadecimal"),
        (PLAIN + f'fingerprint = "{"a" * 64}"', "no use without https"), (PLAIN + "heartbeat_s = 0", "from 1 to 60"),
        (PLAIN + 'activity = "x"', "a list of texts"), (PLAIN + "[[program]]\nname = 'x'", "needs a 'name', and"),
        (PLAIN + '[[command]]\nkind = "format"', "is none of restart"), (PLAIN + '[[command]]\nkind = "script"\nargv = ["x"]', "has a 'what'"),
        (PLAIN + '[[command]]\nkind = "restart"\nwhat = "x"', "has no 'what'"), (PLAIN + '[[command]]\nkind = "prepare"', "needs an 'argv'"),
        (PLAIN + '[[command]]\nkind = "cleanup"\nargv = "rm -rf"', "a list of texts"),
        (PLAIN + '[[command]]\nkind = "prepare"\nargv = ["C:\\\\x.CMD", "{parameters}"]', "a batch file"),
        (PLAIN + '[[command]]\nkind = "restart"\n[[command]]\nkind = "restart"', "given twice"),
        (PLAIN + '[[command]]\nkind = "restart"\ntimeout_s = true', "a number from 1 to 540"), (PLAIN + "command = 3", "as [[command]]"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_right_are_refused_with_what_is_wrong(tmp_path, capsys, text, said):
    path = written(tmp_path, text)
    assert main(["check", "--config", str(path)]) == 2
    told = capsys.readouterr().err
    assert said.replace("is no TOML", "is not TOML") in told and told.startswith(str(path))


@pytest.mark.parametrize("key", ["nothing", signing.key_text(BAY, KEY)[:-1] + "x", f"clubos-bay-1 {BAY} zz 00000000"])
def test_a_key_that_is_not_whole_is_refused_and_not_repeated(tmp_path, capsys, key):
    assert main(["run", "--config", str(written(tmp_path, PLAIN, key))]) == 2
    assert "key" in (told := capsys.readouterr().err) and KEY.hex() not in told


# ---- running
def command(*argv: str, timeout_s: float = 20.0) -> config.Command:
    return config.Command("script", "x", (sys.executable, "-c", *argv), 0, timeout_s)


def test_a_command_is_run_without_a_shell_and_its_last_words_are_kept():
    assert runner.run(command("import sys; print(sys.argv[1])", "{parameters}"), "$(id); `id` & 'a' \"b\"") == (
        0,
        "$(id); `id` & 'a' \"b\"",
    )
    code, said = runner.run(command("import sys; print('x' * 5000 + '\\x1b[31m end'); print('bad', file=sys.stderr); sys.exit(3)"), "")
    assert code == 3 and len(said) == 500 and said.endswith("end\nbad") and "\x1b" not in said
    assert runner.run(config.Command("script", "x", ("no-such-program-here",), 0, 5), "")[0] is None


def test_a_message_on_the_screen_is_not_waited_for_and_one_that_cannot_be_shown_is_told(monkeypatch):
    monkeypatch.setattr(runner, "SHOWN_S", 0.3)
    show = config.Command("message", "", (config.SHOW, config.PARAMETERS), 0, 60)
    for script, ends in (("import time; time.sleep(2)", (0, "")), ("print('No screen'); raise SystemExit(1)", (1, "No screen"))):
        monkeypatch.setattr(runner, "program_argv", lambda script=script: [sys.executable, "-S", "-c", script])
        assert runner.run(show, "Ten minutes left") == ends
    assert runner.argv_of(show, "Ten minutes left")[-2:] == ["show", "Ten minutes left"]


def test_a_command_that_does_not_end_is_ended_with_what_it_started(tmp_path):
    child = tmp_path / "child.pid"
    script = (
        "import pathlib, subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\npathlib.Path({str(child)!r}).write_text(str(p.pid))\ntime.sleep(60)"
    )
    code, said = runner.run(command(script, timeout_s=1.0), "")
    assert code is None and said.startswith("It did not end within 1 s")
    deadline = time.monotonic() + 5
    while _alive(int(child.read_text())):
        assert time.monotonic() < deadline, "its child lives on"
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


# ---- seeing
def test_what_is_seen_of_a_pc_is_told_and_what_cannot_be_seen_is_not_guessed(tmp_path):
    programs = "[[program]]\nname = 'Here'\npid_file = 'here.pid'\nmust_run = true\n[[program]]\nname = 'Gone'\nprocess = 'no-such'\n"
    settings = config.load(written(tmp_path, f"{PLAIN}activity = ['played', 'shots']\n{programs}"))
    settings.state_folder.mkdir()
    (tmp_path / "here.pid").write_text(str(os.getpid()))
    told = facts.gather(settings, time.time())
    seen = [(one["name"], one["running"], one["must_run"]) for one in told["programs"]]
    assert (told["idle_s"], seen) == (None, [("Here", True, True), ("Gone", False, False)])
    assert told["boot_id"] and told["uptime_s"] > 0 and told["disk_free_mb"] > 0
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "one").write_text("a shot")
    os.utime(tmp_path / "shots", (1000, 1000))
    assert facts.gather(settings, time.time() + 30)["idle_s"] in range(29, 33)
    (tmp_path / "here.pid").write_text("nonsense")
    assert facts.gather(settings, time.time())["programs"][0]["running"] is False


# ---- remembering
def test_a_line_that_a_crash_cut_short_is_no_line_and_spoils_none_after_it(tmp_path):
    journal = Journal(tmp_path, lambda: 1000.0)
    journal.take(Entry("one", "script", "x", "", 1000.0, 600.0))
    journal.heard_term(4)
    with open(tmp_path / "commands.jsonl", "ab") as file:
        file.write(b'{"id": "two", "kind": "scr')
    again = Journal(tmp_path, lambda: 1001.0)
    assert (again.one("one").state, again.one("two"), again.term) == ("taken", None, 4)
    again.change(again.one("one"), "running", began_at=1001.0)
    third = Journal(tmp_path, lambda: 1002.0)
    assert (
        third.one("one").state == "running"
        and third.last_begun("script", "x") == 1001.0
        and not third.take(dataclasses.replace(third.one("one")))
    )


def test_the_log_is_begun_anew_when_it_is_large(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("deploy.bay_agent.__main__.LOG_MAX", 50)
    log = Log(tmp_path / "bay.log")
    for number in range(4):
        log.say(f"line {number} of some length")
    assert (
        (tmp_path / "bay.log.1").exists() and (tmp_path / "bay.log").stat().st_size < 100 and "line 3" in (tmp_path / "bay.log").read_text()
    )


# ---- speaking
def test_over_tls_nothing_is_said_to_another_certificate_than_the_pinned_one(tmp_path):
    heard: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["content-length"])))
            body = b'{"term": 1}'
            at = self.headers["x-bay-time"]
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.send_header("x-bay-time", at)
            self.send_header("x-bay-signature", signing.of_answer(KEY, self.path, BAY, at, self.headers["x-bay-nonce"], 200, body))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None: ...

    made = self_signed(tmp_path, "site")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.cert_path, made.key_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"https://127.0.0.1:{server.server_port}"
    try:
        wrong = Wire(url, BAY, KEY, SiteTime(), fingerprint="0" * 64)
        with pytest.raises(WireError, match="another certificate than the pinned one"):
            wrong.post("/bay/poll", {})
        with pytest.raises(WireError, match="CERTIFICATE_VERIFY_FAILED"):
            Wire(url, BAY, KEY, SiteTime()).post("/bay/poll", {})
        assert heard == []
        right = Wire(url, BAY, KEY, SiteTime(), fingerprint=made.fingerprint)
        assert right.post("/bay/poll", {"wait_s": 0}) == {"term": 1} and heard == [b'{"wait_s":0}']
        right.hang_up()
    finally:
        server.shutdown()
        server.server_close()


def test_nobody_there_is_a_sentence(tmp_path, capsys):
    assert main(["check", "--config", str(written(tmp_path, PLAIN.replace("192.0.2.10:8080", "127.0.0.1:9")))]) == 1
    assert "The site agent does not answer" in capsys.readouterr().out


# ---- the one file
def test_the_one_file_runs_alone_on_the_standard_library_and_is_the_same_each_time(tmp_path, capsys):
    assert bay_pack.main(["--out", str(tmp_path / "a" / "bay-agent.pyz")]) == 0
    one, other = tmp_path / "a" / "bay-agent.pyz", bay_pack.pack(tmp_path / "b.pyz")
    said = capsys.readouterr().out
    assert one.read_bytes() == other.read_bytes() and said.splitlines()[-1] == str(one)
    assert (
        "program for a bay's PC" in said
        and "site-agent bays enrol" in said
        and "bay-agent.example.toml" in said
        and len(said.splitlines()) == 4
    )
    assert {name.partition("/")[0] for name in zipfile.ZipFile(one).namelist()} == {"__main__.py", "bay_agent"}
    path = written(tmp_path, PLAIN.replace("192.0.2.10:8080", "127.0.0.1:9"))
    # -I and -S: neither the project nor anything installed can be imported
    ran = subprocess.run([sys.executable, "-I", "-S", str(one), "check", "--config", str(path)], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 1 and f"Bay {BAY}" in ran.stdout and ran.stderr == ""
    assert bay_pack.main(["--out", "/proc/none/x.pyz"]) == 2
