"""How a bay's PC and its site agent know each other: every request and every answer carries an HMAC over all that matters in it.

Values in, values out. The site agent has the same few lines (`site_agent/devices/bay_agent/signing.py`), because this folder stands alone on
its PC; a test holds the two together. Invariant: an answer's signature holds for one request only, by that request's nonce.
"""

from __future__ import annotations

import hashlib
import hmac

MARK = "clubos-bay-1"
KEY_BYTES = 32
BAY, TIME, NONCE, SIGNATURE = "X-Bay", "X-Bay-Time", "X-Bay-Nonce", "X-Bay-Signature"


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
    """A key as it is handed over: whose it is, the key, and a check sum against slips."""
    return f"{MARK} {bay} {key.hex()} {_sum(bay, key)}"


def read_key(text: str) -> tuple[str, bytes]:
    """`(bay, key)` of a handed-over key. ValueError, which does not repeat it, for anything else."""
    words = text.split()
    try:
        mark, bay, told, check = words
        key = bytes.fromhex(told)
    except ValueError:
        raise ValueError("This is no key of a bay: it is one line of four words, as “site-agent bays enrol” printed it.") from None
    if mark != MARK or len(key) != KEY_BYTES or check != _sum(bay, key):
        raise ValueError("The bay's key is not whole: copy the line again, as “site-agent bays enrol” printed it.")
    return bay, key


def _sum(bay: str, key: bytes) -> str:
    return hashlib.sha256(f"{MARK} {bay} ".encode() + key).hexdigest()[:8]
