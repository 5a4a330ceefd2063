"""What is known of the bays' PCs beyond a restart: what each offered last, which were told to shut down, and until when nobody
is to be told of troubles.

A file beside the keys, a few hundred bytes. Invariant: losing it costs nothing but that knowledge; the next heartbeat brings the most of it back.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec

from shared.runtime import log
from site_agent.devices.bay_agent.keys import FOLDER

_log = log.get("site_agent.devices.bay_agent")


class _Kept(msgspec.Struct):
    """`offers`: bay -> (kind, what). `quiet`: bay -> unix seconds. `off`: bay -> the boot that it was told to end."""

    offers: dict[str, list[tuple[str, str]]] = {}
    quiet: dict[str, int] = {}
    off: dict[str, str] = {}


class KeptFile:
    """`read` once; `write` and `quiet` block on the disk."""

    def __init__(self, site_folder: Path) -> None:
        self._path = site_folder / FOLDER / "known.json"
        self._writing = threading.Lock()  # more than one thread writes, and the file beside has one name
        self._kept = _Kept()

    def read(self) -> None:
        try:
            self._kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("bay_agent.known_lost", error=str(error))

    def offers(self, bay: str) -> frozenset[tuple[str, str]]:
        return frozenset(self._kept.offers.get(bay, ()))

    def quiet_until(self, bay: str) -> int:
        return self._kept.quiet.get(bay, 0)

    def is_off(self, bay: str) -> bool:
        """Whether it was told to shut down, and has not been started since."""
        return bay in self._kept.off

    def heard(self, bay: str, offers: frozenset[tuple[str, str]], boot_id: str) -> bool:
        """A heartbeat; whether it is worth writing down."""
        news = offers != self.offers(bay)
        self._kept.offers[bay] = sorted(offers)
        if bay in self._kept.off and self._kept.off[bay] != boot_id:
            del self._kept.off[bay]
            news = True
        return news

    def shut_down(self, bay: str, boot_id: str) -> None:
        self._kept.off[bay] = boot_id

    def write(self) -> None:
        """A disk that does not take it is no reason not to hear the PC: it says the same after a restart."""
        try:
            self._write()
        except OSError as error:
            _log.warning("bay_agent.known_unwritable", error=str(error))

    def quiet(self, bay: str, until_at: int) -> None:
        """OSError where the disk does not take it."""
        self._kept.quiet[bay] = until_at
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._writing:
            beside = self._path.with_suffix(f".{os.getpid()}")
            beside.write_bytes(msgspec.json.encode(self._kept))
            beside.replace(self._path)
