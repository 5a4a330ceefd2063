"""Schemathesis let loose on a served app: what it is given to get far, what it checks, and the reading of what it found.

It runs as a program of its own in a temporary folder, where it keeps whatever it writes, with a fixed seed. `HOSTILE_EXAMPLES` is how many
cases of each operation are tried beyond the systematic ones.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from schemathesis.checks import positive_data_acceptance

from tests.site_agent.site_world import NOON, SITE

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261121
EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "25"))
GLANCES = 5
HOOKS = "tests.api.described"
POSSIBLE_REFUSALS = ("400", "401", "403", "404", "409", "422", "429")


class Attack(NamedTuple):
    """How a run ended and what it said."""

    code: int
    said: str

    @property
    def cases(self) -> int:
        """Requests that were made up."""
        found = re.search(r"(\d+) generated", self.said)
        return int(found[1]) if found else 0


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

    def granted(self, app: str) -> set[str]:
        """The operations that have done what they are for, as "POST /api/bookings"."""
        return set((self.folder / f"granted-{app}").read_text().splitlines())

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
HOURS = (1, 6, 74, 120)  # from noon: two that the site sells, two that the hub sells


def moment(hours: float) -> str:
    return datetime.fromtimestamp(NOON + hours * 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def begun(apps: Served, app: str) -> dict[str, list[str]]:
    """What stands in the books before it starts, by kind of id: bookings of both sides, a customer, holds, blocks."""
    ids: dict[str, list[str]] = {"booking": [], "customer": [], "hold": [], "block": [], "notice": [], "code": []}
    with asking(apps, app) as client:
        for n in range(4 if app == "site" else 0):
            told = {"notice_id": f"notice-{n:04d}", "text": "Bring a jacket.", "until": moment(24)}
            ids["notice"].append(client.post("notices", json=told).json()["id"])
        for n, hours in enumerate((-2, *HOURS, *HOURS)):  # the first begins now
            where = {"resource_id": f"{SITE}.box-{1 + n // 4}", "start": moment(hours + 2), "end": moment(hours + 3)}
            person = {"name": f"Testa Birdie {n}", "phone": f"902-555-01{n:02d}"}
            made = client.post("bookings", json={"booking_id": f"begun-{n:04d}", **where, **(person if app == "site" else {"customer": person})})
            assert made.status_code in (201, 202, 409, 422), made.text
            if made.status_code < 300:
                told = made.json().get("booking", made.json())
                ids["booking"].append(told["id"])
                ids["customer"] += [told["customer_id"]] if "customer_id" in told else []
                ids["code"] += [told[key] for key in ("pin", "pass") if told.get(key)]
            where = {**where, "start": moment(hours + 3), "end": moment(hours + 4)}
            for kind, address in (("hold", "holds"), ("block", "blocks" if app == "site" else "blackouts")):
                where["resource_id"] = f"{SITE}.box-{(3 if kind == 'hold' else 4)}"
                if client.post(address, json={f"{kind}_id": f"{kind}-{n:04d}", **where}).status_code < 300:
                    ids[kind].append(f"{kind}-{n:04d}")
    assert len(ids["booking"]) >= 4 and ids["hold"] and ids["block"]
    return ids


def asking(apps: Served, app: str) -> httpx.Client:
    """Somebody who may do everything there."""
    if app == "hub":
        return httpx.Client(base_url=f"{apps.keys['hub']}/api/v1", headers={"authorization": f"Bearer {apps.keys['api_key']}"})
    csrf = {"x-csrf-token": apps.keys["csrf_token"]}
    return httpx.Client(base_url=f"{apps.keys['site']}/api", headers=csrf, cookies={"session": apps.keys["session"]})


def settings(security: dict[str, dict[str, str]], ids: dict[str, list[str]]) -> str:
    """The tool's settings as TOML: eight times out of ten a value that there is. `security`: scheme -> what it takes."""
    known = {
        "bays": [f"{SITE}.box-{n}" for n in range(1, 5)], "starts": [moment(h) for h in HOURS], "ends": [moment(h + 1) for h in HOURS],
        "days": ["2026-11-21", "2026-11-24"], "sites": [SITE], "doors": ["door-front", "door-side"],
        "offers": ["", "restart-sim", "trackman"],
        "new": [f"attempt-{n:04d}" for n in range(8)], **{name: values or ["nobody-0001"] for name, values in ids.items()},
    }  # fmt: skip
    known["booking"] = [*known["booking"], *known["new"]]
    bound = {"resource_id": "bays", "start": "starts", "end": "ends"}
    bound = {f"{place}.{name}": source for place in ("body", "body.parts[*]", "query") for name, source in bound.items()}
    bound |= {
        "query.from": "starts", "query.to": "ends", "query.date": "days", "query.site_id": "sites", "path.site_id": "sites",
        "path.booking_id": "booking", "path.hold_id": "hold", "path.block_id": "block", "path.customer_id": "customer",
        "path.door_id": "doors", "body.booking_id": "new", "body.parts[*].booking_id": "new", "body.hold_id": "hold",
        "body.customer_id": "customer", "path.notice_id": "notice", "path.resource_id": "bays", "body.until": "ends",
    }  # fmt: skip
    lines = [f"hooks = {json.dumps(HOOKS)}", "[cache]", "enabled = false"]
    for name, values in known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines += ["[parameters]"] + [f'{json.dumps(name)} = {{ dictionary = "{source}", probability = 0.8 }}' for name, source in bound.items()]
    for scheme, secret in security.items():
        lines += [f"[auth.openapi.{scheme}]"] + [f"{name} = {json.dumps(value)}" for name, value in secret.items()]
    # Well formed is not yet possible: a time that is taken, over or backwards is refused by rules that no schema can say. What a
    # schema can say is held by the check of our own in `described`.
    lines += ["[checks.positive_data_acceptance]", f"expected-statuses = {json.dumps(['2xx', '304', *POSSIBLE_REFUSALS, '503'])}"]
    lines += ["[[operations]]", 'include-path = "/api/check-in"', "[operations.parameters]"]
    lines += ['"body.code" = { dictionary = "code", probability = 0.8 }']
    lines += ["[[operations]]", 'include-path = "/api/machines/{resource_id}/help"', "[operations.parameters]"]
    lines += ['"body.name" = { dictionary = "offers", probability = 0.8 }', '"body.command_id" = { dictionary = "new", probability = 0.5 }']
    return "\n".join(lines) + "\n"


def attack(url: str, folder: Path, config: str, *options: str, examples: int = EXAMPLES, within_s: int = 110) -> Attack:
    """One run, to its end."""
    (folder / "settings.toml").write_text(config)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "settings.toml", "--no-color", "run", f"{url}/api/openapi.json"]
    command += ["--seed", str(SEED), "--max-examples", str(examples), "--generation-database", "none", "--continue-on-failure"]
    command += ["--report", "ndjson", "--report-ndjson-path", "told.ndjson", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=within_s)
    return Attack(done.returncode, done.stdout + done.stderr)


def glance(url: str, operations: dict[str, str], **more: Any) -> None:
    """A few made-up requests to each operation (path -> method), from within this process; `more` as a call takes it (headers, cookies)."""
    schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json")
    for path, method in operations.items():
        for mode in schemathesis.GenerationMode:

            @seed(SEED)
            @hypothesis.settings(max_examples=GLANCES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
            @given(case=schema[path][method].as_strategy(generation_mode=mode))
            def one(case: schemathesis.Case) -> None:
                # What fits the description may still be impossible; see `settings`.
                case.call_and_validate(excluded_checks=[positive_data_acceptance], **more)

            one()


def unharmed(apps: Served, app: str, seldom: set[str]) -> None:
    """The judge of the apps has found nothing, and all the operations but those of `seldom` were really reached and have done their work."""
    found = apps.findings(app)
    assert found == [], found[:5]
    operations = httpx.get(f"{apps.keys[app]}/api/openapi.json").json()["paths"]
    all_of_them = {f"{method.upper()} {path}" for path, item in operations.items() for method in item if method in ("get", "post", "delete")}
    never = all_of_them - apps.granted(app) - seldom
    assert never == set(), never
