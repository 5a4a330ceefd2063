"""What the hub does by the clock, with its periods. Due times are in tables; these only look."""

from __future__ import annotations

import msgspec

from shared.errors import Broken, Refused
from shared.runtime import log
from shared.runtime.scheduler import Ticker

from .services import halts
from .services.hub import Hub
from .services.tray import Tray, Wish, take_words

RELEASE_EVERY_S = 5.0
EXPIRE_EVERY_S = 1.0
DIGESTS_EVERY_S = 3.0
REQUESTS_EVERY_S = 15.0
OUTAGE_PINS_EVERY_S = 60.0
FORGET_EVERY_S = 3600.0
BACKUPS_EVERY_S = 15.0
WATCH_EVERY_S = 60.0
NOTICES_EVERY_S = 2.0
SWEEP_EVERY_S = 5.0
PLACING_EVERY_S = 1.0
CONDITIONS_EVERY_S = 5.0
_log = log.get("hub.jobs")


def plan(ticker: Ticker, hub: Hub, tray: Tray) -> None:
    """Enters every call; `ticker.start()` begins them."""
    limits = hub.desk.limits
    ticker.every(limits.hello_every_s, hub.links.hello, "hello")
    ticker.every(1.0, hub.links.tick, "tick")
    ticker.every(1.0, hub.trust.tick, "clock")
    ticker.every(1.0, hub.mark.tick, "mark")
    ticker.every(RELEASE_EVERY_S, hub.links.release, "release")
    ticker.every(DIGESTS_EVERY_S, hub.links.compare, "digests")
    ticker.every(EXPIRE_EVERY_S, hub.holds.expire, "holds.expire")
    ticker.every(OUTAGE_PINS_EVERY_S, hub.outage_pins.tidy, "outage-pins")
    ticker.every(REQUESTS_EVERY_S, hub.changes.expire, "bookings.expire")
    ticker.every(PLACING_EVERY_S, hub.placing.run, "placing")
    ticker.every(FORGET_EVERY_S, hub.changes.forget, "answers.forget")
    ticker.every(BACKUPS_EVERY_S, hub.backups.tick, "backups")
    ticker.every(WATCH_EVERY_S, hub.watch.look, "watch")
    ticker.every(1.0, lambda: take_wishes(hub, tray), "tray")
    ticker.every(1.0, hub.worker.tick, "work")
    ticker.every(NOTICES_EVERY_S, hub.notices.tick, "notices")
    ticker.every(1.0, hub.rule_tally.flush, "refusals")
    ticker.every(SWEEP_EVERY_S, hub.notifying.sweep, "notifications")
    ticker.every(FORGET_EVERY_S, hub.notifying.forget, "notifications.forget")
    ticker.every(FORGET_EVERY_S, hub.phone_checks.forget, "phone-checks.forget")
    ticker.every(CONDITIONS_EVERY_S, hub.digest.look, "conditions")


async def take_wishes(hub: Hub, tray: Tray) -> int:
    """Carries out what commands left in the tray. One that cannot be read is taken away and told. Returns how many were carried out."""
    done = 0
    for body, take_away in tray.wishes():
        try:
            wish = msgspec.json.decode(body, type=Wish)
        except msgspec.MsgspecError as error:
            _log.error("tray.unreadable", why=str(error))
        else:
            await hub.api_keys.take(wish, hub.desk.now())
            if wish.clock_shown_at:
                await _confirm_clock(hub, wish.clock_shown_at)
            if wish.lift is not None:
                await hub.db.write(lambda tx, lift=wish.lift: halts.lift(tx, hub.desk, lift))
            if wish.signing_key:
                await _change_key(hub, wish.signing_key)
            if wish.void_outage_pins:
                await _void(hub, wish.void_outage_pins)
            if wish.granted is not None or wish.vouched is not None:
                await hub.db.write(lambda tx, left=wish: take_words(tx, hub.desk, left))
            done += 1
        take_away()
    return done


async def _change_key(hub: Hub, how: str) -> None:
    try:
        await (hub.keys.withdraw_now(hub.desk.now()) if how == "withdraw" else _rotate(hub))
    except Broken as error:
        _log.error("tray.key_not_changed", why=error.detail)
    hub.links.hello()


async def _rotate(hub: Hub) -> None:
    hub.keys.rotate()
    await hub.keys.tick(hub.desk.now())


async def _void(hub: Hub, site_id: str) -> None:
    try:
        await hub.outage_pins.void(site_id, "command")
    except Refused as no:
        _log.error("outage_pins.not_voided", why=no.refusal.detail)


async def _confirm_clock(hub: Hub, shown_at: int) -> None:
    try:
        await hub.trust.vouch("operator", shown_at, "")
    except Refused as no:
        _log.error("clock.not_confirmed", why=no.refusal.detail)
