"""What the hub does by the clock, with its periods. Due times are in tables; these only look."""

from __future__ import annotations

import msgspec

from shared.runtime import log
from shared.runtime.scheduler import Ticker

from .services.api_keys import KeyWish
from .services.hub import Hub
from .services.tray import Tray

RELEASE_EVERY_S = 5.0
EXPIRE_EVERY_S = 1.0
REQUESTS_EVERY_S = 15.0
FORGET_EVERY_S = 3600.0
_log = log.get("hub.jobs")


def plan(ticker: Ticker, hub: Hub, tray: Tray) -> None:
    """Enters every call; `ticker.start()` begins them."""
    limits = hub.desk.limits
    ticker.every(limits.hello_every_s, hub.links.hello, "hello")
    ticker.every(1.0, hub.links.tick, "tick")
    ticker.every(RELEASE_EVERY_S, hub.links.release, "release")
    ticker.every(EXPIRE_EVERY_S, hub.holds.expire, "holds.expire")
    ticker.every(REQUESTS_EVERY_S, hub.changes.expire, "bookings.expire")
    ticker.every(FORGET_EVERY_S, hub.changes.forget, "answers.forget")
    ticker.every(1.0, lambda: take_wishes(hub, tray), "tray")


async def take_wishes(hub: Hub, tray: Tray) -> int:
    """Carries out what commands left in the tray. One that cannot be read is taken away and told. Returns how many were carried out."""
    done = 0
    for body, take_away in tray.wishes():
        try:
            wish = msgspec.json.decode(body, type=KeyWish)
        except msgspec.MsgspecError as error:
            _log.error("tray.unreadable", why=str(error))
        else:
            await hub.api_keys.take(wish, hub.desk.now())
            done += 1
        take_away()
    return done
