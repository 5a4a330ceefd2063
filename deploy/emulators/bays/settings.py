"""What the emulated bays are told: one TOML file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class BaySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One bay. `port`: its switch's (channel 0 the PC's plug, 1 the lights; 0: a free one), `generation` which of Shelly's. `site_url`, `key_file`: of
    the site agent that its PC speaks with; `device_id`: what the emulated NinjaOne calls the PC (0: nothing)."""

    id: str
    name: str
    site_url: str
    key_file: str
    mac: str
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    generation: Literal[1, 2] = 2
    password: str = ""
    device_id: int = 0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`port`: the desk's; `wake_port`: where PCs are called up (UDP; 0: a free one). `boot_s`: from power to a running bay agent. `scripts`, `services`:
    names that the PCs' settings allow. `ninjaone_url`: an emulated NinjaOne that is told when a PC gets or loses its power (empty: nobody is)."""

    bays: Annotated[tuple[BaySpec, ...], Meta(min_length=1, max_length=200)]
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8150
    wake_port: Annotated[int, Meta(ge=0, le=65535)] = 8151
    boot_s: Annotated[float, Meta(ge=0, le=600)] = 8.0
    heartbeat_s: Annotated[float, Meta(ge=1, le=60)] = 20.0
    scripts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    ninjaone_url: str = ""
    timezone: str = "America/Halifax"


def settings_of(path: Path) -> Settings:
    """The settings in a TOML file; names of files are as seen from it. ValueError with what is wrong."""
    found = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Settings)
    ids = [bay.id for bay in found.bays]
    if len(set(ids)) < len(ids):
        raise ValueError("Two bays have the same id.")
    if wrong := next((bay.mac for bay in found.bays if not _MAC.fullmatch(bay.mac)), ""):
        raise ValueError(f"{wrong!r} is no address of a network card: it is written as 02:00:00:00:01:01.")
    bays = tuple(msgspec.structs.replace(bay, key_file=str(path.absolute().parent / bay.key_file)) for bay in found.bays)
    return msgspec.structs.replace(found, bays=bays)
