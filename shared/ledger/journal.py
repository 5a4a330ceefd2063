"""The journal of who did or saw what, hash-chained per site so that tampering shows (U7).

Each row carries the hash of itself and of the row before it; the head of each chain rests in a row of its own, so that rows cut off at
the end are missed too. For writing and for checking; what is worth a row is for the callers to say. Not a secret and not a signature: who
may write the whole file can compute a new chain, which shows against a head that was noted elsewhere (`journal verify` prints it, and the
nightly check logs it). Invariant: a row and its place in the chain are written in the transaction of what it tells of.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from ..runtime.database import Tx

#: rows that one step of a check reads: a few milliseconds
STEP_ROWS = 1000
#: problems that one check tells; a chain that was rewritten has one per row
PROBLEMS_MAX = 20


def link(before: str, n: int, at: int, site_id: str, actor: str, what: str, ref: str, reason: str) -> str:
    """The chain after row `n` of a site. Every field is preceded by its length, so that no two rows read the same."""
    fields = (before, str(n), str(at), site_id, actor, what, ref, reason)
    return sha256(b"".join(b"%d:%s" % (len(text), text) for text in (field.encode() for field in fields))).hexdigest()


def write(tx: Tx, at: int, site_id: str, actor: str, what: str, ref: str, reason: str = "") -> None:
    """Adds a row at the end of the site's chain."""
    find = f"SELECT n, chain FROM journal_heads WHERE site_id = :s{tx.for_update}"
    head = tx.one(find, {"s": site_id})
    if head is None:  # two replicas may both be about to write the first row: the head is there to be locked by one
        tx.run("INSERT INTO journal_heads (site_id, n, chain) VALUES (:s, 0, '') ON CONFLICT DO NOTHING", {"s": site_id})
        head = tx.one(find, {"s": site_id})
    before, n = head[1], head[0] + 1
    chain = link(before, n, at, site_id, actor, what, ref, reason)
    tx.run(
        "INSERT INTO journal (at, site_id, actor, what, ref, reason, n, chain) VALUES (:at, :s, :a, :w, :r, :why, :n, :c)",
        {"at": at, "s": site_id, "a": actor, "w": what, "r": ref, "why": reason, "n": n, "c": chain},
    )
    tx.run(
        "INSERT INTO journal_heads (site_id, n, chain) VALUES (:s, :n, :c)"
        " ON CONFLICT (site_id) DO UPDATE SET n = excluded.n, chain = excluded.chain",
        {"s": site_id, "n": n, "c": chain},
    )


def sites(tx: Tx) -> list[str]:
    """Every site that has a chain; the empty name is the chain of what belongs to no site."""
    return [r[0] for r in tx.all("SELECT site_id FROM journal_heads UNION SELECT site_id FROM journal ORDER BY 1")]


class Noted(msgspec.Struct, frozen=True):
    """A head that was written down elsewhere: row `n` of the site had this chain then."""

    site_id: str
    n: int
    chain: str


class Report(msgspec.Struct, frozen=True):
    """What a check found. `rows` were read; `n` and `chain` are the head; no `problems` means that nothing was changed."""

    site_id: str
    rows: int
    n: int
    chain: str
    problems: tuple[str, ...]


class Check:
    """Follows one site's chain from its beginning, some rows at a time, so that it never holds up the reader for long."""

    def __init__(self, site_id: str, noted: Noted | None = None):
        self.site_id, self._noted = site_id, noted
        self._n, self._chain, self._no, self.rows = 0, "", 0, 0
        self._started = False
        self.problems: list[str] = []

    def step(self, tx: Tx, limit: int = STEP_ROWS) -> bool:
        """Reads on. True where the end was reached; rows written meanwhile are part of it."""
        if not self._started:
            self._started = True
            self._outside(tx)
        rows = tx.all(
            "SELECT n, no, chain, at, actor, what, ref, reason FROM journal"
            " WHERE site_id = :s AND n > 0 AND (n, no) > (:n, :no) ORDER BY n, no LIMIT :l",
            {"s": self.site_id, "n": self._n, "no": self._no, "l": limit},
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

    def _outside(self, tx: Tx) -> None:
        (outside,) = tx.one("SELECT COUNT(*) FROM journal WHERE site_id = :s AND n < 1", {"s": self.site_id})
        if outside:
            self.problems.append(f"{outside} row{'s' * (outside > 1)} stand outside the chain")

    def _take(self, n: int, no: int, chain: str, at: int, actor: str, what: str, ref: str, reason: str) -> None:
        self.rows += 1
        if n == self._n:
            self.problems.append(f"row {n} is there twice")
        elif n > self._n + 1:
            self.problems.append(f"row {self._n + 1} is missing" if n == self._n + 2 else f"rows {self._n + 1} to {n - 1} are missing")
        elif link(self._chain, n, at, self.site_id, actor, what, ref, reason) != chain:
            self.problems.append(f"row {n} is not what was written")
        if no <= self._no:
            self.problems.append(f"row {n} stands in another place than it was written")
        if self._noted is not None and n == self._noted.n and chain != self._noted.chain:
            self.problems.append(f"row {n} does not bear the chain that was noted: the journal has been written anew")
        self._n, self._no, self._chain = n, no, chain

    def _end(self, tx: Tx) -> None:
        head = tx.one("SELECT n, chain FROM journal_heads WHERE site_id = :s", {"s": self.site_id})
        if head is None:
            self.problems.append("the head of the chain is missing")
        elif head[0] > self._n:
            self.problems.append(f"the last {head[0] - self._n} rows are missing: the chain ends at {self._n} instead of {head[0]}")
        elif head != (self._n, self._chain):
            self.problems.append("the head of the chain is not what was written")
        if self._noted is not None and self._n < self._noted.n:
            self.problems.append(f"the journal ends at row {self._n}, but row {self._noted.n} was noted")


def verify(tx: Tx, noted: tuple[Noted, ...] = ()) -> list[Report]:
    """Checks every site's chain at once, for a command that has the books for itself. A noted site without a journal is a problem, too."""
    by_site = {one.site_id: one for one in noted}
    reports = []
    for site_id in dict.fromkeys([*sites(tx), *by_site]):
        check = Check(site_id, by_site.get(site_id))
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
