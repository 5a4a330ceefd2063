"""pass-1 to pass-3: sale numbers, copies of passes that the site did not know, PINs."""

import random

import msgspec
import pytest

from shared.errors import Refusal
from shared.keys import KeyRing, SigningKey
from shared.ledger import attendance, pins, records
from shared.ledger.desk import Limits
from shared.messages import Sold
from shared.model import Booking
from shared.passes import Admit, copy_of, facts_of, may_enter, read, write
from tests.rules.story import deafen, story, until
from tests.two_sides import SITE, World

rule = pytest.mark.rule
HUB_KEY = SigningKey.from_seed(b"h" * 32)
RING = KeyRing([HUB_KEY.public("hub")])


def pass_of(w: World, b: Booking):
    """The facts that the guest's phone shows, signed by the hub and read at the door."""
    token = write(facts_of(b, HUB_KEY.id, int(w.hub.clock.now())), HUB_KEY)
    return read(token, RING, SITE)


def at_the_door(w: World, facts, *, known: Booking | None = None):
    """What the kiosk answers to a pass."""
    line = w.site.line(int(facts.resource_id[-1])) + w.slot0
    interval = copy_of(facts).claimed
    seated = w.site.read(lambda tx: attendance.seated_sale_no(tx, facts.resource_id, interval, facts.booking_id))
    known = known or w.site.booking(facts.booking_id)
    return may_enter(facts, known, w.site.attendance(facts.booking_id), line, facts.start * 900, seated_sale_no=seated)


def admit(w: World, facts) -> Booking:
    return w.site.write(lambda tx, desk: attendance.admit(tx, desk, copy_of(facts)))


@rule("pass-1")
@pytest.mark.parametrize("seed", range(5))
def test_every_sale_number_is_greater_than_all_that_its_seller_issued_or_heard(seed):
    @story(seed=seed)
    async def numbered(w: World):
        chance = random.Random(seed)
        for n in range(12):
            party = chance.choice(w.parties)
            heard = party.stream().sale_no
            [b] = party.book(1 if party.side == "site" else 2, (2 if party.side == "site" else 8) + 4 * n)
            assert b.sale_no > heard
            if chance.random() < 0.5:
                await w.quiet()
        await w.quiet()
        assert w.hub.stream().sale_no == w.site.stream().sale_no == max(b.sale_no for b in w.hub.bookings().values())

    numbered()


@rule("pass-1")
@story()
async def test_a_pass_names_site_bay_interval_booking_key_and_sale_number(w: World):
    [b] = w.hub.book(2, 12)
    facts = pass_of(w, b)
    assert (facts.site_id, facts.resource_id, facts.start, facts.end) == (SITE, b.resource_id, b.start, b.end)
    assert (facts.booking_id, facts.key_id, facts.sale_no) == (b.id, HUB_KEY.id, b.sale_no)


@rule("pass-2")
@story()
async def test_a_pass_of_a_sale_that_a_dark_site_never_heard_of_opens_the_door_and_becomes_a_copy_that_goes_up(w: World):
    await w.dark()
    [b] = w.hub.book(2, 12)
    facts = pass_of(w, b)
    assert at_the_door(w, facts) == Admit(resource_id=b.resource_id, as_copy=True)
    copy = admit(w, facts)
    w.site.check_in(copy.id)
    assert admit(w, facts) == copy
    await w.healed()
    assert (w.hub.attendance(b.id).state, w.site.booking(b.id).order_id) == ("checked_in", b.order_id)
    assert w.site.booking(b.id).pin == b.pin


@rule("pass-2")
@story()
async def test_an_unknown_pass_below_the_sites_line_is_refused(w: World):
    await w.dark()
    [b] = w.hub.book(2, 12)
    below = msgspec.structs.replace(facts_of(b, HUB_KEY.id, 0), start=w.slot0 + 4, end=w.slot0 + 8)
    answer = at_the_door(w, below)
    assert isinstance(answer, Refusal) and answer.code == "pass_not_seated"


@rule("pass-2")
@story()
async def test_a_known_bookings_status_beats_its_pass_also_after_a_cancel(w: World):
    [b] = w.hub.book(2, 12)
    facts = pass_of(w, b)
    await w.quiet()
    w.hub.cancel(b.id)
    await w.quiet()
    answer = at_the_door(w, facts)
    assert isinstance(answer, Refusal) and answer.code == "already_cancelled"


@rule("pass-2")
@story()
async def test_of_two_passes_for_one_slot_the_higher_sale_number_is_seated(w: World):
    [first] = w.hub.book(2, 12)
    await w.quiet()
    later = msgspec.structs.replace(first, id="b-later-pass", order_id="b-later-pass", sale_no=first.sale_no + 5)
    answer = at_the_door(w, facts_of(later, HUB_KEY.id, 0))
    assert answer == Admit(resource_id=first.resource_id, as_copy=True, unseats=True)
    copy = admit(w, facts_of(later, HUB_KEY.id, 0))
    assert not copy.displaced and w.site.booking(first.id).displaced
    earlier = at_the_door(w, facts_of(first, HUB_KEY.id, 0), known=msgspec.structs.replace(first, displaced=False))
    assert isinstance(earlier, Refusal) and earlier.code == "pass_not_seated"
    await w.quiet()


@rule("pass-2")
@rule("terr-5")
@story()
async def test_a_good_pass_takes_the_seat_of_an_override_that_nobody_came_for(w: World):
    await w.dark()
    [b] = w.hub.book(2, 12)
    for hour in range(3):
        w.site.book(1, 2 + 4 * hour)  # the site's sale numbers run ahead of the hub's while nothing is heard
    [walk_in] = w.site.book(2, 12, override=True)
    assert walk_in.sale_no > b.sale_no
    facts = pass_of(w, b)
    assert at_the_door(w, facts) == Admit(resource_id=b.resource_id, as_copy=True)
    copy = admit(w, facts)
    w.site.check_in(copy.id)
    assert not w.site.booking(b.id).displaced and w.site.booking(walk_in.id).displaced


@rule("pass-2")
@story()
async def test_a_booking_checks_in_once(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    first = w.site.check_in(b.id)
    assert w.site.check_in(b.id) == first
    assert at_the_door(w, facts_of(b, HUB_KEY.id, 0)) == Admit(resource_id=b.resource_id, again=True)


@rule("pass-3")
@story()
async def test_the_hub_gives_pins_that_the_site_leased_to_it_and_no_pin_is_given_twice(w: World):
    sold = [party.book(1 if party.side == "site" else 2, 8 + 4 * n)[0] for n in range(20) for party in w.parties]
    pins = [b.pin for b in sold]
    assert all(len(p) == 6 for p in pins) and len(set(pins)) == len(pins)
    await w.quiet()
    assert all(w.site.pin_of(b.pin).id == b.id for b in sold)


@rule("pass-3")
@story(limits=Limits(pin_lease=2, pin_floor=2))
async def test_where_the_hub_has_no_pin_left_the_site_gives_one_when_it_hears_of_the_sale(w: World):
    sold = [w.hub.book(2, 8 + 4 * n)[0] for n in range(4)]
    assert sorted(bool(b.pin) for b in sold) == [False, False, True, True]
    await w.quiet()
    pins = [w.hub.booking(b.id).pin for b in sold]
    assert all(pins) and len(set(pins)) == 4


@rule("pass-3")
@story(limits=Limits(pin_lease=1, pin_floor=1))
async def test_a_sale_that_is_told_again_without_a_pin_keeps_the_one_that_the_site_gave_it(w: World):
    _, [b] = w.hub.book(2, 12), w.hub.book(2, 20)
    told = w.hub.booking(b.id)
    order = w.hub.read(lambda tx: records.order(tx, b.order_id))
    await w.quiet()
    given = w.hub.booking(b.id).pin
    assert not told.pin and given, "the hub had a PIN left, or the site gave none"
    w.hub.say(Sold(order=order, bookings=(told,)))  # as after a repair, when what was not applied is told once more
    await w.quiet()
    assert w.hub.booking(b.id).pin == given == w.site.booking(b.id).pin
    assert w.site.pin_of(given).id == b.id


@rule("pass-3")
@story()
async def test_the_pin_of_a_cancelled_booking_opens_nothing_and_rests_before_it_is_drawn_again(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    w.hub.cancel(b.id)
    await w.quiet()
    assert w.site.pin_of(b.pin) is None
    state = w.site.read(lambda tx: tx.one("SELECT state FROM pins WHERE pin = :p", {"p": b.pin}))
    assert state == ("resting",)


@rule("pass-3")
@story()
async def test_no_pin_is_drawn_again_within_thirty_days_of_the_end_of_its_booking(w: World):
    [b] = w.site.book(1, 8)

    def state():
        return w.site.read(lambda tx: tx.one("SELECT state FROM pins WHERE pin = :p", {"p": b.pin}))

    w.forward(2 * 86_400)
    w.site.write(pins.rested)
    assert state() == ("resting",)
    w.forward(b.ends_at + 30 * 86_400 - int(w.site.clock.now()))
    w.site.write(pins.rested)
    assert state() == ("resting",)
    w.forward(120)
    w.site.write(pins.rested)
    assert state() is None


@rule("pass-3")
@story(limits=Limits(pin_lease=40, pin_floor=30))
async def test_where_the_door_controller_is_set_to_longer_pins_the_hub_gives_none_of_the_old_length_any_more(w: World):
    w.site.desk.limits = msgspec.structs.replace(w.site.desk.limits, pin_digits=8)
    w.site.tidy()
    await w.quiet()
    sold = [party.book(1 if party.side == "site" else 2, 8 + 4 * n)[0] for n in range(5) for party in w.parties]
    assert {len(b.pin) for b in sold} == {8}
    w.site.tidy()
    await w.quiet()
    left = w.hub.read(lambda tx: tx.all("SELECT DISTINCT LENGTH(pin) FROM pins WHERE state = 'free'"))
    assert left == [(8,)]


@rule("pass-3")
@story(limits=Limits(pin_lease=40, pin_floor=30))
async def test_the_site_leases_more_pins_before_the_hub_has_none(w: World):
    for n in range(20):
        w.hub.book(2, 8 + 4 * n)
    await w.quiet()
    w.site.tidy()
    await w.quiet()
    assert w.hub.read(lambda tx: tx.one("SELECT COUNT(*) FROM pins WHERE state = 'free'"))[0] >= 30


@rule("pass-2")
@story()
async def test_a_cancel_heard_after_a_pass_was_seen_does_not_take_the_guest_out_of_the_bay(w: World):
    deafen(w, SITE)
    [b] = w.hub.book(2, 12)
    copy = admit(w, pass_of(w, b))
    w.site.check_in(copy.id)
    w.hub.cancel(b.id)
    await until(lambda: w.hub.attendance(b.id) is not None)
    await w.healed()
    assert {w.hub.booking(b.id).status, w.site.booking(b.id).status} == {"confirmed"}
