"""The words `halt list | lift` of the command: bays whose sales are stopped because their books are not sound.

    cloud-hub halt list --config hub.toml
    cloud-hub halt lift --config hub.toml --site bedford --bay bedford.box-1 --by "Testa Birdie" --reason "looked at the day"

Exit codes: 0 done, 1 could not, with a sentence.
"""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from shared.ledger.standing import Halt
from shared.runtime.database import Tx, connect

from ..config import Config, load
from .halts import Lift, halts

Carry = Callable[[Config, Lift], None]
Books = Callable[[Config], Path]
WORDS_MAX = 300


def words(parser: argparse.ArgumentParser, books: Books, carry_out: Carry) -> None:
    """Adds the words below `parser`; each sets `bare(args) -> exit code`. `carry_out` writes, or has the running hub write."""
    actions = parser.add_subparsers(dest="halt_word", required=True, metavar="ACTION")
    found = actions.add_parser("list", help="what is stopped, since when and why")
    lift = actions.add_parser("lift", help="put a stopped bay back on sale, after a look at its day")
    for action in (found, lift):
        action.add_argument("--config", required=True, type=Path, help="the hub's TOML file")
    lift.add_argument("--site", required=True)
    lift.add_argument("--bay", default="", help="the bay's id; left out for a stop of the whole site")
    lift.add_argument("--by", required=True, help="who has looked")
    lift.add_argument("--reason", required=True, help="what was looked at, for the journal")
    found.set_defaults(bare=lambda args: _list(books(load(args.config))))
    lift.set_defaults(bare=lambda args: _lift(load(args.config), args, books, carry_out))


def _stopped(path: Path, site_id: str = "") -> list[Halt]:
    if not path.exists():
        return []
    reader = connect(path, readonly=True)
    try:
        return halts(Tx(reader), site_id)
    finally:
        reader.close()


def _list(path: Path) -> int:
    found = _stopped(path)
    if not found:
        print("Nothing is stopped in the hub's books. What a facility's own books stopped is shown on its staff page.", file=sys.stderr)
    for halt in found:
        since = datetime.fromtimestamp(halt.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        print(f"{halt.resource_id or halt.site_id}  since {since}: {halt.why}")
    return 0


def _lift(config: Config, args: argparse.Namespace, books: Books, carry_out: Carry) -> int:
    by, reason = " ".join(args.by.split()), " ".join(args.reason.split())
    if not by or not reason or len(by) + len(reason) > WORDS_MAX:
        print("Please say who has looked and at what, in one sentence.", file=sys.stderr)
        return 1
    if not any(halt.resource_id == args.bay for halt in _stopped(books(config), args.site)):
        print(f"Nothing is stopped there: {args.bay or args.site}. `cloud-hub halt list` shows what is.", file=sys.stderr)
        return 1
    carry_out(config, Lift(site_id=args.site, resource_id=args.bay, by=by, reason=reason))
    print(f"{args.bay or args.site} is sold again.", file=sys.stderr)
    return 0
