"""The emulator's page for people: doors, unlocks, visitors, log, and a keypad to stand at a reader.

Not for: changing anything (its script posts to the desk). Invariant: every value is escaped; the page works without its script, which
only keeps it fresh and sends the keypad.
"""

from html import escape
from pathlib import Path

from deploy.emulators.common import page as common
from deploy.emulators.unifi.controller import Controller

STATIC = Path(__file__).parent / "static"
ROWS_SHOWN = 25
#: what happens at the chosen door, to its devices, and to the whole box: the path of the desk, what is posted there, and the button's words
AT_THE_DOOR = (
    ("/poke", {"what": "denied"}, "Hold up an unknown card"), ("/poke", {"what": "button"}, "Press the exit button"),
    ("/poke", {"what": "open"}, "Open the leaf"), ("/poke", {"what": "close"}, "Close the leaf"),
    ("/poke", {"what": "forced"}, "Force it open"), ("/poke", {"what": "held"}, "Leave it open"),
    ("/door", {"offline": True}, "Cut its hub off the network"), ("/door", {"offline": False}, "Reconnect its hub"),
    ("/door", {"reader_offline": True}, "Cut its reader off"), ("/door", {"reader_offline": False}, "Reconnect its reader"),
)  # fmt: skip
WHOLE = (
    ("/emergency", {"mode": "lockdown"}, "Call a lock-down at the console"), ("/emergency", {"mode": "evacuation"}, "Call an evacuation at the console"),
    ("/emergency", {"mode": "normal"}, "End the emergency at the console"), ("/faults", {"reboot": {"mode": "refuse", "seconds": 20}}, "Reboot for 20 s"),
    ("/faults", {"reboot": {"mode": "refuse", "seconds": 20, "forgets": True}}, "Reboot for 20 s and forget its emergency"),
    ("/faults", {"drop_notifications": True}, "Drop the stream of events"), ("/faults", {"tokens_revoked": True}, "Withdraw the token"),
    ("/faults", {"certificate": "new"}, "Change the certificate"),
    ("/faults", {"next": [{"kind": "status", "status": 429, "count": 5}]}, "Refuse five calls as too many"),
    ("/faults", {"clear": True}, "Mend everything"),
)  # fmt: skip


def render(box: Controller) -> str:
    """The whole page."""
    at_the_door = "".join(common.button(path, body, word, chosen="door_id") for path, body, word in AT_THE_DOOR)
    whole = "".join(common.button(path, body, word) for path, body, word in WHOLE)
    options = "".join(
        f'<option value="{escape(door.id)}">{escape(door.spec.floor)} · {escape(door.spec.name)}</option>'
        for door in box.doors.values()
        if door.spec.bound
    )
    body = f"""<section aria-labelledby="reader-title" class="card"><h2 id="reader-title">Stand at a reader</h2>
<form id="reader"><label>Door <select name="door_id">{options}</select></label>
<label>With <select name="what"><option value="pin">PIN</option><option value="card">Card, by its number</option>
<option value="visitor_id">QR, of this visitor’s id</option><option value="qr">QR, its text</option></select></label>
<label>Number or text <input name="told" autocomplete="off" maxlength="200" required></label>
<button>Enter</button><output id="verdict" aria-live="polite"></output></form>
<p class="deeds" role="group" aria-label="What else happens at this door">{at_the_door}</p></section>
<section class="card" aria-labelledby="whole-title"><h2 id="whole-title">Trouble the whole controller</h2>
<p class="deeds" role="group" aria-labelledby="whole-title">{whole}</p></section>
<main id="board">{board(box)}</main>"""
    return common.document("Door controller", "emulated", body, STATIC)


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
        notes = [f"leaf {'open' if data['door_position_status'] == 'open' else 'closed'}" if door.spec.sensor and door.spec.bound else "no sensor"]
        if door.rule_data(now)["type"]:
            notes.append(f"rule {door.rule_data(now)['type']}")
        notes += [word for down, word in ((door.offline, "hub offline"), (door.reader_offline, "reader offline")) if down]
        rows.append(
            f'<li class="device door {mood}"><strong>{escape(door.spec.name)}</strong><span>{escape(door.spec.floor)}</span>'
            f"<b>{word}</b><span>{escape(', '.join(notes))}</span><code>{escape(door.id)}</code></li>"
        )
    return f'<section><h2>Doors</h2><ul class="devices">{"".join(rows)}</ul></section>'


def _unlocks(box: Controller) -> str:
    rows = [
        (_clock(box, unlock.at), unlock.door_name, unlock.how, unlock.actor_name, unlock.actor_id)
        for unlock in list(reversed(box.unlocks))[:ROWS_SHOWN]
    ]
    return common.table("Unlocks", ("When", "Door", "How", "Who", "Actor id"), rows, "No door has been unlocked yet.")


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
    return common.table("Visitors", ("Name", "Status", "Window", "Has", "Remarks", "Id"), rows, "No visitor has been announced.")


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
    return common.table("Log", ("When", "Door", "What", "Result", "Who"), rows, "The log is empty.")


def _clock(box: Controller, at: float, with_day: bool = False) -> str:
    return common.clock(at, box.timezone, "%d %b %H:%M" if with_day else "%H:%M:%S")
