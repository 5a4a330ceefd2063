"""The emulator's page for people: doors, unlocks, visitors, log, and a keypad to stand at a reader.

Not for: changing anything (its script posts to the desk). Invariant: every value is escaped; the page works without its script, which
only keeps it fresh and sends the keypad.
"""

import datetime as dt
from html import escape

from deploy.emulators.unifi.controller import Controller

ROWS_SHOWN = 25
POKES = (
    ("denied", "Unknown card"), ("button", "Exit button"), ("open", "Leaf opens"), ("close", "Leaf closes"), ("forced", "Force it open"),
    ("held", "Leave it open"),
)  # fmt: skip


def render(box: Controller) -> str:
    """The whole page."""
    pokes = "".join(f'<button type="button" data-poke="{what}">{escape(label)}</button>' for what, label in POKES)
    options = "".join(
        f'<option value="{escape(door.id)}">{escape(door.spec.floor)} · {escape(door.spec.name)}</option>'
        for door in box.doors.values()
        if door.spec.bound
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Door controller (emulated)</title><link rel="stylesheet" href="/_emulator/page.css"><link rel="icon" href="/_emulator/icon.svg">
<noscript><meta http-equiv="refresh" content="3"></noscript></head><body>
<header><h1>Door controller <small>emulated</small></h1><p id="link" role="status"></p></header>
<section aria-labelledby="reader-title" class="card"><h2 id="reader-title">Stand at a reader</h2>
<form id="reader"><label>Door <select name="door_id">{options}</select></label>
<label>PIN <input name="pin" inputmode="numeric" autocomplete="off" maxlength="8" required></label>
<button>Enter</button><output id="verdict" aria-live="polite"></output></form>
<p class="pokes" role="group" aria-label="What else happens at this door">{pokes}</p></section>
<main id="board">{board(box)}</main><script src="/_emulator/page.js" defer></script></body></html>"""


def board(box: Controller) -> str:
    """The part that changes; the script swaps it in as a whole."""
    return _doors(box) + _unlocks(box) + _visitors(box) + _log(box)


def _doors(box: Controller) -> str:
    now = box.now()
    rows = []
    for door in box.doors.values():
        data = door.data(now, box.emergency, box.style.no_sensor)
        open_now = data["door_lock_relay_status"] == "unlock"
        mood = "open" if open_now else "shut"
        word = "not connected" if not door.spec.bound else "unlocked" if open_now else "locked"
        notes = [f"leaf {data['door_position_status']}" if door.spec.sensor and door.spec.bound else "no sensor"]
        if door.rule_data(now)["type"]:
            notes.append(f"rule {door.rule_data(now)['type']}")
        if door.offline:
            notes.append("offline")
        rows.append(
            f'<li class="door {mood}"><strong>{escape(door.spec.name)}</strong><span>{escape(door.spec.floor)}</span>'
            f"<b>{word}</b><span>{escape(', '.join(notes))}</span><code>{escape(door.id)}</code></li>"
        )
    return f'<section><h2>Doors</h2><ul class="doors">{"".join(rows)}</ul></section>'


def _unlocks(box: Controller) -> str:
    rows = [
        (_clock(box, unlock.at), unlock.door_name, unlock.how, unlock.actor_name, unlock.actor_id)
        for unlock in list(reversed(box.unlocks))[:ROWS_SHOWN]
    ]
    return _table("Unlocks", ("When", "Door", "How", "Who", "Actor id"), rows, "No door has been unlocked yet.")


def _visitors(box: Controller) -> str:
    now = box.now()
    rows = [
        (
            f"{v.first_name} {v.last_name}",
            v.status(now),
            f"{_clock(box, v.start_time, True)} – {_clock(box, v.end_time, True)}",
            "yes" if v.pin_hash else "no",
            v.remarks,
        )
        for v in box.visitors.search(now, "", None)[:ROWS_SHOWN]
    ]
    return _table("Visitors", ("Name", "Status", "Window", "PIN", "Remarks"), rows, "No visitor has been announced.")


def _log(box: Controller) -> str:
    rows = []
    rows_of_doors = [entry for entry in box.log.find(box.now(), "all") if any(t["type"] == "door" for t in entry["_source"]["target"])]
    for entry in rows_of_doors[:ROWS_SHOWN]:
        source = entry["_source"]
        door = next((t["display_name"] for t in source["target"] if t["type"] == "door"), "")
        rows.append(
            (
                _clock(box, source["event"]["published"] / 1000),
                door,
                source["event"]["display_message"],
                source["event"]["result"],
                source["actor"]["display_name"],
            )
        )
    return _table("Log", ("When", "Door", "What", "Result", "Who"), rows, "The log is empty.")


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]], empty: str) -> str:
    if not rows:
        return f'<section><h2>{title}</h2><p class="empty">{empty}</p></section>'
    head = "".join(f'<th scope="col">{escape(word)}</th>' for word in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<section><h2>{title}</h2><div class="scroll" tabindex="0" role="region" aria-label="{title}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _clock(box: Controller, at: float, with_day: bool = False) -> str:
    try:
        local = dt.datetime.fromtimestamp(at, box.timezone)
    except (OverflowError, OSError, ValueError):
        return str(int(at))
    return local.strftime("%d %b %H:%M" if with_day else "%H:%M:%S")
