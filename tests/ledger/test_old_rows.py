"""Rows that have had their time go; whatever still waits, or is of a booking to come, stays."""

from shared.ledger import old_rows, records, streams
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
                    tx, Hold(id=status, site_id=SITE, resource_id=f"{SITE}.box-1", start=w.slot0, end=w.slot0 + 4, status=status, expires_at=at)
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
