"""The books that both sides keep: claims, bookings, holds, blocks, outbox, inbox. The same transactional code on site and hub.

Where to find what:
    schema      the tables, in numbered migrations        desk        who keeps these books: side, clock, ids, limits, guards
    claims      who has which slot (no double sale)        lines       who may sell what, releases
    streams     outbox, chain, positions                   sales       sell, ask, cancel, move: what people do
    holds, blocks, attendance, pins                        settle      what an answer from the other side changes
    apply       a message of the link to the functions     pump        batches and hellos over a transport
    records     rows to structs and back                   digests     comparing the two books, resending what differs
    resale      the rest of a no-show's time, sold again
    fencing     a copy that may lack sales stands still    repair      the two books become one again
    outage_pins spare door PINs for a dark site            frontdesk   facts, rules, price and sale in one; ways: what else could be had

Invariant: everything below takes an open `Tx` and changes only through it, so one transaction holds the change and the message that
tells of it (stream-1). A "no" is raised as `errors.Refused`; the transaction's owner rolls back.
"""
