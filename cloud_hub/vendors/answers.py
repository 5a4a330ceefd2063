"""What the wires of all channels have in common: reading what vendors answer, and what may be asked of them.

Knows strings and addresses, no vendor. Invariant: nothing here raises for what a vendor wrote.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from shared.outcomes import Never

from ..ports import Letter

REASON_MAX = 200
#: nobody means to make us wait longer; what asks for more is asked again by then
AFTER_MAX_S = 86_400.0
#: no answer that we read is longer
ANSWER_MAX = 1 << 20


def after_s(header: str | None, now: float) -> float | None:
    """Retry-After, seconds or a date, as seconds from now; None where it is missing or makes no sense."""
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return min(float(text), AFTER_MAX_S)
    try:
        moment = parsedate_to_datetime(text)
        return min(max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now), AFTER_MAX_S)
    except (ValueError, TypeError, OverflowError):
        return None


def told(text: object) -> str:
    """A vendor's words on one line, short enough to be kept."""
    line = " ".join(str(text).split())
    return line if len(line) <= REASON_MAX else line[: REASON_MAX - 1] + "…"


def looks_like_html(text: str) -> bool:
    """Whether a page came where an answer was due: a proxy's, or a captive portal's."""
    return text.lstrip("\ufeff \t\r\n").startswith("<")


def worthless(letter: Letter, now: float) -> Never | None:
    """The outcome of a letter whose moment has passed: it is not sent at all."""
    if letter.expires_at and letter.expires_at <= now:
        return Never("expired", "Its moment had passed before it was sent.")
    return None


def subject_of(letter: Letter) -> str:
    """A mail's subject on one line: no line break, and so no header, comes in by it. Mail without one gets its text's beginning."""
    line = " ".join((letter.subject or letter.text).split())
    return line[:150] or "-"


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def checked_url(url: str, key: str) -> str:
    """An address without a slash at its end. ValueError where it cannot be one, or would send secrets in the clear to another machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"the setting {key!r} is no address.") from None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query or parts.fragment:
        raise ValueError(f'the setting {key!r} is no address: give one like "https://api.example.test".')
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(f"the setting {key!r} must begin with https://, since keys travel there.")
    return url.rstrip("/")


async def body_of(chunks: AsyncIterator[bytes]) -> str:
    """An answer's text, cut at `ANSWER_MAX`; what is not UTF-8 is shown as such."""
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) >= ANSWER_MAX:
            break
    return body[:ANSWER_MAX].decode("utf-8", "replace")
