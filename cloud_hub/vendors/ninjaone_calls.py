"""What NinjaOne tells by its webhook: one activity a call. It signs nothing, so that a header of ours is all that tells it from anybody else.

The header is set where the webhook is (`site-agent ninjaone webhook`). Invariant: nothing is read from a call without it, and of what is read nothing
is believed but which machine it is about. Calls are lost, repeated and late.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated

import msgspec

from shared.errors import refuse

from ..ports import MachineCall
from .channels import Around

#: our own header and the least that its secret must have
HEADER, SECRET_MIN = "x-clubos-hook", 24


class NinjaOneCallSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`secret_file`: what every call must bear in its header, the same that was given to NinjaOne."""

    secret_file: str


SETTINGS = NinjaOneCallSettings


Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class _Activity(msgspec.Struct, frozen=True, rename="camel"):
    """What is read of an activity; of whatever else is in it nothing."""

    id: Number | None = None
    device_id: Number | None = None


_activity = msgspec.json.Decoder(_Activity | list[_Activity])


def open_caller(settings: NinjaOneCallSettings, around: Around) -> NinjaOneCalls:
    """Raises ValueError, ConfigError."""
    return NinjaOneCalls(around.secret(settings.secret_file, "secret"))


class NinjaOneCalls:
    """`cloud_hub.ports.MachineCaller`. ValueError for a secret that could be guessed."""

    vendor = "ninjaone"

    def __init__(self, secret: str):
        if len(secret) < SECRET_MIN:
            raise ValueError(f"the secret of the calls needs at least {SECRET_MIN} characters.")
        self._secret = hashlib.sha256(secret.encode()).digest()

    def read(self, headers: Mapping[str, str], body: bytes) -> list[MachineCall]:
        shown = hashlib.sha256(headers.get(HEADER, "").encode("latin-1", "replace")).digest()
        if not hmac.compare_digest(shown, self._secret):
            raise refuse("hook_forged", "This call does not bear the secret that NinjaOne was given.")
        try:
            found = _activity.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise refuse("bad_request", "This is no activity of NinjaOne.") from None
        told = found if isinstance(found, list) else [found]
        return [MachineCall(str(one.id or ""), str(one.device_id)) for one in told if one.device_id]
