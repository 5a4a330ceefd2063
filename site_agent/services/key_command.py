"""The command `site-agent keys`: another signing key for passes (pass-1), in good order or at once on compromise.

It leaves an errand for the agent, running or not, which alone writes the books and changes the key.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from shared.keys import PublicKey
from shared.ledger.keychain import KeyChain
from shared.runtime.database import Tx, connect
from site_agent.config import Loaded
from site_agent.services.keys import SPOOL
from site_agent.store import keys as rows
from site_agent.store import spool

#: how long a running agent may take to take up an errand
TAKEN_WITHIN_S = 10.0


def words(commands, command: Callable[..., argparse.ArgumentParser], files: Callable[[Loaded], tuple[Path, Path]]) -> None:
    """Adds the sub-commands; `files` are the books and the file of the key in use."""
    actions = commands.add_parser("keys", help="the key that signs passes").add_subparsers(required=True, metavar="ACTION")
    command(
        actions, "rotate", "another key; the old one ends with the last booking that stands", lambda loaded, args: _change(loaded, "rotate")
    )
    withdraw = command(
        actions,
        "withdraw",
        "another key; what the old one has signed is worthless at once",
        lambda loaded, args: _change(loaded, "withdraw"),
    )
    withdraw.add_argument("--now", action="store_true", required=True, help="somebody else may have the key")
    command(actions, "list", "the keys, without their private halves", lambda loaded, args: _list(*files(loaded)))


def _change(loaded: Loaded, how: str) -> int:
    left = spool.leave(loaded.data_dir / SPOOL, spool.Errand(kind="keys", name="command", role=how))
    answer, deadline = spool.answer_of(left), time.monotonic() + TAKEN_WITHIN_S
    try:
        while not answer.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        if not answer.exists():
            if not left.exists():
                raise ValueError("The agent took it up and did not say what came of it; its log and `site-agent keys list` do.")
            print("No running agent has done it yet; it is done when the agent is started.", file=sys.stderr)
            return 0
        if b"true" not in answer.read_bytes():
            raise ValueError("The agent could not change its key; its log says why. Nothing has changed.")
    finally:
        answer.unlink(missing_ok=True)
    if how == "rotate":
        print(
            "The new key is used once the booking centre knows it. Passes of the old one stay good; `site-agent keys list` shows both.",
            file=sys.stderr,
        )
    else:
        print(
            "The old key is withdrawn: its passes open nothing here any more. Guests get a new one when they open their page.",
            file=sys.stderr,
        )
    return 0


def _list(books: Path, key_file: Path) -> int:
    if not key_file.exists():
        raise ValueError("There is no key yet; the agent makes one when it is started.")
    chain, kept, known = KeyChain(key_file), [], set()
    if books.exists():
        reader = connect(books, readonly=True)
        try:
            kept, known = rows.all_keys(Tx(reader)), rows.known_to_peer_of(Tx(reader), [key.id for key in chain.keys])
        finally:
            reader.close()
    for key in chain.keys:
        state = "in use" if key is chain.in_use else "comes next"
        print(f"{key.id}  {state}, {'known' if key.id in known else 'not known'} at the booking centre")
    for key in kept:
        if key.side == "site" and key.id not in {one.id for one in chain.keys}:
            print(f"{key.id}  {_ended(key)}")
    return 0


def _ended(key: PublicKey) -> str:
    if key.withdrawn:
        return "withdrawn"
    return (
        f"changed; its passes are good until {datetime.fromtimestamp(key.not_after, UTC):%Y-%m-%d %H:%M} UTC"
        if key.not_after
        else "of a box before this one"
    )
