"""What goes wrong without the stop that follows a broken invariant: books that a disk or a bug has spoilt are sold from."""

from __future__ import annotations

from shared.ledger import watch
from tests.invariants import overlaps
from tests.rules.harm import must, refused, scenario
from tests.two_sides import SITE, World

BOX_1 = f"{SITE}.box-1"


@scenario(rule="B5", guard="breach_halts")
async def a_claim_is_lost_from_the_disk(w: World):
    [b] = w.site.book(1, 6)
    await w.quiet()
    w.site.write(lambda tx, desk: tx.run("DELETE FROM claims WHERE ref = :r", {"r": b.id}))
    await watch.Watch(w.site.db, w.site.desk).look()
    refused(lambda: w.site.book(1, 6))
    must(not overlaps(w), "the bay was sold to a second guest, since the first one's claim had gone")
    w.site.write(lambda tx, desk: watch.lift(tx, desk, SITE, BOX_1, by="staff-ada", reason="looked at the day"))
