"""The emulated bays' page for people: each bay's PC, plug and lights, what its PC was told to do, and buttons to trouble it.

Not for: changing anything (its script posts to the desk). Invariants: every value is escaped; the page shows everything without its script.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from zoneinfo import ZoneInfo

from deploy.emulators.bays.estate import LIGHTS, PLUG, Bay
from deploy.emulators.bays.pc import PROGRAM
from deploy.emulators.common import page as common

STATIC = Path(__file__).parent / "static"
ROWS_SHOWN = 30
_PC = {"off": "off", "booting": "starts", "on": "on"}


def render(bays: Iterable[Bay], zone: str) -> str:
    """The whole page."""
    return common.document("Bays", "emulated: PCs, plugs, lights", f'<main id="board">{board(bays, zone)}</main>', STATIC)


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
    return "".join(common.button("/bay", {"bay": bay.spec.id} | body, word) for body, word in found)


def _deeds(bays: list[Bay], zone: str) -> str:
    rows = sorted(((deed["at"], bay.spec.name, deed) for bay in bays for deed in bay.pc.deeds), key=lambda row: row[0], reverse=True)
    cells = [(_clock(at, zone), name, deed["kind"], deed["what"], deed["parameters"]) for at, name, deed in rows[:ROWS_SHOWN]]
    return common.table("What the PCs were told to do", ("When", "Bay", "Kind", "What", "With"), cells, "Nothing yet.")


def _on(on: bool) -> str:
    return "on" if on else "off"


def _clock(at: float, zone: str) -> str:
    return common.clock(at, ZoneInfo(zone))
