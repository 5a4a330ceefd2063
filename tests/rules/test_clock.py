"""clock-1 and clock-2 on the ledger of both sides: what a difference of clocks stops, and what it does not."""

import asyncio

import pytest

from shared.ledger import outage_pins, pins
from shared.ledger.clock_trust import HUB, ClockTrust
from shared.runtime.timesource import Given
from tests.rules.harm import refused
from tests.rules.harm_clock import watched
from tests.rules.harm_outage_pins import stocked
from tests.two_sides import SITE, World, play


class Blank(Given):
    """A machine of which nothing is known but how long it has been up."""

    def rtc(self) -> bool:
        return False


async def measured(w: World, skew_s: float) -> None:
    """The site's clock is off by this, and both sides have measured it."""
    w.site.clock.skew_s = skew_s
    for _ in range(3):
        w.hub.pumps[SITE].hello()
        w.site.pumps[SITE].hello()
        await asyncio.sleep(0.5)


@pytest.mark.rule("clock-1")
@pytest.mark.parametrize(("skew_s", "releases"), [(59, True), (-59, True), (61, False), (-61, False)])
def test_beyond_a_minute_of_skew_no_line_rises_and_within_it_they_do(skew_s, releases):
    async def story(w: World) -> None:
        await measured(w, skew_s)
        w.forward(6 * 3600)
        assert (w.hub.release() > 0) is releases
        assert w.hub.pumps[SITE].may_release() is releases
        await measured(w, 0)
        assert releases or w.hub.release() > 0, "the clocks agree again, and so the lines rise"

    play(story)


@pytest.mark.rule("clock-1")
def test_a_straddling_request_moves_no_line_either_while_the_clocks_differ():
    async def story(w: World) -> None:
        line = w.hub.line(1)
        await measured(w, 300)
        code = refused(lambda: w.hub.book(1, line - 2))
        assert w.hub.line(1) == line and code
        await measured(w, 0)
        w.hub.book(1, line - 2)
        assert w.hub.line(1) > line

    play(story)


@pytest.mark.rule("clock-1")
def test_both_sides_measure_the_same_difference_with_opposite_signs():
    async def story(w: World) -> None:
        await measured(w, 7)
        assert w.hub.pumps[SITE].skew_s == pytest.approx(7, abs=1)
        assert w.site.pumps[SITE].skew_s == pytest.approx(-7, abs=1)
        await measured(w, 0)

    play(story)


@pytest.mark.rule("clock-2")
def test_a_hub_in_doubt_sells_nothing_releases_nothing_and_confirms_nobody():
    async def story(w: World) -> None:
        await ClockTrust(w.hub.db, w.hub.desk, w.hub.clock, Blank(w.hub.clock)).start()
        trust = ClockTrust(w.site.db, w.site.desk, w.site.clock, Blank(w.site.clock))
        await trust.start()
        w.forward(6 * 3600)
        assert refused(lambda: w.hub.book(2, 60)) == "clock_untrusted"
        assert w.hub.release() == 0
        await measured(w, 0)
        assert w.site.pumps[SITE].peer.clock_sure is False
        assert refused(lambda: w.site.book(1, 26)) == "clock_untrusted"
        w.hub.desk.clock_doubt = lambda: ""
        await measured(w, 0)
        assert w.site.pumps[SITE].peer.clock_sure is True
        trust.confirm(HUB, w.site.pumps[SITE].skew_s)
        assert trust.doubt() == ""

    play(story)


@pytest.mark.rule("clock-2")
def test_a_box_in_doubt_still_takes_in_what_has_happened_and_lets_guests_in():
    async def story(w: World) -> None:
        [b] = w.hub.book(2, 40)
        await watched(w.site)
        w.site.clock.skew_s = -3600
        assert refused(lambda: w.site.book(1, 2)) == "clock_untrusted"
        assert refused(lambda: w.site.hold(1, 2)) == "clock_untrusted"
        await w.quiet()
        assert w.site.booking(b.id).status == "confirmed", "no safety rests on a clock: facts are taken in"
        assert w.site.check_in(b.id).state == "checked_in"
        w.site.clock.skew_s = 0

    play(story)


@pytest.mark.rule("clock-2")
def test_what_a_clock_in_doubt_calls_over_keeps_its_pin():
    async def story(w: World) -> None:
        [spare] = await stocked(w, 2, 20)
        [b] = w.site.book(1, 6)
        await w.quiet()

        def pins_kept() -> list:
            return w.site.read(lambda tx: tx.all("SELECT pin, state FROM pins WHERE pin IN (:b, :s) ORDER BY state", {"b": b.pin, "s": spare.secret}))

        def upkeep(years: int) -> None:
            w.site.clock.skew_s = years * 365 * 86_400
            for party in (w.site, w.hub):
                party.desk.clock_doubt = lambda: "it went ahead by years at once"
                party.write(pins.rested)
                party.write(lambda tx, desk: outage_pins.tidy(tx, desk, SITE))

        before = pins_kept()
        upkeep(3)
        upkeep(-3)
        w.site.clock.skew_s = 0
        assert pins_kept() == before and [state for _, state in before] == ["outage", "used"]
        assert w.site.read(lambda tx: pins.booking_by_pin(tx, SITE, b.pin)).id == b.id, "the guest comes in by it"
        assert w.site.read(lambda tx: outage_pins.stock(tx, SITE)).leased == w.hub.read(lambda tx: outage_pins.stock(tx, SITE)).free == 1

    play(story)
