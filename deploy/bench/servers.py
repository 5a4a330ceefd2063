"""The processes that are measured: `python -m deploy.bench.servers KIND FOLDER [OPTION=VALUE …]`. Each prints `PORT n` once it serves.

`ping` answers at once (the load's own ceiling); `bare` group-commits the rows of a sale with nothing around them; `empty` is an empty Litestar
handler behind the product's own edge; `hub` is the product, with a facility stated to it as a site would have stated it.
"""

import asyncio
import sys
import uuid
from pathlib import Path

import uvloop
from litestar import Litestar, get, post

from cloud_hub import app as hub_app
from cloud_hub.config import Clock, Config, Http, HubConfig, Rates, Site
from cloud_hub.services import api_keys
from cloud_hub.store import api_keys as key_rows
from shared import messages, profiles
from shared.ledger import apply, pins, schema, streams
from shared.model import Facility, Resource
from shared.runtime import database
from shared.runtime.clock import Chance, SystemClock
from shared.runtime.metrics import Metrics
from shared.runtime.problems import Problems
from shared.runtime.ratelimit import RateLimiter, RateRule
from shared.runtime.server import listen, serve
from shared.runtime.web import EdgeSettings, WebEdge

SITE, ZONE = "bench", "America/Halifax"
RATE = 10**9
#: the rows of one confirmed booking: four claims, booking, order, customer, outbox row, PIN, the stream's numbers
CLAIMS = (
    "INSERT INTO claims (resource_id, slot, kind, ref)"
    " VALUES (:r, :a, 'booking', :id), (:r, :b, 'booking', :id), (:r, :c, 'booking', :id), (:r, :d, 'booking', :id)"
)
BOOKING = (
    "INSERT INTO bookings (id, order_id, site_id, resource_id, first, past, status, displaced, sale_no, customer_id, body_hash, doc)"
    " VALUES (:id, :id, 'bench', :r, :a, :d, 'confirmed', 0, :n, :who, '', :doc)"
)
ORDER = "INSERT INTO orders (id, site_id, reference, customer_id, created_at, doc) VALUES (:id, 'bench', :ref, :who, 0, :doc)"
CUSTOMER = "INSERT INTO customers (id, phone, email, version, doc) VALUES (:who, '', :id, 1, :doc)"
PIN = "INSERT INTO pins (site_id, pin, state, booking_id) VALUES ('bench', :ref, 'used', :id)"
OUTBOX = "INSERT INTO outbox (site_id, epoch, no, type, must, body, chain, at) VALUES ('bench', 'e', :n, 'Sold', 1, :body, :chain, 0)"
STREAM = "UPDATE streams SET sent_no = :n, sent_chain = :chain, sale_no = :n WHERE site_id = 'bench'"
DOC, BODY, CHAIN = "x" * 500, "x" * 1100, "0" * 32


def bare(folder: Path, slow_commit_s: float) -> Litestar:
    """An empty handler that group-commits the rows of one sale."""
    path = folder / "bare.db"
    schema.prepare(path)
    db = database.Database(path, slow_commit_s=slow_commit_s)
    count = 0

    @post("/sale")
    async def sale() -> None:
        nonlocal count
        count += 1
        n, sale_id, who, ref = count, f"bench-{count:010d}", str(uuid.uuid4()), f"{count:07d}"

        def rows(tx: database.Tx) -> None:
            at = {"a": n * 4, "b": n * 4 + 1, "c": n * 4 + 2, "d": n * 4 + 3}
            tx.run(CLAIMS, {"r": "bench.box-1", "id": sale_id, **at})
            tx.run(BOOKING, {"id": sale_id, "r": "bench.box-1", "a": at["a"], "d": at["d"], "n": n, "who": who, "doc": DOC})
            tx.run(ORDER, {"id": sale_id, "ref": ref, "who": who, "doc": DOC[:200]})
            tx.run(CUSTOMER, {"who": who, "id": sale_id, "doc": DOC[:150]})
            tx.run(PIN, {"ref": ref, "id": sale_id})
            tx.run(OUTBOX, {"n": n, "body": BODY, "chain": CHAIN})
            tx.run(STREAM, {"n": n, "chain": CHAIN})

        await db.write(rows)

    return Litestar([sale], on_startup=[db.start], on_shutdown=[db.stop], openapi_config=None, logging_config=None)


def empty(folder: Path, slow_commit_s: float) -> WebEdge:
    """An empty Litestar handler behind the same edge as the hub's."""

    @get("/nothing")
    async def nothing() -> None:
        return None

    problems = Problems()
    app = Litestar([nothing], exception_handlers=problems.handlers(), openapi_config=None, logging_config=None)
    rules = (RateRule("address", RATE, 60.0, prefixes=("/",)),)
    limiter = RateLimiter(SystemClock().monotonic)
    return WebEdge(app, EdgeSettings(rate_rules=rules), problems, meter=Metrics("bench").http, limiter=limiter)


class Ping(asyncio.Protocol):
    """The least a server can do: one fixed answer to whatever a connection sends. What the load reaches here is its own ceiling, or less."""

    ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(self.ANSWER)


async def ping() -> None:
    server = await asyncio.get_running_loop().create_server(Ping, "127.0.0.1", 0, backlog=1024)
    print(f"PORT {server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


def hub(folder: Path, slow_commit_s: float, bays: int) -> WebEdge:
    """The product. Writes an API key's token to `key`."""
    config = Config(
        hub=HubConfig(
            hub_id="hub-bench", clock=Clock(rtc="yes"), data_dir=str(folder), sites=(Site(id=SITE, name="Bench"),), http=Http(),
            rates=Rates(per_address=RATE, per_key=RATE),
        ),
        data_dir=folder, profile=profiles.profile("business"),
    )  # fmt: skip
    db = database.Database(folder / hub_app.DATABASE, slow_commit_s=slow_commit_s)
    app = hub_app.build(config, db=db)
    start = app.start

    async def begin() -> None:
        await start()
        await db.write(lambda tx: state_site(tx, app.hub.desk, bays))
        key, token = api_keys.make("bench", ["bookings:write", "availability:read"], app.hub.desk.now())
        await db.write(lambda tx: key_rows.add(tx, key))
        (folder / "key").write_text(token)

    app.start = begin
    return app.asgi


def state_site(tx: database.Tx, desk, bays: int) -> None:
    """What the site's first rows would have told: itself, its bays with a line two hours ahead, PINs to give."""
    if streams.lock(tx, SITE).epoch:
        return
    streams.adopt_epoch(tx, SITE, Chance(1).new_id())
    origin = apply.From(SITE)
    apply.apply(tx, desk, messages.FacilityStated(facility=Facility(id=SITE, name="Bench", zone=ZONE)), origin)
    for n in range(1, bays + 1):
        bay = Resource(id=f"{SITE}.box-{n}", name=f"Box {n}", number=n, release_ahead_s=7200)
        apply.apply(tx, desk, messages.ResourceStated(resource=bay, line=desk.now_slot() + 8), origin)
    pins.leased(tx, SITE, messages.PinsLeased(pins=tuple(f"{i * 7 % 1_000_000:06d}" for i in range(60_000))))


def main(argv: list[str]) -> None:
    kind, folder, *rest = argv
    options = dict(item.split("=", 1) for item in rest)
    slow_s = float(options.get("slow", "0"))
    if options.get("single"):
        database.BATCH_JOBS_MAX = 1  # the naive way: one commit per booking
    makers = {"bare": bare, "empty": empty, "hub": lambda f, s: hub(f, s, int(options.get("bays", "120")))}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if kind == "ping":
            runner.run(ping())
        else:
            sock = listen("127.0.0.1", 0)
            runner.run(serve(makers[kind](Path(folder), slow_s), sock, ready=lambda port: print(f"PORT {port}", flush=True)))


if __name__ == "__main__":
    main(sys.argv[1:])
