"""How a bay's PC and this site agent know each other: every request and every answer carries an HMAC over all that matters in it.

Values in, values out. The program on the PC has the same few lines (`deploy/bay_agent/signing.py`), because its folder stands alone there; a
test holds the two together. Invariant: an answer's signature holds for one request only, by that request's nonce.
"""

from __future__ import annotations

import hashlib
import hmac

MARK = "clubos-bay-1"
KEY_BYTES = 32
BAY, TIME, NONCE, SIGNATURE = "x-bay", "x-bay-time", "x-bay-nonce", "x-bay-signature"


def of_request(key: bytes, path: str, bay: str, at: str, nonce: str, body: bytes) -> str:
    """What a request is signed with; `at` as in its header."""
    return _signed(key, "ask", path, bay, at, nonce, hashlib.sha256(body).hexdigest())


def of_answer(key: bytes, path: str, bay: str, at: str, nonce: str, status: int, body: bytes) -> str:
    """What the answer to that request is signed with; `nonce` is the request's."""
    return _signed(key, "answer", path, bay, at, nonce, str(status), hashlib.sha256(body).hexdigest())


def same(one: str, other: str) -> bool:
    """Compares signatures in a time that tells nothing."""
    return hmac.compare_digest(one.encode(), other.encode())


def _signed(key: bytes, *words: str) -> str:
    return hmac.new(key, "\n".join((MARK, *words)).encode(), hashlib.sha256).hexdigest()


def key_text(bay: str, key: bytes) -> str:
    """A key as it is kept and handed over: whose it is, the key, and a check sum against slips."""
    return f"{MARK} {bay} {key.hex()} {_sum(bay, key)}"


def read_key(text: str, bay: str) -> bytes | None:
    """The key in such a text; None where it is not whole, or another bay's."""
    words = text.split()
    if len(words) != 4 or words[:2] != [MARK, bay]:
        return None
    try:
        key = bytes.fromhex(words[2])
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES and words[3] == _sum(bay, key) else None


def _sum(bay: str, key: bytes) -> str:
    return hashlib.sha256(f"{MARK} {bay} ".encode() + key).hexdigest()[:8]
