"""The emulator's page for people: doors, unlocks, visitors, log, and a keypad to stand at a reader.

Not for: changing anything (its script posts to the desk). Invariant: every value is escaped; the page works without its script, which
only keeps it fresh and sends the keypad.
"""

import datetime as dt
import json
from html import escape

from deploy.emulators.unifi.controller import Controller

ROWS_SHOWN = 25
POKES = (
    ("denied", "Unknown card"), ("button", "Exit button"), ("open", "Leaf opens"), ("close", "Leaf closes"), ("forced", "Force it open"),
    ("held", "Leave it open"),
)  # fmt: skip
#: what happens to a device at the chosen door, or to the whole box; each with the path of the desk and what is posted there
WHOLE = (
    ("/door", {"offline": True}, "Hub offline"), ("/door", {"offline": False}, "Hub online"), ("/door", {"reader_offline": True}, "Reader offline"),
    ("/door", {"reader_offline": False}, "Reader online"), ("/emergency", {"mode": "lockdown"}, "Lock-down at the console"),
    ("/emergency", {"mode": "evacuation"}, "Evacuation at the console"), ("/emergency", {"mode": "normal"}, "End the emergency"),
    ("/faults", {"reboot": {"mode": "refuse", "seconds": 20}}, "Reboot (20 s)"), ("/faults", {"drop_notifications": True}, "Drop the stream"),
    ("/faults", {"tokens_revoked": True}, "Withdraw the token"), ("/faults", {"certificate": "new"}, "New certificate"),
    ("/faults", {"next": [{"kind": "status", "status": 429, "count": 5}]}, "429 for five calls"), ("/faults", {"clear": True}, "End all faults"),
)  # fmt: skip


def render(box: Controller) -> str:
    """The whole page."""
    pokes = "".join(f'<button type="button" data-poke="{what}">{escape(label)}</button>' for what, label in POKES)
    whole = "".join(
        f'<button type="button" data-tell="{path}" data-body="{escape(json.dumps(body))}">{escape(label)}</button>'
        for path, body, label in WHOLE
    )
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
<label>With <select name="what"><option value="pin">PIN</option><option value="card">Card, by its number</option>
<option value="visitor_id">QR, of this visitor’s id</option><option value="qr">QR, its text</option></select></label>
<label>Number or text <input name="told" autocomplete="off" maxlength="200" required></label>
<button>Enter</button><output id="verdict" aria-live="polite"></output></form>
<p class="pokes" role="group" aria-label="What else happens at this door">{pokes}</p>
<h2>Break something</h2><p class="pokes" role="group" aria-label="What happens to the devices at this door, or to the controller">{whole}</p></section>
<main id="board">{board(box)}</main><script src="/_emulator/page.js" defer></script></body></html>"""


def board(box: Controller) -> str:
    """The part that changes; the script swaps it in as a whole."""
    return _mode(box) + _doors(box) + _unlocks(box) + _visitors(box) + _log(box)


def _mode(box: Controller) -> str:
    if not (box.emergency.lockdown or box.emergency.evacuation):
        return ""
    return f'<p class="mode" role="status">{"Evacuation: every door is open." if box.emergency.evacuation else "Lock-down: no door opens."}</p>'


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
        notes += [word for down, word in ((door.offline, "hub offline"), (door.reader_offline, "reader offline")) if down]
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
            ", ".join(word for has, word in ((v.pin_hash, "PIN"), (v.qr_text, "QR"), (v.cards, "card")) if has) or "nothing",
            v.remarks,
            v.id,
        )
        for v in box.visitors.search(now, "", None)[:ROWS_SHOWN]
    ]
    return _table("Visitors", ("Name", "Status", "Window", "Has", "Remarks", "Id"), rows, "No visitor has been announced.")


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
