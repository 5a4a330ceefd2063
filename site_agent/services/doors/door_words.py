"""Why did this door open? One sentence for each row of the trail, with what the books know of its booking now (D6).

Not for: deciding or writing. Invariant: nothing is said that is not in the trail or the books; a guest is told by first name and initial.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from shared import slots
from shared.ledger import records
from shared.ledger.frontdesk import House
from shared.runtime.database import Tx
from site_agent.services import views
from site_agent.store import door_trail
from site_agent.store.door_trail import Row

MEANS = {"pin": "by PIN", "qr": "by QR code", "nfc": "by card", "remote": "at a distance", "button": "by the exit button", "face": "by face"}
_TRIED = {"pin": "a PIN", "qr": "a QR code", "nfc": "a card", "face": "a face"}
EMERGENCIES = {"lockdown": "lock-down", "evacuation": "evacuation", "unlock_all": "opening of all doors"}
#: a row's booking, where it was opened by a spare PIN that nobody was known to have
SPARE = "spare PIN"
#: why staff open a door who give no reason
BY_STAFF = "by staff"


def door_name(name: str) -> str:
    """What people call a door, made of the controller's name for it: "Front door". Of what it has made it makes the same."""
    name = name.strip() or "A door"
    return (name[:1].upper() + name[1:]) if "door" in name.casefold() else f"{name[:1].upper()}{name[1:]} door"


def within(name: str) -> str:
    """A door's name within a sentence: "the front door"."""
    name = door_name(name)
    return f"the {name[:1].lower()}{name[1:]}"


def short_name(name: str) -> str:
    """First name and initial: "Testa B."."""
    first, *rest = name.split() or ["a guest"]
    return f"{first} {rest[-1][0].upper()}." if rest else first


def clock(zone: str, at: int, beside_at: float | None = None) -> str:
    """Unix seconds by the facility's wall clock: 18:02; where `beside_at` lies on another day, with the day: Sun 22 Nov 03:00."""
    local = datetime.fromtimestamp(at, ZoneInfo(zone))
    if beside_at is None or datetime.fromtimestamp(beside_at, ZoneInfo(zone)).date() == local.date():
        return f"{local:%H:%M}"
    return f"{local:%a} {local.day} {local:%b %H:%M}"


def guest(tx: Tx, house: House, booking_id: str) -> str:
    """Whose and what booking: "Testa B., Box 3, 18:00 to 19:00"; empty where the books do not know it."""
    b = records.booking(tx, booking_id) if booking_id else None
    if b is None:
        return ""
    zone, where = house.facility.zone, views.bay(house, b.seat(records.attendance(tx, b.id)))
    return f"{short_name(b.shown_name)}, {where}, {slots.label(zone, b.start)} to {slots.label(zone, b.end)}"


def sentence(tx: Tx, house: House, row: Row, door: str) -> str:
    """The row in one sentence; `door` as the controller or the config names it."""
    door, when = door_name(door), clock(house.facility.zone, row.at)
    if row.kind == "emergency":
        return _emergency(row, when)
    if row.kind == "hold":
        return _hold(house, row, door, when)
    if row.kind == "asked":
        return _asked(tx, house, row, door, when)
    if row.kind == "unlocked":
        return f"{door} opened at {when} {_why(tx, house, row)}."
    if row.kind == "denied":
        return _denied(tx, house, row, door, when)
    if row.kind == "forced":
        return f"{door} was forced open at {when}: it opened although nobody had been let in."
    if row.kind == "held":
        return f"{door} stood open at {when}{f', for {row.detail} by then' if row.detail else ''}."
    if row.how == "found":
        return f"{door} was found {'open' if row.kind == 'opened' else 'closed'} at {when}, when the controller was heard again."
    return f"Somebody opened the leaf of {within(door)} at {when}." if row.kind == "opened" else f"{door} fell shut at {when}."


def _emergency(row: Row, when: str) -> str:
    name, (step, _, more) = EMERGENCIES.get(row.how, row.how), row.detail.partition("|")
    who, begins, article = row.name or row.who, f"{name[:1].upper()}{name[1:]}", article_of(name)
    told = {
        "called": f"{who} called {article} {name} at {when}: {more}.",
        "on": f"{begins} was in force at {when}.",
        "again": f"The door controller had lost the {name} while it was out of reach, and was put into it again at {when}.",
        "over": f"The {name} ended at {when}: {f'ended by {more}' if more else 'its time was over'}.",
        "void": f"The {name} that {who} called was over at {when} and had never been in force.",
        "outside": f"The door controller went into {article} {name} at {when}; nobody called that here.",
        "outside over": f"The door controller's own {name} was over at {when}.",
    }
    return told.get(step, f"{begins}, at {when}.")


def article_of(name: str) -> str:
    return "an" if name[:1] in "aeiou" else "a"


def _hold(house: House, row: Row, door: str, when: str) -> str:
    who, (ended, _, more) = row.name or row.who, row.detail.partition(": ")
    until = f", until {clock(house.facility.zone, int(row.ref), row.at)}" if row.ref else ""
    if ended == "done":
        did = f"held {within(door)} open at {when}{until}" if until else f"let {within(door)} close again at {when}"
        return f"{who} {did}{f': {row.how}' if row.how else ''}."
    wish = f"hold {within(door)} open at {when}{until}" if until else f"let {within(door)} close at {when}"
    outcome = "and it is not known whether it was done" if ended == "unknown" else "which did not work"
    return f"{who} wanted to {wish}{f' ({row.how})' if row.how else ''}, {outcome}: {more.rstrip('.')}."


def _asked(tx: Tx, house: House, row: Row, door: str, when: str) -> str:
    whom = guest(tx, house, row.booking_id)
    why = f"{row.how} of {whom}" if whom else row.how
    why = "" if why == BY_STAFF else f" ({why})"
    ended, _, told = row.detail.partition(": ")
    outcomes = {"failed": "which did not work", "unknown": "and it is not known whether it opened"}
    outcome = f"{outcomes[ended]}: {told.rstrip('.')}" if ended in outcomes else "which the controller took"
    return f"{row.name or row.who} asked to open {within(door)} at {when}{why}, {outcome}."


def _why(tx: Tx, house: House, row: Row) -> str:
    """By what and for whom it opened."""
    asked, whom = door_trail.asked(tx, row.ref), guest(tx, house, row.booking_id)
    if asked is not None or (row.ref and row.detail):
        whom = whom or guest(tx, house, asked.booking_id if asked else "")
        why, who = (asked.how, asked.name or asked.who) if asked else (row.detail, row.name or row.who)
        return f"on {why} for {whom}" if whom else f"{BY_STAFF} {who}{'' if why == BY_STAFF else f': {why}'}"
    means = MEANS.get(row.how, f"by {row.how}" if row.how else "in a way that the controller does not tell")
    if whom:
        return f"{means} for {whom}"
    if row.how == "button":
        return f"from inside {means}"
    if row.detail.startswith(SPARE):
        return f"by a {SPARE} whose booking is not known here yet"
    if row.ref:
        return f"{means} for {row.name or row.who}, by this system"
    return f"{means} by nobody we know{f' (the controller says: {row.name})' if row.name else ''}"


def _denied(tx: Tx, house: House, row: Row, door: str, when: str) -> str:
    tried, whom = _TRIED.get(row.how, "somebody"), guest(tx, house, row.booking_id)
    why = row.detail.partition("/")[2].rpartition("(")[0].strip() or row.detail.strip()
    if whom:
        return f"{door} refused {tried} of {whom}, at {when}{f': {why}' if why else ''}."
    return f"{door} refused {tried} of no booking at {when}{f': {why}' if why else ''}."


def context(tx: Tx, house: House, site_id: str, row: Row) -> str:
    """What is known around an alert: whose it is, or who was let in there last and how long before."""
    whom = guest(tx, house, row.booking_id)
    if whom:
        return f"It is the booking of {whom}."
    last = next((one for one in door_trail.page(tx, site_id, before_n=row.n, door_id=row.door_id, limit=200) if one.kind == "unlocked"), None)
    if last is None:
        return "Nobody is known to have been let in there before."
    asked = door_trail.asked(tx, last.ref)
    whom = guest(tx, house, last.booking_id or (asked.booking_id if asked else "")) or (asked.name if asked else "") or last.name or "nobody we know"
    return f"Let in there last: {whom}, at {clock(house.facility.zone, last.at)}."
