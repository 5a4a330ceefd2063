"""Quotes: a signed price is honoured as it stands, and no other price that a client brings (P5)."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import quotes
from shared.errors import STATUS, Refusal
from shared.keys import KeyRing, SigningKey
from shared.model import Price, PriceLine
from shared.quotes import GUARDS, VALID_S, honour, make, read, who_of, write


def replace(value, **changes):
    return msgspec.structs.replace(value, **changes)


SITE, HUB, STRANGER = (SigningKey.from_seed(letter * 32) for letter in (b"s", b"h", b"x"))
RING = KeyRing([SITE.public("site", "bedford"), HUB.public("hub")])
NOW, START = 1_791_000_000, 1_990_000
PRICE = Price(
    currency="CAD",
    total_cents=3990,
    lines=(PriceLine(code="rate", label="1 h at $35", cents=3500, minutes=60), PriceLine(code="tax", label="HST 14 %", cents=490)),
)
TESTA = who_of("customer-testa-birdie")
QUOTE = make(
    resource_id="bedford.box-1", start=START, end=START + 4, price=PRICE, channel="web", now_at=NOW, key_id=HUB.id, who=TESTA, code="SPRING"
)
ELSEWHERE = replace(QUOTE, site_id="dartmouth", resource_id="dartmouth.box-1")
TOKEN = write(QUOTE, HUB)
REQUEST = {"resource_id": "bedford.box-1", "start": START, "end": START + 4, "code": "SPRING", "who": TESTA, "channel": "web"}


def ask(token=TOKEN, ring=RING, now_at=NOW + 1, without=(), **changes):
    return honour(token, ring, now_at, without=frozenset(without), **{**REQUEST, **changes})


def code_of(answer) -> str:
    return answer.code if isinstance(answer, Refusal) else "honoured"


def test_a_quote_is_honoured_to_the_cent_with_all_its_lines():
    assert ask() == PRICE
    assert read(TOKEN, RING, NOW) == QUOTE


def test_a_quote_by_either_side_is_honoured_by_whoever_has_its_public_key():
    by_site = write(replace(QUOTE, key_id=SITE.id), SITE)
    assert ask(by_site) == PRICE
    assert code_of(ask(by_site, KeyRing([HUB.public("hub")]))) == "quote_invalid"


@pytest.mark.parametrize(("later_s", "code"), [(0, "honoured"), (VALID_S, "honoured"), (VALID_S + 1, "quote_expired")])
def test_a_quote_is_kept_for_15_minutes(later_s, code):
    assert VALID_S == 15 * 60
    assert code_of(ask(now_at=NOW + later_s)) == code


def test_a_measured_skew_lengthens_its_life_by_as_much():
    assert isinstance(read(TOKEN, RING, NOW + VALID_S + 30, skew_s=-30), quotes.Quote)
    assert read(TOKEN, RING, NOW + VALID_S + 31, skew_s=30).code == "quote_expired"


@pytest.mark.parametrize(
    "change",
    [
        {"resource_id": "bedford.box-2"},
        {"start": START + 2},
        {"end": START + 8},
        {"code": ""},
        {"code": "OTHER"},
        {"who": who_of("customer-someone-else")},
        {"who": ""},
        {"channel": "kiosk"},
    ],
)
def test_a_quote_is_not_for_another_request(change):
    answer = ask(**change)
    assert answer.code == "quote_invalid" and "another booking" in answer.detail


def test_a_quote_for_anybody_fits_everybody():
    assert ask(write(replace(QUOTE, who=""), HUB), who=who_of("customer-someone-else")) == PRICE


def test_whom_a_quote_is_for_is_told_by_nothing_in_it():
    assert who_of("") == "" and who_of("", "gold") != who_of("gold")
    assert who_of("customer-testa-birdie", "gold") == TESTA, "a tier that changes meanwhile does not void the promise"
    assert b"testa" not in base64.urlsafe_b64decode(TOKEN[4:] + "==")


@given(st.integers(0, 10**9), st.text(max_size=40), st.sampled_from(["web", "kiosk", "staff", "api", "clubos"]))
def test_what_is_written_is_read(cents, label, channel):
    price = Price(currency="CAD", total_cents=cents, lines=(PriceLine(code="rate", label=label, cents=cents),))
    quote = replace(QUOTE, price=price, channel=channel)
    assert read(write(quote, HUB), RING, NOW) == quote


@given(st.integers(0, len(TOKEN) - 1), st.integers(0, 7))
def test_any_flipped_bit_is_refused(at, bit):
    changed = TOKEN[:at] + chr(ord(TOKEN[at]) ^ (1 << bit)) + TOKEN[at + 1 :]
    assert code_of(ask(changed)) == "quote_invalid"


@given(st.text(max_size=300) | st.text("ABCabc012-_", max_size=300).map(lambda text: "CQ1." + text))
def test_any_text_gets_an_answer_and_no_price(text):
    answer = ask(text)
    assert answer.code == "quote_invalid" and answer.detail.endswith(".")


def signed(body: bytes, key: SigningKey = HUB, domain: bytes = quotes.DOMAIN) -> str:
    return "CQ1." + base64.urlsafe_b64encode(key.sign(domain, body) + body).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (None, "not one of our quotes"),
        ("3990", "not one of our quotes"),
        ("CQ1.", "incomplete or damaged"),
        ("CQ1.é", "incomplete or damaged"),
        ("CQ1." + "A" * 4096, "too long"),
        (signed(b"[" * 2900), "incomplete or damaged"),
        (signed(b'{"price": 1}'), "incomplete or damaged"),
        (signed(msgspec.json.encode(replace(QUOTE, price=replace(PRICE, total_cents=1)))), "incomplete or damaged"),
        (signed(msgspec.json.encode(QUOTE), STRANGER), "changed"),
        (signed(msgspec.json.encode(QUOTE), domain=b"clubos.pass.v1\0"), "changed"),
        (signed(msgspec.json.encode(replace(QUOTE, key_id=STRANGER.id)), STRANGER), "not signed by a key"),
        (signed(msgspec.json.encode(replace(ELSEWHERE, key_id=SITE.id)), SITE), "not signed by a key"),
    ],
)
def test_what_is_no_quote_of_ours_is_refused_with_its_reason(token, says):
    answer = ask(token)
    assert answer.code == "quote_invalid" and says in answer.detail


def test_a_quote_of_a_withdrawn_key_is_refused():
    assert code_of(ask(ring=RING.withdraw_now(HUB.id))) == "quote_invalid"


@pytest.mark.parametrize(
    "change",
    [
        {"price": replace(PRICE, total_cents=3991)},
        {"price": Price(currency="CAD", total_cents=-1, lines=(PriceLine(code="rate", label="", cents=-1),))},
        {"end": START},
        {"site_id": "dartmouth"},
        {"key_id": SITE.id},
        {"price": Price(currency="CAD", total_cents=0, lines=(PriceLine(code="rate", label="x" * 4000, cents=0),))},
    ],
)
def test_an_unlawful_quote_is_not_signed(change):
    with pytest.raises(ValueError):
        write(replace(QUOTE, **change), HUB)


#: a token whose last character carries two spare bits, and another spelling of the same bytes
SPARE = next(token for token in (write(replace(QUOTE, code="C" * n), HUB) for n in range(3)) if len(token[4:]) % 4 == 3)
RESPELLED = SPARE[:-1] + chr(ord(SPARE[-1]) + 1)

TWINS = {
    "spelling": {"token": RESPELLED, "code": read(SPARE, RING, NOW).code},
    "key": {"ring": RING.withdraw_now(HUB.id)},
    "signature": {"token": signed(msgspec.json.encode(QUOTE), STRANGER)},
    "expiry": {"now_at": NOW + VALID_S + 1},
    "fit": {"end": START + 8},
}


def test_every_guard_has_a_twin():
    assert set(TWINS) == set(GUARDS)


@pytest.mark.parametrize("name", sorted(GUARDS))
def test_the_guard_refuses_and_without_it_the_wrong_quote_gets_a_price(name):
    assert code_of(ask(**TWINS[name])) in STATUS
    assert code_of(ask(**TWINS[name], without=set(GUARDS) - {name})) in STATUS, "this guard alone is enough"
    assert code_of(ask(**TWINS[name], without={name})) == "honoured", "and nothing else would have caught it"
