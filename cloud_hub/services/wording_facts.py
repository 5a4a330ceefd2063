"""What a message may say of an order, in the customer's language: times by the facility's wall clock, money, PINs, links. Pure.

    facts = facts_of(bookings, facility, resources, "fr", customer=customer, link=link)
    facts.when        "sam. 21 nov., 18h à 19h30"

Not here: the sentences around it (`wording`), and who is told (`shared.notifications`).
Invariant: the facts of one message are about one customer at one facility; what is not known is empty, and never made up.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date

import msgspec

from shared import rules, slots
from shared.errors import Suggestion
from shared.model import Booking, Customer, Facility, Price, Resource
from shared.notifications import Language
from shared.terms import Refund

#: how much of what has no limit of its own is told
VISITS_MAX, WAYS_MAX, NOTICES_MAX = 24, 6, 4
NOTICE_CHARS_MAX, NAME_CHARS_MAX = 240, 60


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The plain values of a template, already worded; what is not known is empty.

    `bays`, `when`, `day`, the clocks and `pin` are of the visit that comes first; `visits` has a line for every one, `was` is what stood before it
    was changed. `ways` are lines like "Box 2, Sat 21 Nov, 19:00 to 20:30, $39.90". `dark`: the facility is not heard, and the PIN opens its door all the
    same; `stop`: say how to end these messages. Links begin with http, or are left out when the message is worded.
    """

    facility: str
    word: str
    bays: str
    when: str
    day: str
    from_clock: str
    to_clock: str
    name: str = ""
    visits: tuple[str, ...] = ()
    was: str = ""
    pin: str = ""
    reference: str = ""
    link: str = ""
    total: str = ""
    refund: str = ""
    refund_rule: str = ""
    support_phone: str = ""
    support_hours: str = ""
    address: str = ""
    reason: str = ""
    ways: tuple[str, ...] = ()
    ways_link: str = ""
    notices: tuple[str, ...] = ()
    dark: bool = False
    stop: bool = False
    survey_link: str = ""


class Tongue(msgspec.Struct, frozen=True, kw_only=True):
    """The words of one language for times, lists and money. `refunds`: rule of `terms.cancellation` -> sentence; `reasons`: code -> words."""

    days: tuple[str, ...]
    days_short: tuple[str, ...]
    months: tuple[str, ...]
    months_short: tuple[str, ...]
    until: str
    join: str
    more: str
    pin: str
    refunds: dict[str, str]
    reasons: dict[str, str]


TONGUES: dict[Language, Tongue] = {
    "en": Tongue(
        days=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        days_short=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
        months=(
            "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
        ),
        months_short=("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
        until="to",
        join="and",
        more="{when} and {count} more",
        pin="PIN",
        refunds={
            "full_refund": "The whole price, {back}, comes back.",
            "waived": "The whole price, {back}, comes back.",
            "part_refund": "{back} comes back; {kept} is kept.",
            "no_refund": "Nothing of the price comes back.",
        },
        reasons={
            "maintenance": "maintenance",
            "training": "training",
            "private_event": "a private event",
            "resource_not_active": "it is out of order",
            "slot_taken": "sold to somebody else meanwhile",
            "outside_hours": "the facility is closed then",
            "answer_late": "the facility could not answer in time",
            "rest_on_sale": "nobody had come, so the rest of the time is on sale again; the price stays",
        },
    ),
    "fr": Tongue(
        days=("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
        days_short=("lun.", "mar.", "mer.", "jeu.", "ven.", "sam.", "dim."),
        months=(
            "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre",
        ),
        months_short=("janv.", "févr.", "mars", "avril", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."),
        until="à",
        join="et",
        more="{when} et {count} de plus",
        pin="NIP",
        refunds={
            "full_refund": "La totalité du prix, {back}, vous est remboursée.",
            "waived": "La totalité du prix, {back}, vous est remboursée.",
            "part_refund": "{back} vous sont remboursés; {kept} sont retenus.",
            "no_refund": "Le prix n’est pas remboursé.",
        },
        reasons={
            "maintenance": "entretien",
            "training": "formation",
            "private_event": "événement privé",
            "resource_not_active": "hors service",
            "slot_taken": "vendu à une autre personne entretemps",
            "outside_hours": "l’établissement est fermé à cette heure",
            "answer_late": "l’établissement n’a pas pu répondre à temps",
            "rest_on_sale": "personne n’était venu, le reste du temps est donc remis en vente; le prix ne change pas",
        },
    ),
}  # fmt: skip
_SIGNS = {"CAD": "$", "USD": "$", "AUD": "$", "GBP": "£", "EUR": "€"}
#: what the zones of Canada are called in French; others keep their name
_ZONES_FR = {
    "NST": "HNT", "NDT": "HAT", "AST": "HNA", "ADT": "HAA", "EST": "HNE", "EDT": "HAE",
    "CST": "HNC", "CDT": "HAC", "MST": "HNR", "MDT": "HAR", "PST": "HNP", "PDT": "HAP",
}  # fmt: skip
_HOURS = re.compile(r"(\d{2}:\d{2}) to (\d{2}:\d{2})", re.ASCII)
#: what looks like an address on the net to a mail program
_ADDRESS = re.compile(r"\.\w")


def money(cents: int, currency: str, language: Language) -> str:
    """ "$1,039.90", "1 039,90 $" (with no-break spaces); a currency without a sign is named. `cents` is not negative."""
    text, sign = f"{cents // 100:,}.{cents % 100:02}", _SIGNS.get(currency)
    if language == "fr":
        return f"{text.replace(',', chr(0xA0)).replace('.', ',')}\u00a0{sign or currency}"
    return f"{sign}{text}" if sign else f"{currency} {text}"


def clock(zone: str, slot: int, language: Language) -> str:
    """ "18:30", "18h30", "18h"; the zone's short name stands behind it in the hour that the night shows twice, and only there."""
    text, _, name = slots.label(zone, slot).partition(" ")
    if language == "fr":
        text, name = _clock_fr(text), _ZONES_FR.get(name, name)
    return f"{text} {name}" if name else text


def _clock_fr(text: str) -> str:
    hour, _, minute = text.partition(":")
    return f"{int(hour)}h{'' if minute == '00' else minute}"


def day(on: date, language: Language) -> str:
    """ "Saturday 21 November", "mardi 1er décembre"."""
    t = TONGUES[language]
    return f"{t.days[on.weekday()]} {_number(on, language)} {t.months[on.month - 1]}"


def when(zone: str, start: int, end: int, language: Language) -> str:
    """ "Sat 21 Nov, 18:00 to 19:30" of an interval in slots; an end on another day names it: "Sat 21 Nov, 23:00 to 01:00 (Sun)"."""
    t, first, last = TONGUES[language], slots.local_day(zone, start), slots.local_day(zone, end - 1)
    other = "" if first == last else f" ({t.days_short[slots.local_day(zone, end).weekday()]})"
    on = f"{t.days_short[first.weekday()]} {_number(first, language)} {t.months_short[first.month - 1]}"
    return f"{on}, {clock(zone, start, language)} {t.until} {clock(zone, end, language)}{other}"


def _number(on: date, language: Language) -> str:
    return "1er" if language == "fr" and on.day == 1 else str(on.day)


def listed(names: Sequence[str], language: Language) -> str:
    """ "Box 1", "Box 1 and Box 2", "Box 1, Box 2 and Box 3"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {TONGUES[language].join} {names[-1]}"


def greeting(name: str) -> str:
    """The name if it is one that we write to somebody else's address in our name: no digits, addresses or long texts. Else empty.

    Whoever books gives the name and the address, and need not own the address.
    """
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    letters = all(unicodedata.category(one)[0] in "LM" or one in " .,'’-&" for one in name)
    return name if letters and len(name) <= NAME_CHARS_MAX and not _ADDRESS.search(name) else ""


def facts_of(
    bookings: Sequence[Booking],
    facility: Facility,
    resources: Mapping[str, Resource],
    language: Language,
    *,
    customer: Customer | None = None,
    seats: Mapping[str, str] | None = None,
    was: Sequence[Booking] = (),
    reference: str = "",
    link: str = "",
    refund: Refund | None = None,
    reason: str = "",
    ways: Sequence[Suggestion] = (),
    ways_link: str = "",
    notices: Sequence[str] = (),
    survey_link: str = "",
    dark: bool = False,
    stop: bool = False,
) -> Facts:
    """What a message about these bookings may say.

    `bookings`: those of one order that it is about, as they may be told (`secured.told`); `seats`: booking id -> the bay it was reseated on;
    `was`: what stood before a change or a displacement; `reason`: a stable code, of which only those with words are said; `refund`: what its
    cancellation gives back; links whole, beginning with http. ValueError for no bookings, another facility's, or another customer's.
    """
    _one_customer([*bookings, *was], facility, customer)
    house = _House(facility, resources, language, seats or {})
    groups = house.groups(bookings)
    (start, end), first = groups[0]
    t, shown = TONGUES[language], when(facility.zone, start, end, language)
    prices = [b.price for b in bookings if b.price is not None]
    return Facts(
        facility=facility.name,
        word=facility.word,
        bays=house.bays(first),
        when=t.more.format(when=shown, count=len(groups) - 1) if len(groups) > 1 else shown,
        day=day(slots.local_day(facility.zone, start), language),
        from_clock=clock(facility.zone, start, language),
        to_clock=clock(facility.zone, end, language),
        name=greeting(customer.name if customer else bookings[0].shown_name),
        visits=tuple(house.line(*time, some, pins=len(groups) > 1) for time, some in groups[:VISITS_MAX]),
        was=house.before(was),
        pin=house.pin(first),
        reference=reference,
        link=link,
        total=_total(prices, language) if len(prices) == len(bookings) else "",
        refund=_money_back(refund, prices, language),
        refund_rule=_refund_rule(refund, prices, language),
        support_phone=facility.support_phone,
        support_hours=_hours(facility.support_hours, language),
        address=facility.address,
        reason=t.reasons.get(reason, ""),
        ways=tuple(house.way(way) for way in ways[:WAYS_MAX]),
        ways_link=ways_link,
        notices=tuple(_short(notice) for notice in notices if notice.strip())[:NOTICES_MAX],
        survey_link=survey_link,
        dark=dark,
        stop=stop,
    )


def _one_customer(bookings: Sequence[Booking], facility: Facility, customer: Customer | None) -> None:
    if not bookings:
        raise ValueError("A message needs at least one booking that it is about.")
    if any(b.site_id != facility.id for b in bookings):
        raise ValueError(f"A message is about one facility; a booking is not of {facility.id}.")
    ids = {b.customer_id for b in bookings} | ({customer.id} if customer else set())
    if len(ids) > 1:
        raise ValueError("A message is about one customer; these bookings are of several.")


class _House:
    """A facility's bays and times as words."""

    def __init__(self, facility: Facility, resources: Mapping[str, Resource], language: Language, seats: Mapping[str, str]):
        self._facility, self._resources, self._language, self._seats = facility, resources, language, seats

    def called(self, resource_id: str) -> str:
        found = self._resources.get(resource_id)
        return rules.called(found, self._facility) if found else resource_id.partition(".")[2]

    def _bay(self, b: Booking) -> str:
        return self.called(self._seats.get(b.id, b.resource_id))

    def bays(self, bookings: Sequence[Booking]) -> str:
        return listed(list(dict.fromkeys(self._bay(b) for b in bookings)), self._language)

    def groups(self, bookings: Sequence[Booking]) -> list[tuple[tuple[int, int], list[Booking]]]:
        """The bookings by their interval, in order; those of one interval by their bay."""
        found: dict[tuple[int, int], list[Booking]] = {}
        for b in sorted(bookings, key=lambda b: (b.start, b.end, self._rank(b), b.id)):
            found.setdefault((b.start, b.end), []).append(b)
        return list(found.items())

    def _rank(self, b: Booking) -> tuple[int, str]:
        seat = self._seats.get(b.id, b.resource_id)
        resource = self._resources.get(seat)
        return (resource.number if resource else 0, seat)

    def pin(self, bookings: Sequence[Booking]) -> str:
        """The PIN of what stands: "123456", or for several bays "123456 (Box 1), 654321 (Box 2)"."""
        pins = {b.door_pin: self._bay(b) for b in bookings if b.status == "confirmed" and not b.withdrawn and b.door_pin}
        return ", ".join(f"{pin} ({bay})" for pin, bay in pins.items()) if len(pins) > 1 else "".join(pins)

    def line(self, start: int, end: int, bookings: Sequence[Booking], *, pins: bool = False) -> str:
        """ "Box 1 and Box 2, Sat 21 Nov, 18:00 to 19:30"; with `pins` and the PINs behind it."""
        text = f"{self.bays(bookings)}, {when(self._facility.zone, start, end, self._language)}"
        pin = self.pin(bookings) if pins else ""
        return f"{text}, {TONGUES[self._language].pin} {pin}" if pin else text

    def before(self, was: Sequence[Booking]) -> str:
        """What stood before; empty for none or for several times, which are no help in a sentence."""
        groups = self.groups(was)
        return self.line(*groups[0][0], groups[0][1]) if len(groups) == 1 else ""

    def way(self, way: Suggestion) -> str:
        time = when(self._facility.zone, slots.slot_of(way.start_at), slots.slot_of(way.end_at), self._language)
        return f"{self.called(way.resource_id)}, {time}, {money(way.total_cents, way.currency, self._language)}"


def _total(prices: Sequence[Price], language: Language) -> str:
    if len({price.currency for price in prices}) != 1:
        return ""
    return money(sum(price.total_cents for price in prices), prices[0].currency, language)


def _money_back(refund: Refund | None, prices: Sequence[Price], language: Language) -> str:
    return money(refund.cents, prices[0].currency, language) if refund and refund.cents and prices else ""


def _refund_rule(refund: Refund | None, prices: Sequence[Price], language: Language) -> str:
    """Silent where nothing was to be paid: nothing comes back then, and nothing is kept."""
    if not refund or not prices or not refund.cents + refund.kept_cents:
        return ""
    back, kept = (money(cents, prices[0].currency, language) for cents in (refund.cents, refund.kept_cents))
    return TONGUES[language].refunds.get(refund.rule, "").format(back=back, kept=kept)


def _hours(text: str, language: Language) -> str:
    """The facility's own words for when it can be called; "07:00 to 21:00" is said in the language."""
    if language == "en":
        return text
    return _HOURS.sub(lambda found: f"{_clock_fr(found[1])} {TONGUES[language].until} {_clock_fr(found[2])}", text)


def _short(notice: str) -> str:
    text = " ".join(notice.split())
    return text if len(text) <= NOTICE_CHARS_MAX else text[: NOTICE_CHARS_MAX - 1].rstrip() + "…"


SAMPLETON = Facility(
    id="sampleton", name="Sampleton", zone="America/Halifax", address="1 Invented Lane, Sampleton",
    support_phone="902-555-0199", support_hours="07:00 to 21:00",
)  # fmt: skip


def sample_facts(language: Language, facility: Facility = SAMPLETON) -> Facts:
    """An invented booking at the facility in which every value is known that the facility has, for previews and for judging a template."""
    bays = [f"{facility.id}.box-{n}" for n in (1, 2, 3)]
    resources = {bay: Resource(id=bay, name=f"Box {n}", number=n) for n, bay in enumerate(bays, 1)}
    customer = Customer(id="c-sample-1", name="Testa Birdie")
    start = slots.parse_local(facility.zone, "2026-11-21T18:00")[0]
    price = Price(currency=facility.currency, total_cents=3990)
    booking = Booking(
        id="sample-booking", order_id="sample-order", site_id=facility.id, resource_id=bays[1], start=start, end=start + 6,
        pin="123456", customer_id=customer.id, price=price,
    )  # fmt: skip
    before = msgspec.structs.replace(booking, resource_id=bays[0], pin="")
    later = [(start + 4) * 900, (start + 10) * 900]
    return facts_of(
        [booking], facility, resources, language, customer=customer, was=[before], reference="SAMPLE1",
        link="https://book.example.test/b/sample-order/AAAAAAAAAAAAAAAAAAAAAA", refund=Refund(cents=2990, kept_cents=1000, rule="part_refund"),
        reason="maintenance", ways=[Suggestion(bays[2], *later, 3990, facility.currency)], ways_link="https://book.example.test/w/sample-order",
        notices=["The front door sticks. Pull it hard."], survey_link="https://book.example.test/s/sample-order", dark=True, stop=True,
    )  # fmt: skip
