"""What a message may say of an order: times by the facility's wall in both languages, PINs, money, and nothing of anybody else."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cloud_hub.services.wording_facts import Facts, clock, day, facts_of, greeting, listed, money, sample_facts, when
from shared.errors import Suggestion
from shared.model import Booking, Customer, Facility, Price, Resource
from shared.notifications import LANGUAGES
from shared.terms import Refund

HALIFAX = "America/Halifax"
BEDFORD = Facility(id="bedford", name="Bedford", zone=HALIFAX, support_phone="902-555-0199", support_hours="07:00 to 21:00")
BOXES = {f"bedford.box-{n}": Resource(id=f"bedford.box-{n}", name=f"Box {n}", number=n) for n in (1, 2, 3)}
TESTA = Customer(id="c-testa-1", name="Testa Birdie", phone="902-555-0101")


def slot(text: str) -> int:
    """ "2026-11-21T22:00Z" as a slot."""
    return int(datetime.fromisoformat(text).timestamp()) // 900


START = slot("2026-11-21T22:00Z")  # Saturday 18:00 in Halifax


def booking(number: int = 1, start: int = START, slots: int = 6, **more) -> Booking:
    values = {"pin": f"12345{number}", "customer_id": TESTA.id, "price": Price(currency="CAD", total_cents=3990)} | more
    return Booking(
        id=f"b-{number}-{start}", order_id="order-0001", site_id="bedford", resource_id=f"bedford.box-{number}", start=start, end=start + slots,
        **values,
    )  # fmt: skip


def facts(*bookings: Booking, language="en", **more) -> Facts:
    return facts_of(bookings or (booking(),), BEDFORD, BOXES, language, **({"customer": TESTA} | more))


# ---- times
@pytest.mark.parametrize(
    ("start", "end", "english", "french"),
    [
        ("2026-11-21T22:00Z", "2026-11-21T23:30Z", "Sat 21 Nov, 18:00 to 19:30", "sam. 21 nov., 18h à 19h30"),
        ("2026-11-22T03:00Z", "2026-11-22T05:00Z", "Sat 21 Nov, 23:00 to 01:00 (Sun)", "sam. 21 nov., 23h à 1h (dim.)"),
        ("2026-11-22T02:00Z", "2026-11-22T04:00Z", "Sat 21 Nov, 22:00 to 00:00", "sam. 21 nov., 22h à 0h"),
        ("2026-08-01T12:30Z", "2026-08-01T14:00Z", "Sat 1 Aug, 09:30 to 11:00", "sam. 1er août, 9h30 à 11h"),
        # 1 November 2026: Halifax shows 01:00 to 02:00 twice, first as ADT
        ("2026-11-01T03:00Z", "2026-11-01T04:30Z", "Sun 1 Nov, 00:00 to 01:30 ADT", "dim. 1er nov., 0h à 1h30 HAA"),
        ("2026-11-01T04:30Z", "2026-11-01T05:30Z", "Sun 1 Nov, 01:30 ADT to 01:30 AST", "dim. 1er nov., 1h30 HAA à 1h30 HNA"),
        ("2026-11-01T06:00Z", "2026-11-01T07:00Z", "Sun 1 Nov, 02:00 to 03:00", "dim. 1er nov., 2h à 3h"),
        ("2026-11-01T02:30Z", "2026-11-01T06:30Z", "Sat 31 Oct, 23:30 to 02:30 (Sun)", "sam. 31 oct., 23h30 à 2h30 (dim.)"),
        # 8 March 2026: there is no 02:30
        ("2026-03-08T05:30Z", "2026-03-08T06:30Z", "Sun 8 Mar, 01:30 to 03:30", "dim. 8 mars, 1h30 à 3h30"),
    ],
)
def test_a_time_is_said_by_the_facilitys_wall_clock(start: str, end: str, english: str, french: str) -> None:
    assert when(HALIFAX, slot(start), slot(end), "en") == english
    assert when(HALIFAX, slot(start), slot(end), "fr") == french


@given(st.integers(slot("2025-01-01T00:00Z"), slot("2030-01-01T00:00Z")), st.sampled_from([HALIFAX, "America/St_Johns", "Australia/Lord_Howe", "UTC"]))  # fmt: skip
def test_a_clock_shows_the_wall_and_names_the_zone_exactly_where_the_night_shows_it_twice(at: int, zone: str) -> None:
    there = datetime.fromtimestamp(at * 900, UTC).astimezone(ZoneInfo(zone))
    twice = there.replace(fold=0).utcoffset() != there.replace(fold=1).utcoffset()
    assert clock(zone, at, "en") == f"{there:%H:%M}" + (f" {there.tzname()}" if twice else "")


def test_a_day_is_said_in_full() -> None:
    assert day(date(2026, 11, 21), "en") == "Saturday 21 November"
    assert day(date(2026, 12, 1), "fr") == "mardi 1er décembre"


@pytest.mark.parametrize(
    ("cents", "currency", "english", "french"),
    [
        (3990, "CAD", "$39.90", "39,90\u00a0$"),
        (103990, "CAD", "$1,039.90", "1\u00a0039,90\u00a0$"),
        (5, "EUR", "€0.05", "0,05\u00a0€"),
        (1200, "CHF", "CHF 12.00", "12,00\u00a0CHF"),
    ],
)
def test_money_is_written_as_the_language_does(cents: int, currency: str, english: str, french: str) -> None:
    assert money(cents, currency, "en") == english and money(cents, currency, "fr") == french


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], ""),
        (["Box 1"], "Box 1"),
        (["Box 1", "Box 2"], "Box 1 et Box 2"),
        (["Box 1", "Box 2", "Box 3"], "Box 1, Box 2 et Box 3"),
    ],
)
def test_names_are_listed(names: list[str], shown: str) -> None:
    assert listed(names, "fr") == shown


# ---- one order
def test_one_booking_is_told_with_its_bay_time_pin_and_price() -> None:
    told = facts(reference="ABC123", link="https://book.example.test/b/x")
    assert (told.facility, told.word, told.name) == ("Bedford", "Box", "Testa Birdie")
    assert (told.bays, told.when, told.day) == ("Box 1", "Sat 21 Nov, 18:00 to 19:30", "Saturday 21 November")
    assert (told.from_clock, told.to_clock, told.pin, told.total) == ("18:00", "19:30", "123451", "$39.90")
    assert told.visits == ("Box 1, Sat 21 Nov, 18:00 to 19:30",)
    assert (told.reference, told.link) == ("ABC123", "https://book.example.test/b/x")


def test_bays_of_one_time_are_told_together_in_their_order_each_with_its_pin() -> None:
    told = facts(booking(2), booking(1))
    assert (told.bays, told.total) == ("Box 1 and Box 2", "$79.80")
    assert told.pin == "123451 (Box 1), 123452 (Box 2)"


def test_of_several_times_the_first_is_told_and_all_are_listed_with_their_pins() -> None:
    told = facts(booking(2, START + 672, pin="777777"), booking(1), booking(2))
    assert (told.bays, told.when) == ("Box 1 and Box 2", "Sat 21 Nov, 18:00 to 19:30 and 1 more")
    assert told.visits == (
        "Box 1 and Box 2, Sat 21 Nov, 18:00 to 19:30, PIN 123451 (Box 1), 123452 (Box 2)",
        "Box 2, Sat 28 Nov, 18:00 to 19:30, PIN 777777",
    )
    assert facts(booking(1), booking(1, START + 672), language="fr").when == "sam. 21 nov., 18h à 19h30 et 1 de plus"


def test_the_bay_is_the_one_where_the_guest_plays() -> None:
    assert facts(seats={booking().id: "bedford.box-3"}).bays == "Box 3"


def test_a_bay_that_is_not_known_here_is_called_by_its_id() -> None:
    assert facts(replace(booking(), resource_id="bedford.attic")).bays == "attic"


def test_the_pin_of_a_dark_site_is_told_instead_of_the_other() -> None:
    assert facts(booking(outage_pin="998877")).pin == "998877"


@pytest.mark.parametrize("change", [{"status": "cancelled"}, {"status": "requested"}, {"withdrawn": True}, {"pin": ""}])
def test_what_does_not_stand_has_no_pin(change: dict) -> None:
    assert facts(booking(**change)).pin == ""


def test_what_stood_before_is_told_without_its_pin() -> None:
    assert facts(was=[booking(3)]).was == "Box 3, Sat 21 Nov, 18:00 to 19:30"
    assert facts(was=[booking(3), booking(3, START + 96)]).was == ""


@pytest.mark.parametrize(
    ("refund", "money_back", "sentence"),
    [
        (Refund(cents=3990, kept_cents=0, rule="full_refund"), "$39.90", "The whole price, $39.90, comes back."),
        (Refund(cents=2990, kept_cents=1000, rule="part_refund"), "$29.90", "$29.90 comes back; $10.00 is kept."),
        (Refund(cents=0, kept_cents=3990, rule="no_refund"), "", "Nothing of the price comes back."),
        (Refund(cents=0, kept_cents=0, rule="full_refund"), "", ""),
        (None, "", ""),
    ],
)
def test_a_refund_is_told_as_it_was_judged(refund: Refund | None, money_back: str, sentence: str) -> None:
    told = facts(refund=refund)
    assert (told.refund, told.refund_rule) == (money_back, sentence)


def test_a_price_that_is_not_known_of_every_booking_is_not_told() -> None:
    assert facts(booking(1), booking(2, price=None)).total == ""
    assert facts(booking(price=None), refund=Refund(cents=100, kept_cents=0, rule="full_refund")).refund == ""


def test_ways_out_are_lines_with_their_prices() -> None:
    way = Suggestion("bedford.box-2", (START + 4) * 900, (START + 10) * 900, 3990, "CAD")
    assert facts(ways=[way]).ways == ("Box 2, Sat 21 Nov, 19:00 to 20:30, $39.90",)
    assert facts(ways=[way], language="fr").ways == ("Box 2, sam. 21 nov., 19h à 20h30, 39,90\u00a0$",)


def test_only_reasons_with_words_are_told() -> None:
    assert facts(reason="maintenance").reason == "maintenance" and facts(reason="maintenance", language="fr").reason == "entretien"
    assert facts(reason="Testa was rude to staff").reason == ""


def test_notices_are_lines_of_a_bounded_length() -> None:
    told = facts(notices=["Use the\r\nback door.", "  ", "x" * 500])
    assert told.notices[0] == "Use the back door." and len(told.notices) == 2
    assert len(told.notices[1]) == 240 and told.notices[1].endswith("…")


def test_the_hours_of_support_are_said_in_the_language() -> None:
    assert facts().support_hours == "07:00 to 21:00" and facts(language="fr").support_hours == "7h à 21h"


# ---- whose it is
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Testa Birdie", "Testa Birdie"),
        ("  Testa \n Birdie ", "Testa Birdie"),
        ("Zoë O’Fictia-Née, J. R.", "Zoë O’Fictia-Née, J. R."),
        ("प्रयोग", "प्रयोग"),
        ("", ""),
        ("You have won, see evil.example", ""),
        ("https://evil.example", ""),
        ("Call 902-555-0100", ""),
        ("{{ 7 * 7 }}", ""),
        ("<b>Testa</b>", ""),
        ("Testa " * 20, ""),
    ],
)
def test_only_what_is_a_name_is_written_to_an_address_that_may_be_somebody_elses(name: str, shown: str) -> None:
    assert greeting(name) == shown


def test_without_a_customer_the_name_on_the_booking_greets() -> None:
    assert facts(booking(shown_name="Mocka Eagle"), customer=None).name == "Mocka Eagle"


@pytest.mark.parametrize(
    ("bookings", "more", "says"),
    [
        ([], {}, "at least one booking"),
        ([replace(booking(), site_id="truro")], {}, "one facility"),
        ([booking(1), booking(2, customer_id="c-mocka-2")], {}, "one customer"),
        ([booking()], {"customer": replace(TESTA, id="c-mocka-2")}, "one customer"),
        ([booking()], {"was": [booking(2, customer_id="c-mocka-2")]}, "one customer"),
    ],
)
def test_bookings_that_do_not_belong_in_one_message_are_refused(bookings: list[Booking], more: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        facts_of(bookings, BEDFORD, BOXES, "en", **({"customer": TESTA} | more))


@pytest.mark.parametrize("language", LANGUAGES)
def test_in_the_sample_every_fact_is_known(language: str) -> None:
    sample = sample_facts(language)
    assert [name for name in Facts.__struct_fields__ if not getattr(sample, name)] == []
