"""The demo's programs as a test wants them: hub, sites and broker as real processes that can be killed and started again at any moment.

Not for: what they are asked to do (`load`) or what must hold of their books (`verdict`).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from deploy.broker import Mosquitto
from deploy.demo import addresses, filling
from deploy.demo.clients import Hub, Staff
from deploy.demo.processes import Child, until
from shared.runtime.passwords import Passwords

UP_WITHIN_S = 40.0
#: the load of a test comes from one address
RATES = "\n[rates]\nper_address = 1000000\nper_key = 1000000\n"


class Machines:
    """One hub, two sites, one Mosquitto, in `folder`. After `start` everything serves and is linked."""

    def __init__(self, folder: Path) -> None:
        self.plan = addresses.plan(folder, addresses.describe(), usual_ports=False)
        self.api_key = ""
        self.kills: dict[str, int] = {}
        self._children: dict[str, Child] = {}
        self.broker = Mosquitto(self.plan.broker_folder, self.plan.broker_users(), port=self.plan.broker_port)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._children)

    async def start(self) -> None:
        hasher = Passwords()
        addresses.write(self.plan, {site.id: await hasher.hash(site.staff_password) for site in self.plan.sites})
        config = self.plan.hub_folder / "hub.toml"
        config.write_text(config.read_text() + RATES)
        for site in self.plan.sites:
            self._without_doors(site.folder / "site.toml")
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

    def _child(self, name: str, command: tuple[str, ...]) -> Child:
        return Child(name, command, self.plan.folder / "logs" / f"{name}.log")

    def hub(self) -> Hub:
        return Hub(self.plan.hub_url, self.api_key)

    def staff(self, site_id: str) -> Staff:
        site = next(site for site in self.plan.sites if site.id == site_id)
        return Staff(site.id, site.url, addresses.STAFF_USER, site.staff_password)

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
