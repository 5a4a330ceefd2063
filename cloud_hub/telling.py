"""Opens the channels that the configuration names, and the worker that writes by them.

Invariant: a channel is opened once, at the start, and a mistake in its table keeps the hub from starting with a sentence; nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.ledger.worker import Doer, Worker
from shared.runtime import config as files
from shared.runtime.clock import Clock
from shared.runtime.config import ConfigError
from shared.runtime.database import Database, InlineWriter

from .config import Config
from .ports import Channel, Hooks, MachineCaller
from .services.customer_links import CustomerLinks
from .services.letters import Letters
from .services.link import Links
from .services.notifying import PLAN, Notifying
from .services.outgoing import Messages, Plans, Standing
from .services.staff_notes import KIND, Notes
from .services.texts import Texts
from .services.trial_letters import Trials
from .services.wording import Wording
from .vendors import channels as registry
from .vendors import machine_callers

#: plans made at once; they are work of our own books
PLANS_AT_ONCE = 50
#: letters under way at once with a vendor: below what each allows (Twilio 100 for an account), and no more than it gains by
AT_ONCE = {"twilio": 80, "sendgrid": 16, "smtp": 4, "web_push": 32, "slack": 1}

#: the texts that come with the product are read once, whoever is built in this process
the_wording = lru_cache(maxsize=1)(Wording)

Opened = tuple[dict[str, Channel], dict[str, Hooks]]


def around_of(config: Config, now: Callable[[], float]) -> registry.Around:
    """What a vendor's file may have of this configuration."""
    base = config.file.parent
    return registry.Around(
        secret=lambda file, key: files.secret("", file, base, key=key),
        path=lambda file: Path(files.resolve(file, config.file)),
        now=now,
        public_url=config.hub.http.public_url,
        where=str(config.file),
    )


def callers(config: Config, now: Callable[[], float]) -> dict[str, MachineCaller]:
    """Who calls about the bays' machines, by vendor. Raises ConfigError."""
    around = around_of(config, now)
    return {vendor: machine_callers.open_caller(vendor, table, around) for vendor, table in config.hub.machines.items()}


def opened(config: Config, now: Callable[[], float]) -> Opened:
    """The channels by their name, and who reads what vendors report, by vendor. Raises ConfigError."""
    around = around_of(config, now)
    found: dict[str, Channel] = {}
    hooks: dict[str, Hooks] = {}
    for vendor, table in config.hub.channels.items():
        channel = registry.open_channel(vendor, table, around)
        if channel.name in found:
            raise ConfigError(
                f"{config.file}: [channels.{vendor}] and [channels.{found[channel.name].vendor}] are both for {channel.name!r}."
            )
        found[channel.name] = channel
        reader = registry.open_hooks(vendor, table, around)
        if reader is not None:
            hooks[vendor] = reader
    return found, hooks


def telling(
    config: Config, db: Database | InlineWriter, desk: Desk, clock: Clock, houses: Houses, links: Links, own_links: CustomerLinks, chance: Callable[[], float],
    channels: dict[str, Channel], staff: Notes | None = None,
) -> tuple[Notifying, Worker]:  # fmt: skip
    """Who decides what is told, and who does it. `staff`: who writes the notes to the staff."""
    letters = Letters(desk, houses, links, own_links, the_wording(), Texts(), config.hub.http.public_url)
    standing = Standing(desk, houses)
    notifying = Notifying(db, desk, telling=bool(channels))
    lanes = {PLAN: PLANS_AT_ONCE, **{one.vendor: AT_ONCE.get(one.vendor, 4) for one in channels.values()}}
    doers: dict[str, Doer] = {
        "plan": Plans(standing, letters, channels),
        "message": Messages(standing, letters, channels, houses),
        "test": Trials(channels),
    }
    if staff is not None:
        doers[KIND] = staff
    return notifying, Worker(db, clock, chance, lanes=lanes, doers=doers, doubt=lambda: desk.clock_doubt())
