"""What the site does again and again, by the clock. Due times rest in tables; the ticker only asks.

Invariant: every job may be late or missed without harm, because the next one looks at the books again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from site_agent.services import upkeep
from site_agent.services.kit import Kit

DIGESTS_EVERY_S = 3.0
HOLDS_EVERY_S = 5.0
PLACING_EVERY_S = 1.0
STOCK_EVERY_S = 5.0
PINS_EVERY_S = 60.0
SWEEP_EVERY_S = 60.0
WITNESS_EVERY_S = 20.0
SESSIONS_EVERY_S = 3600.0
FORGET_EVERY_S = 3600.0
DOORS_EVERY_S = 1.0
DOOR_HOLDS_EVERY_S = 15.0
OUTAGE_PINS_EVERY_S = 30.0
OUTAGE_PINS_WATCHED_EVERY_S = 20.0
BACKUPS_EVERY_S = 15.0
BAY_JOBS_EVERY_S = 10.0
QUIET_EVERY_S = 15.0
WATCH_EVERY_S = 60.0
NOTICES_EVERY_S = 2.0
READER_CODES_EVERY_S = 5.0
REFUSALS_TOLD_EVERY_S = 30.0


class Ticks(Protocol):
    """What is asked of a scheduler."""

    def every(self, seconds: float, fn: Callable[[], Awaitable[object] | object], name: str) -> None: ...


def register(ticker: Ticks, kit: Kit, upkeeper: upkeep.Upkeep) -> None:
    """Hands every recurring call of the site to the ticker."""
    ticker.every(upkeeper.hello_every_s, kit.link.hello, "hello")
    ticker.every(1.0, kit.link.tick, "link")
    ticker.every(1.0, kit.time.tick, "clock")
    ticker.every(1.0, kit.mark.tick, "mark")
    ticker.every(1.0, kit.outage.tick, "outage")
    ticker.every(1.0, kit.recovery.take_wishes, "recovery")
    ticker.every(1.0, lambda: kit.link.keys.take_wishes(kit.loaded.data_dir), "key-errands")
    ticker.every(DIGESTS_EVERY_S, kit.link.compare, "digests")
    ticker.every(HOLDS_EVERY_S, kit.bookings.expire, "expire")
    ticker.every(PLACING_EVERY_S, kit.placing.run, "placing")
    ticker.every(PINS_EVERY_S, upkeeper.pins, "pins")
    ticker.every(SWEEP_EVERY_S, kit.credentials.sweep, "door-credentials")
    ticker.every(1.0, kit.door_check.tick, "door-check")
    ticker.every(WITNESS_EVERY_S, kit.witness.look, "door-witness")
    ticker.every(OUTAGE_PINS_EVERY_S, kit.outage_pins.tick, "outage-pins")
    ticker.every(OUTAGE_PINS_WATCHED_EVERY_S, kit.outage_pins.watch, "outage-pins-watched")
    ticker.every(1.0, kit.door_trail.tick, "door-trail")
    ticker.every(1.0, kit.emergency.tick, "emergency")
    ticker.every(DOOR_HOLDS_EVERY_S, kit.door_holds.look, "door-holds")
    ticker.every(1.0, kit.door_cards.tick, "door-cards")
    ticker.every(FORGET_EVERY_S, kit.door_trail.tidy, "door-trail-tidy")
    ticker.every(DOORS_EVERY_S, lambda: kit.doors.tick(watched=kit.live.watching > 0), "doors")
    # a replaced box must lay none among its successor's: the newest would be an old one
    ticker.every(BACKUPS_EVERY_S, lambda: None if kit.recovery.retired() else kit.backups.tick(), "backups")
    ticker.every(WATCH_EVERY_S, kit.halts.watch.look, "watch")
    ticker.every(NOTICES_EVERY_S, kit.notices.tick, "notices")
    ticker.every(1.0, kit.alarms_up.tick, "alarms-up")
    ticker.every(READER_CODES_EVERY_S, kit.reader_codes.tick, "reader-codes")
    ticker.every(1.0, kit.rule_tally.flush, "refusals")
    if kit.worker is not None:
        ticker.every(1.0, kit.worker.tick, "work")
        ticker.every(1.0, kit.machines.tick, "machines")
        ticker.every(BAY_JOBS_EVERY_S, kit.bay_jobs.tick, "bay-jobs")
        ticker.every(FORGET_EVERY_S, kit.bay_jobs.tidy, "bay-jobs-old")
        ticker.every(QUIET_EVERY_S, kit.quiet.tick, "maintenance")
    ticker.every(REFUSALS_TOLD_EVERY_S, upkeeper.tell_refusals, "refusals-told")
    ticker.every(SESSIONS_EVERY_S, kit.people.sessions.purge, "sessions")
    ticker.every(1.0, kit.presence.tick, "presence")
    ticker.every(FORGET_EVERY_S, kit.presence.forget, "presence-old")
    ticker.every(STOCK_EVERY_S, kit.stock.tick, "stock")
    ticker.every(FORGET_EVERY_S, kit.stock.forget, "stock-old")
    ticker.every(FORGET_EVERY_S, upkeeper.forget, "old-rows")
