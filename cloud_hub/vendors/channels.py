"""The channels there are: vendor -> the file that speaks to it. A new channel is one file and one line here.

    channel = open_channel("twilio", table, around)      # the table [channels.twilio] of the configuration
    hooks = open_hooks("twilio", table, around)          # None where the vendor reports nothing, or was not set up to

A vendor's file offers `SETTINGS` (a strict struct; secrets as names of files) and `open_channel(settings, around)`; its hooks' file
`open_hooks(settings, around)`. Invariant: the file of a vendor, and with it the vendor's package, is imported when that vendor is opened, not before:
together they weigh more than the rest of the hub.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shared.runtime import config as files
from shared.runtime.config import ConfigError

from ..ports import Channel, Hooks

#: below the hub's public address; one for each vendor that calls us
HOOKS_PATH = "/hooks/"


class Around(NamedTuple):
    """What a channel needs of the hub. `secret(file, key)`: the secret in the file that the setting `key` + "_file" names ("" for no file;
    raises ConfigError); `path`: a file of the configuration, resolved; `now`: unix seconds; `public_url`: what vendors reach us by, "" where they
    cannot; `where`: the configuration's file, for its errors."""

    secret: Callable[[str, str], str]
    path: Callable[[str], Path]
    now: Callable[[], float]
    public_url: str = ""
    where: str = "config"

    def hook_url(self, vendor: str) -> str:
        """Where the vendor calls us; "" where it cannot."""
        return f"{self.public_url.rstrip('/')}{HOOKS_PATH}{vendor}" if self.public_url else ""


class Entry(NamedTuple):
    """The channel's name, the file with the wire, and the file of the hooks if the vendor calls back."""

    channel: str
    wire: str
    hooks: str = ""


CHANNELS: dict[str, Entry] = {
    "twilio": Entry("sms", "twilio_sms", "twilio_hooks"),
    "sendgrid": Entry("mail", "sendgrid_mail", "sendgrid_hooks"),
    "smtp": Entry("mail", "smtp_mail"),
    "web_push": Entry("push", "web_push"),
    "slack": Entry("slack", "slack"),
}


def open_channel(vendor: str, table: Mapping[str, Any], around: Around) -> Channel:
    """The vendor's channel as the table wants it; it connects when it sends. Raises ConfigError."""
    wire = _file(_entry(vendor, around).wire)
    return files.opened(wire.open_channel, table, wire.SETTINGS, around, f"channels.{vendor}")


def open_hooks(vendor: str, table: Mapping[str, Any], around: Around) -> Hooks | None:
    """Who reads the vendor's calls to us; None where there are none. Raises ConfigError."""
    entry = _entry(vendor, around)
    if not entry.hooks:
        return None
    return files.opened(_file(entry.hooks).open_hooks, table, _file(entry.wire).SETTINGS, around, f"channels.{vendor}")


def _entry(vendor: str, around: Around) -> Entry:
    if vendor not in CHANNELS:
        raise ConfigError(f"{around.where}: there is no channel 'channels.{vendor}'. Known here: {', '.join(CHANNELS)}.")
    return CHANNELS[vendor]


def _file(name: str) -> Any:
    return importlib.import_module(f".{name}", __package__)
