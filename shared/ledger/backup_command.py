"""The words `backup now | list | verify | key create` of both commands. They may be used beside the running process: they only read the books.

Exit codes: 0 done, 1 could not, or the backup is not good, with a sentence.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ..errors import Failure
from ..runtime import sealed
from ..runtime.backup import made_at, newest
from .backups import Backups

Opens = Callable[[argparse.Namespace], Backups]


def words(backup: argparse.ArgumentParser, opens: Opens) -> None:
    """Adds the words below `backup`; each sets `bare(args) -> exit code`. `opens(args)` reads the config (ConfigError goes through)."""
    actions = backup.add_subparsers(dest="backup_word", required=True, metavar="ACTION")
    about = {"now": "make a backup now", "list": "the backups there are, oldest first", "verify": "restore a backup into a scratch file and check it"}
    made = {name: actions.add_parser(name, help=text) for name, text in about.items()}
    for name, parser in made.items():
        parser.add_argument("--config", required=True, type=Path, help="the TOML file")
        parser.set_defaults(bare=_guarded(_WORDS[name], opens))
    made["verify"].add_argument("name", nargs="?", default="", help="which one (the newest if not given)")
    made["verify"].add_argument("--identity", type=Path, help="file with the secret key (the box's own if not given)")
    key = actions.add_parser("key", help="keys that open backups").add_subparsers(required=True, metavar="ACTION")
    create = key.add_parser("create", help="make one; the secret is printed once and kept nowhere")
    create.set_defaults(bare=_create)


def _guarded(do: Callable[[Backups, argparse.Namespace], int], opens: Opens) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        try:
            backups = opens(args)
            if not backups.configured:
                print(f"{args.config}: there is no [backup] table, so there are no backups.", file=sys.stderr)
                return 1
            return do(backups, args)
        except Failure as error:
            print(error.detail, file=sys.stderr)
            return 1

    return run


def _now(backups: Backups, args: argparse.Namespace) -> int:
    note = backups.make()
    print(f"{note.name}  {_size(note.octets)}, {note.rows.get('bookings', 0)} bookings")
    return 0


def _list(backups: Backups, args: argparse.Namespace) -> int:
    found = backups.listed()
    for item in found:
        at = made_at(item.name)
        when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "at an unknown time"
        print(f"{item.name}  {when}  {_size(item.octets)}")
    if not found:
        print("There is no backup yet.", file=sys.stderr)
    return 0


def _verify(backups: Backups, args: argparse.Namespace) -> int:
    name = args.name or newest(backups.vault, time.time())
    report = backups.verify(name, sealed.identity_file(args.identity) if args.identity else "")
    for sentence in report.wrong:
        print(sentence, file=sys.stderr)
    if not report.ok:
        print(f"{name} is NOT good.", file=sys.stderr)
        return 1
    print(f"{name} is good: {report.bookings} bookings, {report.rows} rows; {report.days} days of a bay agree with the books,"
          f" {report.moved_on} have changed since.")  # fmt: skip
    return 0


def _create(args: argparse.Namespace) -> int:
    secret, recipient = sealed.new_identity()
    print("This is the secret key. It is shown now and never again; keep it away from every box, twice:", file=sys.stderr)
    print(secret)
    print("This is its public half, for 'recipients' in the [backup] table of every box:", file=sys.stderr)
    print(f"# public key: {recipient}")
    return 0


_WORDS = {"now": _now, "list": _list, "verify": _verify}


def _size(octets: int) -> str:
    return f"{octets / 1_000_000:.1f} MB" if octets >= 100_000 else f"{octets / 1000:.1f} kB"
