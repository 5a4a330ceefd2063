"""`clubos demo`: starts the whole on this machine, fills in a day, prints where everything is, and stops it clean.

Real child processes, restarted by nobody: one that ends by itself ends the demo, with the last lines of its log. What others read
(`build/demo.json`) is there exactly while everything serves and the data is in. Ctrl-C or SIGTERM stops all; a second one kills.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec

from deploy.broker import Broker, BrokerError, find_broker
from deploy.demo import addresses, bays, consents, filling
from deploy.demo.addresses import DemoError, MessagesPlan, Plan, SitePlan
from deploy.demo.clients import Hub, Inbox, Kiosk, Staff
from deploy.demo.control import Control, Screen, Serving
from deploy.demo.processes import Child, Children, until
from shared.runtime.passwords import Passwords

SERVE_WITHIN_S = 45.0
LOOK_AT_BROKER_EVERY_S = 0.5
#: a child that no longer answers is noticed as ended within this time
CHILD_END_S = 1.0
#: the file by which a folder is known to be a demo's, so that nothing else is ever emptied
MARK = ".clubos-demo"


def main(argv: list[str] | None = None) -> int:
    """Runs until it is stopped; 0 after a clean stop, 1 when something ended by itself or did not start."""
    args = parser().parse_args(argv)
    try:
        with _alone(args.folder.absolute()) as folder:
            return asyncio.run(_run(folder, keep=args.keep))
    except (DemoError, BrokerError) as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="clubos demo", description="A hub, two sites, a broker, emulated doors and message vendors on this machine.")
    made.add_argument("--folder", type=Path, default=Path("build/demo"), help="where its data and logs are (build/demo)")
    books = made.add_mutually_exclusive_group()
    books.add_argument("--keep", action="store_true", help="go on with the books of the last run in that folder")
    books.add_argument("--fresh", dest="keep", action="store_false", help="make everything new (so it is without --keep)")
    return made


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """The folder for this run alone. Raises DemoError when another demo has it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f"{folder.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError(f"A demo runs in {folder} already. Stop it first, or give this one another --folder.") from None
        yield folder


async def _run(folder: Path, *, keep: bool) -> int:
    began = time.monotonic()
    stop = asyncio.Event()
    demo = Demo(folder, keep=keep)
    with _signals(stop, demo):
        running = asyncio.ensure_future(demo.run(began))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await demo.close()
        if not running.cancelled():
            running.result()  # raises what ended it
    print("\nThe demo has stopped.", flush=True)
    return 0


@contextlib.contextmanager
def _signals(stop: asyncio.Event, demo: "Demo") -> Iterator[None]:
    """The first signal asks to stop, the second kills."""
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            demo.kill()
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # the process ends now; one more Ctrl-C must not make a traceback of that


class Demo:
    """One run: `run` starts and watches, `close` ends everything; both may meet a run that has got to any point."""

    def __init__(self, folder: Path, *, keep: bool) -> None:
        self._folder, self._keep = folder, keep
        self._plan: Plan | None = None
        self._children = Children()
        self._broker: Broker | None = None
        self._broker_start: asyncio.Future[None] | None = None
        self._control: Control | None = None
        self._serving: Serving | None = None

    async def run(self, began: float) -> None:
        """Does not return: raises DemoError when a part ends by itself or does not start."""
        plan = self._plan = await self._prepare()
        kept_books = self._keep and (plan.hub_folder / "data").exists()
        api_key = filling.leave_api_key(plan)
        codes = {site.id: filling.leave_pairing(site, "Kiosk at the entrance") for site in plan.sites}
        await self._start(plan)
        serving = asyncio.ensure_future(self._serve(plan, api_key, codes, kept_books, began))
        ending = asyncio.ensure_future(self._first_end())
        try:
            await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await self._judge(serving, ending)
            await ending
        finally:
            serving.cancel()
            ending.cancel()
            await asyncio.gather(serving, ending, return_exceptions=True)

    async def _judge(self, serving: asyncio.Future[None], ending: asyncio.Future[None]) -> None:
        """Raises DemoError where it does not serve; where that is because a child has ended, the child's end is the better reason."""
        try:
            serving.result()
        except (httpx.TransportError, RuntimeError) as error:
            await asyncio.wait((ending,), timeout=CHILD_END_S)
            if not ending.done():
                raise DemoError(f"The demo could not be filled ({error}). The logs in {self._folder / 'logs'} say more.") from error

    async def _prepare(self) -> Plan:
        if not self._keep:
            _empty(self._folder)
        addresses.private(self._folder / MARK, "")
        plan = addresses.plan(self._folder, addresses.describe())
        plan.told.unlink(missing_ok=True)
        plan.control.unlink(missing_ok=True)
        hasher = Passwords()
        hashes = {site.id: await hasher.hash(site.staff_password) for site in plan.sites}
        addresses.write(plan, hashes)
        bays.write(plan)
        return plan

    async def _start(self, plan: Plan) -> None:
        logs = plan.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for site in plan.sites:
            await self._children.start(_box(site, logs))
        await self._children.start(_message_vendors(plan.messages, logs))
        await self._children.start(_machines(plan, logs))
        await self._children.start(_bays(plan, logs))
        await self._children.start(
            Child("the hub", ("-m", "cloud_hub", "run", "--config", str(plan.hub_folder / "hub.toml")), logs / "hub.log")
        )
        for site in plan.sites:
            command = ("-m", "site_agent", "run", "--config", str(site.folder / "site.toml"))
            await self._children.start(Child(f"the site {site.name}", command, logs / f"site-{site.id}.log"))
        self._broker = find_broker(plan.broker_folder, plan.broker_users(), port=plan.broker_port)
        # a start that is interrupted goes on in its thread: `close` waits for it before it stops what was started
        self._broker_start = asyncio.ensure_future(asyncio.to_thread(self._broker.start))
        await asyncio.shield(self._broker_start)

    async def _serve(self, plan: Plan, api_key: str, codes: dict[str, str], kept_books: bool, began: float) -> None:
        """From started to told: waits until all serve and are linked, pairs the kiosks, fills in the data."""
        assert self._broker is not None
        async with contextlib.AsyncExitStack() as open_clients:
            hub = await open_clients.enter_async_context(Hub(plan.hub_url, api_key))
            staff = {
                site.id: await open_clients.enter_async_context(Staff(site.id, site.url, addresses.STAFF_USER, site.staff_password))
                for site in plan.sites
            }
            kiosks = {site.id: await open_clients.enter_async_context(Kiosk(site.id, site.url)) for site in plan.sites}
            inbox = await open_clients.enter_async_context(Inbox(plan.messages.page_url))
            await _all_serve(hub, staff, inbox)
            served_s = time.monotonic() - began
            for site in plan.sites:
                await staff[site.id].sign_in()
                await kiosks[site.id].pair(codes[site.id])
            await _all_linked(hub, staff, plan)
            # each site's technician consents while the day is filled in: both wait for other processes most of the time
            consented = asyncio.ensure_future(consents.connect(plan))
            try:
                filled = filling.Filled() if kept_books else await filling.fill(plan, hub, staff, kiosks)
                await consented
            finally:
                consented.cancel()
                await asyncio.gather(consented, return_exceptions=True)
            tokens = {site.id: kiosks[site.id].token for site in plan.sites}
        screens = {site.id: Screen(site.port, tokens[site.id], site.folder / "data" / "site.db") for site in plan.sites}
        self._control = Control(self._broker, screens, self._tell_control)
        self._serving = Serving(self._control)
        _print(plan, api_key, self._broker, self._serving.port, filled, served_s, time.monotonic() - began)
        self._tell(plan, api_key, tokens)

    def _tell_control(self) -> None:
        """Writes how the control is reached, and which processes are whose; again when the broker has another."""
        assert self._plan is not None and self._control is not None and self._serving is not None and self._broker is not None
        pids = {child.name: child.pid for child in self._children} | {"the broker": self._broker.pid or 0}
        control = {"url": self._serving.url, "token": self._control.token, "pid": os.getpid(), "pids": pids}
        addresses.private(self._plan.control, msgspec.json.format(msgspec.json.encode(control)).decode() + "\n")

    def _tell(self, plan: Plan, api_key: str, tokens: dict[str, str]) -> None:
        self._tell_control()
        told = {
            "hub": plan.hub_url,
            "sites": [
                {
                    "id": site.id, "name": site.name, "url": site.url, "kiosk_token": tokens[site.id],
                    "staff": {"user": addresses.STAFF_USER, "password": site.staff_password},
                }  # fmt: skip
                for site in plan.sites
            ],
            "api_key": api_key,
            "broker": {"host": addresses.HOST, "port": plan.broker_port},
            "emulators": {f"unifi-{site.id}": site.box_url for site in plan.sites} 
            | {"messages": plan.messages.page_url, "machines": plan.machines.page_url, "bays": plan.bays.page_url},
        }
        addresses.private(plan.told, msgspec.json.format(msgspec.json.encode(told)).decode() + "\n")

    async def _first_end(self) -> None:
        """Raises DemoError when a child, or the broker against nobody's order, has ended."""
        child_end = asyncio.ensure_future(self._children.first_end())
        broker_end = asyncio.ensure_future(self._broker_end())
        try:
            await asyncio.wait((child_end, broker_end), return_when=asyncio.FIRST_COMPLETED)
            if child_end.done():
                child, code = child_end.result()
                how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
                raise DemoError(f"{child.name[:1].upper()}{child.name[1:]} {how}, so the demo ends. Its log ends with:\n{child.tail()}")
            raise DemoError(f"The broker ended by itself, so the demo ends. Its log: {self._broker.log_path if self._broker else ''}")
        finally:
            child_end.cancel()
            broker_end.cancel()

    async def _broker_end(self) -> None:
        """Returns once the broker is gone without having been asked to."""
        assert self._broker is not None
        while self._broker.running or (self._control is not None and not self._control.broker_wanted):
            await asyncio.sleep(LOOK_AT_BROKER_EVERY_S)

    async def close(self) -> None:
        """Takes away what was told, then ends everything. Safe at any point, and again."""
        if self._plan is not None:
            self._plan.told.unlink(missing_ok=True)
            self._plan.control.unlink(missing_ok=True)
        if self._serving is not None:
            await self._serving.stop()
        await self._children.stop()
        if self._broker is not None and self._broker_start is not None:
            await asyncio.gather(self._broker_start, return_exceptions=True)
            await asyncio.to_thread(self._broker.stop)

    def kill(self) -> None:
        """No more patience."""
        self._children.kill()
        if self._broker is not None:
            self._broker.kill()


def _box(site: SitePlan, logs: Path) -> Child:
    command = ("-m", "deploy.emulators.unifi_access", "--config", str(site.box_folder / "unifi.toml"), "--folder", str(site.box_folder))
    return Child(f"the emulated door controller of {site.name}", command, logs / f"unifi-{site.id}.log")


def _message_vendors(messages: MessagesPlan, logs: Path) -> Child:
    folder = messages.folder
    command = ("-m", "deploy.emulators.messages", "--config", str(folder / "messages.toml"), "--folder", str(folder))
    return Child("the emulated message vendors", command, logs / "messages.log")


def _machines(plan: Plan, logs: Path) -> Child:
    command = ("-m", "deploy.emulators.ninjaone_rmm", "--config", str(plan.machines.folder / "ninjaone.toml"))
    return Child("the emulated NinjaOne", command, logs / "ninjaone.log")


def _bays(plan: Plan, logs: Path) -> Child:
    folder = plan.bays.folder
    command = ("-m", "deploy.emulators.bays", "--config", str(folder / "bays.toml"), "--folder", str(folder))
    return Child("the emulated bays", command, logs / "bays.log")


def _empty(folder: Path) -> None:
    """Removes what an earlier demo made there. Raises DemoError for a folder that holds something else."""
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / MARK).exists():
        raise DemoError(f"{folder} holds something that no demo has made. Give the demo another --folder, or empty this one.")
    shutil.rmtree(folder)


async def _all_serve(hub: Hub, staff: dict[str, Staff], inbox: Inbox) -> None:
    await until("The hub did not serve", hub.ready, SERVE_WITHIN_S)
    await until("The emulated message vendors did not serve", inbox.ready, SERVE_WITHIN_S)
    for site_id, one in staff.items():
        await until(f"The site {site_id} did not serve", one.ready, SERVE_WITHIN_S)


async def _all_linked(hub: Hub, staff: dict[str, Staff], plan: Plan) -> None:
    """Waits until the hub hears every site and has been told of all its boxes and of the PINs it may give."""

    async def linked() -> bool:
        up = {site["id"] for site in await hub.sites() if site["link"] == "up" and not site["waiting_messages"]}
        known = {resource["id"] for resource in await hub.resources()}
        if not all(site.id in up and known >= set(site.resource_ids) for site in plan.sites):
            return False
        links = [(await one.link()).body for one in staff.values()]
        return all(link["link"] == "up" and not link["waiting"] for link in links)

    await until("The hub and its sites did not find each other", linked, SERVE_WITHIN_S)


def _print(
    plan: Plan, api_key: str, broker: Broker, control_port: int, filled: filling.Filled, served_s: float, ready_s: float
) -> None:
    rows = [
        ("Booking pages", f"{plan.hub_url}/"),
        ("API", f"{plan.hub_url}/api/docs"),
        ("API key", api_key),
    ]
    for host, site in zip(_names(), plan.sites, strict=False):
        rows += [
            ("", ""),
            (f"{site.name}, staff", f"http://{host}:{site.port}/staff   user {addresses.STAFF_USER}   password {site.staff_password}"),
            (f"{site.name}, kiosk", f"http://{host}:{control_port}/kiosk/{site.id}   (opens paired)"),
            (f"{site.name}, API", f"{site.url}/api/docs"),
            (f"{site.name}, doors", f"{site.box_url}   (emulated, with a certificate of its own)"),
        ]
    rows += [("", ""), ("What customers receive", f"{plan.messages.page_url}   (SMS and mail, emulated; answer STOP there)")]
    rows += [("The bays' PCs", f"{plan.machines.page_url}   (NinjaOne, emulated)")]
    rows += [("The bays", f"{plan.bays.page_url}   (PCs with the real bay agent, plugs and lights, emulated; pull a plug there)")]
    rows += [("", ""), ("Broker", f"{broker.host}:{broker.port}   ({broker.kind})"), ("Data and logs", str(plan.folder))]
    width = max(len(name) for name, _ in rows)
    print(f"\nClubOS Booking serves after {served_s:.1f} s and is filled after {ready_s:.1f} s: {filled}.\n")
    for name, value in rows:
        print(f"  {name:<{width}}  {value}".rstrip())
    print(f"\nBeside it: make demo-check. Ctrl-C stops everything (from elsewhere: kill {os.getpid()}).\n", flush=True)


def _names() -> Iterator[str]:
    """What each site is called in the browser: its cookies belong to a name, whatever the port, so two sites need two names."""
    yield "localhost"
    while True:
        yield addresses.HOST
