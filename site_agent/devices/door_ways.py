"""The door controllers that there are: kind -> the file that speaks to it. A new one is one folder and one line here (D9).

    doors = open_doors(loaded.config.doors, around)          # the table [doors] of the configuration

A controller's file offers `open_doors(settings, around)`, with the settings as the table has them. Invariant: the file of a controller is
imported when that controller is opened, not before.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from shared.runtime.clock import Clock
from shared.runtime.config import ConfigError
from site_agent.ports import Doors

DOORS: dict[str, str] = {"unifi": "unifi.doors"}


class DoorTable(Protocol):
    """What the configuration says of a controller, whatever its kind: where it is, the file with our token, the certificate it must show, the file
    with the secret by which it signs its calls to us."""

    kind: str
    host: str
    port: int
    token_file: str
    fingerprint: str
    certificate_file: str
    webhook_secret_file: str


class Around(NamedTuple):
    """What a controller's file needs of the site. `secret(file, key)`: the secret in the file that the setting `key` + "_file" names ("" for no
    file; raises ConfigError); `path`: a file of the configuration, resolved; `where`: the configuration's file, for its errors."""

    secret: Callable[[str, str], str]
    path: Callable[[str], Path]
    clock: Clock
    where: str = "config"


def open_doors(settings: DoorTable, around: Around) -> Doors:
    """The controller as the table wants it; it connects when it is started or asked. Raises ConfigError."""
    if settings.kind not in DOORS:
        raise ConfigError(f"{around.where}: there is no door controller of the kind {settings.kind!r}. Known here: {', '.join(DOORS)}.")
    file = importlib.import_module(f".{DOORS[settings.kind]}", __package__)
    try:
        return file.open_doors(settings, around)
    except ValueError as error:
        raise ConfigError(f"{around.where}: the settings 'doors' are wrong: {error}") from None
