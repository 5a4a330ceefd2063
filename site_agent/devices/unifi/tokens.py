"""What opens a door beside the PIN: the controller's own QR code of a visitor, and cards (D11).

Not for: our passes, which the kiosk reads. Invariants: a card is never taken from whoever has it; a code that cannot be read out of the
controller's picture is none.
"""

import asyncio
import logging

from site_agent.devices import png
from site_agent.devices.unifi import words
from site_agent.devices.unifi.console import Lacks
from site_agent.devices.unifi.wire import Wire, WireError
from site_agent.ports import CardTaken, DoorCard, DoorsRefused, GrantRef

log = logging.getLogger("site_agent.devices.unifi")

_NO_CARD_YET = "CODE_CREDS_NFC_READ_POLL_TOKEN_EMPTY"
_SESSION_GONE = "CODE_CREDS_NFC_READ_SESSION_NOT_FOUND"
_CARD_TAKEN = {"CODE_CREDS_NFC_HAS_BIND_USER", "CODE_CREDS_DISABLE_TRANSFER_UID_USER_NFC"}


class Tokens:
    """Codes and cards of one controller's visitors; `writing` is held by whoever changes any."""

    def __init__(self, wire: Wire, writing: asyncio.Lock, lacks: Lacks) -> None:
        self._wire, self._writing, self._lacks = wire, writing, lacks

    async def code_of(self, ref: GrantRef) -> str:
        try:
            self._lacks.refuse("code")
        except DoorsRefused:
            return ""
        try:
            async with self._writing:
                picture = await self._picture(ref)
        except WireError as error:
            if error.kind == "unsupported":
                self._lacks.noted("code")
                return ""
            raise words.failure(error) from error
        return _text_in(picture)

    async def _picture(self, ref: GrantRef) -> bytes:
        """Of the code that the visitor has; a new one would make worthless what a guest was shown already. Some firmwares do not tell whether there
        is one, and no document says how they refuse a picture of none."""
        has_code = (await self._wire.get_visitor(ref)).has_qr_code
        if has_code is not False:
            try:
                return await self._wire.download_code(ref)
            except WireError as error:
                if has_code or error.kind == "unsupported" or (error.passing and error.code != "CODE_SYSTEM_ERROR"):
                    raise
        await self._wire.assign_code(ref)
        return await self._wire.download_code(ref)

    async def card_begin(self, device_id: str) -> str:
        self._lacks.refuse("card", device_id)
        try:
            return await self._wire.begin_card(device_id)
        except WireError as error:
            if error.kind == "unsupported":
                raise self._lacks.noted("card", device_id) from error
            raise words.failure(error) from error

    async def card_read(self, session_id: str) -> DoorCard | None:
        try:
            read = await self._wire.read_card(session_id)
        except WireError as error:
            if error.code == _NO_CARD_YET:
                return None
            if error.code == _SESSION_GONE or error.kind == "unknown_thing":
                raise DoorsRefused("The reader waits for no card any more. Please begin again.") from error
            raise words.failure(error) from error
        return DoorCard(read.token, read.card_id) if read.token else None

    async def card_end(self, session_id: str) -> None:
        try:
            await self._wire.end_card(session_id)
        except WireError as error:
            if error.code != _SESSION_GONE and error.kind != "unknown_thing":
                raise words.failure(error) from error

    async def give_card(self, ref: GrantRef, card_id: str) -> None:
        async with self._writing:
            try:
                if not await self._has(ref, card_id):
                    await self._wire.assign_card(ref, card_id)
            except WireError as error:
                if error.code in _CARD_TAKEN:
                    raise CardTaken("This card belongs to somebody else already. Take it back there first, or use another card.") from error
                raise words.failure(error) from error

    async def take_card(self, ref: GrantRef, card_id: str) -> None:
        async with self._writing:
            try:
                if await self._has(ref, card_id):
                    await self._wire.unassign_card(ref, card_id)
            except WireError as error:
                if error.kind != "unknown_thing":
                    raise words.failure(error) from error

    async def _has(self, ref: GrantRef, card_id: str) -> bool:
        """The box refuses a card that the visitor has, and to take one that it has not."""
        return any(card.get("token") == card_id for card in (await self._wire.get_visitor(ref)).nfc_cards or [])


def _text_in(picture: bytes) -> str:
    from site_agent.devices import qr  # what reads codes is loaded with the first one

    try:
        found = qr.decode(*png.grey(picture))
    except ValueError as error:
        log.info("The door controller's picture of a code cannot be read: %s", error)
        return ""
    return found[0] if found else ""
