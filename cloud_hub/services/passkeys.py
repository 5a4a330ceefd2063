"""What is asked of a telephone that is to confirm that it is its owner's hand which presses, and whether what it answers holds (WebAuthn).

Not here: the books, and who may ask (`phone_checks`). The one file that knows the library; a hub where no facility wants the check never loads it.
Invariant: an answer holds only with the challenge it was asked for, from our own pages, for our own name, after the telephone has looked at
finger, face or code, and signed by the key that the order has.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from fido2.server import Fido2Server
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestationConveyancePreference,
    AttestedCredentialData,
    AuthenticationResponse,
    AuthenticatorAttachment,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from .phone_checks import NotHeld, Signed

NAME = "ClubOS Booking"
#: how long a telephone shows its question, in milliseconds
SHOWN_MS = 60_000
#: where a key says of which kind it is (COSE)
ALGORITHM = 3


class Passkeys:
    """`public_url`: where the hub's pages are; its host is the name that keys are made for."""

    def __init__(self, public_url: str):
        url = urlsplit(public_url)
        usual = {"https": 443, "http": 80}.get(url.scheme)
        port = "" if url.port in (None, usual) else f":{url.port}"
        self._origin = f"{url.scheme}://{url.hostname}{port}"
        party = PublicKeyCredentialRpEntity(name=NAME, id=url.hostname or "")
        self._server = Fido2Server(party, AttestationConveyancePreference.NONE, verify_origin=lambda origin: origin == self._origin)
        self._server.timeout = SHOWN_MS

    # ---- questions
    def to_make(self, order_id: str, shown: str, challenge: str) -> dict[str, Any]:
        """What `navigator.credentials.create` is asked, octets as base64url. `shown`: what the telephone lists the key under."""
        user = PublicKeyCredentialUserEntity(name=shown, id=sha256(order_id.encode()).digest(), display_name=shown)
        options, _ = self._server.register_begin(
            user, resident_key_requirement=ResidentKeyRequirement.DISCOURAGED, user_verification=UserVerificationRequirement.REQUIRED,
            authenticator_attachment=AuthenticatorAttachment.PLATFORM, challenge=websafe_decode(challenge),
        )  # fmt: skip
        return dict(options.public_key)

    def to_confirm(self, credential: str, challenge: str) -> dict[str, Any]:
        """What `navigator.credentials.get` is asked, octets as base64url. Only this telephone's own key will do, none of another beside it."""
        known = PublicKeyCredentialDescriptor(
            type=PublicKeyCredentialType.PUBLIC_KEY, id=_key(credential).credential_id, transports=[AuthenticatorTransport.INTERNAL]
        )
        options, _ = self._server.authenticate_begin(
            [known], user_verification=UserVerificationRequirement.REQUIRED, challenge=websafe_decode(challenge)
        )
        return dict(options.public_key)

    # ---- answers; what a stranger sends reaches the parsers of the library, so that whatever they raise is a "no"
    def challenge_of(self, answer: Mapping[str, Any], purpose: str) -> str:
        """Which question this answers, by its own word. Raises NotHeld where it is no answer at all."""
        kind = RegistrationResponse if purpose == "make" else AuthenticationResponse
        try:
            return websafe_encode(kind.from_dict(answer).response.client_data.challenge)
        except Exception as error:
            raise NotHeld(repr(error)) from None

    def made(self, challenge: str, answer: Mapping[str, Any]) -> Signed:
        """The key that the telephone has made. Raises NotHeld."""
        try:
            found = self._server.register_complete(_state(challenge), answer)
            if found.credential_data is None:
                raise ValueError("no key")
            if found.credential_data.public_key.get(ALGORITHM) not in {one.alg for one in self._server.allowed_algorithms}:
                raise ValueError("a key of a kind that was not asked for")
            return Signed(websafe_encode(found.credential_data), found.counter)
        except Exception as error:
            raise NotHeld(repr(error)) from None

    def confirmed(self, challenge: str, credential: str, answer: Mapping[str, Any]) -> Signed:
        """The telephone's own count of what it has signed. Raises NotHeld."""
        try:
            self._server.authenticate_complete(_state(challenge), [_key(credential)], answer)
            return Signed(credential, AuthenticationResponse.from_dict(answer).response.authenticator_data.counter)
        except Exception as error:
            raise NotHeld(repr(error)) from None


def _state(challenge: str) -> dict[str, Any]:
    return {"challenge": challenge, "user_verification": UserVerificationRequirement.REQUIRED}


def _key(credential: str) -> AttestedCredentialData:
    return AttestedCredentialData(websafe_decode(credential))
