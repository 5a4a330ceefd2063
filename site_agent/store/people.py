"""Rows of staff accounts and of paired kiosks. Passwords and tokens are here as hashes only."""

from __future__ import annotations

import msgspec

from shared.runtime.database import Tx


class StaffRow(msgspec.Struct, frozen=True):
    """An account; `active` false keeps the name for the journal and lets nobody in."""

    user: str
    name: str
    role: str
    password_hash: str
    active: bool = True

    def __repr__(self) -> str:
        return f"StaffRow({self.user!r}, {self.role!r})"


class KioskRow(msgspec.Struct, frozen=True):
    """A paired screen."""

    id: str
    name: str
    paired_at: int
    revoked: bool


def staff(tx: Tx, user: str) -> StaffRow | None:
    row = tx.one("SELECT user, name, role, password_hash, active FROM staff WHERE user = :u", {"u": user})
    return StaffRow(row[0], row[1], row[2], row[3], bool(row[4])) if row else None


def put_staff(tx: Tx, row: StaffRow) -> None:
    tx.run(
        "INSERT INTO staff (user, name, role, password_hash, active) VALUES (:u, :n, :r, :h, :a) ON CONFLICT (user) DO UPDATE SET"
        " name = excluded.name, role = excluded.role, password_hash = excluded.password_hash, active = excluded.active",
        {"u": row.user, "n": row.name, "r": row.role, "h": row.password_hash, "a": int(row.active)},
    )


def entry_taken(tx: Tx, user: str) -> str:
    """The mark of the staff file's entry that was taken in last for this user; empty if none was."""
    row = tx.one("SELECT value FROM identity WHERE name = :n", {"n": f"staff_file:{user}"})
    return row[0] if row else ""


def put_entry_taken(tx: Tx, user: str, mark: str) -> None:
    tx.run(
        "INSERT INTO identity (name, value) VALUES (:n, :v) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        {"n": f"staff_file:{user}", "v": mark},
    )


def kiosk_by_token(tx: Tx, token_hash: str) -> KioskRow | None:
    """The screen of this token, unless its pairing was taken back."""
    row = tx.one("SELECT id, name, paired_at, revoked FROM kiosks WHERE token_hash = :t AND revoked = 0", {"t": token_hash})
    return KioskRow(row[0], row[1], row[2], bool(row[3])) if row else None


def add_kiosk(tx: Tx, kiosk_id: str, name: str, token_hash: str, at: int) -> None:
    tx.run(
        "INSERT INTO kiosks (id, name, token_hash, paired_at) VALUES (:id, :n, :t, :at)",
        {"id": kiosk_id, "n": name, "t": token_hash, "at": at},
    )


def kiosks(tx: Tx) -> list[KioskRow]:
    return [KioskRow(r[0], r[1], r[2], bool(r[3])) for r in tx.all("SELECT id, name, paired_at, revoked FROM kiosks ORDER BY paired_at, id")]


def revoke_kiosk(tx: Tx, kiosk_id: str) -> bool:
    return tx.run("UPDATE kiosks SET revoked = 1 WHERE id = :id", {"id": kiosk_id}) == 1


def put_pairing(tx: Tx, code_hash: str, name: str, ends_at: int) -> None:
    tx.run(
        "INSERT INTO pairings (code_hash, name, ends_at) VALUES (:c, :n, :e) ON CONFLICT (code_hash) DO NOTHING",
        {"c": code_hash, "n": name, "e": ends_at},
    )


def pairing(tx: Tx, code_hash: str, now: int) -> str | None:
    """The name for the screen that this unused code pairs; None where there is no such code or its time is over."""
    row = tx.one("SELECT name FROM pairings WHERE code_hash = :c AND ends_at > :now", {"c": code_hash, "now": now})
    return row[0] if row else None


def use_pairing(tx: Tx, code_hash: str, now: int) -> str | None:
    """The same, and the code is used up; the codes whose time is over go with it."""
    name = pairing(tx, code_hash, now)
    tx.run("DELETE FROM pairings WHERE code_hash = :c OR ends_at <= :now", {"c": code_hash, "now": now})
    return name
