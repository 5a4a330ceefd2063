"""The witness port over the wire: rows out sealed, rows back opened."""

from __future__ import annotations

import msgspec

from shared.errors import Broken

from ..ports import WitnessRow
from .witness_wire import Wire, seal, unseal


class SealedRow(msgspec.Struct, frozen=True):
    """One row as it travels and lies there."""

    site_id: str
    epoch: str
    no: int
    sealed: str


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of one request: rows to keep, and what may be let go."""

    rows: tuple[SealedRow, ...]
    settled: dict[str, tuple[str, int]]


class _Content(msgspec.Struct, frozen=True):
    at: int
    body: str


class HttpWitness:
    """`cloud_hub.ports.Witness` over HTTP."""

    def __init__(self, wire: Wire, key: bytes):
        self._wire, self._key = wire, key

    async def keep(self, rows: list[WitnessRow], settled: dict[str, tuple[str, int]]) -> None:
        given = Given(tuple(self._sealed(row) for row in rows), settled)
        await self._wire.ask("POST", "/rows", msgspec.json.encode(given))

    async def kept(self) -> list[WitnessRow]:
        try:
            found = msgspec.json.decode(await self._wire.ask("GET", "/rows"), type=list[SealedRow])
        except msgspec.MsgspecError:
            raise Broken("What answers as the second machine is none.") from None
        return [self._opened(row) for row in found]

    async def close(self) -> None:
        await self._wire.close()

    def _sealed(self, row: WitnessRow) -> SealedRow:
        content = msgspec.json.encode(_Content(row.at, row.body))
        return SealedRow(row.site_id, row.epoch, row.no, seal(self._key, _place(row.site_id, row.epoch, row.no), content))

    def _opened(self, row: SealedRow) -> WitnessRow:
        content = msgspec.json.decode(unseal(self._key, _place(row.site_id, row.epoch, row.no), row.sealed), type=_Content)
        return WitnessRow(row.site_id, row.epoch, row.no, content.at, content.body)


def _place(site_id: str, epoch: str, no: int) -> str:
    return f"{site_id} {epoch} {no}"
