"""Rows that have had their time go; whatever still waits, or is of a booking to come, stays."""

import msgspec

from shared.ledger import digests, old_rows, records, streams
from shared.model import Hold
from tests.two_sides import SITE, Party, World, play

DAY_S = 86_400


def ids(party: Party, table: str) -> set[str]:
    return {row[0] for row in party.read(lambda tx: tx.all(f"SELECT id FROM {table}"))}


def forget(party: Party) -> int:
    return party.write(old_rows.forget)


def story(script) -> None:
    play(script, equal=False)


def test_a_closed_question_goes_a_month_after_its_bookings_and_an_open_one_never():
    async def script(w: World):
        [b] = w.site.book(1, 6)

        def asked(tx, desk):
            for ask_id, booking_id in (("cancel|over", "never-known"), ("cancel|open", "never-known"), (f"cancel|{b.id}", b.id)):
                records.put_ask(tx, "cancel", SITE, ask_id, booking_id, desk.now())
            records.end_ask(tx, "cancel|over", "done")
            records.end_ask(tx, f"cancel|{b.id}", "refused", "already_checked_in", "The guest has checked in already.")

        w.site.write(asked)
        w.forward(old_rows.KEPT_S - 60)
        assert forget(w.site) == 0
        w.forward(120)
        assert forget(w.site) == 1 and ids(w.site, "asks") == {"cancel|open", f"cancel|{b.id}"}, "the guest may still look why"
        w.forward(DAY_S)
        assert forget(w.site) == 1 and ids(w.site, "asks") == {"cancel|open"}

    story(script)


def test_an_ended_hold_goes_after_a_month_and_one_that_is_held_or_was_declined_stays():
    async def script(w: World):
        def keep(tx, desk):
            for status in ("held", "used", "ended", "declined", "asked"):
                at = 0 if status in ("declined", "asked") else desk.now()
                records.put_hold(
                    tx,
                    Hold(
                        id=status, site_id=SITE, resource_id=f"{SITE}.box-1", start=w.slot0, end=w.slot0 + 4, status=status, expires_at=at
                    ),
                )

        w.hub.write(keep)
        w.forward(old_rows.KEPT_S - 60)
        assert forget(w.hub) == 0
        w.forward(120)
        w.hub.desk.clock_doubt = lambda: "nothing has confirmed the time"
        assert forget(w.hub) == 0
        w.hub.desk.clock_doubt = lambda: ""
        assert forget(w.hub) == 2 and ids(w.hub, "holds") == {"held", "declined", "asked"}

    story(script)


def test_a_place_that_was_declined_goes_a_month_after_its_time_and_what_was_ever_had_stays():
    async def script(w: World):
        [b], [never] = w.site.book(1, 6), w.site.book(2, 6)

        def keep(tx, desk):
            declined = msgspec.structs.replace(b, id="no-0001", status="declined", replaces=b.id, placed=True, sale_no=0)
            records.add_booking(tx, declined)
            records.add_booking(tx, msgspec.structs.replace(declined, id="no-0002", placed=False))
            records.add_booking(tx, msgspec.structs.replace(declined, id="no-0003", status="cancelled"))

        w.site.write(keep)
        w.forward(old_rows.KEPT_S + 6 * 900)
        assert forget(w.site) == 0, "its time is not a month ago"
        w.forward(5 * 900)
        assert forget(w.site) == 1 and ids(w.site, "bookings") == {b.id, never.id, "no-0002", "no-0003"}

    story(script)


def test_what_nobody_settled_leaves_the_conflict_queue_when_the_visit_is_over_but_not_that_the_books_differ():
    async def script(w: World):
        [b], [later] = w.site.book(1, 6), w.site.book(1, 12)
        w.site.block(1, 6, 4)
        w.site.write(lambda tx, desk: records.put_conflict(tx, SITE, b.id, "hub", digests.WHY, desk.now()))

        def open_ones() -> list[tuple[str, str]]:
            return sorted((row[0], row[2]) for row in w.site.read(lambda tx: records.conflicts_open(tx, SITE)))

        forget(w.site)
        assert open_ones() == sorted([(b.id, "block"), (b.id, digests.WHY), (later.id, "block")])
        w.forward(10 * 900)
        forget(w.site)
        assert open_ones() == sorted([(b.id, digests.WHY), (later.id, "block")])
        assert w.site.read(lambda tx: digests.doubtful(tx, SITE)) == [b.id]

    story(script)


def test_of_the_messages_that_were_not_understood_the_last_ones_stay():
    async def script(w: World):
        def keep(tx, desk, no):
            streams.keep(tx, desk, streams.lock(tx, SITE), no, "{}", "unknown type 'WeatherTold'")

        for no in range(1, old_rows.NOT_UNDERSTOOD_MAX + 4):
            if no % 500 == 0:  # they come in batches: many in one second
                w.forward(1)
            w.site.write(lambda tx, desk, n=no: keep(tx, desk, n))
        assert forget(w.site) == 3 and forget(w.site) == 0
        lowest, rows = w.site.read(lambda tx: tx.one("SELECT MIN(no), COUNT(*) FROM inbox"))
        assert (lowest, rows) == (4, old_rows.NOT_UNDERSTOOD_MAX) and w.site.stream().unknown_count == old_rows.NOT_UNDERSTOOD_MAX + 3

    story(script)
