"""Who is asking: staff by password, kiosks by the token they got when they were paired; and what each may do.

Works with no hub. Not here: cookies and headers (web). Invariant: a password, token or code is never kept or logged; what a person may
do follows from the role in the books at that moment, not from the session.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import msgspec

from shared.errors import refuse
from shared.ledger import records
from shared.ledger.desk import Desk
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from shared.runtime.passwords import LockOut, Passwords, hash_token, new_token
from shared.runtime.sessions import Sessions
from site_agent.config import StaffEntry
from site_agent.store import people, sessions, spool

_log = log.get("site_agent.people")

#: what one may do -> what it is called in a refusal
RIGHTS: dict[str, str] = {
    "view": "see the day",
    "book": "book, move and cancel",
    "check_in": "check guests in and out",
    "block": "take a bay out of sale",
    "unlock": "open doors",
    "override": "sell over the line",
    "screens": "pair and remove kiosks",
    "emergency": "hold doors open, open them all, or lock them down",
    "machines": "restart a bay's machine",
    "drill": "unplug the facility for a drill",
    "void_pins": "void the spare door PINs",
    "resume": "put a stopped bay back on sale",
}
#: THE permission matrix of the site (U2)
ROLES: dict[str, frozenset[str]] = {
    "admin": frozenset(RIGHTS),
    "staff": frozenset(RIGHTS) - {"override", "screens", "resume"},
    "viewer": frozenset({"view"}),
    "cleaner": frozenset({"view", "block"}),
    "contractor": frozenset({"unlock"}),
}
#: what a kiosk may do: sell to the person before it, and check in
KIOSK_RIGHTS = frozenset({"kiosk"})

CODE_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
CODE_LENGTH = 10
CODE_VALID_S = 15 * 60
SPOOL = "errands"
#: wrong sign-ins within the window: of one account from one address, from one address, of one account from anywhere. The last is wide,
#: so that a stranger on the network cannot lock an account for the person it belongs to.
SIGN_IN_TRIES = {"here": 5, "address": 20, "account": 30}
SIGN_IN_WINDOW_S = 900


class Asker(msgspec.Struct, frozen=True):
    """Who a request comes from. `id` goes into journals and door logs ("staff-robin", "kiosk-3f…"), `name` is for people."""

    kind: str
    id: str
    name: str
    rights: frozenset[str]
    role: str = ""

    def may(self, right: str) -> bool:
        return right in self.rights

    def needs(self, right: str) -> None:
        """Refuses `not_allowed` with what is lacking."""
        if right not in self.rights:
            raise refuse("not_allowed", f"You are not allowed to {RIGHTS.get(right, right)} here.")


def new_code() -> str:
    """A pairing code that can be read out: ten letters, about 49 bits, shown as XXXXX-XXXXX."""
    text = "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))
    return f"{text[:5]}-{text[5:]}"


def code_hash(code: str) -> str:
    """The hash under which a code is kept, whatever case and hyphens it is typed with."""
    return hash_token("pairing:" + "".join(ch for ch in code.upper() if ch.isalnum()))


class People:
    """Accounts, sessions, kiosks and pairings of one site."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, data_dir: Path):
        self._db, self._desk, self._spool = db, desk, data_dir / SPOOL
        self._passwords = Passwords()
        self._lock_outs = {limit: LockOut(tries_max=tries, window_s=SIGN_IN_WINDOW_S) for limit, tries in SIGN_IN_TRIES.items()}
        self._pair_lock_out = LockOut(tries_max=10, window_s=900)
        self.sessions = Sessions(sessions.SessionRows(db), desk.clock)

    # ---- at start
    async def begin(self, entries: tuple[StaffEntry, ...]) -> None:
        """Takes in what is new in the staff file, and whatever the command line left.

        An entry that was taken in before changes nothing, or every restart would bring back a password that was changed since.
        """

        def run(tx: Tx) -> None:
            for entry in entries:
                mark = hashlib.sha256(msgspec.json.encode(entry)).hexdigest()
                if people.entry_taken(tx, entry.user) != mark:
                    people.put_entry_taken(tx, entry.user, mark)
                    _put_account(tx, people.StaffRow(entry.user, entry.name, entry.role, entry.password_hash))

        if entries:
            await self._db.write(run)
        await self.take_errands()

    async def take_errands(self) -> None:
        """Takes in what the command line left (`store.spool`). A folder that is empty costs a few microseconds."""
        found = spool.waiting(self._spool)
        if not found:
            return

        def run(tx: Tx) -> None:
            for _, errand in found:
                if errand is None:
                    continue
                if errand.kind == "staff":
                    _put_account(tx, people.StaffRow(errand.user, errand.name, errand.role, errand.secret_hash))
                elif errand.kind == "pairing":
                    people.put_pairing(tx, errand.secret_hash, errand.name, errand.ends_at)

        await self._db.write(run)
        for path, errand in found:
            if errand is None:
                _log.warning("errand.unreadable", file=path.name)
            path.unlink(missing_ok=True)

    # ---- staff
    async def sign_in(self, user: str, password: str, address: str) -> tuple[str, Asker]:
        """The cookie value of a new session, and who it is. Refuses `wrong_credentials`, `too_many_tries`."""
        user = user.strip().casefold()
        keys, now = {"here": f"{user}|{address}", "address": address, "account": user}, self._desk.now()
        wait_s = max(self._lock_outs[limit].wait_s((key,), now) for limit, key in keys.items())
        if wait_s:
            minutes = -(-wait_s // 60)
            raise refuse(
                "too_many_tries", f"Too many wrong sign-ins. Please try again in {minutes} minute{'s' * (minutes > 1)}.", retry_after_s=wait_s
            )
        # Counted before it is judged: hashing takes its time, and tries sent meanwhile must find the count.
        for limit, key in keys.items():
            self._lock_outs[limit].failed((key,), now)
        await self.take_errands()
        row = self._db.read(lambda tx: people.staff(tx, user))
        good = await self._passwords.verify(row.password_hash if row and row.active else None, password)
        if not good or row is None:
            _log.warning("staff.sign_in_refused")
            raise refuse("wrong_credentials", "User or password is not right.")
        for limit, key in keys.items():
            self._lock_outs[limit].take_back((key,))
        self._lock_outs["here"].passed(keys["here"])
        cookie = await self.sessions.start("staff", user)
        await self._db.write(lambda tx: self._journal(tx, f"staff-{user}", "sign in", ""))
        return cookie, _asker(row)

    async def staff_of(self, cookie: str) -> Asker | None:
        """Who is signed in with this cookie, with the rights of their role as it is now."""
        session = await self.sessions.find(cookie)
        if session is None or session.kind != "staff":
            return None
        row = self._db.read(lambda tx: people.staff(tx, session.subject))
        return _asker(row) if row and row.active else None

    async def sign_out(self, cookie: str) -> None:
        await self.sessions.end(cookie)

    # ---- kiosks
    def kiosk_of(self, token: str) -> Asker | None:
        """The screen of this token (K6)."""
        if not 20 <= len(token) <= 100:
            return None
        row = self._db.read(lambda tx: people.kiosk_by_token(tx, hash_token(token)))
        return Asker("kiosk", f"kiosk-{row.id}", row.name, KIOSK_RIGHTS) if row else None

    async def code_is_good(self, code: str, address: str) -> bool:
        """Whether the code would pair a screen now; wrong ones are counted against the address."""
        if self._pair_lock_out.wait_s((address,), self._desk.now()):
            return False
        await self.take_errands()
        good = self._db.read(lambda tx: people.pairing(tx, code_hash(code), self._desk.now())) is not None
        if not good:
            self._pair_lock_out.failed((address,), self._desk.now())
        return good

    async def pair(self, code: str, address: str) -> tuple[str, Asker]:
        """Uses up a code: the token of the new kiosk, shown this once. Refuses `not_found`, for whatever reason."""
        if not await self.code_is_good(code, address):
            raise refuse("not_found", "There is nothing here.")
        token, kiosk_id, now = new_token(), self._desk.new_id().replace("-", "")[:12], self._desk.now()

        def run(tx: Tx) -> str:
            name = people.use_pairing(tx, code_hash(code), now)
            if name is None:
                raise refuse("not_found", "There is nothing here.")
            people.add_kiosk(tx, kiosk_id, name, hash_token(token), now)
            self._journal(tx, f"kiosk-{kiosk_id}", "paired", kiosk_id)
            return name

        name = await self._db.write(run)
        return token, Asker("kiosk", f"kiosk-{kiosk_id}", name, KIOSK_RIGHTS)

    async def new_pairing(self, name: str, by: Asker) -> tuple[str, int]:
        """A code for another screen, and when it ends (unix seconds); staff made it at their page."""
        code, ends_at = new_code(), self._desk.now() + CODE_VALID_S

        def run(tx: Tx) -> None:
            people.put_pairing(tx, code_hash(code), name, ends_at)
            self._journal(tx, by.id, "pairing code made", name)

        await self._db.write(run)
        return code, ends_at

    def kiosks(self) -> list[people.KioskRow]:
        return self._db.read(people.kiosks)

    async def remove_kiosk(self, kiosk_id: str, by: Asker) -> None:
        """Takes a pairing back; the screen gets nothing from its next request on. Refuses `not_found`."""

        def run(tx: Tx) -> None:
            if not people.revoke_kiosk(tx, kiosk_id):
                raise refuse("not_found", "There is no such kiosk.")
            self._journal(tx, by.id, "kiosk removed", kiosk_id)

        await self._db.write(run)

    def _journal(self, tx: Tx, actor: str, what: str, ref: str) -> None:
        records.journal(tx, self._desk.now(), "", actor, what, ref)


def _asker(row: people.StaffRow) -> Asker:
    return Asker("staff", f"staff-{row.user}", row.name, ROLES.get(row.role, frozenset()), row.role)


def _put_account(tx: Tx, row: people.StaffRow) -> None:
    """A changed password or role ends the account's sessions."""
    known = people.staff(tx, row.user)
    if known == row:
        return
    people.put_staff(tx, row)
    if known is not None:
        sessions.end_all(tx, "staff", row.user)
