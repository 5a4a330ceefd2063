"""What the controller holds of ours, read back in few requests: one search by our mark, whose pages have what is compared.

Not for: changing anything, or judging it (`services.door_check`). Invariant: nothing is told that the controller did not say; where a list
leaves a thing out it is None, and `one` asks for the whole record.
"""

import asyncio
from typing import Any

import msgspec

from site_agent.devices.unifi import objects, words
from site_agent.devices.unifi.wire import Wire, WireError
from site_agent.ports import Granted, GrantRef

PAGE_SIZE = 100
PAGES_MAX = 100
#: between two pages: the controller is asked for few requests a second
PAGE_PAUSE_S = 0.1


class Listed(objects.Visitor):
    """A visitor as lists show it: what a firmware leaves out there is unset, which is not the same as none."""

    pin_code: dict[str, Any] | None | msgspec.UnsetType = msgspec.UNSET
    resources: list[dict[str, Any]] | None | msgspec.UnsetType = msgspec.UNSET


def told(visitor: Listed, *, whole: bool) -> Granted:
    """`whole`: the record itself, in which what is not there is not there."""
    known = words.granted(visitor)
    pin = None if visitor.pin_code is msgspec.UNSET and not whole else bool(visitor.pin_code)
    doors = None if visitor.resources is msgspec.UNSET and not whole else bool(visitor.resources)
    return msgspec.structs.replace(known, has_pin=pin, any_door=doors)


async def all_of_ours(wire: Wire, booking_id: str) -> list[Granted]:
    """Every visitor of ours, of one booking where it is named, cancelled ones too. Raises WireError."""
    found: dict[str, Granted] = {}
    for page in range(1, PAGES_MAX + 1):
        if page > 1:
            await asyncio.sleep(PAGE_PAUSE_S)
        # A search by name is the only list in which the controller mixes every status, so that nothing moves from list to list meanwhile.
        rows = await wire.list_visitors(page, PAGE_SIZE, keyword=booking_id or words.MARK, kind=Listed)
        for row in rows:
            if row.first_name == words.MARK and booking_id in ("", row.last_name):
                found[row.id] = told(row, whole=False)
        if len(rows) < PAGE_SIZE:
            break
    return list(found.values())


async def one(wire: Wire, ref: GrantRef) -> Granted | None:
    """The whole record; None where it is gone. Raises WireError."""
    try:
        return told(await wire.get_visitor(ref, kind=Listed), whole=True)
    except WireError as error:
        if error.kind != "unknown_thing":
            raise
        return None
