"""Schemathesis let loose on a served app: what it is given to get far, what it checks, and the reading of what it found.

It runs as a program of its own in a temporary folder, where it keeps whatever it writes, with a fixed seed. `HOSTILE_EXAMPLES` is how many
cases of each operation are tried beyond the systematic ones.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.site_agent.site_world import NOON, SITE

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261121
EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "12"))


class Served:
    """Both apps in a process of their own; `keys` as it printed them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = (folder / "served.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.api.served", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        line = self.process.stdout.readline()
        while line and not line.startswith('{"hub"'):
            line = self.process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise AssertionError(f"The apps did not start: {self._log.read()}")
        self.keys: dict[str, str] = json.loads(line)

    def findings(self, app: str) -> list[dict[str, Any]]:
        """What the apps' judge has found so far, one of each kind and address."""
        lines = [json.loads(line) for line in (self.folder / "findings").read_text().splitlines()]
        return list({(line["what"], line["request"].partition("?")[0]): line for line in lines if line["app"] == app}.values())

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=20)
        self._log.close()
        assert "Traceback" not in rest and "http.unexpected" not in rest, rest
        return self.process.returncode


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Served]:
    apps = Served(folder)
    try:
        yield apps
        assert apps.end() == 0
    finally:
        if apps.process.poll() is None:
            apps.process.kill()
            apps.process.wait()


# ---- what it is told, so that it gets past the door and the calendar
def moments() -> dict[str, list[str]]:
    """Starts and ends that often make a time: two on the near side of the line, two on the far."""
    starts = [timedelta(hours=1), timedelta(hours=6), timedelta(days=3, hours=2), timedelta(days=5)]
    noon = datetime.fromtimestamp(NOON, UTC)

    def iso(at: datetime) -> str:
        return at.isoformat().replace("+00:00", "Z")

    return {"starts": [iso(noon + s) for s in starts], "ends": [iso(noon + s + timedelta(hours=1)) for s in starts]}


def settings(security: dict[str, dict[str, str]], off: dict[str, str]) -> str:
    """The tool's settings as TOML. `off`: checks left out, and why."""
    known = {"bays": [f"{SITE}.box-{n}" for n in range(1, 5)], **moments(), "days": ["2026-11-21", "2026-11-24"], "sites": [SITE]}
    bound = {
        "body.resource_id": "bays", "body.start": "starts", "body.end": "ends", "body.parts[*].resource_id": "bays", "body.parts[*].start": "starts",
        "body.parts[*].end": "ends", "query.resource_id": "bays", "query.start": "starts", "query.end": "ends", "query.from": "starts",
        "query.to": "ends", "query.date": "days", "query.site_id": "sites", "path.site_id": "sites",
    }  # fmt: skip
    lines = ["[cache]", "enabled = false"]
    for name, values in known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines += ["[parameters]"] + [f'{json.dumps(name)} = {{ dictionary = "{source}", probability = 0.8 }}' for name, source in bound.items()]
    for scheme, secret in security.items():
        lines += [f"[auth.openapi.{scheme}]"] + [f"{name} = {json.dumps(value)}" for name, value in secret.items()]
    for check in off:
        lines += [f"[checks.{check}]", "enabled = false"]
    return "\n".join(lines) + "\n"


def attack(url: str, folder: Path, config: str, *options: str, examples: int = EXAMPLES, within_s: int = 110) -> tuple[int, str]:
    """Exit code and words of one run."""
    (folder / "settings.toml").write_text(config)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "settings.toml", "--no-color", "run", f"{url}/api/openapi.json"]
    command += ["--seed", str(SEED), "--max-examples", str(examples), "--generation-database", "none", "--continue-on-failure", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=within_s)
    return done.returncode, done.stdout + done.stderr
