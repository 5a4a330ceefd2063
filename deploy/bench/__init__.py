"""`make bench`: the bars of the product, measured here and now, the naive way beside ours in the same run.

    floors     what the machine itself can do: a flush, an echo over loopback, a broker's round trip, a durable commit
    load       wrk on the other core, with its own ceiling
    servers    the processes that are measured: the hub, the bare path, the empty handler
    measures   one function per bar
"""
