"""The signed quote: a price that either side honours for 15 minutes, whatever prices or links do meanwhile (P5).

Not here: how the price comes about (`pricing`). Not a hold either: a quote keeps the price, not the slots.

Invariant: the only price that a client can bring is one that a side signed, and only for the very interval, code, channel and person that
it was made for. A number in a request is never a price.

The token is `CQ1.` and base64url of `signature + JSON`: it travels in forms and bodies, never in a QR code, so shortness matters less than
being readable with any tool.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

import msgspec

from shared.errors import Refusal
from shared.keys import SIGNATURE_BYTES, KeyRing, SigningKey
from shared.model import FIRST_SLOT, LAST_SLOT, Channel, Frozen, Price, site_of

DOMAIN = b"clubos.quote.v1\0"
PREFIX = "CQ1."
TOKEN_MAX = 4096
VALID_S = 900
_NONE: frozenset[str] = frozenset()

#: what stands between a text from a client and a price; `read` and `honour` take `without` for the tests that show what each holds off
GUARDS: dict[str, str] = {
    "spelling": "one token has one spelling",
    "key": "the key is known, not withdrawn, and may sign for this site",
    "signature": "the signature is of this very quote",
    "expiry": "a quote ends 15 minutes after it was made",
    "fit": "a quote is for one interval, code, channel and person",
}


class Quote(Frozen):
    """A price and what it is for. `start`, `end` in slots; `valid_until_at` in unix seconds; `who` from `who_of`, empty for anybody."""

    site_id: str
    resource_id: str
    start: int
    end: int
    price: Price
    who: str
    code: str
    channel: Channel
    valid_until_at: int
    key_id: str


def who_of(customer_id: str, tier: str = "") -> str:
    """For whom a price was made: empty for anybody, else 16 hex digits that tell nothing of the person.

    A known customer is meant alone, by id: a tier that changes within the quarter hour does not void the promise. A tier without a
    customer (a price list for members) means whoever has that tier.
    """
    if customer_id:
        return hashlib.sha256(b"customer\0" + customer_id.encode()).hexdigest()[:16]
    return hashlib.sha256(b"tier\0" + tier.encode()).hexdigest()[:16] if tier else ""


def make(
    *, resource_id: str, start: int, end: int, price: Price, channel: Channel, now_at: int, key_id: str, who: str = "", code: str = ""
) -> Quote:
    """The quote of a price worked out now; valid for `VALID_S` seconds."""
    return Quote(
        site_id=site_of(resource_id),
        resource_id=resource_id,
        start=start,
        end=end,
        price=price,
        who=who,
        code=code,
        channel=channel,
        valid_until_at=now_at + VALID_S,
        key_id=key_id,
    )


def write(quote: Quote, key: SigningKey) -> str:
    """The token of a quote. ValueError if it is not a lawful quote, names another key or is too long: a bug of the caller."""
    problem = _unlawful(quote)
    if problem:
        raise ValueError(problem)
    if quote.key_id != key.id:
        raise ValueError(f"The quote names the key {quote.key_id!r} and would be signed with {key.id!r}.")
    body = msgspec.json.encode(quote)
    token = PREFIX + _spell(key.sign(DOMAIN, body) + body)
    if len(token) > TOKEN_MAX:
        raise ValueError(f"A quote's token has at most {TOKEN_MAX} characters, this one has {len(token)}.")
    return token


def read(token: str, ring: KeyRing, now_at: int, skew_s: int = 0, *, without: frozenset[str] = _NONE) -> Quote | Refusal:
    """The quote that the ring vouches for, or `quote_invalid`, `quote_expired`. Any text is answered, none raises.

    Says nothing of what the quote is for: ask `honour`, or `fits`. `skew_s` lengthens its life by what the clocks differ.
    """
    parsed = _parse(token, without)
    if isinstance(parsed, Refusal):
        return parsed
    quote, body, signature = parsed
    if "key" not in without and ring.problem(quote.key_id, site_id=quote.site_id, until_at=quote.valid_until_at):
        return Refusal("quote_invalid", "This quote was not signed by a key that we accept. Please ask for the price again.")
    if "signature" not in without and not ring.verifies(quote.key_id, DOMAIN, body, signature):
        return Refusal("quote_invalid", "This quote has been changed and cannot be honoured. Please ask for the price again.")
    if "expiry" not in without and now_at > quote.valid_until_at + abs(skew_s):
        return Refusal("quote_expired", "This quote has expired: a price is kept for 15 minutes. Please ask for the price again.")
    return quote


def fits(quote: Quote, resource_id: str, start: int, end: int, code: str, *, who: str, channel: Channel) -> bool:
    """Whether a quote is for this request. `who` is `who_of` the one who asks; a quote for anybody fits everybody."""
    same = (quote.resource_id, quote.start, quote.end, quote.code, quote.channel) == (resource_id, start, end, code, channel)
    return same and quote.who in ("", who)


def honour(
    token: str,
    ring: KeyRing,
    now_at: int,
    *,
    resource_id: str,
    start: int,
    end: int,
    code: str,
    who: str,
    channel: Channel,
    skew_s: int = 0,
    without: frozenset[str] = _NONE,
) -> Price | Refusal:
    """THE way from a client's token to a price: signed, in time, and for this very request; else `quote_invalid` or `quote_expired`."""
    quote = read(token, ring, now_at, skew_s, without=without)
    if isinstance(quote, Refusal):
        return quote
    if "fit" not in without and not fits(quote, resource_id, start, end, code, who=who, channel=channel):
        return Refusal("quote_invalid", "This quote was made for another booking. Please ask for the price again.")
    return quote.price


_NOT_A_QUOTE = Refusal("quote_invalid", "This is not one of our quotes. Please ask for the price again.")
_DAMAGED = Refusal("quote_invalid", "This quote is incomplete or damaged. Please ask for the price again.")


def _parse(token: str, without: frozenset[str]) -> tuple[Quote, bytes, bytes] | Refusal:
    if not isinstance(token, str) or not token.startswith(PREFIX):
        return _NOT_A_QUOTE
    if len(token) > TOKEN_MAX:
        return Refusal("quote_invalid", "This text is too long to be one of our quotes. Please ask for the price again.")
    text = token[len(PREFIX) :]
    try:
        blob = base64.b64decode((text + "=" * (-len(text) % 4)).encode("ascii"), b"-_", validate=True)
        quote = msgspec.json.decode(blob[SIGNATURE_BYTES:], type=Quote)
    except (binascii.Error, ValueError, RecursionError):
        return _DAMAGED
    if ("spelling" not in without and _spell(blob) != text) or _unlawful(quote):
        return _DAMAGED
    return quote, blob[SIGNATURE_BYTES:], blob[:SIGNATURE_BYTES]


def _spell(blob: bytes) -> str:
    return base64.urlsafe_b64encode(blob).rstrip(b"=").decode()


def _unlawful(quote: Quote) -> str:
    """What makes this no quote, as a sentence; empty if nothing does."""
    if site_of(quote.resource_id) != quote.site_id or not quote.site_id:
        return f"{quote.resource_id!r} is not a resource of {quote.site_id!r}."
    if not FIRST_SLOT <= quote.start < quote.end <= LAST_SLOT:
        return f"[{quote.start}, {quote.end}) is not an interval of slots."
    if quote.price.total_cents < 0 or sum(line.cents for line in quote.price.lines) != quote.price.total_cents:
        return f"The lines of the price do not add up to {quote.price.total_cents} cents, or it is below nothing."
    return ""
