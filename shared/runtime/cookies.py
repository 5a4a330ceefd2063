"""Cookies: made one way, read one way.

Invariant: every cookie made here is HttpOnly, SameSite, Path=/, and Secure with the `__Host-` name whenever TLS is on.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_VALUE = re.compile(r"[A-Za-z0-9_.~-]{0,512}\Z")

COOKIES_KEY = "clubos.cookies"


def cookie_name(name: str, *, tls: bool) -> str:
    """The name a cookie carries on the wire: with TLS `__Host-…`, which no sub-domain and no plain page can set."""
    return f"__Host-{name}" if tls else name


def make_cookie(name: str, value: str, *, tls: bool, max_age_s: int | None = None, same_site: Literal["Lax", "Strict"] = "Lax") -> bytes:
    """A Set-Cookie value. `max_age_s` None: until the browser closes; 0: forget it now."""
    if not _NAME.match(name) or not _VALUE.match(value):
        raise ValueError(f"The cookie {name[:64]!r} has a name or value that a cookie cannot carry.")
    text = f"{cookie_name(name, tls=tls)}={value}; Path=/; HttpOnly; SameSite={same_site}"
    if max_age_s is not None:
        text += f"; Max-Age={max_age_s}"
    return (text + "; Secure" if tls else text).encode()


def set_cookie(scope: MutableMapping[str, Any], cookie: bytes) -> None:
    """Have the web edge add this Set-Cookie to the answer of the request at hand, whoever gives the answer."""
    scope.setdefault(COOKIES_KEY, []).append(cookie)


def read_cookie(scope: Mapping[str, Any], name: str, *, tls: bool) -> str:
    """The cookie's value, "" if absent, given twice with different values, or not of our alphabet."""
    wanted = cookie_name(name, tls=tls).encode() + b"="
    found: set[bytes] = set()
    for header, value in scope["headers"]:
        if header == b"cookie":
            found.update(part.strip()[len(wanted) :] for part in value.split(b";") if part.strip().startswith(wanted))
    if len(found) != 1:
        return ""
    text = found.pop().decode("latin-1")
    return text if _VALUE.match(text) else ""
