"""A hub and a site agent, both as built for earnest, over the in-memory broker; the clock stands until moved, the doors tell what they were asked.

    async with both(tmp_path) as w:
        page = await w.guest_page(await w.at_its_time())

Everything of `HubWorld` is there too; bays and doors as in `site_world`.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from shared.ledger import records
from shared.model import Booking
from shared.runtime.clock import Chance
from shared.runtime.database import InlineWriter
from site_agent import app as site_app
from site_agent import jobs
from site_agent.config import load
from site_agent.store import schema as site_schema
from tests.cloud_hub.hub_world import ENOUGH, LIMITS, NEVER_S, HubWorld
from tests.cloud_hub.visitor import Page, Visitor
from tests.site_agent.site_world import CONFIG, DoorsDouble, staff_file

#: the front door, and the side door of box 2; the controller is a double
WITH_DOORS = CONFIG + '\n[doors]\nkind = "unifi"\nhost = "127.0.0.1"\nfingerprint = "%s"\n' % ("ab" * 32)
#: the soonest start that the web sells, in slots from NOON
SOONEST = 4


class TwoApps(HubWorld):
    """`agent` is the site's, `doors` its controller, `visitor` a guest without a script."""

    def __init__(self, folder: Path, config: str = WITH_DOORS, **more):
        (folder / "site").mkdir(exist_ok=True)
        super().__init__(folder / "hub", ENOUGH, **more)
        (folder / "site" / "site.toml").write_text(config)
        (folder / "site" / "staff.toml").write_text(staff_file())
        loaded = load(folder / "site" / "site.toml")
        loaded.data_dir.mkdir()
        path = loaded.data_dir / site_app.DATABASE
        site_schema.prepare(path, lambda: "box-site")
        self.doors, transport = DoorsDouble(), self.network.attach("agent")
        self.agent = site_app.build(
            loaded, clock=self.clock, chance=Chance(5), db=InlineWriter(path), doors=self.doors, limits=LIMITS, transport=transport
        )  # fmt: skip
        self.kit = self.agent.kit
        self.visitor = Visitor(self)

    async def open(self) -> None:
        await self.app.start()
        await self.begin()

    async def begin(self) -> None:
        """The hub runs: now the site."""
        self.key = await self.new_key("bookings:read", "bookings:write", "availability:read")
        with mock.patch.object(jobs, "PLACING_EVERY_S", NEVER_S):
            await self.agent.start()
        self.site = SimpleNamespace(db=self.kit.db, pump=self.kit.link._pump)

    async def close(self) -> None:
        await self.visitor.client.aclose()
        await self.client.aclose()
        await self.agent.stop()
        await self.app.stop()

    def cut(self) -> None:
        self.network.cut("agent")

    async def heal(self) -> None:
        self.network.heal("agent")
        await self.linked()

    async def sold(self, bay: int, start: int, slots: int = 4, **more) -> Booking:
        """A sale on the web, so many slots after NOON, which both sides have."""
        answer = await self.post("/bookings", self.wish(bay, start, slots, **more))
        assert answer.status_code == 201, answer.text
        await self.quiet()
        return self.db.read(lambda tx: records.booking(tx, answer.json()["id"]))

    async def later(self, seconds: int) -> None:
        """Time passes, in which both sides go on hearing each other."""
        self.clock.forward(seconds)
        await self.linked()

    async def at_its_time(self, bay: int = 1, **more) -> Booking:
        """A sale whose time has just begun."""
        b = await self.sold(bay, SOONEST, **more)
        await self.later(b.starts_at - int(self.clock.now()))
        return b

    def address(self, b: Booking) -> str:
        return f"/b/{b.order_id}/{self.hub.customer_links.token(b.order_id)}"

    async def guest_page(self, b: Booking) -> Page:
        return await self.visitor.get(self.address(b))


@contextlib.asynccontextmanager
async def both(folder: Path, config: str = WITH_DOORS, **more) -> AsyncIterator[TwoApps]:
    w = TwoApps(folder, config, **more)
    await w.open()
    try:
        await w.linked()
        yield w
    finally:
        await w.close()
