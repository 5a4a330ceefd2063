"""Who calls about the bays' machines: vendor -> the file that reads its calls. A new one is one file and one line here.

    caller = open_caller("ninjaone", table, around)      # the table [machines.ninjaone] of the configuration

Its file offers `SETTINGS` (a strict struct; secrets as names of files) and `open_caller(settings, around)`. The calls come in at
`/hooks/machines/<vendor>`. Invariant: a mistake in a table keeps the hub from starting with a sentence.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from shared.runtime import config as files
from shared.runtime.config import ConfigError

from ..ports import MachineCaller
from .channels import Around

CALLERS = {"ninjaone": "ninjaone_calls"}


def open_caller(vendor: str, table: Mapping[str, Any], around: Around) -> MachineCaller:
    """Who reads the vendor's calls, as the table wants it. Raises ConfigError."""
    if vendor not in CALLERS:
        raise ConfigError(f"{around.where}: nobody calls as 'machines.{vendor}'. Known here: {', '.join(CALLERS)}.")
    file = importlib.import_module(f".{CALLERS[vendor]}", __package__)
    return files.opened(file.open_caller, table, file.SETTINGS, around, f"machines.{vendor}")
