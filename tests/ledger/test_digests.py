"""Digests over the link: what one side lost or has otherwise is resent by the owner, or named in the conflict queue (loss-8)."""

import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ledger import digests, records
from shared.messages import DigestStated, RowsStated
from shared.model import Booking
from shared.reconcile import Row
from tests.invariants import assert_equal_books, assert_sound
from tests.rules import random_world
from tests.rules.harm_digests import forge_status, lose_attendance, lose_booking, state_digests
from tests.two_sides import NOON, SITE, play

pytestmark = pytest.mark.rule("loss-8")


def report(party) -> digests.Report:
    return party.read(lambda tx: digests.report(tx, SITE))


def doubtful(party) -> list[str]:
    return party.read(lambda tx: digests.doubtful(tx, SITE))


async def a_busy_day(w) -> dict[str, str]:
    """Bookings of both sides, one cancelled, two attended, one withdrawn before it was sold. Returns what they are by name."""
    named = {
        "site": w.site.book(1, 2)[0].id,
        "hub": w.hub.book(2, 20)[0].id,
        "far": w.hub.book(3, 400)[0].id,
        "site_attended": w.site.book(2, 2)[0].id,
        "hub_before_release": w.hub.book(3, 10)[0].id,
        "cancelled": w.hub.book(2, 28)[0].id,
    }
    await w.quiet()
    w.hub.cancel(named["cancelled"])
    w.site.check_in(named["site_attended"])
    await w.quiet()
    w.forward(3600)
    w.hub.tidy()
    await w.quiet()
    return named


async def compared(w) -> None:
    for _ in range(2):
        state_digests(w)
        await w.quiet()


def test_equal_books_stay_as_they_are():
    async def story(w):
        await a_busy_day(w)
        await compared(w)
        for party in (w.hub, w.site):
            told = report(party)
            assert (told.differences, told.resent, told.mended, told.unsettled, doubtful(party)) == (0, 0, 0, 0, [])
            assert told.stated_at == told.answered_at == told.compared_at == party.desk.now()

    play(story)


@pytest.mark.parametrize("name", ["site", "hub", "far", "site_attended", "hub_before_release", "cancelled"])
@pytest.mark.parametrize("side", ["hub", "site"])
def test_a_lost_row_comes_back_or_is_named(name, side):
    async def story(w):
        named = await a_busy_day(w)
        lose_booking(getattr(w, side), named[name])
        await compared(w)
        assert outcome(w, named[name]) in ("mended", "named")

    play(story, equal=False)


def outcome(w, booking_id) -> str:
    """`mended`: the books are sound and equal again. `named`: both sides name the booking, and nothing else, to people. Else what they name."""
    if doubtful(w.hub) or doubtful(w.site):
        return "named" if doubtful(w.hub) == doubtful(w.site) == [booking_id] else f"{doubtful(w.hub)} and {doubtful(w.site)}"
    assert_sound(w)
    assert_equal_books(w)
    return "mended" if report(w.hub).mended + report(w.site).mended == 1 else "nothing was mended and nothing is named"


@settings(max_examples=25)
@given(
    name=st.sampled_from(["site", "hub", "far", "site_attended", "hub_before_release", "cancelled"]),
    side=st.sampled_from(["hub", "site"]),
    harm=st.sampled_from([lose_booking, lose_attendance, lambda p, b: forge_status(p, b, "cancelled"), lambda p, b: forge_status(p, b, "declined")]),
)
def test_any_damage_to_one_row_is_mended_or_named(name, side, harm):
    async def story(w):
        named = await a_busy_day(w)
        party = getattr(w, side)
        before = (party.booking(named[name]), party.attendance(named[name]))
        harm(party, named[name])
        if (party.booking(named[name]), party.attendance(named[name])) == before:
            return
        await compared(w)
        assert outcome(w, named[name]) in ("mended", "named")

    play(story, equal=False)


def test_the_one_who_does_not_own_it_gets_it_back_with_its_slots_its_guest_and_its_customer():
    async def story(w):
        [b] = w.site.book(1, 2)
        w.site.check_in(b.id)
        await w.quiet()
        lose_booking(w.hub, b.id)
        await compared(w)
        assert w.hub.booking(b.id).status == "confirmed" and w.hub.attendance(b.id).state == "checked_in"
        assert (report(w.hub).differences, report(w.hub).mended, report(w.site).resent) == (1, 1, 1)
        journal = w.hub.read(lambda tx: [row[2] for row in records.journal_of(tx, SITE)])
        assert {"books differ", "resent"} <= set(journal)

    play(story)


def test_what_its_owner_has_never_heard_of_is_for_people_on_both_sides_until_the_books_agree():
    async def story(w):
        [b] = w.site.book(1, 2)
        await w.quiet()
        kept = w.site.copy_of_books()
        lose_booking(w.site, b.id)
        await compared(w)
        assert doubtful(w.site) == doubtful(w.hub) == [b.id]
        assert report(w.site).unsettled == report(w.hub).unsettled == 1, "told twice, counted once"
        lost = kept.execute("SELECT * FROM bookings WHERE id = ?", (b.id,)).fetchone()
        claims = kept.execute("SELECT * FROM claims WHERE ref = ?", (b.id,)).fetchall()

        def put_back(tx, _):
            tx.run(f"INSERT INTO bookings VALUES ({', '.join('?' * len(lost))})", lost)
            tx.many("INSERT INTO claims VALUES (?, ?, ?, ?)", claims)

        w.site.write(put_back)
        await compared(w)
        assert doubtful(w.site) == doubtful(w.hub) == []

    play(story)


def test_a_displaced_mark_that_the_hub_lost_is_set_again():
    async def story(w):
        [b] = w.site.book(1, 4)
        w.site.block(1, 4)
        await w.quiet()
        assert w.hub.booking(b.id).displaced

        def unmark(tx, _):
            doc = records.text(msgspec.structs.replace(records.booking(tx, b.id), displaced=False))
            tx.run("UPDATE bookings SET displaced = 0, doc = :d WHERE id = :b", {"d": doc, "b": b.id})

        w.hub.write(unmark)
        await compared(w)
        assert w.hub.booking(b.id).displaced and not doubtful(w.hub)

    play(story)


def test_it_is_due_after_a_cut_once_all_is_applied_and_daily_and_no_oftener():
    async def story(w):
        rounds = digests.Rounds(w.site.db, w.site.desk, SITE)
        assert not await rounds.tick(False), "nobody to tell"
        assert await rounds.tick(True), "a start counts as a cut"
        await w.quiet()
        assert not await rounds.tick(True)
        w.forward(120)
        assert not rounds.due(True), "no cut and no day has passed"
        await w.dark()
        assert not rounds.due(w.site.up())
        w.site.book(1, 6)
        w.heal()
        assert not rounds.due(True), "what waited is not applied yet"
        await w.healed()
        assert await rounds.tick(w.site.up())
        await w.quiet()
        assert not rounds.due(False) and not rounds.due(True), "a link that comes and goes makes one statement a minute"
        w.forward(61)
        assert await rounds.tick(True)
        await w.quiet()
        w.forward(86_400)
        assert await rounds.tick(True), "a day has passed"

    play(story)


def test_nothing_is_stated_to_a_peer_that_knows_no_digests_nor_over_a_stream_that_stands():
    async def story(w):
        def state(party):
            return party.write(lambda tx, desk: digests.state(tx, desk, SITE))

        w.site.write(lambda tx, _: tx.run("UPDATE streams SET peer_schema = 1"))
        assert not state(w.site)
        w.hub.write(lambda tx, _: tx.run("UPDATE streams SET stopped = 'row 7: not understood'"))
        assert not state(w.hub)

    play(story, equal=False)


@pytest.mark.parametrize(
    "message",
    [
        DigestStated(from_day=20_000, lines={"halifax.box-1": 5}, digests=()),
        RowsStated(resource_id=f"{SITE}.box-1", day=1, line=1, rows=(Row("testa-birdie-0001", "halifax.box-1", 96, 100, "live"),)),
    ],
)
def test_a_digest_of_another_facility_is_kept_and_changes_nothing(message):
    async def story(w):
        w.site.say(message)
        await w.quiet()
        assert w.hub.stream().unknown_count == 1 and not w.hub.stream().stopped
        assert report(w.hub) == digests.Report()

    play(story)


def test_a_line_that_rises_meanwhile_is_no_difference():
    async def story(w):
        w.hub.book(2, 12)
        w.hub.book(2, 20)
        state_digests(w)
        w.forward(2 * 3600)
        w.hub.tidy()
        state_digests(w)
        await w.quiet()
        assert w.site.line(2) > 12, "the line has passed one of the bookings"
        assert not report(w.hub).differences and not report(w.site).differences

    play(story)


def test_random_worlds_give_no_false_alarm(monkeypatch):
    """Whatever people and the broker did, once the link is at rest the digests are equal."""

    async def and_compare(w, mischief):
        await play_out(w, mischief)
        await compared_everywhere(w)

    async def compared_everywhere(w):
        state_digests(w)
        for site_id, site in w.sites.items():
            await w.healed(site_id)
            for party in (w.hub, site):
                told = party.read(lambda tx, s=site_id: digests.report(tx, s))
                assert told.compared_at and not told.differences, (site_id, party.side, told)

    play_out = random_world.play_out
    monkeypatch.setattr(random_world, "play_out", and_compare)
    for seed in range(4):
        random_world.run(seed)


def test_stating_five_thousand_bookings_takes_a_moment():
    async def story(w):
        start = NOON // 900 + 200

        def fill(tx, _):
            for i in range(5000):
                b = Booking(
                    id=f"filler-{i:06d}", order_id=f"order-{i}", site_id=SITE, resource_id=f"{SITE}.box-{i % 3 + 1}", start=start + i, end=start + i + 4,
                    sale_no=i + 1,
                )  # fmt: skip
                records.add_booking(tx, b)

        w.hub.write(fill)
        began = time.perf_counter()
        w.hub.write(lambda tx, desk: digests.state(tx, desk, SITE))
        assert time.perf_counter() - began < 1

    play(story, equal=False)
