"""The command `cloud-hub keys`: another signing key for passes (pass-1), in good order or at once on compromise, whether the hub runs or not."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from shared.errors import Broken
from shared.keys import PublicKey
from shared.ledger import records
from shared.ledger.keychain import KeyChain
from shared.runtime.database import Tx, connect

from ..config import Config, load
from ..store import keys as rows
from .tray import Wish

CarryOut = Callable[[Config, Wish, Callable[[Tx], object]], None]
KeyFile = Callable[[Path, str], Path]


def words(parser: argparse.ArgumentParser, carry_out: CarryOut, key_file: KeyFile, books: Callable[[Config], Path]) -> None:
    """Adds the sub-commands; `carry_out` writes the books or hands the wish to the hub that has them."""
    actions = parser.add_subparsers(dest="signing_word", required=True)
    rotate = actions.add_parser("rotate", help="another key; the old one ends with the last booking that stands")
    withdraw = actions.add_parser("withdraw", help="another key; what the old one has signed is worthless at once")
    withdraw.add_argument(
        "--now", action="store_true", required=True, help="somebody else may have the key: guests must open their page for a new pass"
    )
    shown = actions.add_parser("list", help="the keys, without their private halves")
    for one in (rotate, withdraw, shown):
        one.add_argument("--config", required=True, type=Path, help="the hub's TOML file")
    rotate.set_defaults(bare=lambda args: _change(args, "rotate", carry_out, key_file))
    withdraw.set_defaults(bare=lambda args: _change(args, "withdraw", carry_out, key_file))
    shown.set_defaults(bare=lambda args: _list(load(args.config), key_file, books))


def _change(args: argparse.Namespace, how: str, carry_out: CarryOut, key_file: KeyFile) -> int:
    config = load(args.config)
    carry_out(config, Wish(signing_key=how), lambda tx: change(tx, KeyChain(key_file(config.data_dir, "passes")), how, _sites(config)))
    if how == "rotate":
        print(
            "The new key is told to every site and used once each knows it. Passes of the old one stay good; `cloud-hub keys list` shows both.",
            file=sys.stderr,
        )
    else:
        print(
            "The old key is withdrawn: sites refuse its passes as soon as they hear of it. Guests get a new one when they open their page.",
            file=sys.stderr,
        )
        print("Is a site dark? Its doors believe the old key until the link is back.", file=sys.stderr)
    return 0


def change(tx: Tx, chain: KeyChain, how: str, sites: list[str]) -> None:
    """In books that nobody has: the running hub does it by `Keys`."""
    chain.begin()
    if how != "withdraw":
        return
    old = chain.in_use.public("hub")
    rows.put(tx, PublicKey(id=old.id, raw_b64=old.raw_b64, side="hub", withdrawn=True))
    for site_id in sites:
        records.journal(tx, int(time.time()), site_id, "command", "signing key withdrawn", old.id)
    chain.finish()


def _sites(config: Config) -> list[str]:
    return [site.id for site in config.hub.sites]


def _list(config: Config, key_file: KeyFile, books: Callable[[Config], Path]) -> int:
    if not config.data_dir.is_dir() or not key_file(config.data_dir, "passes").exists():
        raise Broken("There is no key yet; the hub makes one when it is started.")
    for line in _lines(config, key_file, books(config)):
        print(line)
    return 0


def _lines(config: Config, key_file: KeyFile, path: Path) -> Iterator[str]:
    chain = KeyChain(key_file(config.data_dir, "passes"))
    kept: list[PublicKey] = []
    known: dict[str, set[str]] = {}
    if path.exists():
        reader = connect(path, readonly=True)
        try:
            kept, known = rows.all_keys(Tx(reader)), rows.acknowledged(Tx(reader))
        finally:
            reader.close()
    sites = _sites(config)
    for key in chain.keys:
        at = [site for site in sites if key.id in known.get(site, ())]
        state = "in use" if key is chain.in_use else "comes next"
        yield f"{key.id}  {state}, known at {', '.join(at) or 'no site yet'}"
    for key in kept:
        if key.side == "hub" and key.id not in {one.id for one in chain.keys}:
            yield f"{key.id}  {_ended(key)}"


def _ended(key: PublicKey) -> str:
    """How a key ended, in words."""
    if key.withdrawn:
        return "withdrawn"
    return (
        f"changed; its passes are good until {datetime.fromtimestamp(key.not_after, UTC):%Y-%m-%d %H:%M} UTC" if key.not_after else "known"
    )
