"""The processes that are measured, each pinned to one core: `python -m deploy.bench.servers KIND FOLDER [OPTION=VALUE …]`.

`bare` group-commits the rows of a sale without a product around them; `empty` answers nothing behind the product's own edge; `hub` is the
product, with a facility stated to it as a site would have stated it. Each prints `PORT n` once it serves.
"""


import asyncio
import sys
from pathlib import Path

from litestar import Litestar, post

from shared.ledger import schema
from shared.runtime import database
from shared.runtime.server import listen, serve

#: the rows of one confirmed booking: four claims, booking, order, customer, outbox row, the stream's numbers
CLAIMS = "INSERT INTO claims (resource_id, slot, kind, ref) VALUES (:r, :a, 'booking', :id), (:r, :b, 'booking', :id), (:r, :c, 'booking', :id), (:r, :d, 'booking', :id)"
BOOKING = (
    "INSERT INTO bookings (id, order_id, site_id, resource_id, first, past, status, displaced, sale_no, customer_id, body_hash, doc)"
    " VALUES (:id, :id, 'bench', :r, :a, :d, 'confirmed', 0, :n, :id, '', :doc)"
)
ORDER = "INSERT INTO orders (id, site_id, reference, customer_id, created_at, doc) VALUES (:id, 'bench', 'ABCDEFG', :id, 0, :doc)"
CUSTOMER = "INSERT INTO customers (id, phone, email, version, doc) VALUES (:id, '9025550100', 'testa@example.test', 1, :doc)"
OUTBOX = "INSERT INTO outbox (site_id, epoch, no, type, must, body, chain, at) VALUES ('bench', 'e', :n, 'Sold', 1, :body, :chain, 0)"
STREAM = "UPDATE streams SET sent_no = :n, sent_chain = :chain, sale_no = :n WHERE site_id = 'bench'"
DOC, BODY, CHAIN = "x" * 500, "x" * 1100, "0" * 32


def bare(folder: Path, slow_commit_s: float) -> Litestar:
    """An empty handler that group-commits the rows of one sale."""
    path = folder / "bare.sqlite"
    schema.prepare(path)
    db = database.Database(path, slow_commit_s=slow_commit_s)
    count = 0

    @post("/sale")
    async def sale() -> None:
        nonlocal count
        count += 1
        n = count

        def rows(tx: database.Tx) -> None:
            row = {"r": "bench.box-1", "a": n * 4, "b": n * 4 + 1, "c": n * 4 + 2, "d": n * 4 + 3, "id": f"bench-{n:010d}", "n": n}
            tx.run(CLAIMS, {k: row[k] for k in ("r", "a", "b", "c", "d", "id")})
            tx.run(BOOKING, {"id": row["id"], "r": row["r"], "a": row["a"], "d": row["d"], "n": n, "doc": DOC})
            tx.run(ORDER, {"id": row["id"], "doc": DOC[:200]})
            tx.run(CUSTOMER, {"id": row["id"], "doc": DOC[:150]})
            tx.run(OUTBOX, {"n": n, "body": BODY, "chain": CHAIN})
            tx.run(STREAM, {"n": n, "chain": CHAIN})

        await db.write(rows)

    return Litestar([sale], on_startup=[db.start], on_shutdown=[db.stop], openapi_config=None)


def main(argv: list[str]) -> None:
    import uvloop

    kind, folder, *rest = argv
    options = dict(item.split("=", 1) for item in rest)
    slow_s = float(options.get("slow", "0"))
    if options.get("single"):
        database.BATCH_JOBS_MAX = 1  # the naive way: one commit per booking
    app = {"bare": bare}[kind](Path(folder), slow_s)
    sock = listen("127.0.0.1", 0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(app, sock, ready=lambda port: print(f"PORT {port}", flush=True)))


if __name__ == "__main__":
    main(sys.argv[1:])

