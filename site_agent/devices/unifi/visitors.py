"""Credentials as visitors of the controller: one booking, one live visitor (D1 to D4).

Not for: which booking should open what. Invariants: a booking is at most one live visitor; what changes visitors goes one by one, because the
controller asks for few requests; a PIN leaves before its visitor does.
"""

import asyncio

from site_agent.devices.unifi import objects, words
from site_agent.devices.unifi.wire import Wire, WireError
from site_agent.ports import DoorCredential, Granted, GrantRef

PAGE_SIZE = 100
PAGES_MAX = 100
LIVE_STATUSES = (1, 3, 6)
ENDED_STATUSES = (2, 5)


class Visitors:
    """Our visitors on one controller; `writing` is held by whoever changes any."""

    def __init__(self, wire: Wire, writing: asyncio.Lock) -> None:
        self._wire, self._writing = wire, writing

    async def grant(self, credential: DoorCredential) -> GrantRef:
        words.check_credential(credential)
        async with self._writing:
            try:
                return await self._grant(credential)
            except WireError as error:
                raise words.failure(error) from error

    async def regrant(self, ref: GrantRef, credential: DoorCredential) -> GrantRef:
        words.check_credential(credential)
        async with self._writing:
            try:
                visitor = await self._visitor(ref)
                if visitor is None or words.status(visitor) == "cancelled":
                    return await self._grant(credential)
                return await self._renew(visitor, credential)
            except WireError as error:
                raise words.failure(error) from error

    async def revoke(self, ref: GrantRef, *, erase: bool = False) -> None:
        async with self._writing:
            try:
                await self._revoke(ref, erase)
            except WireError as error:
                raise words.failure(error) from error

    async def granted(self, *, ended: bool = False) -> list[Granted]:
        found: dict[str, Granted] = {}
        try:
            for status in LIVE_STATUSES + (ENDED_STATUSES if ended else ()):
                for row in await self._all_visitors(status=status):
                    if row.first_name == words.MARK and row.id not in found:
                        found[row.id] = words.granted(await self._whole(row))
        except WireError as error:
            raise words.failure(error) from error
        return list(found.values())

    async def _grant(self, credential: DoorCredential) -> GrantRef:
        # Looked for first, always: the answer to an earlier create may have been lost, with or without this process.
        mine = await self._live_visitors_of(credential.booking_id)
        for spare in mine[1:]:
            await self._revoke(GrantRef(spare.id), erase=True)
        if mine:
            return await self._renew(mine[0], credential)
        try:
            visitor = await self._wire.create_visitor(words.fields(credential))
        except WireError as error:
            if not error.may_have_acted:
                raise
            found = await self._live_visitors_of(credential.booking_id)
            if not found:
                raise
            visitor = found[0]
        if credential.pin is not None:
            await self._put_pin(visitor, credential.pin)
        return GrantRef(visitor.id)

    async def _renew(self, visitor: objects.Visitor, credential: DoorCredential) -> GrantRef:
        try:
            await self._wire.update_visitor(visitor.id, words.fields(credential))
        except WireError as error:
            if error.kind != "unknown_thing" or await self._visitor(GrantRef(visitor.id)) is not None:
                raise
            return await self._grant(credential)
        if credential.keep_pin and visitor.pin_code is not None:
            return GrantRef(visitor.id)
        if credential.pin is not None:
            await self._put_pin(visitor, credential.pin)
        elif visitor.pin_code is not None:
            await self._wire.unassign_pin(visitor.id)
        return GrantRef(visitor.id)

    async def _put_pin(self, visitor: objects.Visitor, pin: str) -> None:
        try:
            await self._wire.assign_pin(visitor.id, pin)
        except WireError as error:
            if error.code != "CODE_CREDS_PIN_CODE_CREDS_ALREADY_EXIST" or visitor.pin_code is None:
                raise
            # It may be this visitor's own, put there by a call whose answer was lost; a PIN cannot be read back to compare.
            await self._wire.unassign_pin(visitor.id)
            await self._wire.assign_pin(visitor.id, pin)

    async def _revoke(self, ref: GrantRef, erase: bool) -> None:
        # The PIN first: whether a cancelled visitor's PIN becomes free is not documented.
        try:
            await self._wire.unassign_pin(ref)
        except WireError as error:
            # No document says what it answers where there is no PIN: the visitor, whose card or code may open, goes all the same.
            if error.kind not in ("unknown_thing", "refused"):
                raise
        try:
            await self._wire.delete_visitor(ref, force=erase)
        except WireError as error:
            if error.kind != "unknown_thing":
                raise

    async def _live_visitors_of(self, booking_id: str) -> list[objects.Visitor]:
        """Our visitors of a booking that are not cancelled, the oldest first, as whole records."""
        rows = [row for row in await self._all_visitors(keyword=booking_id) if row.last_name == booking_id and row.first_name == words.MARK]
        # one may be erased between the list and its record
        whole = [await self._visitor(GrantRef(row.id)) for row in rows if words.status(row) != "cancelled"]
        return sorted((v for v in whole if v is not None and words.status(v) != "cancelled"), key=lambda v: (v.create_time or 0, v.id))

    async def _all_visitors(self, *, keyword: str = "", status: int | None = None) -> list[objects.Visitor]:
        rows: list[objects.Visitor] = []
        for page in range(1, PAGES_MAX + 1):
            got = await self._wire.list_visitors(page, PAGE_SIZE, keyword=keyword, status=status)
            rows += got
            if len(got) < PAGE_SIZE:
                break
        return rows

    async def _visitor(self, ref: GrantRef) -> objects.Visitor | None:
        try:
            return await self._wire.get_visitor(ref)
        except WireError as error:
            if error.kind != "unknown_thing":
                raise
            return None

    async def _whole(self, row: objects.Visitor) -> objects.Visitor:
        """List rows may lack the window or the remarks on some firmwares; the single record has them."""
        if row.start_time is not None and row.end_time is not None and row.remarks:
            return row
        return await self._wire.get_visitor(row.id)
