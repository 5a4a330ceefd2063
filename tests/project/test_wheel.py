"""The wheel alone, in a clean environment and from another folder: its commands answer, its pages and styles are in it, its apps serve."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_project import PACKAGE_ROOTS, ROOT, kept_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# What each side's environment is locked by and which commands it has to answer.
SIDES = {"site": ("site-agent",), "hub": ("cloud-hub", "clubos")}

# The smallest settings that each app serves with, {port} being a free one; the folder they stand in is the app's own.
SMALLEST_CONFIGS: dict[str, str] = {
    "site-agent": """
data_dir = "data"
http.port = {port}

[site]
id = "bedford"
name = "Bedford"

[[resource]]
id = "bedford.box-1"
name = "Box 1"
""",
    "cloud-hub": """
hub_id = "hub-1"
data_dir = "data"
http.port = {port}

[[sites]]
id = "bedford"
name = "Bedford"
""",
}
# Shown by the README on the project's page; nothing that runs opens them.
NOT_INSTALLED = ("deploy/pictures/",)
APPS = {"site-agent": ("site", "site_agent/app.py"), "cloud-hub": ("hub", "cloud_hub/app.py")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the kept files, so that no earlier build can leak into it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in kept_files():
        target = source / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / path).read_bytes())
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)], out)
    (built,) = out.glob("clubos_booking-*.whl")
    return built


@pytest.fixture(scope="module")
def environments(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The `bin` folder of one clean environment per side, holding that side's lock and the wheel."""
    folders = {}
    for side in SIDES:
        folder = tmp_path_factory.mktemp(f"venv-{side}")
        run([sys.executable, "-m", "venv", str(folder)], folder)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        run([*pip, "--require-hashes", "-r", str(ROOT / "requirements" / f"{side}.txt")], folder)
        run([*pip, "--no-deps", str(wheel)], folder)
        folders[side] = folder / "bin"
    return folders


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


def run(command: list[str], folder: Path) -> str:
    ended = subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "COV"))}


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {path for path in kept_files() if path.partition("/")[0] in PACKAGE_ROOTS and not path.startswith(NOT_INSTALLED)}
    assert wanted - inside == set()


def test_nothing_but_the_packages_is_in_the_wheel(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGE_ROOTS)


@pytest.mark.parametrize(("side", "command"), [(side, command) for side, commands in SIDES.items() for command in commands])
def test_a_command_answers_from_another_folder(environments: dict[str, Path], elsewhere: Path, side: str, command: str) -> None:
    assert f"usage: {command}" in run([str(environments[side] / command), "--help"], elsewhere)


def test_each_environment_is_sound(environments: dict[str, Path], elsewhere: Path) -> None:
    for bin_folder in environments.values():
        assert "No broken requirements" in run([str(bin_folder / "python"), "-m", "pip", "check"], elsewhere)


def test_both_apps_serve_from_another_folder(environments: dict[str, Path], tmp_path: Path) -> None:
    there = {command for command, (_, path) in APPS.items() if (ROOT / path).exists()}
    assert there == set(SMALLEST_CONFIGS), "every app that exists needs its smallest settings in SMALLEST_CONFIGS"
    for command in sorted(there):
        folder = tmp_path / command
        folder.mkdir()
        port = free_port()
        (folder / "config.toml").write_text(SMALLEST_CONFIGS[command].replace("{port}", str(port)), encoding="utf-8")
        for process in started([str(environments[APPS[command][0]] / command), "run", "--config", "config.toml"], folder):
            assert wait_for_live(port, process) == 200
            assert "text/html" in page_type(port, "/"), f"{command} has no page at /, so its templates are missing"


def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The running process, ended by SIGTERM afterwards; it has to end clean."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=clean_environment(), stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0, (folder / "log").read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_live(port: int, process: subprocess.Popen[bytes], within_s: float = 20) -> int:
    """The status of GET /health/live as soon as somebody answers."""
    deadline = time.monotonic() + within_s
    while True:
        assert process.poll() is None, f"the app ended with {process.returncode} before it served"
        try:
            return ask(port, "/health/live").status
        except OSError:
            assert time.monotonic() < deadline, f"nothing answered on port {port} within {within_s} s"
            time.sleep(0.05)


def ask(port: int, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path, headers={"Accept": "text/html"})
    answer = connection.getresponse()
    answer.read()
    return answer


def page_type(port: int, path: str) -> str:
    """The content type at `path`, one redirect followed."""
    answer = ask(port, path)
    if answer.status in {301, 302, 303, 307, 308}:
        answer = ask(port, re.sub(r"^https?://[^/]+", "", answer.getheader("Location", "/")))
    return answer.getheader("Content-Type", "") if answer.status == 200 else f"status {answer.status}"
