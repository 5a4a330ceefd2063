"""The word `verify` of a chained table, `journal verify` of both commands first: whether a row was changed, taken away or put in from outside (U7).

May be used beside the running process: it only reads. Exit codes: 0 sound, 1 not, or could not be read, with a sentence.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import Failure
from ..runtime.database import Tx, connect
from .journal import JOURNAL, Chained, Noted, verify

#: `args` -> the file of the books
Books = Callable[[argparse.Namespace], Path]


def words(parser: argparse.ArgumentParser, books: Books, kept: Chained = JOURNAL) -> None:
    """Adds the word below `parser`; it sets `bare(args) -> exit code`. `books(args)` reads the config (ConfigError goes through)."""
    actions = parser.add_subparsers(dest="chain_word", required=True, metavar="ACTION")
    check = actions.add_parser("verify", help="check that no row was changed or taken away")
    check.add_argument("--config", required=True, type=Path, help="the TOML file")
    check.add_argument(
        "--noted", action="append", default=[], type=_noted, metavar="SITE:ROW:CHAIN",
        help="a head that was printed or logged before: also says whether the journal was written anew since; may be given again",
    )  # fmt: skip
    check.set_defaults(bare=lambda args: _verify(books(args), tuple(args.noted), kept))


def _noted(text: str) -> Noted:
    site_id, row, chain = ("::" + text).rsplit(":", 2)
    if not row.isdigit() or len(chain) != 64:
        raise argparse.ArgumentTypeError("write it as it was printed: the site, the row and 64 digits, with colons between")
    return Noted(site_id.removeprefix("::"), int(row), chain)


def _verify(path: Path, noted: tuple[Noted, ...], kept: Chained) -> int:
    if not path.exists():
        print(f"There are no books at {path}.", file=sys.stderr)
        return 1
    try:
        reader = connect(path, readonly=True)
        try:
            reader.execute("BEGIN")
            reports = verify(Tx(reader), noted, kept)
        finally:
            reader.close()
    except (sqlite3.Error, Failure) as error:
        print(f"The {kept.called} in {path} cannot be read: {error}. Start the new release once, so that its tables are made.", file=sys.stderr)
        return 1
    for report in reports:
        print(f"{report.site_id or 'no site'}: {report.rows} rows, {'sound' if not report.problems else 'NOT SOUND'}. Head to note:")
        print(f"{report.site_id}:{report.n}:{report.chain}")
        for problem in report.problems:
            print(f"{report.site_id}: {problem}.", file=sys.stderr)
    return int(any(report.problems for report in reports))
