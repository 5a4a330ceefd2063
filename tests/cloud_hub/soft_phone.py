"""A telephone in software: makes a key and signs with it as WebAuthn wants it, honestly or otherwise."""

import json
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData

NAME = "book.example.test"
URL = f"https://{NAME}"
PRESENT, VERIFIED, WITH_KEY = 1, 4, 64


class SoftPhone:
    """`counter`: what it says of how often it has signed; `flags`: what it says of its owner; both may be set. So may where it thinks it is."""

    def __init__(self, name: str = NAME, origin: str = URL):
        self.name, self.origin, self.flags, self.counter, self.step = name, origin, PRESENT | VERIFIED, 0, 1
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = sha256(repr(id(self)).encode()).digest()

    def made(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to "make a key"."""
        key = AttestedCredentialData.create(b"\0" * 16, self.id, ES256.from_cryptography_key(self.key.public_key()))
        data = self._data(self.flags | WITH_KEY, bytes(key))
        answer = AttestationObject(cbor.encode({"fmt": "none", "attStmt": {}, "authData": data}))
        return self._answer("webauthn.create", question, attestationObject=bytes(answer))

    def confirmed(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to "confirm that it is you"."""
        self.counter += self.step
        data, client = self._data(self.flags), self._client("webauthn.get", question)
        signature = self.key.sign(data + sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer("webauthn.get", question, authenticatorData=data, signature=signature)

    def _data(self, flags: int, key: bytes = b"") -> bytes:
        return bytes(AuthenticatorData.create(sha256(self.name.encode()).digest(), flags, self.counter, key))

    def _client(self, kind: str, question: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "challenge": question["challenge"], "origin": self.origin, "crossOrigin": False}).encode()

    def _answer(self, kind: str, question: dict[str, Any], **parts: bytes) -> dict[str, Any]:
        response = {"clientDataJSON": websafe_encode(self._client(kind, question))} | {n: websafe_encode(p) for n, p in parts.items()}
        mine = websafe_encode(self.id)
        return {"id": mine, "rawId": mine, "type": "public-key", "clientExtensionResults": {}, "response": response}
