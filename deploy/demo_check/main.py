"""`clubos demo-check`: the walk beside a running demo; one line per step, and the first thing that is wrong ends it.

Invariant: whatever happens, the broker is started again before the check ends, so that the demo is left whole.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from deploy.demo.clients import Client, Doors, Hub, Inbox, Kiosk, Staff
from deploy.demo_check.steps import STEPS
from deploy.demo_check.walk import Failed, Place, Walk, broker

DEMO = Path("build/demo.json")


def main(argv: list[str] | None = None) -> int:
    """0 when every step was seen to be so, 1 at the first that was not, 2 where no demo is running."""
    parser = argparse.ArgumentParser(prog="clubos demo-check", description="Walks bookings through the running demo, with a cut in the middle.")
    parser.add_argument("--demo", type=Path, default=DEMO, help="the file that the running demo has written (build/demo.json)")
    args = parser.parse_args(argv)
    try:
        told, control = _read(args.demo), _read(args.demo.with_name(f"{args.demo.stem}-control.json"))
    except FileNotFoundError:
        print(f"No demo is running: there is no {args.demo}. Start `make demo` beside this.", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"{args.demo} is not what a demo writes: {error}", file=sys.stderr)
        return 2
    return asyncio.run(check(told, control))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


async def check(told: dict[str, Any], control: dict[str, Any]) -> int:
    """Walks through the demo that these two files tell of, and says how it went."""
    async with contextlib.AsyncExitStack() as stack:
        walk = await _meet(told, control, stack)
        if walk is None:
            return 2
        began = time.monotonic()
        for step in STEPS:
            name = step.__name__.replace("_", " ")
            try:
                seen = await step(walk)
            except (Failed, httpx.TransportError, RuntimeError) as error:
                why = str(error) if isinstance(error, Failed | RuntimeError) else f"nobody answered ({type(error).__name__}: {error})"
                print(f"FAILED  {name}: {why}.", flush=True)
                await _mend(walk)
                return 1
            print(f"ok  {name}: {seen}", flush=True)
        print(f"All {len(STEPS)} steps in {time.monotonic() - began:.1f} s.", flush=True)
        return 0


async def _meet(told: dict[str, Any], control: dict[str, Any], stack: contextlib.AsyncExitStack) -> Walk | None:
    """Everybody whom the walk meets; None, with a line that says so, where the demo does not answer."""
    hub = await stack.enter_async_context(Hub(told["hub"], told["api_key"]))
    desk = await stack.enter_async_context(Client(control["url"], headers={"authorization": f"Bearer {control['token']}"}))
    inbox = await stack.enter_async_context(Inbox(told["emulators"]["messages"]))
    bays = await stack.enter_async_context(Client(told["emulators"]["bays"].removesuffix("/_emulator/")))
    places = []
    try:
        await inbox.state()
        for site in told["sites"]:
            staff = Staff(site["id"], site["url"], site["staff"]["user"], site["staff"]["password"])
            kiosk = Kiosk(site["id"], site["url"], site["kiosk_token"])
            doors = Doors(told["emulators"][f"unifi-{site['id']}"])
            for client in (staff, kiosk, doors):
                await stack.enter_async_context(client)
            await staff.sign_in()
            zone = (await staff.ask("GET", "/api/facility")).body["zone"]
            places.append(Place(site["id"], site["name"], zone, hub, staff, kiosk, doors))
    except httpx.TransportError as error:
        print(f"The demo does not answer ({error}). Is it still running?", file=sys.stderr)
        return None
    return Walk(hub, places, inbox, bays, desk, lambda line: print(line, flush=True))


async def _mend(walk: Walk) -> None:
    """The broker runs again, whatever went wrong."""
    with contextlib.suppress(Failed, httpx.TransportError):
        await broker(walk, "start")
