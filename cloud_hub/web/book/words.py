"""Values as people read them: money, dates, clocks by the facility's wall, lengths, and the policy as sentences.

Invariant: every sentence about money or rules follows from the profile in force; what the profile does not say is not said.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from cloud_hub.services.offers import House, counted
from shared import rules, slots
from shared.model import PriceLine, Resource
from shared.policy import Policy
from shared.pricing import in_force, latest

_SIGNS = {"CAD": "$", "USD": "$", "AUD": "$", "GBP": "£", "EUR": "€"}

#: a facility notice's level -> its word and its icon (B22)
NOTICES = {"critical": ("Important", "stop"), "warning": ("Please note", "warn"), "info": ("Good to know", "info")}


def money(cents: int, currency: str = "CAD") -> str:
    """ "$39.90"; a minus stands before the sign. A currency without a sign is named."""
    sign = _SIGNS.get(currency, f"{currency} ")
    return f"{'−' if cents < 0 else ''}{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02}"


def stayed_longer(minutes: int, cents: int, waived: bool, currency: str) -> str:
    """What a guest reads of time used after the end (B21)."""
    stayed = f"You stayed {minutes} minutes after the end"
    if waived:
        return f"{stayed}. That is not charged."
    return f"{stayed}: {money(cents, currency)} with tax is noted for it, and was not taken yet." if cents else f"{stayed}."


def day(on: date, today: date | None = None) -> str:
    """ "Saturday 21 November", with "Today" or "Tomorrow" before it where it is."""
    text = f"{on:%A} {on.day} {on:%B}"
    away = (on - today).days if today else -1
    return f"{('Today', 'Tomorrow')[away]}, {text}" if away in (0, 1) else text


def length(minutes: int) -> str:
    """ "1 hour", "1 h 30 min", "2 hours"."""
    return rules.length(minutes) if minutes % 60 == 0 or minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def clock(house: House, slot: int) -> str:
    return slots.label(house.facility.zone, slot)


def span(house: House, start: int, end: int) -> str:
    """ "14:00 to 15:30"; an end on another day names it."""
    zone = house.facility.zone
    text = f"{clock(house, start)} to {clock(house, end)}"
    if slots.local_day(zone, start) == slots.local_day(zone, end - 1):
        return text
    return f"{text} ({slots.local_day(zone, end):%A})"


def on_day(house: House, slot: int, now: int) -> str:
    """The local day of a slot, said from now."""
    zone = house.facility.zone
    return day(slots.local_day(zone, slot), slots.local_day(zone, now // slots.SLOT_S))


def moment(house: House, at: int, now: int) -> str:
    """A unix second as a clock, with its day where that is not today: "14:00", "Sunday 22 November, 09:00"."""
    there = datetime.fromtimestamp(at, ZoneInfo(house.facility.zone))
    if there.date() == slots.local_day(house.facility.zone, now // slots.SLOT_S):
        return f"{there:%H:%M}"
    return f"{day(there.date())}, {there:%H:%M}"


def doors(house: House, start: int, window: tuple[int, int]) -> str:
    """The access window of a booking that starts at a slot: "from 13:45 to 16:15"; another day than the start's is named."""
    there = ZoneInfo(house.facility.zone)
    told = []
    for at in window:
        moment_there = datetime.fromtimestamp(at, there)
        other = moment_there.date() != slots.local_day(house.facility.zone, start)
        told.append(f"{moment_there:%A} {moment_there:%H:%M}" if other else f"{moment_there:%H:%M}")
    return f"from {told[0]} to {told[1]}"


def zone(house: House, slot: int) -> str:
    """Whose clock is meant: "Halifax time (AST)"."""
    there = datetime.fromtimestamp(slot * slots.SLOT_S, ZoneInfo(house.facility.zone))
    return f"{house.facility.zone.rpartition('/')[2].replace('_', ' ')} time ({there.tzname()})"


def called(house: House, resource_id: str) -> str:
    found: Resource | None = house.resources.get(resource_id)
    return rules.called(found, house.facility) if found else resource_id.partition(".")[2]


def all_called(house: House, resource_ids: list[str]) -> str:
    """ "Box 2", "Box 2 and Box 3"."""
    names = [called(house, one) for one in resource_ids]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def line(one: PriceLine, boxes: int = 1) -> str:
    """What a line of the price is for, with its hours where it has some; those of several boxes are a sum."""
    if one.code == "rate" and one.minutes:
        return f"{one.label}, {length(one.minutes)}{' in all' if boxes > 1 else ''}"
    return one.label


def pin(text: str) -> str:
    """In groups that are read out: "123 456"."""
    half = 3 if len(text) % 3 == 0 else 4
    return " ".join(text[i : i + half] for i in range(0, len(text), half))


def policy(house: House, today: date) -> list[tuple[str, str]]:
    """Cancellation, changes and deposit as (heading, sentence), for somebody of whom nothing is known."""
    found = [("Cancelling", cancelling(house.profile.policy)), ("Changing", changing(house, today))]
    deposit = latest(house.profile.policy.deposits, today)
    if deposit and deposit.cents:
        kept = money(deposit.cents, house.profile.tariff.currency)
        found.append(("Deposit", f"{kept} of the price is a deposit. It is kept only if nobody comes."))
    return found


def open_limit(policy: Policy) -> str:
    """How many bookings somebody of whom nothing is known may have open; empty where the policy lets nobody unknown book."""
    if not policy.open_max:
        return ""
    return f"At most {policy.open_max} {'booking' if policy.open_max == 1 else 'bookings'} can be open at a time."


def cancelling(policy: Policy) -> str:
    steps = sorted((s for s in policy.cancellation if s.who == type(s.who)()), key=lambda s: -s.before_min)
    if not steps:
        return "A booking that is cancelled is not paid back."
    told = []
    for step in steps:
        back = "the whole price comes back" if step.percent == 100 else f"{step.percent} % of the price comes back"
        told.append(f"{_before(step.before_min)} {back}" if step.percent else f"{_before(step.before_min)} nothing comes back")
    if steps[-1].before_min and steps[-1].percent:
        told.append("after that nothing comes back")
    text = "; ".join(told)
    return f"If you cancel {text}."


def _before(minutes: int) -> str:
    return f"up to {rules.length(minutes)} before the start," if minutes else "before the start,"


def changing(house: House, today: date) -> str:
    policy, currency = house.profile.policy, house.profile.tariff.currency
    told = []
    for number in range(1, policy.reschedule_max + 1):
        fee = latest([one for one in policy.change_fees if one.change <= number and in_force(one, today)], today)
        listed = [one for one in policy.change_fees if one.change == number and in_force(one, today)]
        fee = latest(listed, today) or fee
        cost = f"costs {money(fee.cents, currency)}" if fee and fee.cents else "is free"
        told.append(f"the {_nth(number)} change {cost}")
    told.append("after that our staff can help you" if told else "please ask our staff")
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]}."


def _nth(number: int) -> str:
    return {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth"}.get(number, f"{number}th")


def taxes(house: House, today: date) -> str:
    """The taxes that the prices shown include: "HST"; empty where there are none."""
    site = house.facility.id
    names = [t.name for t in house.profile.tariff.taxes if in_force(t, today) and (not t.site_ids or site in t.site_ids)]
    return " and ".join(dict.fromkeys(names))


def boxes(house: House, count: int) -> str:
    return counted(house, count)


def iso_day(house: House, slot: int) -> str:
    """The local day of a slot for an address: "2026-11-21"."""
    return slots.local_day(house.facility.zone, slot).isoformat()
