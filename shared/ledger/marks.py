"""The mark: how far these books had come, kept on another medium, so that an older copy of them is known for one at the start (loss-1).

Not here: the file (`runtime.mark`) and what a fence means (`repair`). Invariant: the mark is written after the commit it tells of, so books
that were never set back are never older than it; the mark of a fenced copy does not fall until its repair is over.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from ..errors import Broken
from ..runtime import log
from ..runtime.database import Database, InlineWriter, Tx
from ..runtime.mark import MarkFile
from . import facts, fencing, streams
from .desk import Desk

_log = log.get("mark")

#: closed epochs that are remembered, the latest last: a copy from before a repair is older whatever its numbers say
EARLIER_MAX = 16
_FACT = "mark"


class SiteMark(msgspec.Struct, frozen=True, kw_only=True):
    """How far one site's streams had come."""

    epoch: str
    sent_no: int
    applied_no: int
    sale_no: int
    earlier: tuple[str, ...] = ()


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How far the books of one box had come."""

    side: str
    box_id: str
    term: int
    sites: dict[str, SiteMark]


class MarkState(msgspec.Struct, frozen=True, kw_only=True):
    """What people see. `trouble` is a sentence, empty where the mark is kept; `same_medium`: it would be lost together with the books."""

    configured: bool
    trouble: str
    same_medium: bool


def of(tx: Tx, desk: Desk, before: Mark | None) -> Mark:
    """The mark of these books as they are; `before` is the one that stands."""
    known = before.sites if before else {}
    sites = {}
    for site_id in streams.sites(tx):
        s, old = streams.read(tx, site_id), known.get(site_id)
        if s.fenced and old is not None:
            sites[site_id] = old
            continue
        earlier = old.earlier if old else ()
        if old is not None and old.epoch and old.epoch != s.epoch:
            earlier = (*earlier, old.epoch)[-EARLIER_MAX:]
        sites[site_id] = SiteMark(epoch=s.epoch, sent_no=s.sent_no, applied_no=s.applied_no, sale_no=s.sale_no, earlier=earlier)
    return Mark(side=desk.side, box_id=desk.box_id, term=desk.term, sites=sites)


def older(tx: Tx, mark: Mark) -> dict[str, str]:
    """The sites of which these books know less than the mark, each with a sentence of how far."""
    found = {}
    for site_id, m in mark.sites.items():
        s = streams.read(tx, site_id)
        if s is not None and _is_older(s, m):
            had = f"{m.sent_no} messages sent, {m.applied_no} applied, sale number {m.sale_no}"
            have = f"{s.sent_no} sent, {s.applied_no} applied, sale number {s.sale_no}"
            found[site_id] = f"These books are an older copy: the mark says {had}; they say {have}."
    return found


def _is_older(s: streams.Stream, m: SiteMark) -> bool:
    if s.epoch == m.epoch:
        return s.sent_no < m.sent_no or s.applied_no < m.applied_no or s.sale_no < m.sale_no
    # Numbers of messages begin anew with an epoch; sale numbers only rise, by a million in a repair.
    return not s.epoch or s.epoch in m.earlier or s.sale_no < m.sale_no


def hold_against(tx: Tx, desk: Desk, mark: Mark) -> list[str]:
    """Fences every site of which these books know less than the mark. Returns them."""
    if not desk.guard("older_than_mark"):
        return []
    found = older(tx, mark)
    for site_id, why in found.items():
        if not streams.lock(tx, site_id).fenced:
            fencing.fence(tx, desk, site_id, why)
    return list(found)  # the fenced too: they are no news, and still older


class MarkKeeper:
    """Holds the mark against the books at the start, and keeps it up. `file` None: no mark is configured, and nothing is done."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, file: MarkFile | None):
        self._db, self._desk, self._file = db, desk, file
        self._mark: Mark | None = None
        self._written: bytes | None = None
        self._seen_commits = -1
        self._writing = asyncio.Lock()
        self._trouble = ""
        self._unchecked = ""
        self._same_medium = False
        self._was_read = False
        self._predecessors = False

    def read(self) -> None:
        """Reads the mark; blocks on the medium. Once, before the books are opened, by whoever can still refuse to start.

        Broken, with a sentence, where the mark is another box's. A medium that is away is an alarm and never a failed start.
        """
        if self._file is None or self._was_read:
            return
        self._was_read = True
        try:
            self._mark = self._owned(self._decoded(self._file.read()))
        except _AnotherBox:
            raise
        except Broken as error:
            self._unlooked(error.detail)
        self._same_medium = isinstance(self._db.path, Path) and self._file.on_medium_of(self._db.path.parent)

    async def hold(self) -> list[str]:
        """The books, open and not yet selling, against the mark: what is older is fenced. Returns the sites of which that is so.

        Asked again when more sites have been entered; from then on `keep` may write.
        """
        self.read()
        mark = self._mark
        if self._file is None:
            return []
        if mark is None:
            if not self._unchecked and not self._predecessors and self._db.read(lambda tx: facts.get(tx, _FACT)) == str(self._file.path):
                self._unlooked(f"The mark {self._file.path} is gone, although it was written before. Is its medium plugged in and mounted?")
            return []
        fenced = await self._db.write(lambda tx: hold_against(tx, self._desk, mark))
        for site_id in fenced:
            _log.error("mark.books_are_older", site_id=site_id)
        return fenced

    async def _look_late(self) -> bool:
        """The medium was away at the start: what it bears now is held against the books before it is written over. The alarm stays, since
        books that have gone on meanwhile may have passed the mark. False where it must not be written over: it is another box's."""
        try:
            mark = self._mark = self._owned(self._decoded(await asyncio.to_thread(self._file.read)))
        except _AnotherBox as error:
            self._say(error.detail)
            return False
        except Broken:
            return True  # still away, or damaged: the write will tell, or put a good one in its place
        for site_id in await self._db.write(lambda tx: hold_against(tx, self._desk, mark)) if mark else ():
            _log.error("mark.books_are_older", site_id=site_id)
        return True

    def _unlooked(self, why: str) -> None:
        """It stays an alarm until the next start, also when the medium is back: the books were not compared."""
        self._unchecked = f"{why} Nobody has looked at this start whether the books are an older copy."
        self._say(self._unchecked)

    def _decoded(self, body: bytes | None) -> Mark | None:
        if body is None:
            return None
        try:
            return msgspec.json.decode(body, type=Mark)
        except msgspec.MsgspecError:
            raise Broken(f"The mark {self._file.path} is of a kind that this release does not know.") from None

    def _owned(self, mark: Mark | None) -> Mark | None:
        """The mark where it is ours. One that our predecessor left (a lower term) says nothing about these books and is written over."""
        if mark is None or (mark.side == self._desk.side and mark.box_id == self._desk.box_id):
            return mark
        if mark.side == self._desk.side and mark.term < self._desk.term:
            self._predecessors = True
            return None
        raise _AnotherBox(
            f"The mark {self._file.path} was written by another box ({mark.side} {mark.box_id}). Two boxes cannot share one mark: give each its"
            " own file. If the books of this box are new because the old ones were lost, restore them from a backup or adopt the site anew."
        )

    async def tick(self) -> None:
        """At most once a second: writes the mark where the books have gone on."""
        if self._file is None or self._db.commits == self._seen_commits:
            return
        await self.keep()

    async def keep(self) -> None:
        """Writes the mark now, in a thread; a medium that is away is told once and tried again."""
        if self._file is None:
            return
        async with self._writing:
            if self._unchecked and self._written is None and not await self._look_late():
                return
            commits = self._db.commits
            mark = self._db.read(lambda tx: of(tx, self._desk, self._mark))
            body = msgspec.json.encode(mark)
            if body != self._written:
                try:
                    await asyncio.to_thread(self._file.write, body)
                except Broken as error:
                    self._say(error.detail)
                    return
                await self._remember()
            self._mark, self._written, self._seen_commits = mark, body, max(commits, self._seen_commits)
            if self._trouble != self._unchecked:
                _log.info("mark.kept_again")
                self._trouble = self._unchecked

    async def _remember(self) -> None:
        """That a mark was once written there, so that one that is gone is missed."""
        path = str(self._file.path)
        if self._db.read(lambda tx: facts.get(tx, _FACT)) != path:
            await self._db.write(lambda tx: facts.put(tx, _FACT, path))

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.error("mark.failing", why=trouble)
        self._trouble = trouble

    def state(self) -> MarkState:
        return MarkState(configured=self._file is not None, trouble=self._trouble, same_medium=self._same_medium)


class _AnotherBox(Broken):
    """The mark is another box's."""
