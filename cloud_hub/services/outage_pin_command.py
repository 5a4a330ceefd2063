"""The command `cloud-hub outage-pins void`: ends all outage PINs of a site that no booking has (pass-4), whether the hub runs or not."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from shared.errors import refuse
from shared.ledger.desk import Desk
from shared.runtime.clock import Chance
from shared.runtime.database import Tx

from ..config import Config, load
from .outage_pins import void
from .tray import Wish

CarryOut = Callable[[Config, Wish, Callable[[Tx], object]], None]


def words(parser: argparse.ArgumentParser, carry_out: CarryOut) -> None:
    """Adds the sub-command; `carry_out` writes the books or hands the wish to the hub that has them."""
    spares = parser.add_subparsers(dest="spare_word", required=True)
    one = spares.add_parser("void", help="end all that no booking has, here and on the site's door controller")
    one.add_argument("--config", required=True, type=Path, help="the hub's TOML file")
    one.add_argument("--site", required=True, help="the site's id")
    one.set_defaults(bare=lambda args: _void(args, carry_out))


def _void(args: argparse.Namespace, carry_out: CarryOut) -> int:
    config = load(args.config)
    if args.site not in {site.id for site in config.hub.sites}:
        raise refuse("facility_not_found", f"There is no site {args.site[:40]!r} in {args.config}.")
    chance = Chance()
    desk = Desk("hub", clock=time.time, new_id=chance.new_id, chance=chance.random)
    carry_out(config, Wish(void_outage_pins=args.site), lambda tx: void(tx, desk, args.site, "command"))
    print(f"The outage PINs of {args.site} are void here. The site takes them off its doors as soon as it hears of it.", file=sys.stderr)
    print("Is the site dark? Then have its staff press 'Void spare PINs' on their own page, too.", file=sys.stderr)
    return 0
