"""The journal of who did or saw what, hash-chained per site so that tampering shows (U7).

Each row carries the hash of itself and of the row before it; the head of each chain rests in a row of its own, so that rows cut off at
the end are missed too. For writing and for checking; what is worth a row is for the callers to say. Not a secret and not a signature: who
may write the whole file can compute a new chain, which shows against a head that was noted elsewhere (`journal verify` prints it, and the
nightly check logs it). Other tables are chained by the same code, and may let their oldest rows go (`Chained`, `let_go`). Invariant: a row and
its place in the chain are written in the transaction of what it tells of.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

import msgspec

from ..runtime.database import Tx

#: rows that one step of a check reads: a few milliseconds
STEP_ROWS = 1000
#: problems that one check tells; a chain that was rewritten has one per row
PROBLEMS_MAX = 20


class Noted(msgspec.Struct, frozen=True):
    """A head that was written down elsewhere: row `n` of the site had this chain then."""

    site_id: str
    n: int
    chain: str


class Anchors(NamedTuple):
    """What another chain says of this one: a head that it had once, and the last row that it let go."""

    stood: Noted | None
    let_go: Noted | None


class Chained(NamedTuple):
    """A table of rows in one chain per site. `heads` is the table of the chains' ends; `fields` are what a row says beside its site and its time,
    in the order in which they are hashed; `called` is its name in sentences. With `anchors` its oldest rows may be let go: `heads` then has
    `from_n` and `from_chain`, the last row that went."""

    table: str
    heads: str
    fields: tuple[str, ...]
    called: str
    anchors: Callable[[Tx, str], Anchors] | None = None


JOURNAL = Chained("journal", "journal_heads", ("actor", "what", "ref", "reason"), "journal")


def link(before: str, n: int, at: int, site_id: str, *fields: str) -> str:
    """The chain after row `n` of a site. Every field is preceded by its length, so that no two rows read the same."""
    all_fields = (before, str(n), str(at), site_id, *fields)
    return sha256(b"".join(b"%d:%s" % (len(text), text) for text in (field.encode() for field in all_fields))).hexdigest()


def write(tx: Tx, at: int, site_id: str, actor: str, what: str, ref: str, reason: str = "") -> None:
    """Adds a row at the end of the site's chain."""
    append(tx, JOURNAL, at, site_id, (actor, what, ref, reason))


def append(tx: Tx, kept: Chained, at: int, site_id: str, values: tuple[str | int, ...]) -> int:
    """Adds a row, its fields in the order of `kept.fields`, at the end of the site's chain. Returns its place in it."""
    find = f"SELECT n, chain FROM {kept.heads} WHERE site_id = :s{tx.for_update}"
    head = tx.one(find, {"s": site_id})
    if head is None:  # two replicas may both be about to write the first row: the head is there to be locked by one
        tx.run(f"INSERT INTO {kept.heads} (site_id, n, chain) VALUES (:s, 0, '') ON CONFLICT DO NOTHING", {"s": site_id})
        head = tx.one(find, {"s": site_id})
    before, n = head[1], head[0] + 1
    chain = link(before, n, at, site_id, *map(str, values))
    named = dict(zip(kept.fields, values, strict=True))
    tx.run(
        f"INSERT INTO {kept.table} (at, site_id, {', '.join(kept.fields)}, n, chain)"
        f" VALUES (:at, :site_id, {', '.join(f':{name}' for name in kept.fields)}, :n, :chain)",
        {"at": at, "site_id": site_id, "n": n, "chain": chain, **named},
    )
    tx.run(f"UPDATE {kept.heads} SET n = :n, chain = :c WHERE site_id = :s", {"s": site_id, "n": n, "c": chain})
    return n


def let_go(tx: Tx, kept: Chained, site_id: str, before_at: int) -> Noted | None:
    """Lets the rows before the first one that is not older than `before_at` go; the head always stays. Returns the last that went, for another
    chain to note; None where none did."""
    head = tx.one(f"SELECT n, from_n FROM {kept.heads} WHERE site_id = :s", {"s": site_id})
    if head is None:
        return None
    first = tx.one(f"SELECT n FROM {kept.table} WHERE site_id = :s AND at >= :at ORDER BY n LIMIT 1", {"s": site_id, "at": before_at})
    last = min(head[0], first[0] if first else head[0]) - 1
    found = tx.one(f"SELECT chain FROM {kept.table} WHERE site_id = :s AND n = :n", {"s": site_id, "n": last}) if last > head[1] else None
    if found is None:
        return None
    tx.run(f"DELETE FROM {kept.table} WHERE site_id = :s AND n <= :n", {"s": site_id, "n": last})
    tx.run(f"UPDATE {kept.heads} SET from_n = :n, from_chain = :c WHERE site_id = :s", {"s": site_id, "n": last, "c": found[0]})
    return Noted(site_id, last, found[0])


def sites(tx: Tx, kept: Chained = JOURNAL) -> list[str]:
    """Every site that has a chain; the empty name is the chain of what belongs to no site."""
    return [r[0] for r in tx.all(f"SELECT site_id FROM {kept.heads} UNION SELECT site_id FROM {kept.table} ORDER BY 1")]


class Report(msgspec.Struct, frozen=True):
    """What a check found. `rows` were read; `n` and `chain` are the head; no `problems` means that nothing was changed."""

    site_id: str
    rows: int
    n: int
    chain: str
    problems: tuple[str, ...]


class Check:
    """Follows one site's chain from its beginning, some rows at a time, so that it never holds up the reader for long."""

    def __init__(self, site_id: str, noted: Noted | None = None, kept: Chained = JOURNAL):
        self.site_id, self._kept = site_id, kept
        self._noted = [noted] if noted is not None else []
        self._n, self._chain, self._no, self.rows = 0, "", 0, 0
        self._started = False
        self.problems: list[str] = []

    def step(self, tx: Tx, limit: int = STEP_ROWS) -> bool:
        """Reads on. True where the end was reached; rows written meanwhile are part of it."""
        if not self._started:
            self._started = True
            self._begin(tx)
        rows = tx.all(
            f"SELECT n, no, chain, at, {', '.join(self._kept.fields)} FROM {self._kept.table}"
            " WHERE site_id = :s AND n > :from AND (n, no) > (:n, :no) ORDER BY n, no LIMIT :l",
            {"s": self.site_id, "from": self._from, "n": self._n, "no": self._no, "l": limit},
        )
        for row in rows:
            self._take(*row)
        if len(rows) == limit:
            return False
        self._end(tx)
        return True

    def report(self) -> Report:
        more = len(self.problems) - PROBLEMS_MAX
        told = self.problems[:PROBLEMS_MAX] + ([f"and {more} more"] if more > 0 else [])
        return Report(self.site_id, self.rows, self._n, self._chain, tuple(told))

    def _begin(self, tx: Tx) -> None:
        self._from = 0
        if self._kept.anchors is not None:
            self._after_what_was_let_go(tx, *self._kept.anchors(tx, self.site_id))
        (outside,) = tx.one(f"SELECT COUNT(*) FROM {self._kept.table} WHERE site_id = :s AND n <= :n", {"s": self.site_id, "n": self._from})
        if outside:
            self.problems.append(f"{outside} row{'s' * (outside > 1)} stand outside the chain")

    def _after_what_was_let_go(self, tx: Tx, stood: Noted | None, let_go: Noted | None) -> None:
        """The chain begins behind the rows that had their time; that they had it stands in another chain."""
        if stood is not None:
            self._noted.append(stood)
        begins = tx.one(f"SELECT from_n, from_chain FROM {self._kept.heads} WHERE site_id = :s", {"s": self.site_id}) or (0, "")
        if begins != ((let_go.n, let_go.chain) if let_go else (0, "")):
            self.problems.append(f"the beginning up to row {begins[0]} was taken away without its time being over")
        self._from = self._n = begins[0]
        self._chain = begins[1]

    def _take(self, n: int, no: int, chain: str, at: int, *fields: str | int) -> None:
        self.rows += 1
        if n == self._n:
            self.problems.append(f"row {n} is there twice")
        elif n > self._n + 1:
            self.problems.append(f"row {self._n + 1} is missing" if n == self._n + 2 else f"rows {self._n + 1} to {n - 1} are missing")
        elif link(self._chain, n, at, self.site_id, *map(str, fields)) != chain:
            self.problems.append(f"row {n} is not what was written")
        if no <= self._no:
            self.problems.append(f"row {n} stands in another place than it was written")
        if any(n == noted.n and chain != noted.chain for noted in self._noted):
            self.problems.append(f"row {n} does not bear the chain that was noted: the {self._kept.called} has been written anew")
        self._n, self._no, self._chain = n, no, chain

    def _end(self, tx: Tx) -> None:
        head = tx.one(f"SELECT n, chain FROM {self._kept.heads} WHERE site_id = :s", {"s": self.site_id})
        if head is None:
            self.problems.append("the head of the chain is missing")
        elif head[0] > self._n:
            self.problems.append(f"the last {head[0] - self._n} rows are missing: the chain ends at {self._n} instead of {head[0]}")
        elif head != (self._n, self._chain):
            self.problems.append("the head of the chain is not what was written")
        for n in sorted({noted.n for noted in self._noted if self._n < noted.n}):
            self.problems.append(f"the {self._kept.called} ends at row {self._n}, but row {n} was noted")


def verify(tx: Tx, noted: tuple[Noted, ...] = (), kept: Chained = JOURNAL) -> list[Report]:
    """Checks every site's chain at once, for a command that has the books for itself. A noted site without a chain is a problem, too."""
    by_site = {one.site_id: one for one in noted}
    reports = []
    for site_id in dict.fromkeys([*sites(tx, kept), *by_site]):
        check = Check(site_id, by_site.get(site_id), kept)
        while not check.step(tx):
            pass
        reports.append(check.report())
    return reports


def chain_old_rows(db) -> None:
    """For the migration: rows from before the chain get their place in it, as they stand that day. `db` is a `sqlite_utils.Database`."""
    heads: dict[str, tuple[int, str]] = {}
    places = []
    for no, *fields in db.execute("SELECT no, at, site_id, actor, what, ref, reason FROM journal ORDER BY no"):
        at, site_id, actor, what, ref, reason = fields
        n, before = heads.get(site_id, (0, ""))
        heads[site_id] = (n + 1, link(before, n + 1, at, site_id, actor, what, ref, reason))
        places.append((*heads[site_id], no))
    db.conn.executemany("UPDATE journal SET n = ?, chain = ? WHERE no = ?", places)
    db.conn.executemany("INSERT INTO journal_heads (site_id, n, chain) VALUES (?, ?, ?)", [(s, *head) for s, head in heads.items()])
