"""SMS: what a text costs, and how plain twins make it cost less without ever costing more."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sms_text import BASIC, EXTENDED, Measure, fits, plain, segments

ALPHABET = "".join(sorted(BASIC | EXTENDED))
#: what French and typographers write, some of the seven-bit alphabet, and what has no twin
MIXED = st.text(
    st.sampled_from(
        "abc é è à ç Ç ê ô û ï œ Œ Æ ’ ‘ “ ” « » – — … \u00a0 \u202f \u200b € ^ { [ 3 : ✓ 😀 日 Ж e\u0301 \t\n".replace(" ", "") + " "
    )
)


def test_the_alphabet_has_its_127_characters_and_ten_more_behind_an_escape() -> None:
    assert len(BASIC) == 127 and len(EXTENDED) == 10 and not BASIC & EXTENDED


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        ("", Measure("gsm7", 0, 0)),
        ("a", Measure("gsm7", 1, 1)),
        ("€", Measure("gsm7", 2, 1)),
        ("a" * 160, Measure("gsm7", 160, 1)),
        ("a" * 161, Measure("gsm7", 161, 2)),
        ("a" * 306, Measure("gsm7", 306, 2)),
        ("a" * 307, Measure("gsm7", 307, 3)),
        ("a" * 152 + "€" + "a" * 152, Measure("gsm7", 306, 3)),
        ("€" * 80, Measure("gsm7", 160, 1)),
        ("ç", Measure("ucs2", 1, 1)),
        ("ç" * 70, Measure("ucs2", 70, 1)),
        ("ç" * 71, Measure("ucs2", 71, 2)),
        ("ç" * 135, Measure("ucs2", 135, 3)),
        ("😀" * 35, Measure("ucs2", 70, 1)),
        ("😀" * 67, Measure("ucs2", 134, 3)),
    ],
)
def test_a_text_costs_so_much(text: str, measure: Measure) -> None:
    assert segments(text) == measure


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Your PIN is 4711", "Your PIN is 4711"),
        ("L’accès est ouvert – à bientôt…", "L'accès est ouvert - à bientot..."),
        ("Votre réservation du «\u00a0Box\u00a03\u00a0» à 18\u202fh", 'Votre réservation du "Box 3" à 18 h'),
        ("Ça va, garçon ? Déjà vu, naïve Noël", "Ça va, garcon ? Déjà vu, naive Noel"),
        ("À l’œuvre, sœur", "A l'oeuvre, soeur"),
        ("e\u0301te\u0301", "été"),
        ("“Box\t3”", '"Box 3"'),
        ("no\u200bthing\u00ad here\ufeff", "nothing here"),
    ],
)
def test_french_and_typography_stay_in_the_alphabet(text: str, shown: str) -> None:
    assert plain(text) == shown and fits(shown)


@pytest.mark.parametrize("text", ["See you 😀 – à bientôt", "18 °C à l’extérieur", "日本", "Привет", "…" * 70])
def test_what_cannot_be_brought_in_wholly_or_not_for_less_is_left_alone(text: str) -> None:
    assert plain(text) == text


@given(MIXED)
def test_plain_is_in_the_alphabet_or_untouched(text: str) -> None:
    shown = plain(text)
    assert fits(shown) or shown == text


@given(MIXED)
def test_plain_twice_is_plain_once(text: str) -> None:
    assert plain(plain(text)) == plain(text)


@given(st.one_of(MIXED, st.text(max_size=400), MIXED.map(lambda text: text * 9)))
def test_plain_never_costs_more_segments(text: str) -> None:
    assert segments(plain(text)).segments <= segments(text).segments


@given(st.text(ALPHABET, max_size=700))
def test_what_is_in_the_alphabet_is_untouched_and_costs_between_full_and_nearly_full_segments(text: str) -> None:
    assert plain(text) == text
    measure = segments(text)
    assert measure.encoding == "gsm7" and len(text) <= measure.units <= 2 * len(text)
    if measure.units > 160:
        assert math.ceil(measure.units / 153) <= measure.segments <= math.ceil(measure.units / 152)
    else:
        assert measure.segments == (1 if text else 0)


@given(st.text(max_size=400).filter(lambda text: not fits(text)))
def test_ucs2_counts_the_units_of_utf_16(text: str) -> None:
    measure = segments(text)
    assert measure.encoding == "ucs2" and measure.units == len(text.encode("utf-16-le", "surrogatepass")) // 2
    if measure.units > 70:
        assert math.ceil(measure.units / 67) <= measure.segments <= math.ceil(measure.units / 66)


@given(st.text(ALPHABET + "ç😀", max_size=500), st.text(ALPHABET + "ç😀", max_size=200))
def test_more_text_never_costs_less(text: str, more: str) -> None:
    assert segments(text + more).segments >= segments(text).segments
