"""wrk on the other core: requests a second, and the percentiles of their time. Its scripts are written here."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import msgspec

from deploy.bench import children
from deploy.bench.results import BenchError


class Load(msgspec.Struct, frozen=True):
    """What wrk saw: answers a second, p50 and p95 in ms, answers that were not 2xx or 3xx, and socket errors."""

    per_s: float
    p50_ms: float
    p95_ms: float
    refused: int
    errors: int
    answers: int


def available() -> bool:
    return shutil.which("wrk") is not None


#: every request is another booking: its own id, its own guest, its own hour and bay; `offset` keeps rounds apart
BOOKINGS_LUA = """
local n = {offset}
request = function()
  local i = n
  n = n + 1
  local at = {first_at} + 3600 * math.floor(i / {bays})
  local body = string.format('{{"booking_id":"bench-%010d","resource_id":"bench.box-%d","start":"%s","end":"%s",' ..
    '"customer":{{"name":"Testa Birdie","email":"t%010d@example.test"}}}}',
    i, i % {bays} + 1, os.date("!%Y-%m-%dT%H:%M:%SZ", at), os.date("!%Y-%m-%dT%H:%M:%SZ", at + 3600), i)
  return wrk.format("POST", nil, {{["Content-Type"] = "application/json", ["Authorization"] = "Bearer {key}"}}, body)
end
"""

PERCENTILES_LUA = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %f %f %d %d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(95),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


def run(url: str, *, connections: int, seconds: float, folder: Path, script: str = "", headers: dict[str, str] | None = None) -> Load:
    """One run of wrk with one thread, on a core of its own where there is one. Raises BenchError when it says nothing that can be read."""
    lua = folder / "load.lua"
    lua.write_text(script + PERCENTILES_LUA)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(lua)]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run(
        [*command, url], capture_output=True, text=True, timeout=seconds + 60, preexec_fn=children.settle_on(children.LOAD_CORE)
    )
    return read(done.stdout + done.stderr)


def read(out: str) -> Load:
    """The figures in what wrk printed. Raises BenchError."""
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+) (\d+)", out)
    if found is None:
        raise BenchError(f"wrk said nothing that can be read:\n{out}")
    answers, micro, p50, p95, refused, errors = found.groups()
    return Load(
        per_s=int(answers) / (int(micro) / 1e6), p50_ms=float(p50) / 1000, p95_ms=float(p95) / 1000, refused=int(refused), errors=int(errors),
        answers=int(answers),
    )
