"""How hub and witness speak: HTTP, each request signed, each row sealed (protocol loss-7).

Knows bytes and HTTP, no booking. Both sides have the same key file; from it come one key that signs requests and one that seals rows, so that
neither a listener nor the witness's disk tells of anybody. Invariant: a request that was not signed with the key is never answered, and a
row that was not sealed with it, or not for its place in the stream, is never believed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

import httpx
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from shared.errors import Broken, Unavailable

SIGNED = "x-clubos-signature"
#: a second machine that takes longer is no help to a guest who waits
TIMEOUT_S = 5.0
_NONCE = 12


def signature(key: bytes, method: str, path: str, body: bytes) -> str:
    """What a request carries in the header `SIGNED`."""
    said = f"{method} {path}\n".encode() + hashlib.sha256(body).digest()
    return hmac.new(_derived(key, b"sign"), said, "sha256").hexdigest()


def is_signed(key: bytes, method: str, path: str, body: bytes, given: str) -> bool:
    return hmac.compare_digest(signature(key, method, path, body), given)


def seal(key: bytes, place: str, content: bytes) -> str:
    """The content for nobody but holders of the key; `place` is bound to it. Base64."""
    nonce = os.urandom(_NONCE)
    return base64.b64encode(nonce + ChaCha20Poly1305(_derived(key, b"seal")).encrypt(nonce, content, place.encode())).decode()


def unseal(key: bytes, place: str, sealed: str) -> bytes:
    """Raises Broken where it was not sealed so."""
    try:
        raw = base64.b64decode(sealed, validate=True)
        return ChaCha20Poly1305(_derived(key, b"seal")).decrypt(raw[:_NONCE], raw[_NONCE:], place.encode())
    except (InvalidTag, ValueError):
        raise Broken("The second machine holds a row that was not sealed with this key, or was changed.") from None


def _derived(key: bytes, use: bytes) -> bytes:
    return hmac.new(key, b"clubos witness " + use, "sha256").digest()


class Wire:
    """One witness at `url`."""

    def __init__(self, url: str, key: bytes, *, transport: httpx.AsyncBaseTransport | None = None):
        self._key = key
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, transport=transport)

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The answer's body. Raises Unavailable (not now) and Broken (it will not take us)."""
        try:
            answer = await self._http.request(method, path, content=body, headers={SIGNED: signature(self._key, method, path, body)})
        except httpx.HTTPError as error:
            raise Unavailable(f"The second machine does not answer ({type(error).__name__}).") from None
        if answer.status_code in (401, 403, 404):
            raise Broken(f"The second machine does not take our requests ({answer.status_code}). Do both have the same key file?")
        if not answer.is_success:
            raise Unavailable(f"The second machine cannot keep anything just now ({answer.status_code}).")
        return answer.content

    async def close(self) -> None:
        await self._http.aclose()
