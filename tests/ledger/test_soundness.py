"""The invariants in production: what is planted in the books is found, stops the sales of its bay only, and ends with a person's word."""

import pytest
from msgspec.structs import replace

from shared.errors import Broken, Unavailable
from shared.ledger import digests, frontdesk, lines, records, soundness, standing, watch
from shared.ledger.desk import Limits
from shared.messages import FacilityStated
from shared.model import Attendance, Block, Facility, Interval, Price, PriceLine
from tests.rules.harm import refused
from tests.rules.story import until
from tests.two_sides import SITE, Party, World, play

BOX_1, BOX_2 = f"{SITE}.box-1", f"{SITE}.box-2"
ALWAYS = Interval(0, 1 << 40)


def told(party: Party, resource_id: str = BOX_1) -> list[tuple[str, str]]:
    return [(b.kind, b.ref) for b in party.read(lambda tx: soundness.bay(tx, SITE, resource_id, ALWAYS))]


def run(party: Party, sql: str, **params) -> None:
    party.write(lambda tx, desk: tx.run(sql, params))


def halted(party: Party) -> list[str]:
    return [h.resource_id for h in party.read(lambda tx: standing.halts(tx, SITE))]


def lift(party: Party, resource_id: str = BOX_1) -> tuple[soundness.Breach, ...]:
    return party.write(lambda tx, desk: watch.lift(tx, desk, SITE, resource_id, by="staff-ada", reason="looked at it"))


def story(script) -> None:
    play(script, equal=False)


def test_a_booking_without_its_slots_stops_its_bay_and_takes_them_back_when_it_is_lifted():
    async def script(w: World):
        [b] = w.site.book(1, 6)
        run(w.site, "DELETE FROM claims WHERE ref = :r AND slot = :s", r=b.id, s=b.start)
        looking = watch.Watch(w.site.db, w.site.desk)
        assert await looking.look() == 1 and await looking.look() == 0
        assert told(w.site) == [("unclaimed", b.id)] and halted(w.site) == [BOX_1]
        assert refused(lambda: w.site.book(1, 2)) == "bay_halted" and not refused(lambda: w.site.book(2, 2))
        assert lift(w.site) == () and told(w.site) == [] and halted(w.site) == []
        assert not refused(lambda: w.site.book(1, 2)) and refused(lambda: w.site.book(1, 6)) == "slot_taken"
        what = [row[2:] for row in w.site.read(lambda tx: records.journal_of(tx, SITE))]
        assert ("sales halted", BOX_1) in [row[:2] for row in what] and ("sales resumed", BOX_1, "looked at it") in what

    story(script)


def test_two_live_bookings_in_one_slot_are_found_and_the_one_without_the_slot_is_displaced_when_it_is_lifted():
    async def script(w: World):
        [a], [b] = w.site.book(1, 6), w.site.book(1, 12)
        doc = records.text(replace(b, start=a.start, end=a.end))
        run(w.site, "DELETE FROM claims WHERE ref = :r", r=b.id)
        run(w.site, "UPDATE bookings SET first = :f, past = :p, doc = :d WHERE id = :id", f=a.start, p=a.claimed.end, d=doc, id=b.id)
        await watch.Watch(w.site.db, w.site.desk).look()
        assert told(w.site) == [("overlap", b.id)] and halted(w.site) == [BOX_1]
        assert lift(w.site) == () and w.site.booking(b.id).displaced and not w.site.booking(a.id).displaced
        assert [row[0] for row in w.site.read(lambda tx: records.conflicts_open(tx, SITE))] == [b.id]

    story(script)


def test_a_change_that_a_guest_in_the_bay_has_undone_stops_no_sales_while_its_new_owner_has_still_to_take_it_back():
    """The hub makes a booking longer and then releases its hours; the guest has checked in, so the old one stands again (own-1, own-3)."""

    async def script(w: World):
        [b] = w.hub.book(2, 8)
        await w.quiet()
        await w.dark()
        longer = w.hub.extend(b.id, 30)
        w.site.check_in(b.id)
        w.forward(7200)
        w.hub.write(lambda tx, desk: lines.release(tx, desk, SITE, link_fresh=True))  # the last moment before the cut was noticed
        seen = []
        w.hub.db.listen(lambda events: seen.append((w.hub.booking(longer.id), told(w.hub, BOX_2))))
        w.heal()
        await until(lambda: w.hub.booking(longer.id).status == "cancelled", 60)
        assert any(new.withdrawn and new.status == "confirmed" for new, _ in seen)
        assert not [breach for _, breach in seen if breach]

    play(script, limits=Limits(batch_max=1))


@pytest.mark.parametrize("kind", ["hold", "booking", "block", "pending"])
def test_a_slot_taken_by_what_is_over_is_found_and_freed_when_it_is_lifted(kind):
    async def script(w: World):
        run(w.site, "INSERT INTO claims VALUES (:r, :s, :k, 'ghost-0001')", r=BOX_1, s=w.slot0 + 6, k=kind)
        await watch.Watch(w.site.db, w.site.desk).look()
        assert told(w.site) == [("unowned", "ghost-0001")] and halted(w.site) == [BOX_1]
        assert lift(w.site) == () and told(w.site) == [] and not refused(lambda: w.site.book(1, 6))

    story(script)


def test_a_slot_beside_its_booking_is_found_and_let_go_when_it_is_lifted():
    async def script(w: World):
        [b] = w.site.book(1, 6)
        run(w.site, "INSERT INTO claims VALUES (:r, :s, 'booking', :b)", r=BOX_2, s=b.start, b=b.id)
        await watch.Watch(w.site.db, w.site.desk).look()
        assert told(w.site, BOX_2) == [("unowned", b.id)] and halted(w.site) == [BOX_2]
        assert lift(w.site, BOX_2) == () and told(w.site) == told(w.site, BOX_2) == []

    story(script)


def test_a_price_whose_lines_do_not_add_up_is_found_and_let_stand_by_a_person():
    async def script(w: World):
        [b] = w.site.book(1, 6)
        wrong = Price(currency="CAD", total_cents=5000, lines=(PriceLine(code="rate", label="1 h", cents=4000),))
        w.site.write(lambda tx, desk: records.put_booking(tx, replace(b, price=wrong)))
        looking = watch.Watch(w.site.db, w.site.desk)
        assert await looking.look() == 1 and told(w.site) == [("price", b.id)] and halted(w.site) == [BOX_1]
        assert [x.kind for x in lift(w.site)] == ["price"] and halted(w.site) == []
        assert await looking.look_at_all() == 0 and halted(w.site) == [], "what a person let stand stops nothing again"
        assert [s.state for s in w.site.read(lambda tx: watch.known(tx, SITE))] == ["accepted"]

    story(script)


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM outbox WHERE no = (SELECT MAX(no) - 1 FROM outbox)",
        "DELETE FROM outbox WHERE no = (SELECT MAX(no) FROM outbox)",
        "UPDATE outbox SET body = replace(body, 'Testa', 'Resta')",
        "UPDATE streams SET sent_no = sent_no + 1",
        "UPDATE streams SET acked_no = sent_no + 1",
        "UPDATE lines SET release_no = 1000000",
    ],
)
def test_a_hole_or_a_change_in_what_is_to_be_told_stops_the_whole_site(harm):
    async def script(w: World):
        w.cut()
        for start in (2, 8, 14):
            w.site.book(1, start)
        assert w.site.read(lambda tx: soundness.stream(tx, SITE)) == ([], -1)
        run(w.site, harm)
        await watch.Watch(w.site.db, w.site.desk).look()
        assert halted(w.site) == [""] and refused(lambda: w.site.book(2, 2)) == "bay_halted"

    story(script)


def test_a_long_stream_is_followed_in_stretches_and_a_change_in_any_of_them_is_found():
    async def script(w: World):
        w.cut()
        for n in range(7):
            w.site.say(FacilityStated(facility=Facility(id=SITE, name=f"Name {n}", zone=w.zone, version=n + 2)))
        found, after = w.site.read(lambda tx: soundness.stream(tx, SITE, -1, 3))
        assert not found and after >= 3
        run(w.site, "UPDATE outbox SET body = replace(body, 'Name 5', 'Name 9')")
        seen = []
        while after >= 0:
            found, after = w.site.read(lambda tx, a=after: soundness.stream(tx, SITE, a, 3))
            seen += found
        assert [b.kind for b in seen] == ["stream"]

    story(script)


def rename(w: World, n: int) -> None:
    w.site.say(FacilityStated(facility=Facility(id=SITE, name=f"Name {n}", zone=w.zone, version=n + 2)))


def test_a_fault_far_back_in_a_long_stream_is_let_stand_like_any_other():
    async def script(w: World):
        w.cut()
        for n in range(soundness.STREAM_ROWS + 20):
            rename(w, n)
        run(w.site, "UPDATE outbox SET body = replace(body, 'Name 510', 'Name 5x0')")
        looking = watch.Watch(w.site.db, w.site.desk)
        assert await looking.look() == 1 and halted(w.site) == [""]
        assert [x.kind for x in lift(w.site, "")] == ["stream"]
        assert await looking.look() == 0 and halted(w.site) == [], "it would stop again each minute, whatever a person says"

    story(script)


def test_what_was_let_stand_of_one_epoch_is_no_word_on_the_next():
    async def script(w: World):
        w.cut()
        rename(w, 1)
        run(w.site, "UPDATE outbox SET body = replace(body, 'Name', 'Nome')")
        looking = watch.Watch(w.site.db, w.site.desk)
        assert await looking.look() == 1 and len(lift(w.site, "")) == 1 and await looking.look() == 0
        run(w.site, "UPDATE streams SET epoch = 'the one after the repair'")
        run(w.site, "UPDATE outbox SET epoch = 'the one after the repair'")
        assert await looking.look() == 1 and halted(w.site) == [""]

    story(script)


def test_a_changed_journal_stays_told_when_a_stop_of_the_site_is_lifted():
    async def script(w: World):
        w.cut()
        rename(w, 1)
        w.site.write(lambda tx, desk: records.journal(tx, desk.now(), SITE, "staff-ada", "override", "b-1", "he stands here"))
        run(w.site, "UPDATE outbox SET body = replace(body, 'Name', 'Nome')")
        run(w.site, "UPDATE journal SET actor = 'staff-bo' WHERE what = 'override'")
        assert await watch.Watch(w.site.db, w.site.desk).look() == 2
        assert [x.kind for x in lift(w.site, "")] == ["stream"]
        states = {s.breach.kind: s.state for s in w.site.read(lambda tx: watch.known(tx, SITE))}
        assert states == {"stream": "accepted", "journal": "open"}

    story(script)


def test_a_site_whose_line_lies_above_the_hubs_stops_the_bay_at_the_hub():
    async def script(w: World):
        looking = watch.Watch(w.hub.db, w.hub.desk)
        fits = w.site.read(lambda tx: dict(tx.all("SELECT resource_id, line FROM lines")))
        epoch = w.site.stream().epoch
        looking.lines_heard(SITE, fits, epoch)
        looking.lines_heard(SITE, {**fits, "bedford.box-9": 5}, epoch)
        looking.lines_heard(SITE, {**fits, BOX_2: fits[BOX_2] + 4}, "an epoch that is over")
        await looking.stop()
        assert halted(w.hub) == []
        looking.lines_heard(SITE, {**fits, BOX_2: fits[BOX_2] + 4}, epoch)
        await looking.stop()
        assert halted(w.hub) == [BOX_2] and refused(lambda: w.hub.book(2, 20)) == "bay_halted"

    story(script)


def test_a_line_that_the_hubs_disk_forgot_is_raised_again_by_a_repair_when_the_stop_is_lifted():
    async def script(w: World):
        looking = watch.Watch(w.hub.db, w.hub.desk)
        run(w.hub, f"UPDATE lines SET line = line - 4 WHERE resource_id = '{BOX_2}'")
        looking.lines_heard(SITE, w.site.read(lambda tx: dict(tx.all("SELECT resource_id, line FROM lines"))), w.site.stream().epoch)
        await looking.stop()
        assert halted(w.hub) == [BOX_2]
        assert lift(w.hub, BOX_2) == () and refused(lambda: w.hub.book(2, 20)) == "fenced"
        await until(lambda: not w.hub.stream().fenced and w.hub.up() and w.site.up() and not w.site.stream().repair)
        await w.quiet()
        assert w.hub.line(2) == w.site.line(2) and halted(w.hub) == []
        assert not refused(lambda: w.hub.book(2, 20))
        looking.lines_heard(SITE, {BOX_2: w.slot0 + w.hub.line(2) + 8}, w.site.stream().epoch)
        await looking.stop()
        assert halted(w.hub) == [BOX_2], "what was lifted once is no word on a later breach"

    story(script)


def test_while_the_copies_do_not_fit_the_lines_are_left_to_the_repair():
    async def script(w: World):
        run(w.hub, "UPDATE streams SET stopped = 'the chains differ'")
        assert w.hub.read(lambda tx: soundness.lines_told(tx, SITE, {BOX_2: 1 << 40}, w.site.stream().epoch)) == []

    story(script)


def test_a_journal_that_was_changed_is_told_but_stops_no_bay():
    async def script(w: World):
        w.site.write(lambda tx, desk: records.journal(tx, desk.now(), SITE, "staff-ada", "override", "b-1", "he stands here"))
        run(w.site, "UPDATE journal SET actor = 'staff-bo'")
        assert await watch.Watch(w.site.db, w.site.desk).look() == 1
        [one] = w.site.read(lambda tx: watch.known(tx, SITE))
        assert one.breach.kind == "journal" and "is not what was written" in one.breach.detail and halted(w.site) == []

    story(script)


def test_what_was_done_to_closed_books_is_found_before_the_first_sale_where_it_is_near_and_soon_after_where_it_is_far():
    async def script(w: World):
        far = w.slot0 + 30 * 96
        for resource_id, slot in ((BOX_1, w.slot0 + 6), (BOX_2, far)):
            run(w.site, "INSERT INTO claims VALUES (:r, :s, 'hold', 'ghost-0001')", r=resource_id, s=slot)
        looking = watch.Watch(w.site.db, w.site.desk)
        await looking.begin()
        assert halted(w.site) == [BOX_1]
        await until(lambda: halted(w.site) == [BOX_1, BOX_2])
        await looking.stop()

    story(script)


def test_a_disk_that_takes_no_halt_keeps_no_side_from_starting_and_is_asked_again(monkeypatch):
    async def script(w: World):
        run(w.site, "INSERT INTO claims VALUES (:r, :s, 'hold', 'ghost-0001')", r=BOX_1, s=w.slot0 + 6)
        looking = watch.Watch(w.site.db, w.site.desk)

        async def full(job):
            raise Unavailable("The disk is full.")

        with monkeypatch.context() as patched:
            patched.setattr(w.site.db, "write", full)
            await looking.begin()
        assert await looking.look() == 1 and halted(w.site) == [BOX_1]

    story(script)


def test_after_the_first_look_only_what_changed_is_looked_at_and_the_rest_when_all_is_due():
    async def script(w: World):
        looking = watch.Watch(w.site.db, w.site.desk)
        await looking.look()
        run(w.site, "INSERT INTO claims VALUES (:r, :s, 'hold', 'ghost-0001')", r=BOX_1, s=w.slot0 + 6)
        assert await looking.look() == 0, "nobody said that this bay had changed"
        w.forward(watch.ALL_EVERY_S)
        assert await looking.look() == 1

    story(script)


def test_an_older_document_is_not_written_over_a_newer():
    async def script(w: World):
        k = Block(id="block-0001", site_id=SITE, resource_id=BOX_1, start=w.slot0, end=w.slot0 + 4, version=3)
        a = Attendance(booking_id="b-1", site_id=SITE, state="checked_in", version=3)
        w.site.write(lambda tx, desk: (records.put_block(tx, k), records.put_attendance(tx, a)))
        older = [
            lambda tx, desk: records.put_block(tx, replace(k, version=2)),
            lambda tx, desk: records.put_attendance(tx, replace(a, version=2)),
            lambda tx, desk: records.put_document(tx, "facility", SITE, SITE, 0, "{}"),
        ]
        for write in older:
            with pytest.raises(Broken, match="older"):
                w.site.write(write)

    story(script)


def test_a_bookings_version_never_goes_back_whatever_the_writer_held():
    async def script(w: World):
        [b] = w.site.book(1, 6)
        for _ in range(3):
            w.site.write(lambda tx, desk: records.put_booking(tx, w.site.booking(b.id)))
        assert w.site.write(lambda tx, desk: records.put_booking(tx, b)).version == 5

    story(script)


def test_a_booking_on_which_the_two_sides_differ_for_long_stops_its_bay():
    async def script(w: World):
        [b] = w.site.book(1, 6)
        looking = watch.Watch(w.site.db, w.site.desk)
        w.site.write(lambda tx, desk: records.put_conflict(tx, SITE, b.id, "hub", digests.WHY, desk.now()))
        assert await looking.look() == 0, "the answer may be on its way"
        w.forward(soundness.DOUBT_S)
        assert await looking.look() == 1 and halted(w.site) == [BOX_1]
        assert [x.kind for x in lift(w.site)] == ["books"] and await looking.look() == 0 and halted(w.site) == []

    story(script)


def test_nothing_is_sold_at_a_price_whose_lines_do_not_add_up(monkeypatch):
    async def script(w: World):
        wrong = Price(currency="CAD", total_cents=5000, lines=(PriceLine(code="rate", label="1 h", cents=4000),))
        monkeypatch.setattr(frontdesk, "price_of", lambda *args, **more: wrong)
        with pytest.raises(Broken, match="does not add up"):
            w.site.book(1, 6)
        assert not w.site.bookings() and not w.site.claims()

    story(script)
