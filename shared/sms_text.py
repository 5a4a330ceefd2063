"""What a text costs as SMS, and how it costs less: the seven-bit alphabet of GSM 03.38, and plain twins for what lies outside it.

    segments("Box 3 at 18:00")    Measure("gsm7", 14, 1)
    plain("À bientôt…")           "A bientot..."

One character outside the alphabet turns the whole message into UCS-2, with 70 units to a segment instead of 160. Not here: what the text says.
Invariant: `plain` never makes a text cost more segments, and leaves alone what it cannot bring into the alphabet wholly.
"""

from __future__ import annotations

import unicodedata
from typing import Literal

import msgspec

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: behind an escape, so two units each
EXTENDED = frozenset("\f^{}\\[~]|€")
#: units in a message of one segment, and in each segment of a longer one, whose header takes room
GSM_ALONE, GSM_JOINED = 160, 153
UCS_ALONE, UCS_JOINED = 70, 67

_TWINS = {
    "\t": " ",
    "‘": "'", "’": "'", "‚": "'", "‛": "'", "′": "'", "‹": "'", "›": "'", "´": "'", "`": "'", "ʼ": "'",
    "“": '"', "”": '"', "„": '"', "‟": '"', "″": '"', "«": '"', "»": '"',
    "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-", "•": "-", "·": "-",
    "…": "...", "œ": "oe", "Œ": "OE", "×": "x", "÷": "/", "→": "->", "←": "<-",
    "\u00ad": "", "\u200b": "", "\u200e": "", "\u200f": "", "\u2060": "", "\ufeff": "",
}  # fmt: skip
# The no-break space of French is inside its quotation marks; as a plain space it would look like a mistake there.
_QUOTES = {"«\u00a0": '"', "«\u202f": '"', "\u00a0»": '"', "\u202f»": '"'}


class Measure(msgspec.Struct, frozen=True):
    """`units` are septets of "gsm7" (characters of the extension count two) or 16-bit units of "ucs2"; an empty text has no segment."""

    encoding: Literal["gsm7", "ucs2"]
    units: int
    segments: int


def segments(text: str) -> Measure:
    """How the text travels. Neither an escaped character nor a surrogate pair is cut at a segment's end."""
    if fits(text):
        widths = [2 if letter in EXTENDED else 1 for letter in text]
        return Measure("gsm7", sum(widths), _packed(widths, GSM_ALONE, GSM_JOINED))
    widths = [2 if ord(letter) > 0xFFFF else 1 for letter in text]
    return Measure("ucs2", sum(widths), _packed(widths, UCS_ALONE, UCS_JOINED))


def fits(text: str) -> bool:
    """Whether every character is in the seven-bit alphabet."""
    return all(letter in BASIC or letter in EXTENDED for letter in text)


def plain(text: str) -> str:
    """The text with plain twins (quotes, dashes, ellipsis, accents outside the alphabet) where that brings all of it into the alphabet for no
    more segments; otherwise the text as it was."""
    if fits(text):
        return text
    candidate = _flattened(text)
    return candidate if fits(candidate) and segments(candidate).segments <= segments(text).segments else text


def _flattened(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    for mark, twin in _QUOTES.items():
        text = text.replace(mark, twin)
    return "".join(letter if letter in BASIC or letter in EXTENDED else _twin(letter) for letter in text)


def _twin(letter: str) -> str:
    if letter in _TWINS:
        return _TWINS[letter]
    if unicodedata.category(letter) == "Zs":
        return " "
    bare = "".join(part for part in unicodedata.normalize("NFD", letter) if not unicodedata.combining(part))
    return bare if bare and fits(bare) else letter


def _packed(widths: list[int], alone: int, joined: int) -> int:
    if sum(widths) <= alone:
        return 1 if widths else 0
    count, room = 1, joined
    for width in widths:
        if width > room:
            count, room = count + 1, joined
        room -= width
    return count
