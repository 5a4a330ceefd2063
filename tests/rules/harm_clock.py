"""What goes wrong without the guards of the clock and the mark: clock-1, clock-2, loss-1."""

from __future__ import annotations

import msgspec

from shared.ledger import marks
from shared.ledger.clock_trust import ClockTrust
from shared.runtime.timesource import Given
from tests.rules.harm import must, refused, scenario
from tests.two_sides import HOUR, Party, World

DAY_S = 86400


async def watched(party: Party) -> ClockTrust:
    """The party's clock is watched as the apps watch it."""
    trust = ClockTrust(party.db, party.desk, party.clock, Given(party.clock))
    await trust.start()
    return trust


@scenario(rule="clock-1", guard="skew_stops_release", release_ahead_s=2 * 3600)
async def the_hubs_clock_is_a_day_fast(w: World):
    before = w.hub.line(2)
    w.hub.clock.skew_s = DAY_S
    await w.healed()
    w.hub.pumps["bedford"].hello()
    await w.quiet(seconds=30)
    w.hub.release()
    await w.quiet()
    must(w.site.line(2) < before + 12 * HOUR, "a day of slots went to the site, and the web has nothing left to sell tomorrow")
    w.hub.clock.skew_s = 0


@scenario(rule="clock-2", guard="trusted_clock")
async def the_sites_clock_is_set_back_while_a_request_waits_in_a_cut(w: World):
    trust = await watched(w.site)
    [asked] = w.hub.book(1, 6)  # the site's slot: the hub asks, and the cut swallows the request
    w.cut()
    for _ in range(4):
        w.forward(1800)
        await trust.tick()
    w.site.clock.forward(-2 * 3600)
    w.hub.tidy()
    await w.healed()
    sold = w.site.booking(asked.id)
    must(sold is None or sold.status != "confirmed", "a request whose time was over was sold by a clock that had been set back")
    w.site.clock.forward(2 * 3600)


@scenario(rule="loss-1", guard="older_than_mark", equal=False)
async def the_site_file_is_put_back_as_it_was_an_hour_ago(w: World):
    await w.dark()
    copy = w.site.copy_of_books()
    [first] = w.site.book(1, 6)  # its guest has a pass and a PIN
    mark = w.site.read(lambda tx: marks.of(tx, w.site.desk, None))
    w.site.roll_back(copy)
    kept = msgspec.json.decode(msgspec.json.encode(mark), type=marks.Mark)
    w.site.write(lambda tx, desk: marks.hold_against(tx, desk, kept))
    again = refused(lambda: w.site.book(1, 6))
    must(again == "fenced", f"the slot of {first.id} was sold a second time by a copy of the books that had forgotten it")
