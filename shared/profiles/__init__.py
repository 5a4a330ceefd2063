"""The profiles that come with the product (`business`, `planning`), and the reading and writing of profiles.

The only place in the pure code that reads package data, and only when asked. A file written by a person is read strictly: an unknown
key is an error that names it. A document from a peer is read leniently, so that an older site can take what a newer hub writes.
Invariant: what is returned is complete and valid; whatever is wrong is one `ValueError` with a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec

from shared.policy import Profile

NAMES = ("business", "planning")


def from_toml(text: str) -> Profile:
    """A profile from a file that a person wrote; ValueError names the key that is wrong, missing or unknown.

    With `like = "business"` the file holds only what is other than in that profile: tables are taken together, everything else takes the place
    of what is there.
    """
    try:
        raw = _whole(msgspec.toml.decode(text))
        profile = msgspec.convert(raw, Profile)
    except msgspec.DecodeError as problem:
        raise ValueError(f"The profile cannot be read: {problem}") from None
    unknown = sorted(_unknown(raw, profile, ""))
    if unknown:
        raise ValueError(f"The profile has unknown keys: {', '.join(unknown)}.")
    return profile


def _whole(raw: dict[str, Any]) -> dict[str, Any]:
    """The file with all that it leaves to the profile that it is like."""
    like = raw.pop("like", None)
    if like is None:
        return raw
    if like not in NAMES:
        raise ValueError(f"The profile is like {like!r}, which does not come with the product: {' or '.join(NAMES)} do.")
    return _over(msgspec.toml.decode(_text(like)), raw)


def _over(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _over(below.get(key), value) for key, value in above.items()}


def _unknown(raw: Any, value: Any, path: str) -> Iterator[str]:
    """The keys of the raw document that no field of the decoded value has taken."""
    if isinstance(value, msgspec.Struct):
        for key, inner in raw.items():
            if key in value.__struct_fields__:
                yield from _unknown(inner, getattr(value, key), f"{path}{key}.")
            else:
                yield f"{path}{key}"
    elif isinstance(value, tuple):
        for index, (inner, one) in enumerate(zip(raw, value, strict=True)):
            yield from _unknown(inner, one, f"{path}{index}.")


def to_json(profile: Profile) -> bytes:
    """The document that travels to the sites (own-6)."""
    return msgspec.json.encode(profile)


def from_json(document: bytes) -> Profile:
    """The profile in a document; ValueError with a sentence if it is none."""
    try:
        return msgspec.json.decode(document, type=Profile)
    except msgspec.DecodeError as problem:
        raise ValueError(f"The profile cannot be read: {problem}") from None


@lru_cache(len(NAMES))
def profile(name: str) -> Profile:
    """A profile that comes with the product; ValueError lists them if there is none of this name."""
    if name not in NAMES:
        raise ValueError(f"There is no profile {name[:40]!r}; there are {' and '.join(NAMES)}.")
    return from_toml(_text(name))


def _text(name: str) -> str:
    return files(__package__).joinpath(f"{name}.toml").read_text("utf-8")
