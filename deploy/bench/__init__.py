"""`make bench`: the bars of the product, measured here and now, the naive way beside ours in the same run.

    floors      what the machine itself can do: a flush, an echo over loopback, a broker's round trip, a durable commit
    echoes      the other end of those round trips
    load        wrk on the other core, with its own ceiling
    children    the processes that are measured: started, pinned, ended by their id
    servers     what such a process runs: the hub, the bare path, the empty handler
    sales, days, visits, agents, catching, recoveries, simulated, drills    one measure per noun, each answering its entries
    history     books with thousands of bookings, for what is measured on them
    facility    a hub, a broker, a site and an emulated controller as real processes
    results     the entries, the arithmetic behind them, the tables
    command     what is typed, and what is written
"""


def main(argv: list[str] | None = None) -> int:
    """`clubos bench [ID …]`; 0 when every bar was reached."""
    from deploy.bench.command import main as run

    return run(argv)
