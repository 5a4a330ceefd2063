"""QR pictures of short texts, as PNG bytes or as an inline SVG.

For: passes on pages and in messages, the controller emulator's download, and pictures that are to be read. Not for: reading codes, or deciding what a code says.
Invariant: the same text gives the same bytes; this is the only file of the project that imports segno.
"""

import io
from functools import lru_cache

import segno

TEXT_MAX = 1200
"""Characters in one code; beyond this a phone camera at arm's length stops reading it."""

_QUIET_MODULES = 4
_PNG_SCALE = 6


class QrTextError(ValueError):
    """The text cannot become a readable code; the message says why."""


def _code(text: str) -> segno.QRCode:
    if not text:
        raise QrTextError("A QR code needs a text, and this one is empty.")
    if len(text) > TEXT_MAX:
        raise QrTextError(f"A QR code holds at most {TEXT_MAX} characters here, and this text has {len(text)}.")
    return segno.make_qr(text, error="m")


@lru_cache(maxsize=256)
def png(text: str) -> bytes:
    """The code as PNG bytes, black on white with a quiet zone of four modules. Raises QrTextError."""
    out = io.BytesIO()
    _code(text).save(out, kind="png", scale=_PNG_SCALE, border=_QUIET_MODULES)
    return out.getvalue()


def modules(text: str) -> list[bytes]:
    """The code's rows of modules, 1 dark and 0 light, without a quiet zone, for who draws it otherwise. Raises QrTextError."""
    return [bytes(row) for row in _code(text).matrix]


@lru_cache(maxsize=256)
def svg(text: str) -> str:
    """The code as an `<svg>` element to put into a page (viewBox only: the page's style sets the size). Raises QrTextError.

    It carries no style attribute or script, so it passes a content policy without `unsafe-inline`.
    """
    out = io.BytesIO()
    _code(text).save(
        out,
        kind="svg",
        border=_QUIET_MODULES,
        xmldecl=False,
        svgns=True,
        nl=False,
        omitsize=True,
        light="#fff",
        svgclass="qr",
        lineclass=None,
    )
    return out.getvalue().decode("utf-8")
