"""Configuration: a TOML file into a struct, or one sentence that names the file and the key that is wrong.

What it is not: defaults (the struct has them) or an environment reader.
Invariant: a process never starts on a config it has not understood wholly: unknown keys, wrong types and missing files refuse.
"""

import difflib
import logging
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T", bound=msgspec.Struct)
Made = TypeVar("Made")
CONFIG_MAX = 1_048_576  # bytes
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>.*?)`(?: - at `\$(?P<at>.*)`)?\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<key>.*?)`(?: - at `\$(?P<at>.*)`)?\Z", re.DOTALL)
_WRONG = re.compile(r"(?P<words>.*?)(?: - at `\$(?P<at>.*)`)?\Z", re.DOTALL)
_logger = logging.getLogger("runtime.config")


class ConfigError(Exception):
    """The configuration cannot be used; the message is a sentence for the person who wrote it."""


def load(path: str | Path, struct: type[T]) -> T:
    """The file as the struct, strictly (no coercion). Every struct inside must forbid unknown fields. Raises ConfigError."""
    if loose := _loose(struct):
        raise TypeError(f"{loose.__name__} must be declared with forbid_unknown_fields=True to be read from a config.")
    return _convert(_read(Path(path)), struct, Path(path))


def table(data: Mapping[str, Any], struct: type[T], where: str) -> T:
    """A table that `load` took as it stood, as the struct, just as strictly. `where` opens the sentence: file and table. Raises ConfigError."""
    if loose := _loose(struct):
        raise TypeError(f"{loose.__name__} must be declared with forbid_unknown_fields=True to be read from a config.")
    return _convert(dict(data), struct, where)


def opened(opener: Callable[[Any, Any], Made], data: Mapping[str, Any], struct: type[msgspec.Struct], around: Any, name: str) -> Made:
    """What `opener(settings, around)` makes of the table [name], which `load` took as it stood. `around` is a named tuple with `where` (the file, for
    errors) and `secret(file, key)`, to which the opener gives the table's own keys. Raises ConfigError, also for a ValueError of the opener's."""
    settings = table(data, struct, f"{around.where}, [{name}]")

    def secret(file: str, key: str) -> str:
        return around.secret(file, f"{name}.{key}")

    try:
        return opener(settings, around._replace(secret=secret))
    except ValueError as error:
        raise ConfigError(f"{around.where}, [{name}]: {error}") from None


def resolve(path: str | Path, config_file: str | Path) -> Path:
    """A path as the config means it: relative ones are relative to the config file, ~ is the home."""
    return (Path(config_file).absolute().parent / Path(path).expanduser()).resolve()


def secret(value: str, file: str, base_dir: str | Path, *, key: str) -> str:
    """A secret given in place (`value`) or by file (`file`, relative to `base_dir`); "" if neither. Raises ConfigError.

    `key` is the config's name for it, e.g. "broker.password". A file that everybody can read is taken, with a warning.
    """
    if value and file:
        raise ConfigError(f"Give either {key} or {key}_file, not both.")
    if not file:
        return value
    path = (Path(base_dir) / Path(file).expanduser()).absolute()
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}_file: {path} cannot be read ({_reason(error)}).") from None
    if not text:
        raise ConfigError(f"{key}_file: {path} is empty.")
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        _logger.warning("config.secret_file_open_to_all", extra={"fields": {"file": str(path), "key": key}})
    return text


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > CONFIG_MAX:
            raise ConfigError(f"{path}: the file is larger than {CONFIG_MAX} bytes.")
        with path.open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not valid TOML: {error}.") from None
    except OSError as error:
        raise ConfigError(f"{path}: the file cannot be read ({_reason(error)}).") from None


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or "not UTF-8 text").lower()


def _convert(data: dict[str, Any], struct: type[T], path: Path | str) -> T:
    try:
        return msgspec.convert(data, struct, strict=True)
    except msgspec.ValidationError as error:
        words = str(error)
    if found := _UNKNOWN.match(words):
        at = found["at"] or ""
        known = _keys_at(struct, at)
        near = difflib.get_close_matches(found["key"], known, n=1, cutoff=0.5)
        hint = f" Did you mean {_dotted(at, near[0])!r}?" if near else f" Known here: {', '.join(sorted(known))}." if known else ""
        raise ConfigError(f"{path}: there is no setting {_dotted(at, found['key'])!r}.{hint}")
    if found := _MISSING.match(words):
        raise ConfigError(f"{path}: the setting {_dotted(found['at'] or '', found['key'])!r} is missing.")
    found = _WRONG.match(words)
    told = (found["words"] if found else words).replace("`", "")
    key = _dotted((found["at"] if found else "") or "", "")
    raise ConfigError(f"{path}: the setting {key or 'file'!r} is wrong: {told[:1].lower()}{told[1:]}.")


def _dotted(at: str, key: str) -> str:
    return ".".join(part for part in (at.removeprefix("."), key) if part)


def _inside(kind: inspect.Type) -> list[tuple[str, inspect.Type]]:
    """The kinds one step inside: (step, kind). Steps are field names, or [] for anything kept in a container."""
    if isinstance(kind, inspect.StructType):
        return [(field.encode_name, field.type) for field in kind.fields]
    if isinstance(kind, inspect.UnionType):
        return [("", inner) for inner in kind.types]
    if isinstance(kind, inspect.DictType):
        return [("[]", kind.value_type)]
    if isinstance(kind, inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType):
        return [("[]", kind.item_type)]
    return []


def _loose(struct: type) -> type | None:
    """A struct in the tree that would let unknown keys pass; None if there is none."""
    waiting, seen = [inspect.type_info(struct)], set()
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, inspect.StructType):
            if kind.cls in seen:
                continue
            seen.add(kind.cls)
            if not kind.forbid_unknown_fields:
                return kind.cls
        waiting.extend(inner for _, inner in _inside(kind))
    return None


def _keys_at(struct: type, at: str) -> list[str]:
    """The keys known at a decoder's path like `.sites[0].doors[...]`."""
    kinds: list[inspect.Type] = [inspect.type_info(struct)]
    for step in re.findall(r"\.([^.\[]+)|\[[^\]]*\]", at):
        wanted = step or "[]"
        kinds = [inner for kind in _flat(kinds) for name, inner in _inside(kind) if name == wanted]
    return [field.encode_name for kind in _flat(kinds) if isinstance(kind, inspect.StructType) for field in kind.fields]


def _flat(kinds: list[inspect.Type]) -> list[inspect.Type]:
    return [inner for kind in kinds for inner in (kind.types if isinstance(kind, inspect.UnionType) else (kind,))]
