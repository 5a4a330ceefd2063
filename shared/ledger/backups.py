"""Backups as both sides have them: when one is due, the nightly drill, what became of them, and what to say of it.

The state lies in a file beside the books and not in them, so that a restored copy does not claim the backups of another day; the command
and the running process share it. Work runs in a thread: sales go on, and the event loop only asks what became of it.

Invariant: one backup or drill at a time per data folder, whoever asks; a failure is told in a sentence and tried again, and never keeps
anything else from going on.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from ..errors import Failure, Unavailable
from ..runtime import backup, log, sealed
from ..runtime.backup import BackupSettings, Note, Stopped
from ..runtime.database_copy import Facts
from ..runtime.metrics import Metrics
from ..runtime.vault import Item, Vault
from . import drill
from .drill import Known, Report

STATE, LOCK, DRILL_KEY, SCRATCH = "backup-state.json", "backup.lock", "backup-drill.key", "backup-scratch"
#: after a failure
AGAIN_S = 300
#: a backup is late when it is so many periods old
LATE_PERIODS = 3
#: a drill is late after a day and a half
DRILL_LATE_S = 129_600
#: a backup or drill puts half-made files beside the books: it must leave the sales this much room
ROOM_LEFT_OCTETS = 16 * 1024 * 1024
_log = log.get("backups")


class Busy(Unavailable):
    """Somebody else makes a backup or holds a drill of these books: nothing has failed."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the backups, times in unix seconds (0: never). `trouble`, `drill_trouble`: a sentence while the last one failed;
    `warning`: what speaks against this vault though it works."""

    good_at: int = 0
    name: str = ""
    octets: int = 0
    took_s: float = 0.0
    tried_at: int = 0
    failures: int = 0
    trouble: str = ""
    warning: str = ""
    drill_at: int = 0
    drill_good_at: int = 0
    drill_name: str = ""
    drill_took_s: float = 0.0
    drill_bookings: int = 0
    drill_failures: int = 0
    drill_trouble: str = ""


class BackupPanel(msgspec.Struct, frozen=True, kw_only=True):
    """The backups for a page. `status` is `none` where none are configured, else `good`, `late` or `failing`; `told` says why, in sentences."""

    configured: bool = False
    status: str = "none"
    good_at: int = 0
    octets: int = 0
    drill_at: int = 0
    drill_good_at: int = 0
    drill_bookings: int = 0
    told: tuple[str, ...] = ()

    @property
    def degraded(self) -> bool:
        return self.status in ("late", "failing")


class Backups:
    """The backups of one data folder. `vault` None: none are configured; then everything but `panel` is a mistake of the caller's. `keys`: patterns of
    the key files in it.

    `sure()`: whether the clock may be believed. Retention deletes by the clock, so it waits until then. `term(books)`: which box's they are
    (loss-5).
    """

    def __init__(
        self, settings: BackupSettings | None, vault: Vault | None, *, data_dir: Path, books: str, keys: tuple[str, ...], known: Known,
        now: Callable[[], float], sure: Callable[[], bool], term: Callable[[sqlite3.Connection], int], zone: str = "UTC",
    ):  # fmt: skip
        self._sure, self._term = sure, term
        self._settings, self._vault, self._data_dir, self._books = settings or BackupSettings(), vault, data_dir, data_dir / books
        self._keys, self._known, self._now, self._zone = keys, known, now, ZoneInfo(zone)
        self._ending = threading.Event()
        self._watchers: list[Callable[[], None]] = []

    @property
    def configured(self) -> bool:
        return self._vault is not None

    @property
    def vault(self) -> Vault:
        assert self._vault is not None, "no backups are configured"
        return self._vault

    def watch(self, told: Callable[[], None]) -> None:
        """`told()` runs on the event loop after a backup or a drill."""
        self._watchers.append(told)

    # ---- by the clock
    async def tick(self) -> None:
        """Makes a backup or holds the drill where one is due, in a thread. For the ticker; never raises a Failure."""
        if not self.configured or self._ending.is_set():
            return
        work = self.make if self.due() else self.drill if self.drill_due() else None
        if work is None:
            return
        try:
            await asyncio.to_thread(work)
        except (Failure, Stopped):  # kept in the state and told there
            pass
        for told in self._watchers:
            told()

    def due(self) -> bool:
        state, now = self.state(), int(self._now())
        wait_s = min(AGAIN_S, self._settings.every_s) if state.trouble else self._settings.every_s
        # a clock that was set back must not silence backups until it has caught up
        return not 0 <= now - state.tried_at < wait_s

    def drill_due(self) -> bool:
        state, now = self.state(), int(self._now())
        return bool(state.good_at) and not state.trouble and not self._night(now) <= state.drill_at <= now

    def _night(self, now: int) -> int:
        """The last moment at which a drill was due, in unix seconds."""
        here = datetime.fromtimestamp(now, self._zone)
        at = here.replace(hour=self._settings.drill_hour, minute=0, second=0, microsecond=0)
        return int((at if at <= here else at - timedelta(days=1)).timestamp())

    def stop(self) -> None:
        """What is under way ends soon, and takes away what it had begun."""
        self._ending.set()

    # ---- work, for a thread
    def make(self) -> Note:
        """One backup now, then retention. Blocks. Raises Failure with a sentence, which the state keeps; Stopped while the process ends."""
        now, before = self._now(), self.state()
        try:
            with self._alone():
                made = self._made(now)
                self._keep(tried_at=int(now), trouble="")
        except Busy:
            raise
        except Failure as error:
            self._keep(tried_at=int(now), failures=before.failures + 1, trouble=error.detail)
            if not before.trouble:  # once when it begins, once when it is over
                _log.error("backup.failed", why=error.detail)
            raise
        if before.trouble:
            _log.info("backup.works_again", backup=made.name)
        return made

    def _made(self, now: float) -> Note:
        began = time.monotonic()
        self._need_room()
        recipients = (*self._settings.recipients, sealed.recipient_of(self._drill_identity()))
        keys = {name.removeprefix(backup.KEYS): path for name, path in self._key_files()}
        made = backup.make(
            self.vault, self._books, recipients, now, self._data_dir / SCRATCH, keys=keys, box=self._term, stopping=self._ending.is_set
        )
        took_s = round(time.monotonic() - began, 3)
        self._keep(good_at=int(now), name=made.name, octets=made.octets, took_s=took_s, warning=self.vault.warning(self._data_dir))
        _log.info("backup.made", backup=made.name, octets=made.octets, took_s=took_s)
        if self._sure():
            backup.prune(self.vault, int(now), self._settings)
        return made

    def _key_files(self) -> Iterator[tuple[str, Path]]:
        for pattern in self._keys:
            for path in sorted(self._data_dir.glob(pattern)):
                if path.is_file():
                    yield path.relative_to(self._data_dir).as_posix(), path

    def _need_room(self) -> None:
        """The books' own disk must not be filled by what protects them: a copy and its sealed twin are about once and a half their size."""
        try:
            octets = sum(path.stat().st_size for tail in ("", "-wal") if (path := Path(f"{self._books}{tail}")).exists())
            free = shutil.disk_usage(self._data_dir).free
        except OSError:
            return  # told by whoever reads the books next
        if free < octets * 3 // 2 + ROOM_LEFT_OCTETS:
            raise Unavailable(
                f"There is no room to prepare a backup in {self._data_dir}: {octets * 3 // 2_000_000} MB are needed, and"
                f" {ROOM_LEFT_OCTETS // 1_000_000} MB must be left for the books; {free // 1_000_000} MB are free."
            )

    def drill(self) -> Report:
        """The nightly drill: the newest backup, opened with the box's own key. Blocks; what it finds is kept in the state."""
        now, began = int(self._now()), time.monotonic()
        try:
            name = self._to_drill()
            report = self.verify(name, self._drill_identity())
            trouble = report.wrong[0] if report.wrong else ""
        except Busy:
            raise
        except Failure as error:
            name, report, trouble = "", Report(wrong=(error.detail,)), error.detail
        before = self.state()
        self._keep(
            drill_at=now, drill_good_at=before.drill_good_at if trouble else now, drill_name=name, drill_trouble=trouble,
            drill_took_s=round(time.monotonic() - began, 3), drill_bookings=report.bookings,
            drill_failures=before.drill_failures + bool(trouble),
        )  # fmt: skip
        if trouble:
            _log.error("backup.drill_failed", backup=name, why=trouble)
        else:
            _log.info("backup.drill_passed", backup=name, bookings=report.bookings, days=report.days, moved_on=report.moved_on)
        return report

    def verify(self, name: str, identity: str = "") -> Report:
        """Restores a backup into a scratch file and checks it, with this secret key or the box's own. Blocks. Failure where it cannot even be
        opened; what is wrong with its content is in the report."""
        with self._alone(), self._scratch() as restored:
            self._need_room()
            note = backup.fetch(self.vault, name, identity or self._drill_identity(), restored, stopping=self._ending.is_set)
            live = self._books if self._books.is_file() else None
            report = drill.verify(restored, live, Facts(steps=note.steps, rows=note.rows), self._known, self._ending.is_set)
        if self._ending.is_set():
            raise Stopped
        return report

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """The path for the restored books, gone afterwards; so are those that a killed drill has left."""
        folder = self._data_dir / SCRATCH
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in folder.glob("drill-*.db*"):
                left.unlink(missing_ok=True)
            restored = folder / f"drill-{os.getpid()}.db"
            try:
                yield restored
            finally:
                restored.unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"{folder} cannot be used for a drill: {(error.strerror or '').lower()}.") from None

    def listed(self) -> list[Item]:
        """The complete backups of this owner, oldest first. Blocks."""
        return backup.listed(self.vault)

    def _to_drill(self) -> str:
        """The last one made; by name only where it is gone, since one of a day when the clock was ahead sorts last for ever."""
        made = self.state().name
        return made if made in {item.name for item in self.listed()} else backup.newest(self.vault, self._now())

    def _drill_identity(self) -> str:
        return sealed.kept_identity(self._data_dir / DRILL_KEY)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            lock = open(self._data_dir / LOCK, "w")  # noqa: SIM115 - closed by the `with` below
        except OSError as error:
            raise Unavailable(f"{self._data_dir} cannot be written: {(error.strerror or '').lower()}.") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Busy("Another backup or drill of these books is under way; try again in a minute.") from None
            yield

    # ---- what became of it
    def state(self) -> State:
        """As kept on the disk; a file that cannot be read counts as none, so that the next backup is made at once."""
        try:
            return msgspec.json.decode((self._data_dir / STATE).read_bytes(), type=State)
        except (OSError, msgspec.MsgspecError):
            return State()

    def _keep(self, **changed: object) -> None:
        body = msgspec.json.encode(msgspec.structs.replace(self.state(), **changed))
        beside = self._data_dir / f".{STATE}.{os.getpid()}"
        try:
            beside.write_bytes(body)
            beside.replace(self._data_dir / STATE)
        except OSError as error:  # a full disk: the backup itself may have gone well
            _log.error("backup.state_not_kept", why=(error.strerror or "").lower())

    def panel(self) -> BackupPanel:
        if not self.configured:
            return BackupPanel(told=("No backups are configured.",))
        state, now = self.state(), int(self._now())
        told = [text for text in (state.trouble, state.drill_trouble and f"The last drill failed: {state.drill_trouble}") if text]
        late = bool(state.good_at) and now - state.good_at > LATE_PERIODS * self._settings.every_s
        if late and not state.trouble:
            told.append("The last backup is older than it should be.")
        if state.drill_good_at and now - state.drill_good_at > DRILL_LATE_S and not state.drill_trouble:
            late = True
            told.append("The nightly drill has not been held.")
        status = "failing" if state.trouble or state.drill_trouble else "late" if late else "good" if state.good_at else "none yet"
        if state.warning:
            told.append(state.warning)
        return BackupPanel(
            configured=True, status=status, good_at=state.good_at, octets=state.octets, drill_at=state.drill_at,
            drill_good_at=state.drill_good_at, drill_bookings=state.drill_bookings, told=tuple(told),
        )  # fmt: skip

    def meter(self, metrics: Metrics) -> None:
        """Registers the gauges, where backups are configured. An age of what never was is infinite, so that an alert sees it."""
        if not self.configured:
            return

        def age(at: Callable[[State], int]) -> Callable[[], float]:
            return lambda: max(0.0, self._now() - at(self.state())) if at(self.state()) else float("inf")

        metrics.gauge("backup_age_seconds", "Since the last good backup.").set_function(age(lambda s: s.good_at))
        metrics.gauge("backup_bytes", "Size of the last good backup.").set_function(lambda: float(self.state().octets))
        metrics.gauge("backup_failing", "1 while the last attempt has failed.").set_function(lambda: float(bool(self.state().trouble)))
        metrics.gauge("backup_failures", "Backups that have failed, ever.").set_function(lambda: float(self.state().failures))
        metrics.gauge("backup_drill_ok", "1 when the last drill passed.").set_function(
            lambda: float(bool(self.state().drill_at) and not self.state().drill_trouble)
        )
        metrics.gauge("backup_drill_age_seconds", "Since the last drill that passed.").set_function(age(lambda s: s.drill_good_at))
        metrics.gauge("backup_drill_failures", "Drills that have failed, ever.").set_function(lambda: float(self.state().drill_failures))
