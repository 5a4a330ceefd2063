"""A technician's consent at the emulated NinjaOne for each site of the demo, and its calls to the hub: by the installer's own commands and the page's
own button.

For: `deploy.demo.main`. Invariant: nothing is put into a site's folder here; the product's command does that.
"""

import asyncio
import os
import re
import sys
from collections.abc import Awaitable
from urllib.parse import parse_qsl, urlsplit

import httpx

from deploy.demo.addresses import DemoError, Plan, SitePlan
from deploy.demo.processes import PROJECT

WITHIN_S = 30.0
TIMEOUT_S = 10.0


async def connect(plan: Plan) -> None:
    """Every site's consent; then NinjaOne is told, once for all of them, to call the hub. Raises DemoError."""
    await asyncio.gather(*(consent(site) for site in plan.sites))
    site, secret = plan.sites[0], plan.hub_folder / "ninjaone.hook"
    process, said = await _command(site, "webhook", "--hub-url", plan.hub_url, "--secret-file", str(secret)), []
    await _ended(site, process, said, asyncio.sleep(0))


async def consent(site: SitePlan) -> None:
    """Runs `site-agent ninjaone connect`, opens what it prints, presses Allow. Raises DemoError where that does not end well."""
    process, said = await _command(site, "connect"), []
    await _ended(site, process, said, _allowed(process, said))


async def _command(site: SitePlan, name: str, *words: str) -> asyncio.subprocess.Process:
    command = ("-m", "site_agent", "ninjaone", name, "--config", str(site.folder / "site.toml"), *words)
    return await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip


async def _ended(site: SitePlan, process: asyncio.subprocess.Process, said: list[str], meanwhile: Awaitable[None]) -> None:
    """Waits for what is done meanwhile and for the command's end; what it says goes into `said`. Raises DemoError where that does not end well."""
    try:
        async with asyncio.timeout(WITHIN_S):
            await meanwhile
            rest, _ = await process.communicate()
            said.append(rest.decode(errors="replace"))
    except (TimeoutError, httpx.HTTPError) as error:
        raise DemoError(f"{site.name} could not be connected to the emulated NinjaOne ({type(error).__name__}). {' '.join(said)}") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise DemoError(f"{site.name} could not be connected to the emulated NinjaOne: {' '.join(said)}")


async def _allowed(process: asyncio.subprocess.Process, said: list[str]) -> None:
    """Waits for the address, and does what a browser would."""
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode(errors="replace"):
        said.append(line.strip())
        if found := re.search(r"(http\S+/authorize\?\S+)", line):
            address, _, query = found[1].partition("?")
            async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, verify=False) as browser:
                gone = await browser.post(address, data=dict(parse_qsl(query)) | {"answer": "allow"})
                back = gone.headers.get("location", "")
                if urlsplit(back).hostname == "127.0.0.1":
                    await browser.get(back)
            return
