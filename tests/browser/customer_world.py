"""The hub with one site it hears, served on a free port of this machine, for a browser."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from cloud_hub.config import Rates
from shared.ledger import records
from shared.model import Facility
from shared.runtime.server import listen, serve
from tests.cloud_hub.hub_world import SITE, HubWorld

FACILITY = Facility(
    id=SITE, name="Bedford", zone="America/Halifax", address="12 Fairway Lane, Bedford NS", support_phone="902-555-0100",
    support_hours="07:00 to 21:00", version=2,
)  # fmt: skip


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[HubWorld, str]]:
    """The world and the address it answers at. The clock stands until moved."""
    w = HubWorld(folder, Rates(per_address=100_000, per_key=100_000))
    sock, stop, ready = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    port = sock.getsockname()[1]
    running = asyncio.create_task(serve(w.app.asgi, sock, ready=lambda _: ready.set(), stop=stop, signals=False))
    try:
        await asyncio.wait_for(ready.wait(), 10)
        await w.site.open()
        await w.linked()
        w.db.write_now(lambda tx: records.put_document(tx, "facility", SITE, SITE, 2, records.text(FACILITY)))
        yield w, f"http://127.0.0.1:{port}"
    finally:
        await w.client.aclose()
        await w.site.pump.close()
        stop.set()
        await running
