"""The emulated bays' page for people: each bay's PC, plug and lights, what its PC was told to do, and buttons to trouble it.

Not for: changing anything (its script posts to the desk). Invariants: every value is escaped; the page shows everything without its script.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from html import escape
from zoneinfo import ZoneInfo

import msgspec

from deploy.emulators.bays.estate import LIGHTS, PLUG, Bay
from deploy.emulators.bays.pc import PROGRAM

ROWS_SHOWN = 30
_PC = {"off": "off", "booting": "starts", "on": "on"}


def render(bays: Iterable[Bay], zone: str) -> str:
    """The whole page."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bays (emulated)</title><link rel="stylesheet" href="/_emulator/page.css"><link rel="icon" href="/_emulator/icon.svg">
<noscript><meta http-equiv="refresh" content="3"></noscript></head><body>
<header><h1>Bays <small>emulated: PCs, plugs, lights</small></h1><p id="link" role="status"></p></header>
<main id="board">{board(bays, zone)}</main>
<p id="said" role="status" aria-live="polite"></p><script src="/_emulator/page.js" defer></script></body></html>"""


def board(bays: Iterable[Bay], zone: str) -> str:
    """The part that changes; the script swaps it in as a whole."""
    bays = list(bays)
    cards = "".join(_card(bay, zone) for bay in bays)
    return f'<section><h2>Bays</h2><ul class="devices">{cards}</ul></section>{_deeds(bays, zone)}'


def _card(bay: Bay, zone: str) -> str:
    pc = bay.pc
    well = pc.state == "on" and pc.agent_on and pc.program_on
    notes = [f"bay agent: {'runs' if pc.agent_on else 'does not run'}", f"{PROGRAM}: {'runs' if pc.program_on else 'does not run'}"]
    notes += [f"last used at {_clock(pc.played_at, zone)}" if pc.played_at else "not used yet"]
    notes += [f"plug {_on(bay.channels[PLUG].on)}, {bay.watts(PLUG):.0f} W; lights {_on(bay.channels[LIGHTS].on)}"]
    notes += ["its cable is out of the plug"] if not bay.cable else []
    notes += ["its switch answers nobody"] if bay.silent else []
    notes += ["its relays are stuck"] if bay.stuck else []
    notes += [f"called up {bay.woken} times"] if bay.woken else []
    told = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f'<li class="device {"good" if well else "bad"}"><p><strong>{escape(bay.spec.name)}</strong> <code>{escape(bay.spec.id)}</code></p>'
        f'<b>PC {_PC[pc.state]}</b><ul class="notes">{told}</ul><p class="deeds">{_buttons(bay)}</p></li>'
    )


def _buttons(bay: Bay) -> str:
    pc = bay.pc
    found = [({"cable": not bay.cable}, "Pull the plug" if bay.cable else "Put the plug back")]
    if bay.powered and pc.state == "off":
        found.append(({"press": True}, "Press the power button"))
    if pc.state == "on":
        found.append(({"play": True}, "Play"))
        found.append(({"program": not pc.program_on}, "End the simulator" if pc.program_on else "Start the simulator"))
        found.append(({"crash": True}, "Crash the bay agent"))
        found.append(({"ends": [{"exit_code": 1, "text": "The script said no"}]}, "Let the next command fail"))
    found.append(({"switch": "answers" if bay.silent else "silent"}, "Let the switch answer" if bay.silent else "Silence the switch"))
    found.append(({"forge": True}, "Forge this PC"))
    return "".join(_button({"bay": bay.spec.id} | body, word) for body, word in found)


def _deeds(bays: list[Bay], zone: str) -> str:
    rows = sorted(((deed["at"], bay.spec.name, deed) for bay in bays for deed in bay.pc.deeds), key=lambda row: row[0], reverse=True)
    if not rows:
        return '<section><h2>What the PCs were told to do</h2><p class="empty">Nothing yet.</p></section>'
    body = "".join(
        f"<tr><td>{_clock(at, zone)}</td><td>{escape(name)}</td><td>{escape(deed['kind'])}</td><td>{escape(deed['what'])}</td>"
        f"<td>{escape(deed['parameters'])}</td></tr>"
        for at, name, deed in rows[:ROWS_SHOWN]
    )
    head = "".join(f'<th scope="col">{word}</th>' for word in ("When", "Bay", "Kind", "What", "With"))
    return (
        '<section><h2>What the PCs were told to do</h2><div class="scroll" tabindex="0" role="region" aria-label="What the PCs were told to do">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _button(body: dict[str, object], word: str) -> str:
    told = escape(msgspec.json.encode(body).decode())
    return f'<button type="button" data-post="/bay" data-body="{told}">{escape(word)}</button>'


def _on(on: bool) -> str:
    return "on" if on else "off"


def _clock(at: float, zone: str) -> str:
    return dt.datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%d %b %H:%M:%S")
