"""What goes wrong without the guards of the streams: stream-2 to stream-8."""

from __future__ import annotations

import asyncio

from shared.messages import Message
from shared.runtime.transport import Faults
from tests.rules.harm import displaced, must, scenario
from tests.two_sides import SITE, World


class SlotsSwapped(Message, frozen=True, tag=True):
    """A type of a later release that takes and frees slots: nobody here knows it."""

    booking_id: str


async def lost_batch(w: World) -> str:
    """The site sells, and the batch that tells of it is lost. Returns the booking's id."""
    w.network.faults = Faults(loss=1)
    [b] = w.site.book(1, 6)
    w.network.faults = Faults()
    return b.id


@scenario(rule="stream-2", guard="applied_once")
async def the_broker_plays_old_batches_again(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    w.site.check_in(b.id)
    w.hub.cancel(b.id)
    await w.quiet()
    w.site.attend(b.id, "")  # staff had checked in the wrong guest; the booking, whose cancel was refused, stands
    await w.quiet()
    w.network.replay(SITE, 1000)
    await asyncio.sleep(0.1)
    must(w.site.booking(b.id).status == "confirmed", "a cancel that had been refused came again and took the booking")


@scenario(rule="stream-2", guard="no_gap")
async def a_batch_is_lost_and_the_next_arrives(w: World):
    first = await lost_batch(w)
    [second] = w.site.book(1, 20)
    await w.quiet()
    must(w.hub.booking(second.id), "the later sale was not heard")
    must(w.hub.booking(first), "a sale was lost on the way and the stream went on as if it had been heard")


@scenario(rule="stream-4", guard="only_nonce_counts")
async def a_broker_replays_hellos_of_a_dead_site(w: World):
    await w.dark()
    for _ in range(50):
        w.network.replay("hub")
        await asyncio.sleep(0.01)
        must(not w.hub.up(), "old hellos made a dead link look alive")


@scenario(rule="stream-6", guard="must_understand_stops", equal=False)
async def a_row_that_takes_slots_is_not_understood(w: World):
    w.site.say(SlotsSwapped(booking_id="b-1"))
    [later] = w.site.book(1, 6)
    await asyncio.sleep(1)
    must(w.hub.booking(later.id) is None, "rows were applied over one that nobody understood")
    must(w.hub.stream().stopped, "nobody was told that the stream stands still")


@scenario(rule="stream-7", guard="chain_continues", equal=False)
async def a_site_comes_back_from_an_old_copy(w: World):
    old = w.site.copy_of_books()
    w.site.book(1, 6)
    await w.quiet()
    w.cut()
    w.site.roll_back(old)
    [sold] = w.site.book(1, 20)
    w.heal()
    await asyncio.sleep(10)
    seen = w.hub.booking(sold.id) is not None
    must(seen or w.hub.stream().stopped or w.site.stream().stopped, "a rolled-back site sold on, and nobody noticed that it is not heard")


@scenario(rule="stream-8", guard="facts_never_fail")
async def a_fact_finds_its_slots_taken(w: World):
    await w.dark()
    w.site.book(2, 12, override=True)
    w.hub.book(2, 12)
    [after] = w.site.book(1, 6)
    w.heal()
    await asyncio.sleep(15)
    must(not w.hub.stream().stopped, "the stream stands still for want of a slot")
    must(w.hub.booking(after.id), "what was sold after it is not heard")
    must(displaced(w), "the fact was lost instead of being marked")
