"""The operator's recovery key and what it signs: who may become the hub of these sites (protocol loss-5, loss-6).

The secret lies with the operator, away from every machine; its public half is in the config of hub and sites. Pure: seeds come in. Not
here: what a statement brings about.
"""

from __future__ import annotations

import base64
import binascii

from shared.keys import KeyRing, PublicKey, SigningKey, id_of

_DOMAIN = b"clubos.recovery.v1\0"
SECRET_MARK = "CLUBOS-RECOVERY-"


def secret_text(seed: bytes) -> str:
    """How the 32 secret bytes are printed and kept."""
    return SECRET_MARK + base64.b64encode(seed).decode()


def key_of(text: str) -> SigningKey:
    """The key out of its text; ValueError, with a sentence, for anything else."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) != 1 or not lines[0].startswith(SECRET_MARK):
        raise ValueError(f"This is no recovery key; its one line begins with {SECRET_MARK}.")
    try:
        return SigningKey.from_seed(base64.b64decode(lines[0][len(SECRET_MARK) :], validate=True))
    except (binascii.Error, ValueError):
        raise ValueError("The recovery key is damaged: part of it is missing or changed.") from None


def public_text(key: SigningKey) -> str:
    """The half for the configs."""
    return key.public("hub").raw_b64


def is_public(text: str) -> bool:
    """Whether `text` can be the public half of a recovery key; a config with anything else would fail on the day it is needed."""
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except (binascii.Error, ValueError):
        return False


def statement(key: SigningKey, words: str) -> str:
    """The operator's word, signed."""
    return base64.urlsafe_b64encode(key.sign(_DOMAIN, words.encode())).decode()


def holds(public: str, words: str, signed: str) -> bool:
    """Whether `signed` is these words by the key whose public half this is. False for anything malformed."""
    try:
        raw, signature = base64.b64decode(public, validate=True), base64.urlsafe_b64decode(signed)
        ring = KeyRing((PublicKey(id=id_of(raw), raw_b64=public, side="hub"),))
        return ring.verifies(id_of(raw), _DOMAIN, words.encode(), signature)
    except (binascii.Error, ValueError):
        return False


def marriage(site_id: str, hub_id: str) -> str:
    """The words that give a site to another hub (loss-6)."""
    return f"{site_id} follows {hub_id}"
