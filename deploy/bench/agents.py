"""How soon a facility's agent serves, and what it weighs when nothing happens.

Measured on an agent with everything around it: hub, broker, door controller, and books of an earlier run, as after a power cut.
"""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from deploy.bench import facility, floors, results
from deploy.bench.bench import Bench
from deploy.bench.facility import Facility
from deploy.bench.results import BenchError, Entry, Factor

RUNS = 5
START_BAR_S, MEMORY_BAR_MB = 1.5, 110.0
SERVE_WITHIN_S, LOOK_EVERY_S = 30.0, 0.005
IDLE_S = 2.0


async def agents(bench: Bench) -> list[Entry]:
    """`agent_memory` and `agent_start`."""
    starts_s, sizes_mb, imports_ms = [], [], []
    async with facility.opened(bench, with_site=False) as place:
        first_s, _ = await _one(place)  # makes its books, which the others find
        for number in range(1, RUNS + 1):
            imports_ms.append(await asyncio.to_thread(floors.imports_ms))
            start_s, size_mb = await _one(place)
            starts_s.append(start_s)
            sizes_mb.append(size_mb)
            bench.say(f"run {number}: serves after {start_s:.2f} s, {size_mb:.0f} MB idle")
    factor = Factor("the web framework's import", results.percentile(imports_ms, 50), floors.IMPORTS_MS)
    started = (
        f"the site agent from its start to the first 200 of /health/live, median of {RUNS} (with no books yet {first_s:.2f} s;"
        f" {START_BAR_S:g} s × {factor})"
    )
    idle = f"resident memory of the site agent, linked and with doors, idle for {IDLE_S:g} s, median of {RUNS}"
    return [
        results.at_most("agent_memory", idle, results.percentile(sizes_mb, 50), MEMORY_BAR_MB, "MB"),
        results.at_most("agent_start", started, results.percentile(starts_s, 50), START_BAR_S * factor.times, "s"),
    ]


async def _one(place: Facility) -> tuple[float, float]:
    """One life of the agent: seconds until it serves, MB when idle."""
    began = time.perf_counter()
    with place.run_site() as agent:
        # The wait is on a thread, since the door controller is emulated on this one.
        started_s = await asyncio.to_thread(_serves, place.site_url, began)
        await place.linked()
        await asyncio.sleep(IDLE_S)
        return started_s, resident_mb(agent.pid)


def _serves(url: str, began: float) -> float:
    while time.perf_counter() - began < SERVE_WITHIN_S:
        if _live(url):
            return time.perf_counter() - began
        time.sleep(LOOK_EVERY_S)
    raise BenchError(f"The site agent did not serve within {SERVE_WITHIN_S:.0f} s.")


def _live(url: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=SERVE_WITHIN_S)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB (10^6 bytes). Raises BenchError when it is gone."""
    status = Path(f"/proc/{pid}/status")
    try:
        if status.exists():
            kib = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
        else:
            kib = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
        return int(kib) * 1024 / 1e6
    except (OSError, StopIteration, ValueError, subprocess.CalledProcessError) as error:
        raise BenchError(f"The memory of the process {pid} could not be read: {error}") from None
