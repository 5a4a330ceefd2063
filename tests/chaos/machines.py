"""The demo's programs as a test wants them: hub, sites and broker as real processes that can be killed and started again at any moment.

Not for: what they are asked to do (`load`) or what must hold of their books (`verdict`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.broker import Mosquitto
from deploy.demo import addresses, filling
from deploy.demo.clients import Answer, Hub, Staff
from deploy.demo.processes import Child, until
from shared import recovery
from shared.runtime import sealed
from shared.runtime.passwords import Passwords

UP_WITHIN_S = 40.0
#: the load of a test comes from one address
RATES = "\n[rates]\nper_address = 1000000\nper_key = 1000000\n"
COMMAND_WITHIN_S = 60.0


class Clerk(Staff):
    """Staff who sign in again where the box has forgotten them, as a box put back or new has."""

    def __init__(self, *of: str) -> None:
        super().__init__(*of)
        self._signing_in = asyncio.Lock()

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        token = self.http.headers.get("x-csrf-token", "")
        answer = await super().ask(method, path, body, **more)
        if (answer.status != 401 and answer.code != "csrf_failed") or path == "/api/sign-in" or not token:
            return answer
        async with self._signing_in:
            if self.http.headers.get("x-csrf-token", "") == token:  # else another has been quicker
                self.http.cookies.clear()
                await self.sign_in()
        return await super().ask(method, path, body, **more)


class Machines:
    """One hub, two sites, one Mosquitto, in `folder`. After `start` everything serves and is linked."""

    def __init__(self, folder: Path) -> None:
        self.plan = addresses.plan(folder, addresses.describe(), usual_ports=False)
        self.api_key = ""
        self.operator_key, self.recovery_key = folder / "operator.key", folder / "recovery.key"
        self.kills: dict[str, int] = {}
        self._children: dict[str, Child] = {}
        self._hands: dict[str, asyncio.Lock] = {}
        self.broker = Mosquitto(self.plan.broker_folder, self.plan.broker_users(), port=self.plan.broker_port)

    @property
    def names(self) -> tuple[str, ...]:
        """The hub and the boxes of today; not an old one that has been woken."""
        return ("hub", *(site.id for site in self.plan.sites))

    @asynccontextmanager
    async def held(self, *names: str) -> AsyncIterator[None]:
        """Nobody else kills or starts these meanwhile."""
        async with AsyncExitStack() as stack:
            for name in sorted(names):
                await stack.enter_async_context(self._hands.setdefault(name, asyncio.Lock()))
            yield

    async def start(self) -> None:
        hasher = Passwords()
        addresses.write(self.plan, {site.id: await hasher.hash(site.staff_password) for site in self.plan.sites})
        config = self.plan.hub_folder / "hub.toml"
        config.write_text(config.read_text() + RATES)
        for site in self.plan.sites:
            self._without_doors(site.folder / "site.toml")
        self._with_recovery()
        self.api_key = filling.leave_api_key(self.plan)
        await asyncio.to_thread(self.broker.start)
        self._children["hub"] = self._child("hub", ("-m", "cloud_hub", "run", "--config", str(config)))
        for site in self.plan.sites:
            self._children[site.id] = self._child(site.id, ("-m", "site_agent", "run", "--config", str(site.folder / "site.toml")))
        for child in self._children.values():
            await child.start()
        await self.all_linked()

    @staticmethod
    def _without_doors(config: Path) -> None:
        """No door controller here: it is another test's matter, and bookings never wait for it."""
        head, _, rest = config.read_text().partition("[doors]")
        config.write_text(head + rest[rest.index("[[resource]]") :])

    def _with_recovery(self) -> None:
        """Backups, a mark on "another medium", and the operator's two keys."""
        secret, recipient = sealed.new_identity()
        seed = recovery.secret_text(bytes(range(32)))
        addresses.private(self.operator_key, secret)
        addresses.private(self.recovery_key, seed)
        public = recovery.public_text(recovery.key_of(seed))
        for name in ("hub", *(site.id for site in self.plan.sites)):
            (self.plan.folder / f"stick-{name}").mkdir(mode=0o700)
            mark = self.plan.folder / f"stick-{name}" / "mark"
            vault = self.plan.folder / "vault"
            vault.mkdir(mode=0o700, exist_ok=True)
            path = self.config(name)
            head = f"mark_file = {addresses.quoted(str(mark))}\nrecovery_public = {addresses.quoted(public)}\n"
            table = f"\n[backup]\nto = {addresses.quoted(str(vault))}\nrecipients = [{addresses.quoted(recipient)}]\nevery_s = 86400\n"
            path.write_text(head + path.read_text() + table)

    def folder(self, name: str) -> Path:
        return self.plan.hub_folder if name == "hub" else next(site.folder for site in self.plan.sites if site.id == name)

    def config(self, name: str) -> Path:
        return self.folder(name) / ("hub.toml" if name == "hub" else "site.toml")

    def _child(self, name: str, command: tuple[str, ...]) -> Child:
        return Child(name, command, self.plan.folder / "logs" / f"{name}.log")

    def hub(self) -> Hub:
        return Hub(self.plan.hub_url, self.api_key)

    def staff(self, site_id: str) -> Staff:
        site = next(site for site in self.plan.sites if site.id == site_id)
        return Clerk(site.id, site.url, addresses.STAFF_USER, site.staff_password)

    async def all_linked(self) -> None:
        """Waits until all serve, hear each other, and the hub knows every box."""
        for name in self.names:
            await self.serves(name)
        async with self.hub() as hub:

            async def linked() -> bool:
                links = {site["id"]: site["link"] for site in await hub.sites()}
                known = {resource["id"] for resource in await hub.resources()}
                return all(links.get(site.id) == "up" and known >= set(site.resource_ids) for site in self.plan.sites)

            await until("The hub and its sites did not find each other", linked, UP_WITHIN_S)

    async def serves(self, name: str) -> None:
        """Waits until that program serves; a program that ends instead is a failure with its last words."""
        child = self._children[name]
        async with self.hub() if name == "hub" else self.staff(name) as client:

            async def ready() -> bool:
                assert child.running, f"{name} ended by itself. Its log ends with:\n{child.tail(30)}"
                return await client.ready()

            await until(f"{name} did not serve", ready, UP_WITHIN_S)

    async def kill(self, name: str) -> None:
        """kill -9; whatever was not written is lost."""
        child = self._children[name]
        assert child.running, f"{name} had ended by itself. Its log ends with:\n{child.tail(30)}"
        child.kill()
        await child.ended()
        self.kills[name] = self.kills.get(name, 0) + 1

    async def start_again(self, name: str) -> None:
        before = self._children[name]
        self._children[name] = Child(before.name, before.command[1:], before.log_path)
        await self._children[name].start()
        await self.serves(name)

    # ---- what people do after a loss
    async def command(self, name: str, *words: str, fails: bool = False) -> str:
        """Runs the side's own command to its end; what it printed for programs, or where it `fails` what it said for people."""
        module = "cloud_hub" if name == "hub" else "site_agent"
        log = self.plan.folder / "logs" / f"command-{name}.log"
        start = log.stat().st_size if log.exists() else 0
        child = Child(f"{name} {words[0]}", ("-m", module, *words, "--config", str(self.config(name))), log)
        await child.start()
        code = await asyncio.wait_for(child.ended(), COMMAND_WITHIN_S)
        told = log.read_text()[start:]
        assert (code != 0) == fails and "Traceback" not in told, f"{name} {' '.join(words)} ended with {code}: {told}"
        return told

    async def back_up(self, name: str) -> str:
        """A backup now, beside the running program; its name."""
        return (await self.command(name, "backup", "now")).split()[0]

    async def grant(self, site_id: str) -> str:
        return re.search(r"^\d+\.\S+$", await self.command("hub", "grant", "--site", site_id), re.MULTILINE)[0]

    def lose_disk(self, name: str) -> Path:
        """The data folder of a program that does not run is gone; where it lies for whoever wants to know what was in it."""
        assert not self._children[name].running, f"{name} still runs"
        lost = self.folder(name) / f"lost-{len(list(self.folder(name).glob('lost-*'))) + 1}"
        (self.folder(name) / "data").rename(lost)
        return lost

    async def wake_old(self, site_id: str, lost: Path) -> tuple[str, Staff]:
        """The box whose disk this is runs again, on a port of its own, beside its successor. Its name here, and its staff page."""
        site = next(site for site in self.plan.sites if site.id == site_id)
        name, port = f"old-{site_id}-{lost.name}", self._free_port()
        config = site.folder / f"{name}.toml"
        text = site.folder.joinpath("site.toml").read_text()
        text = re.sub(r"^mark_file = .*\n", "", text).replace('data_dir = "data"', f'data_dir = "{lost.name}"')
        config.write_text(text.replace(f"port = {site.port}\n", f"port = {port}\n"))
        assert f"port = {port}\n" in config.read_text()
        self._children[name] = self._child(name, ("-m", "site_agent", "run", "--config", str(config)))
        await self._children[name].start()
        staff = Staff(site.id, f"http://{addresses.HOST}:{port}", addresses.STAFF_USER, site.staff_password)

        async def ready() -> bool:
            assert self._children[name].running, f"{name} ended by itself. Its log ends with:\n{self._children[name].tail(30)}"
            return await staff.ready()

        await until(f"{name} did not serve", ready, UP_WITHIN_S)
        return name, staff

    @staticmethod
    def _free_port() -> int:
        ports = addresses._ports(usual=False)
        next(ports)
        return ports.send(0)

    async def forget(self, name: str) -> None:
        """Kills it for good."""
        child = self._children.pop(name)
        child.kill()
        await child.ended()

    async def end(self, name: str) -> None:
        """Asks it to end, and waits."""
        child = self._children[name]
        child.ask_to_end()
        assert await asyncio.wait_for(child.ended(), 20) == 0, child.tail(30)

    def new_key(self) -> None:
        """The books that knew the key are lost; another is left for the hub."""
        self.api_key = filling.leave_api_key(self.plan)

    async def kill_broker(self) -> None:
        await asyncio.to_thread(self.broker.kill)
        self.kills["broker"] = self.kills.get("broker", 0) + 1

    async def start_broker(self, *, wiped: bool) -> None:
        """Again on the same port; `wiped` with everything forgotten that it had kept."""
        if wiped:
            self.kills["broker wiped"] = self.kills.get("broker wiped", 0) + 1
        await asyncio.to_thread(self.broker.restart, wipe=wiped)

    async def stop(self) -> None:
        """Asks all to end; kills what does not. Returns when nothing of it runs."""
        for child in self._children.values():
            child.ask_to_end()
        for child in self._children.values():
            if child.pid:
                try:
                    await asyncio.wait_for(child.ended(), 10)
                except TimeoutError:
                    child.kill()
                    await child.ended()
        await asyncio.to_thread(self.broker.stop)
