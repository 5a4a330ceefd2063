"""What goes wrong without the guard of the second machine: loss-7."""

from __future__ import annotations

from shared.ledger import secured
from tests.rules.harm import must, scenario
from tests.two_sides import SITE, World


@scenario(rule="loss-7", guard="two_machines_hold")
async def the_hub_burns_down_while_a_site_is_dark(w: World):
    w.hub.desk.second_machine = True
    await w.dark()
    [unseen] = w.hub.book(2, 12)
    promised = w.hub.read(lambda tx: secured.told(tx, w.hub.desk, unseen).status) == "confirmed"
    # the witness cannot be reached, and here the hub's disk dies: what another machine has is all there is
    must(not promised or w.site.booking(unseen.id), "a guest was told that they have a booking which nobody has any more")
    [seen] = w.hub.book(2, 20)
    rows = w.hub.read(lambda tx: secured.to_keep(tx, SITE))
    w.hub.write(lambda tx, desk: secured.has_kept(tx, rows))
    must(w.hub.read(lambda tx: secured.told(tx, w.hub.desk, seen).status) == "confirmed", "a sale that the witness has was not promised")
