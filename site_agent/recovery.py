"""The words `restore`, `adopt`, `vouch`, `state-sold` and `marry` of the command `site-agent`: after a disk or a box was lost (L4).

`restore`, `adopt` and `marry` open the books themselves and need the agent stopped; `vouch` and `state-sold` leave word for the running
one. Exit codes: 0 done, 2 with a sentence.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import random
import time
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from shared import recovery
from shared.errors import Failure, Refused
from shared.ledger import boxes, fencing, records, streams
from shared.ledger.desk import Desk
from shared.runtime import sealed
from shared.runtime.backup import newest
from shared.runtime.database import InlineWriter, Tx, connect
from shared.runtime.database_put_back import fresh_path, put_back, take_place
from site_agent.config import Loaded
from site_agent.store import schema, spool

#: how long a running agent may take to carry out a word
TAKEN_WITHIN_S = 10.0


def words(commands, command: Callable) -> None:
    """Adds the sub-commands; `command(commands, name, about, do)` makes one with --config."""
    restore = command(commands, "restore", "put the books back from a backup; nothing is sold until the hub has been reached", _restore)
    restore.add_argument("--name", default="", help="which backup (the newest if not given)")
    restore.add_argument("--identity", type=Path, required=True, help="file with the secret key that opens backups")
    how = restore.add_mutually_exclusive_group(required=True)
    how.add_argument("--grant", default="", help="what `cloud-hub grant` printed: this is another machine than before")
    how.add_argument("--same-machine", action="store_true", help="this is the very machine that had the books")
    adopt = command(commands, "adopt", "let this new box take over the facility", _adopt)
    adopt.add_argument("--grant", required=True, help="what `cloud-hub grant` printed")
    for each in (restore, adopt):
        each.add_argument("--old-box-off", action="store_true", help="you vouch that the box before this one is off and stays off")
        each.add_argument("--nothing-sold", action="store_true", help="and state that it sold nothing that the hub does not know")
    vouch = command(commands, "vouch", "vouch that the box before this one is off and stays off", _vouch)
    vouch.add_argument("--by", required=True, help="who says so")
    stated = command(commands, "state-sold", "say that everything sold below the floor has been entered", _state_sold)
    stated.add_argument("--by", required=True, help="who says so")
    stated.add_argument("--reason", required=True, help="how you know")
    marry = command(commands, "marry", "follow another hub, by the operator's signed word", _marry)
    marry.add_argument("--hub", required=True, help="the id of the hub to follow")
    marry.add_argument("--statement", required=True, help="what `cloud-hub recovery-key sign` printed")


def _restore(loaded: Loaded, args: argparse.Namespace) -> int:
    from site_agent.app import DATABASE
    from site_agent.services.backups import open_backups

    granted = _granted(args.grant) if args.grant else None
    with _alone(loaded):
        backups = open_backups(loaded, time.time, DATABASE)
        if not backups.configured:
            raise ValueError("There is no [backup] table in the config, so there is nothing to restore from.")
        books = loaded.data_dir / DATABASE
        name = args.name or newest(backups.vault, time.time())
        identity = sealed.identity_file(args.identity)

        def prepare(fresh: Path) -> None:
            _is_of(fresh, loaded.config.site.id, name)
            _fence_restored(fresh, loaded.config.site.id, name, granted, args)

        note, aside = put_back(backups.vault, name, identity, books, loaded.data_dir, prepare, int(time.time()))
    kept = f" The books that were there lie in {aside}." if aside else ""
    print(f"{name} is back, with {note.rows.get('bookings', 0)} bookings.{kept}")
    print("Start the agent: doors and check-in work at once, sales once the hub has been reached and has told what is missing here.")
    return 0


def _fence_restored(fresh: Path, site_id: str, name: str, granted: tuple[int, str] | None, args: argparse.Namespace) -> None:
    """loss-1, loss-5: the copy sells nothing before its repair, under the term that was granted where this is another machine."""
    box_id, term = schema.prepare(fresh, _new_id), schema.identity(fresh)[0]
    if granted is not None:
        if granted[0] <= term:
            raise ValueError(f"This grant is for box {granted[0]}, but the books are of box {term}. Have a new one made: cloud-hub grant")
        term = granted[0]
        box_id = schema.new_box(fresh, _new_id(), *granted)

    def run(tx: Tx, desk: Desk) -> None:
        fencing.fence_all(tx, desk, f"These books were put back from the backup {name}.")
        boxes.mark_restored(tx, desk, site_id, vouched=args.old_box_off or args.same_machine, stated=args.nothing_sold)

    _write(fresh, _desk(box_id, term), run)


def _is_of(fresh: Path, site_id: str, name: str) -> None:
    """ValueError where the books are another facility's."""
    with contextlib.closing(connect(fresh, readonly=True)) as reader:
        found = streams.sites(Tx(reader))
    if site_id not in found:
        raise ValueError(f"The backup {name} is of {', '.join(found) or 'no facility'}, not of {site_id}. The books were not changed.")


def _adopt(loaded: Loaded, args: argparse.Namespace) -> int:
    from site_agent.app import DATABASE

    term, word = _granted(args.grant)
    with _alone(loaded):
        books = loaded.data_dir / DATABASE
        if books.exists():
            raise ValueError(f"There are books in {loaded.data_dir} already. A new box starts with an empty folder; see `restore` for an old one.")
        fresh = fresh_path(books)
        schema.prepare(fresh, _new_id)
        box_id = schema.new_box(fresh, _new_id(), term, word)
        site_id, hub_id = loaded.config.site.id, loaded.config.hub_id

        def run(tx: Tx, desk: Desk) -> None:
            boxes.adopt(tx, desk, site_id, hub_id=hub_id, vouched=args.old_box_off, stated=args.nothing_sold)

        _write(fresh, _desk(box_id, term), run)
        take_place(fresh, books, int(time.time()))
    print(f"This box will be box {term} of {site_id}. Start the agent: it takes over as soon as it reaches the hub.")
    if not args.old_box_off:
        print("Once you are sure that the old box is off and stays off, say so: site-agent vouch")
    if not args.nothing_sold:
        print("What the old box may have sold without telling the hub is not sold again until you say: site-agent state-sold")
    return 0


def _marry(loaded: Loaded, args: argparse.Namespace) -> int:
    from site_agent.app import DATABASE

    site_id, public = loaded.config.site.id, loaded.config.recovery_public
    if not public:
        raise ValueError("The setting 'recovery_public' is missing: without it no statement can be checked.")
    if not recovery.holds(public, recovery.marriage(site_id, args.hub), args.statement):
        raise ValueError("The statement is not the operator's word for this site and this hub. Nothing was changed.")
    with _alone(loaded):
        books = loaded.data_dir / DATABASE
        if not books.exists():
            raise ValueError(f"There are no books in {loaded.data_dir}. A new box follows the hub that its config names.")
        box_id = schema.prepare(books, _new_id)

        def run(tx: Tx, desk: Desk) -> None:
            streams.lock(tx, site_id)  # refuses books of another site
            streams.marry(tx, site_id, args.hub)
            records.journal(tx, desk.now(), site_id, "operator", "married to another hub", args.hub)

        _write(books, _desk(box_id, schema.identity(books)[0]), run)
    print(f"{site_id} follows {args.hub} from the next start on. Put the same 'hub_id' into the config.")
    return 0


def _vouch(loaded: Loaded, args: argparse.Namespace) -> int:
    return _leave(loaded, spool.Errand(kind="vouch", name=args.by), "The old box counts as off.")


def _state_sold(loaded: Loaded, args: argparse.Namespace) -> int:
    return _leave(loaded, spool.Errand(kind="stated", name=args.by, role=args.reason), "The site sells again as far as its line goes.")


def _leave(loaded: Loaded, errand: spool.Errand, done: str) -> int:
    from site_agent.services.recovery import SPOOL

    left = spool.leave(loaded.data_dir / SPOOL, errand)
    answer = spool.answer_of(left)
    deadline = time.monotonic() + TAKEN_WITHIN_S
    try:
        while time.monotonic() < deadline:
            if answer.exists():
                told = json.loads(answer.read_bytes())
                if "refused" in told:
                    raise ValueError(told["refused"])
                print(done)
                return 0
            time.sleep(0.1)
        raise ValueError("No running agent took it up, so nothing was changed. Is the agent running?")
    finally:
        for path in (left, answer):
            path.unlink(missing_ok=True)


@contextmanager
def _alone(loaded: Loaded):
    """Has the data folder to itself. Failures of the vault or the books become ValueError, with their sentence."""
    try:
        loaded.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(loaded.data_dir / "agent.lock", "w")  # noqa: SIM115 - closed by the `with` below
    except OSError as error:
        raise ValueError(f"{loaded.data_dir} cannot be used as a folder ({(error.strerror or 'unknown reason').lower()}).") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"An agent is running on {loaded.data_dir}. Stop it first.") from None
        try:
            yield
        except Failure as error:
            raise ValueError(error.detail) from None
        except Refused as no:
            raise ValueError(no.refusal.detail) from None


def _granted(text: str) -> tuple[int, str]:
    term, _, word = text.strip().partition(".")
    if not term.isdigit() or not word:
        raise ValueError("The grant is not whole; copy the whole line that `cloud-hub grant` printed.")
    return int(term), word


def _new_id() -> str:
    return str(uuid.uuid4())


def _desk(box_id: str, term: int) -> Desk:
    return Desk("site", clock=time.time, new_id=_new_id, chance=random.Random(), box_id=box_id, term=term)


def _write(books: Path, desk: Desk, change: Callable[[Tx, Desk], object]) -> None:
    db = InlineWriter(books)
    try:
        db.write_now(lambda tx: change(tx, desk))
    finally:
        asyncio.run(db.stop())
