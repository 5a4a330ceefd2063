"""The words `grant`, `restore`, `rebuild`, `vouch` and `recovery-key` of the command `cloud-hub`: after a disk or a machine was lost.

`restore` and `rebuild` open the books themselves, need the hub stopped and the operator's recovery key; `grant` and `vouch` also work
beside a running hub, through its tray. Exit codes: 0 done, 1 could not, with a sentence.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from shared import recovery
from shared.errors import Failure
from shared.ledger import boxes, fencing, streams
from shared.ledger.desk import Desk
from shared.runtime import sealed
from shared.runtime.backup import newest
from shared.runtime.database import Tx, connect
from shared.runtime.database_put_back import fresh_path, put_back, take_place

from .config import Config
from .services.backups import open_backups
from .services.notifying import set_back
from .services.tray import Granted, Vouched, Wish, take_words
from .store import schema, settings

DATABASE = "hub.db"
Carry = Callable[[Config, Wish, Callable[[Tx], object]], None]
Alone = Callable[[Path, Callable[[Tx], object]], None]


def words(commands, with_config: Callable[[argparse.ArgumentParser], None]) -> None:
    """Adds the sub-commands; each sets `word`."""
    grant = commands.add_parser("grant", help="grant a term to a new box of a site; printed once, for `site-agent adopt` or `restore`")
    grant.add_argument("--site", required=True, help="the site's id")
    restore = commands.add_parser("restore", help="put the books back from a backup; nothing is sold until sites and operator have spoken")
    restore.add_argument("--name", default="", help="which backup (the newest if not given)")
    restore.add_argument("--identity", type=Path, required=True, help="file with the secret key that opens backups")
    rebuild = commands.add_parser("rebuild", help="begin with empty books and fill them from the sites")
    rebuild.add_argument("--from-sites", action="store_true", required=True, help="the bookings come from the sites; accounts do not")
    for each in (restore, rebuild):
        each.add_argument("--recovery-key", type=Path, required=True, help="file with the operator's recovery key")
        each.add_argument("--old-hub-off", action="store_true", help="you vouch that the hub before this one is off and stays off")
    vouch = commands.add_parser("vouch", help="vouch that the hub before this one is off and stays off")
    vouch.add_argument("--by", required=True, help="who says so")
    for each in (grant, restore, rebuild, vouch):
        with_config(each)
    key = commands.add_parser("recovery-key", help="the operator's key").add_subparsers(dest="recovery_word", required=True)
    key.add_parser("create", help="make one; the secret is printed once and kept nowhere").set_defaults(bare=create_key)
    sign = key.add_parser("sign", help="sign that a site follows a hub, for `site-agent marry`")
    sign.add_argument("--recovery-key", type=Path, required=True, help="file with the secret")
    sign.add_argument("--site", required=True)
    sign.add_argument("--hub", required=True)
    sign.set_defaults(bare=sign_marriage)


def create_key(args: argparse.Namespace) -> int:
    seed = secrets.token_bytes(32)
    print("This is the recovery key. It is shown now and never again; keep it away from every machine, twice:", file=sys.stderr)
    print(recovery.secret_text(seed))
    print("This is its public half, for 'recovery_public' in the config of the hub and of every site:", file=sys.stderr)
    print(f"# public: {recovery.public_text(recovery.key_of(recovery.secret_text(seed)))}")
    return 0


def sign_marriage(args: argparse.Namespace) -> int:
    print(recovery.statement(_key(args.recovery_key), recovery.marriage(args.site, args.hub)))
    return 0


def grant(config: Config, args: argparse.Namespace, carry_out: Carry) -> int:
    """The word is made here; the books keep its fingerprint only."""
    if all(site.id != args.site for site in config.hub.sites):
        raise Failure(f"There is no site {args.site!r} in the config.")
    _need_books(config)
    word = secrets.token_urlsafe(24)
    told = Granted(site_id=args.site, word_hash=boxes.fingerprint(word))
    wish = Wish(granted=told)
    carry_out(config, wish, lambda tx: take_words(tx, _desk(), wish))
    reader = connect(config.data_dir / DATABASE, readonly=True)
    try:
        term = boxes.next_term(Tx(reader), args.site)
    finally:
        reader.close()
    print("This is the grant. It is shown now and never again; the box before is replaced when the new one uses it:", file=sys.stderr)
    print(f"{term}.{word}")
    return 0


def vouch(config: Config, args: argparse.Namespace, carry_out: Carry) -> int:
    _need_books(config)
    wish = Wish(vouched=Vouched(by=args.by))
    carry_out(config, wish, lambda tx: take_words(tx, _desk(), wish))
    print("The hub before this one counts as off; this one sells as soon as each site has been heard.", file=sys.stderr)
    return 0


def restore(config: Config, args: argparse.Namespace, alone: Alone) -> int:
    _entitled(config, args.recovery_key)
    backups = open_backups(config, time.time, DATABASE)
    if not backups.configured:
        raise Failure("There is no [backup] table in the config, so there is nothing to restore from.")
    books = config.data_dir / DATABASE
    name = args.name or newest(backups.vault, time.time())
    why = f"These books were put back from the backup {name}."

    def prepare(fresh: Path) -> None:
        _is_of(fresh, config.hub.hub_id, name)
        schema.prepare(fresh)
        alone(fresh, lambda tx: _begin_term(tx, config, why, vouched=args.old_hub_off))

    identity = sealed.identity_file(args.identity)
    note, aside = put_back(backups.vault, name, identity, books, config.data_dir / "keys", prepare, int(time.time()))
    print(f"{name} is back, with {note.rows.get('bookings', 0)} bookings.{f' The books that were there lie in {aside}.' if aside else ''}")
    _say_next(args)
    return 0


def _is_of(fresh: Path, hub_id: str, name: str) -> None:
    """Failure where the books are another hub's: its sites would not listen to this one."""
    reader = connect(fresh, readonly=True)
    try:
        tx = Tx(reader)
        found = {s.hub_id for site_id in streams.sites(tx) if (s := streams.read(tx, site_id)) and s.hub_id}
    finally:
        reader.close()
    if found and hub_id not in found:
        raise Failure(f"The backup {name} is of the hub {', '.join(sorted(found))}, not of {hub_id}. The books were not changed.")


def rebuild(config: Config, args: argparse.Namespace, alone: Alone) -> int:
    _entitled(config, args.recovery_key)
    books = config.data_dir / DATABASE
    if books.exists():
        raise Failure(f"There are books in {config.data_dir} already. Move them away first, or use `cloud-hub restore`.")
    fresh = fresh_path(books)
    schema.prepare(fresh)
    alone(fresh, lambda tx: _begin_term(tx, config, "This hub is rebuilt from its sites.", vouched=args.old_hub_off))
    take_place(fresh, books, int(time.time()))
    print(f"The books are empty; {len(config.hub.sites)} sites will fill them.")
    _say_next(args)
    return 0


def _need_books(config: Config) -> None:
    """Empty books made by a mere word would look like a hub that has been set up, and stand in the way of a rebuild."""
    if not (config.data_dir / DATABASE).exists():
        raise Failure(f"There are no books in {config.data_dir}. Start the hub first, or see `cloud-hub restore` and `cloud-hub rebuild`.")


def _say_next(args: argparse.Namespace) -> None:
    print("Start the hub. For each site it sells nothing until that site has been heard and told all it knows.")
    if not args.old_hub_off:
        print("Once you are sure that the old hub is off and stays off, say so: cloud-hub vouch")


def _begin_term(tx: Tx, config: Config, why: str, *, vouched: bool) -> None:
    """loss-5: another box, and a term above all before it. Seconds serve as the number, since the books that knew the last one may be lost."""
    desk = _desk()
    desk.box_id, desk.term = desk.new_id(), max(int(time.time()), int(settings.get(tx, "term") or 0) + 1)
    settings.put(tx, "box_id", desk.box_id)
    settings.put(tx, "term", str(desk.term))
    for site in config.hub.sites:  # also those that were enrolled after the backup: they too may have sold with the hub before
        streams.open_site(tx, site.id, hub_id=config.hub.hub_id, box_id=desk.box_id, term=desk.term)
    fencing.fence_all(tx, desk, why)
    set_back(tx, streams.sites(tx), desk.now())
    for site_id in streams.sites(tx):
        boxes.mark_restored(tx, desk, site_id, vouched=vouched, stated=False)


def _entitled(config: Config, path: Path) -> None:
    public = config.hub.recovery_public
    if not public:
        raise Failure("The setting 'recovery_public' is missing; `cloud-hub recovery-key create` makes a key and prints it.")
    if recovery.public_text(_key(path)) != public:
        raise Failure("This is not the recovery key of this hub: it does not fit 'recovery_public'. Nothing was changed.")


def _key(path: Path):
    try:
        return recovery.key_of(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        raise Failure(f"The recovery key {path} cannot be read.") from None
    except ValueError as error:
        raise Failure(str(error)) from None


def _desk() -> Desk:
    return Desk("hub", clock=time.time, new_id=lambda: str(uuid.uuid4()), chance=random.Random())
