"""The cases that have a name: each is the meeting of several rules that has gone wrong in real systems."""

import asyncio
import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest

from shared import slots
from shared.keys import KeyRing, SigningKey
from shared.ledger import availability, frontdesk, records
from shared.ledger.desk import Limits
from shared.messages import ProfileStated
from shared.profiles import profile, to_json
from shared.runtime.transport import Faults
from tests.rules.harm import displaced, refused
from tests.rules.story import deafen, statuses, story, until
from tests.two_sides import SITE, World

rule = pytest.mark.rule
ONE_SECOND_A_HOP = Faults(delay_s=(1, 1))


# ---- a hold that outlives a release
@rule("terr-2")
@rule("terr-6")
@pytest.mark.parametrize("used", [True, False], ids=["used", "left to end"])
def test_a_hold_outlives_a_release(used):
    @story(limits=Limits(hold_s=7200))
    async def held(w: World):
        h = w.hub.hold(2, 10)
        w.forward(2 * 3600 - 60)
        w.hub.release()
        await w.quiet()
        assert (w.hub.line(2), w.site.line(2)) == (10, 10), "the release stops at the hold"
        assert [b.status for b in w.site.book(2, 10)] == ["requested"]
        await w.quiet()
        if used:
            [b] = w.hub.book(2, 10, hold_id=h.id)
            assert b.status == "confirmed"
        w.forward(120)
        for _ in range(2):
            w.hub.tidy()
            await w.quiet()
        assert w.site.line(2) == 16, "with the hold gone the release goes on"
        assert w.hub.hold_of(h.id).status == ("used" if used else "ended")
        if used:
            assert w.site.booking(b.id).status == "confirmed" and w.site.line(2) > 10

    held()


# ---- two boxes of one group in different territories
@rule("terr-10")
@pytest.mark.parametrize("asker", ["hub", "site"])
@pytest.mark.parametrize("hops", [0, 1, 2, 3, 4, 5], ids=lambda n: f"cut after {n} hops")
@pytest.mark.parametrize("fate", ["confirmed", "declined", "withdrawn", "too late"])
def test_a_group_over_both_territories_is_sold_whole_or_not_at_all(asker, fate, hops):
    @story(faults=ONE_SECOND_A_HOP)
    async def group(w: World):
        asking, other = (w.hub, w.site) if asker == "hub" else (w.site, w.hub)
        if fate == "declined":
            deafen(w, "hub" if asker == "hub" else SITE)
            other.book(1 if asker == "hub" else 2, 12)
        parts = asking.book([1, 2], 12)
        assert {b.status for b in parts} == {"requested", "pending"}
        own = 2 if asker == "hub" else 1
        assert refused(lambda: asking.book(own, 12)) == "slot_taken", "our own part waits claimed"
        await asyncio.sleep(hops + 0.5)
        w.cut()
        if fate == "withdrawn":
            refused(lambda: asking.cancel(parts[0].id))
        await asyncio.sleep(90 if fate == "too late" else 1)
        await w.healed()
        await w.quiet()
        ends = {s for pair in statuses(w, *(b.id for b in parts)) for s in pair if s}
        never = {"declined", "cancelled"}
        if fate == "confirmed":
            assert ends == {"confirmed"}
        elif fate == "declined":
            assert ends <= never
        elif fate == "too late":
            assert ends == {"confirmed"} or ends <= never
            assert hops < 2 or ends == {"confirmed"}, "what was decided in time stands"
        elif hops < 4:
            assert ends <= never, "withdrawn before the answer was heard: nothing is sold"
        assert not displaced(w)
        if ends <= never:
            assert not [c for c in w.hub.claims().values() if c[1] in {b.id for b in parts}]

    group()


@rule("terr-10")
@rule("terr-9")
@story()
async def test_withdrawing_one_part_of_a_waiting_group_withdraws_them_all(w: World):
    deafen(w, "hub")
    parts = w.hub.book([1, 2], 12)
    await until(lambda: w.site.bookings())
    w.hub.cancel(parts[1].id)
    await w.healed()
    await w.quiet()
    assert {s for pair in statuses(w, *(b.id for b in parts)) for s in pair if s} == {"cancelled"}
    assert w.hub.claims() == w.site.claims() == {}


# ---- a cancel that crosses a check-in
@rule("own-2")
@rule("own-3")
@pytest.mark.parametrize("bay", [1, 2], ids=["the site's booking", "the hub's booking"])
@pytest.mark.parametrize("hops", range(5))
@pytest.mark.parametrize("first", ["cancel", "check-in"])
def test_a_cancel_crosses_a_check_in_and_the_guest_in_the_bay_stays(bay, hops, first):
    @story(faults=ONE_SECOND_A_HOP)
    async def crossing(w: World):
        [b] = (w.site if bay == 1 else w.hub).book(bay, 12 if bay == 2 else 6)
        await w.quiet()
        if first == "cancel":
            w.hub.cancel(b.id)
        else:
            w.site.check_in(b.id)
        await asyncio.sleep(hops + 0.5)
        code = refused(lambda: w.site.check_in(b.id) if first == "cancel" else w.hub.cancel(b.id))
        await w.quiet()
        await asyncio.sleep(5)
        await w.quiet()
        a = w.site.attendance(b.id)
        if a is not None and a.state == "checked_in":
            assert statuses(w, b.id) == [("confirmed", "confirmed")]
        else:
            assert (statuses(w, b.id), code) == ([("cancelled", "cancelled")], "illegal_move")

    crossing()


# ---- a move across the line while the customer cancels
@rule("own-4")
@pytest.mark.parametrize(("old_at", "new_at"), [((2, 12), (1, 12)), ((1, 12), (2, 12)), ((1, 6), (1, 20)), ((2, 12), (3, 20))])
@pytest.mark.parametrize("mover, canceller", list(itertools.product(("hub", "site"), repeat=2)))
@pytest.mark.parametrize("hops", range(10))
def test_a_move_while_the_customer_cancels_ends_with_one_answer_at_every_interleaving(old_at, new_at, mover, canceller, hops):
    """`hops`: how far messages got (one second each, to the broker and from it) before the cut in which the customer cancels."""

    @story(faults=ONE_SECOND_A_HOP)
    async def crossing(w: World):
        parties = {"hub": w.hub, "site": w.site}
        [b] = (w.hub if old_at[0] == 2 else w.site).book(*old_at)
        await w.quiet()
        new = parties[mover].move(b.id, *new_at)
        await asyncio.sleep(hops + 0.5)
        w.cut()
        code = refused(lambda: parties[canceller].cancel(b.id))
        await w.healed()
        await w.quiet()
        pairs = statuses(w, b.id, new.id)
        live = [pair for pair in pairs if "confirmed" in pair]
        if code:
            assert (code, pairs) == ("already_cancelled", [("cancelled", "cancelled"), ("confirmed", "confirmed")])
        else:
            assert live == [], f"cancelled, and yet {pairs}"

    crossing()


# ---- the same id with another body
@rule("terr-6")
@pytest.mark.parametrize("bay", [1, 2], ids=["near", "far"])
@pytest.mark.parametrize("seller, second", list(itertools.product(("hub", "site"), repeat=2)))
def test_the_same_id_with_another_body_is_refused_on_both_sides_and_changes_nothing(bay, seller, second):
    @story()
    async def reused(w: World):
        parties = {"hub": w.hub, "site": w.site}
        [b] = parties[seller].book(bay, 12, booking_id="client-made-id")
        await w.quiet()
        before = statuses(w, b.id), w.hub.claims()
        for other in ({"bay": bay, "start": 16}, {"bay": 3, "start": 12}, {"bay": bay, "start": 12, "hours": 2}, {"bay": [bay, 3], "start": 12}):
            assert refused(lambda body=other: parties[second].book(**body, booking_id="client-made-id")) == "id_reused"
        await w.quiet()
        assert (statuses(w, b.id), w.hub.claims()) == before

    reused()


@rule("terr-6")
@story()
async def test_one_id_used_for_two_bookings_in_a_cut_is_declined_by_whoever_hears_second_and_the_books_agree(w: World):
    deafen(w, "hub")
    [near] = w.site.book(1, 6, booking_id="client-made-id")
    [far] = w.hub.book(1, 20, booking_id="client-made-id")
    assert (near.status, far.status) == ("confirmed", "requested")
    w.network.heal("hub")
    await asyncio.sleep(20)
    assert w.site.booking(near.id).start == near.start and w.site.booking(near.id).status == "confirmed"
    assert not w.hub.stream().stopped and not w.site.stream().stopped


@rule("terr-6")
@story()
async def test_ids_of_holds_and_blocks_are_used_once_too(w: World):
    w.hub.hold(2, 12, hold_id="hold-made-once")
    w.site.block(1, 20, block_id="block-made-once")
    assert refused(lambda: w.hub.hold(2, 20, hold_id="hold-made-once")) == "id_reused"
    assert refused(lambda: w.site.block(1, 30, block_id="block-made-once")) == "id_reused"
    w.hub.drop_hold("hold-made-once")


# ---- a quote honoured in a cut after prices changed (P5)
@rule("terr-7")
@pytest.mark.parametrize(("seller", "bay", "start"), [("site", 1, 6), ("hub", 2, 12)])
def test_a_quote_is_honoured_in_a_cut_after_prices_changed(seller, bay, start):
    key = SigningKey.from_seed(b"h" * 32)

    @story()
    async def quoted(w: World):
        w.ring = KeyRing([key.public("hub")])
        party = w.hub if seller == "hub" else w.site
        wanted = w.hub.wanted(bay, start)
        house = w.hub.read(lambda tx: w.hub.houses.of(tx, SITE))
        promised = w.hub.read(lambda tx: frontdesk.quote(tx, w.hub.desk, house, wanted, key=key))
        dearer = with_price(9900)
        w.hub.say(ProfileStated(profile=msgspec.Raw(to_json(dearer)), version=7))
        w.hub.write(lambda tx, desk: records.put_document(tx, "profile", SITE, SITE, 7, to_json(dearer).decode()))
        await w.quiet()
        await w.dark()
        plain = party.book_wanted(msgspec.structs.replace(w.hub.wanted(bay, start + 8)))[0]
        kept = party.book_wanted(msgspec.structs.replace(wanted, quote=promised.tokens[0]))[0]
        assert (plain.price.total_cents, kept.price) == (11286, promised.price)
        other_time = msgspec.structs.replace(w.hub.wanted(bay, start + 4), quote=promised.tokens[0])
        assert refused(lambda: party.book_wanted(other_time)) == "quote_invalid"
        w.forward(16 * 60)
        late = msgspec.structs.replace(w.hub.wanted(bay, start + 4, booking_id=wanted.parts[0].booking_id + "x"), quote=promised.tokens[0])
        assert refused(lambda: party.book_wanted(late)) == "quote_expired"
        await w.healed()
        assert w.hub.booking(kept.id).price == w.site.booking(kept.id).price == promised.price

    quoted()


def with_price(cents_per_hour: int):
    known = profile("business")
    base = tuple(msgspec.structs.replace(b, cents_per_hour=cents_per_hour) for b in known.tariff.base)
    return msgspec.structs.replace(known, tariff=msgspec.structs.replace(known.tariff, base=base))


# ---- two of a kind pressing at once at kiosk and web
@rule("B5")
@rule("terr-1")
@rule("terr-4")
@rule("terr-6")
@pytest.mark.parametrize(("bay", "start"), [(1, 12), (2, 4), (2, 6), (2, 8), (2, 12)])
@pytest.mark.parametrize("hops", [-3, -2, -1, 0, 1, 2, 3])
def test_two_guests_press_at_once_at_kiosk_and_web_and_one_of_them_has_the_bay(bay, start, hops):
    """`hops` is by how much the web is earlier (negative: later) than the kiosk."""

    @story(faults=ONE_SECOND_A_HOP)
    async def pressing(w: World):
        pressed = [w.hub, w.site] if hops >= 0 else [w.site, w.hub]
        asked = []
        for party in pressed:
            try:
                asked += [(party, b.id) for b in party.book(bay, start)]
            except frontdesk.Refused as e:
                assert e.refusal.code in ("slot_taken", "straddles_line")
            await asyncio.sleep(abs(hops) + 0.5 if party is pressed[0] else 0)
        await w.quiet()
        await asyncio.sleep(12)
        await w.quiet()
        ends = sorted(party.booking(i).status for party, i in asked)
        assert ends in (["confirmed"], ["confirmed", "declined"])
        assert not displaced(w)

    pressing()


# ---- a booking across midnight on both nights when the clocks change
NIGHTS = [
    ("America/Halifax", date(2026, 11, 1), 50),
    ("America/Halifax", date(2027, 3, 14), 46),
    ("America/St_Johns", date(2026, 11, 1), 50),
    ("America/St_Johns", date(2027, 3, 14), 46),
    ("Europe/London", date(2026, 10, 25), 50),
    ("Europe/London", date(2027, 3, 28), 46),
]


@rule("terr-1")
@pytest.mark.parametrize(("zone", "sunday", "rows"), NIGHTS, ids=lambda x: str(x))
def test_a_booking_across_midnight_on_the_night_the_clocks_change_is_sold_and_priced_on_either_side(zone, sunday, rows):
    noon = datetime(sunday.year, sunday.month, sunday.day, 12, tzinfo=ZoneInfo(zone)) - timedelta(days=1)
    start_at = int(noon.astimezone(UTC).timestamp())

    @story(zone=zone, start_at=start_at)
    async def night(w: World):
        at_22 = slots.parse_local(zone, f"{sunday - timedelta(days=1)}T22:00")[0] - w.slot0
        sold = [w.site.book(1, at_22, 6)[0], w.hub.book(2, at_22, 6)[0]]
        assert [b.status for b in sold] == ["confirmed", "confirmed"]
        for b in sold:
            assert b.ends_at - b.starts_at == 6 * 3600
            assert (b.price.total_cents, sum(line.cents for line in b.price.lines)) == (23940, 23940)
            assert sum(line.minutes for line in b.price.lines) == 360
            assert slots.label(zone, b.end)[:5] == ("03:00" if rows == 50 else "05:00")
        await w.quiet()
        for party in w.parties:
            house = party.read(lambda tx, p=party: p.houses.of(tx, SITE))
            saturday, day = (
                party.read(lambda tx, p=party, h=house, d=d: availability.day(tx, p.desk, h, d, link_up=True, heard_at=0))
                for d in (sunday - timedelta(days=1), sunday)
            )
            assert (len(saturday.rows), len(day.rows)) == (48, rows)
            for bay in (0, 1):
                assert (saturday.resources[bay].cells.count("x"), day.resources[bay].cells.count("x")) == (4, 8)
            assert len(day.resources[2].cells) == rows and "x" not in day.resources[2].cells

    night()
