"""PINs for doors: drawn in blocks, hard to guess, never two alike at a site (pass-3, D1).

The site makes the blocks and leases them to the hub ahead, so that the hub can sell with a PIN while it cannot hear the site. Which PINs
are taken is asked of the ledger through `taken`; chance comes in as `below(n)`, a number in `[0, n)` (`secrets.randbelow` in production).

Invariant: a PIN that is out (leased, on a booking, or resting for 30 days afterwards) is never handed out again.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import Refusal

LENGTH_MIN, LENGTH_MAX = 6, 10
BLOCK_MAX = 1000
REST_S = 30 * 86_400
#: draws for one PIN before the space counts as nearly exhausted: 1 in 100,000 at three quarters full, certain at the brim
DRAWS_MAX = 40


def guessable(pin: str) -> bool:
    """Whether a person at the door would try it early: equal steps (111111, 123456, 864208), two digits only, or a repeated part."""
    digits = pin.encode()
    step = (digits[1] - digits[0]) % 10
    even = all((after - before) % 10 == step for before, after in zip(digits[1:], digits[2:], strict=False))
    return even or len(set(digits)) <= 2 or _repeats(pin)


def make_block(n: int, taken: Callable[[str], bool], below: Callable[[int], int], length: int = LENGTH_MIN) -> tuple[str, ...] | Refusal:
    """`n` new PINs of `length` digits, all different, none guessable, none `taken`; leading zeros count, so a PIN is a text.

    `pins_exhausted` when free ones have become so rare that guessing at the door would soon succeed; nothing is handed out then.
    ValueError for an impossible `n` or `length`: a bug of the caller.
    """
    if not 1 <= n <= BLOCK_MAX:
        raise ValueError(f"A block has 1 to {BLOCK_MAX} PINs, not {n}.")
    if not LENGTH_MIN <= length <= LENGTH_MAX:
        raise ValueError(f"A PIN has {LENGTH_MIN} to {LENGTH_MAX} digits, not {length}.")
    block: dict[str, None] = {}
    while len(block) < n:
        pin = _draw(lambda pin: pin in block or taken(pin), below, length)
        if not pin:
            return Refusal("pins_exhausted", f"Nearly all PINs of {length} digits are in use at this facility. Use longer PINs.")
        block[pin] = None
    return tuple(block)


def resting(last_valid_at: int, now_at: int) -> bool:
    """Whether a PIN that stopped opening doors at `last_valid_at` may not be used yet: a `taken` predicate counts it as taken."""
    return now_at < last_valid_at + REST_S


def due_for_top_up(left: int, floor: int) -> bool:
    """Whether the hub's stock of unused PINs has come down to `floor`, so that the site should lease another block."""
    return left <= floor


def _draw(taken: Callable[[str], bool], below: Callable[[int], int], length: int) -> str:
    """One free PIN, or empty after `DRAWS_MAX` draws."""
    for _ in range(DRAWS_MAX):
        pin = f"{below(10**length):0{length}d}"
        if not guessable(pin) and not taken(pin):
            return pin
    return ""


def _repeats(pin: str) -> bool:
    """Whether a part of up to half the length is said again and again: 123123, 474747, also 4747474."""
    return any(pin.startswith(pin[part:]) for part in range(1, len(pin) // 2 + 1))
