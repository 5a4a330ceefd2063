"""The skeleton of an emulator's page for people: head, buttons, tables, the clock, and the files that all pages share.

Not for: what a page shows. Invariants: every value is escaped; a page shows everything without its script, which keeps it fresh and presses
the buttons.
"""

import datetime as dt
from html import escape
from pathlib import Path

import msgspec

_SHARED = Path(__file__).parent / "static"
_MEDIA = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
#: beside an emulator's own script, style and icon
_NAMES = ("page.css", "page.js", "own.css", "own.js", "icon.svg")
HEADERS = {
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def document(title: str, small: str, body: str, own: Path, *, again_s: int = 3, css_class: str = "") -> str:
    """The whole page around `body`; `own` is the emulator's folder of files. Without its script it loads itself again every `again_s` seconds."""
    style = '<link rel="stylesheet" href="/_emulator/own.css">' if (own / "own.css").exists() else ""
    script = "own.js" if (own / "own.js").exists() else "page.js"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} (emulated)</title><link rel="stylesheet" href="/_emulator/page.css">{style}
<link rel="icon" href="/_emulator/icon.svg"><noscript><meta http-equiv="refresh" content="{again_s}"></noscript></head>
<body class="{css_class}">
<header><h1>{escape(title)} <small>{escape(small)}</small></h1><p id="link" role="status"></p></header>
{body}
<p id="said" role="status" aria-live="polite"></p><script type="module" src="/_emulator/{script}"></script></body></html>"""


def file(name: str, own: Path) -> tuple[bytes, str] | None:
    """A file of the page and its media type: the emulator's own, or the one that all share; None where there is none."""
    found = next((folder / name for folder in (own, _SHARED) if (folder / name).exists()), None) if name in _NAMES else None
    return (found.read_bytes(), _MEDIA[found.suffix]) if found else None


def button(path: str, body: dict[str, object], word: str, *, chosen: str = "") -> str:
    """A button that posts `body` to the desk; `chosen` names a field of the page whose value goes with it."""
    told, of_page = escape(msgspec.json.encode(body).decode()), f' data-chosen="{chosen}"' if chosen else ""
    return f'<button type="button" data-post="{path}" data-body="{told}"{of_page}>{escape(word)}</button>'


def table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]], empty: str) -> str:
    if not rows:
        return f'<section><h2>{title}</h2><p class="empty">{empty}</p></section>'
    head = "".join(f'<th scope="col">{escape(word)}</th>' for word in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<section><h2>{title}</h2><div class="scroll" tabindex="0" role="region" aria-label="{title}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def clock(at: float, zone: dt.tzinfo, form: str = "%d %b %H:%M:%S") -> str:
    """A moment (unix seconds) as a clock there shows it; its number where no clock can show it."""
    try:
        return dt.datetime.fromtimestamp(at, zone).strftime(form)
    except (OverflowError, OSError, ValueError):
        return str(int(at))
