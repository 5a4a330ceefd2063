"""The ways to the bays' PCs that there are: kind -> the file that speaks to it. A new way is one folder and one line here.

    machines = open_machines("ninjaone", table, around)      # the table [machines.way.ninjaone] of the configuration

A way's file offers `SETTINGS` (a strict struct; secrets as names of files) and `open_machines(settings, around)`. Invariant: the file of a way
is imported when that way is opened, not before.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shared.model import Resource
from shared.runtime import config as files
from shared.runtime.clock import Clock
from shared.runtime.config import ConfigError
from site_agent.ports import Machines

MACHINES: dict[str, str] = {"ninjaone": "ninjaone.machines", "bay_agent": "bay_agent.machines", "lan": "lan.machines"}


class Around(NamedTuple):
    """What a way needs of the site. `secret(file, key)`: the secret in the file that the setting `key` + "_file" names ("" for no file; raises
    ConfigError); `folder`: where it may keep what must outlive a restart; `where`: the configuration's file, for its errors; `bays`: the
    facility's resources as the configuration has them; `called(bay)`: what
    people call one."""

    secret: Callable[[str, str], str]
    folder: Path
    clock: Clock
    where: str = "config"
    bays: tuple[Resource, ...] = ()
    called: Callable[[Resource], str] = lambda bay: bay.name


def open_ways(way: Mapping[str, Mapping[str, Any]], around: Around) -> dict[str, Machines]:
    """All ways of the configuration in its order, which is that of preference. Raises ConfigError."""
    return {kind: open_machines(kind, table, around) for kind, table in way.items()}


def open_machines(kind: str, table: Mapping[str, Any], around: Around) -> Machines:
    """The way as the table wants it; it connects when it is asked. Raises ConfigError."""
    if kind not in MACHINES:
        raise ConfigError(f"{around.where}: there is no way 'machines.way.{kind}'. Known here: {', '.join(MACHINES)}.")
    file = importlib.import_module(f".{MACHINES[kind]}", __package__)
    return files.opened(file.open_machines, table, file.SETTINGS, around, f"machines.way.{kind}")
