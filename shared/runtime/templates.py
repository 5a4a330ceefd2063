"""Jinja as every page of ours has it: everything escaped, what is missing is an error, files of the product that change only with it.

Not for: texts that operators write, which have an environment of their own. Invariant: a template is compiled once in a process, however many
apps are made in it.
"""

from __future__ import annotations

from pathlib import Path
from types import CodeType
from typing import Any

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket


class _Compiled(BytecodeCache):
    """Code by the key of its template, good while the source's checksum is the same."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, CodeType]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        checksum, code = self._kept.get(bucket.key, ("", None))
        if checksum == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None, "Jinja dumps what it has compiled"
        self._kept[bucket.key] = (bucket.checksum, bucket.code)


_compiled = _Compiled()


def environment(*folders: Path, **given: Any) -> Environment:
    """The templates in these folders, the first that has one; `given` is known to each of them."""
    env = Environment(
        loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined, auto_reload=False, trim_blocks=True, lstrip_blocks=True,
        bytecode_cache=_compiled,
    )  # fmt: skip
    env.globals.update(given)
    return env
