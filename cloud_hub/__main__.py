"""The `cloud-hub` command: run the hub, and look after its API keys.

    cloud-hub run --config hub.toml [--port N]
    cloud-hub key create --config hub.toml --name reports --scope bookings:read --scope availability:read
    cloud-hub key create --config hub.toml --name robin --scope admin        for a person, who signs in at /manage with it
    cloud-hub key list | revoke KEY_ID
    cloud-hub push-key push.key                      the key file of [channels.web_push]
    cloud-hub witness --listen 0.0.0.0:8090 --dir rows --key-file witness.key       on another machine
    cloud-hub outage-pins void --site SITE
    cloud-hub keys rotate | withdraw --now | list
    cloud-hub clock confirm
    cloud-hub grant --site SITE | vouch --by NAME | restore | rebuild --from-sites | recovery-key create | sign
    cloud-hub journal verify
    cloud-hub halt list | lift --site SITE [--bay BAY] --by NAME --reason WORDS
    cloud-hub backup now | list | verify [NAME] | key create

Exit codes: 0 done, 1 could not, with a sentence, 2 wrong words.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from shared.errors import Failure, Refused
from shared.ledger import backup_command, clock_trust, journal_command
from shared.ledger.backups import Backups
from shared.ledger.desk import Desk
from shared.runtime import keyfile, log, server
from shared.runtime.clock import Chance
from shared.runtime.config import ConfigError
from shared.runtime.database import InlineWriter, Tx, connect
from shared.runtime.mqtt import TransportConfigError
from shared.runtime.server import ListenError
from shared.runtime.timesource import Machine

from . import app as hub_app
from . import recovery
from .config import Config, load
from .services import halt_command, halts, outage_pin_command, signing_command
from .services.api_keys import SCOPES, ApiKey, KeyWish, is_key_id, make
from .services.backups import open_backups
from .services.tray import Wish
from .store import api_keys, folder, schema, settings

#: how long a running hub may take to carry out a wish
TAKEN_WITHIN_S = 10.0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="cloud-hub", description="The cloud hub: all facilities, booked on the web and by API.")
    words = top.add_subparsers(dest="word", required=True)
    run = words.add_parser("run", help="serve until told to stop")
    _with_config(run)
    run.add_argument("--port", type=int, help="instead of the config's; 0 takes a free one")
    backup_command.words(words.add_parser("backup", help="copies of the books"), _backups)
    journal_command.words(words.add_parser("journal", help="who did what"), lambda args: _books(load(args.config)))
    halt_command.words(words.add_parser("halt", help="bays whose sales are stopped"), _books, _lift)
    outage_pin_command.words(words.add_parser("outage-pins", help="door PINs for outages"), _carry_out)
    signing_command.words(words.add_parser("keys", help="the key that signs passes"), _carry_out, hub_app.key_file, _books)
    clock = words.add_parser("clock", help="the time of this machine").add_subparsers(dest="clock_word", required=True)
    confirm = clock.add_parser("confirm", help="say that the time shown is right; until then a hub in doubt sells nothing")
    _with_config(confirm)
    confirm.add_argument("--yes", action="store_true", help="do not ask: the time is known to be right")
    second = words.add_parser("witness", help="on another machine: hold the hub's sales until their sites have them (loss-7)")
    second.add_argument("--listen", default="127.0.0.1:8090", help="HOST:PORT (127.0.0.1:8090); port 0 takes a free one")
    second.add_argument("--dir", required=True, type=Path, help="where the rows are kept")
    second.add_argument("--key-file", required=True, type=Path, help="made if it is not there; the hub needs a copy of it")
    second.set_defaults(bare=serve_witness)
    push = words.add_parser("push-key", help="make the key by which push services know this hub, once")
    push.add_argument("file", type=Path, help="where it is written; never over a file that is there")
    push.set_defaults(bare=make_push_key)
    recovery.words(words, _with_config)
    key = words.add_parser("key", help="API keys").add_subparsers(dest="key_word", required=True)
    create = key.add_parser("create", help="make a key; it is printed once and never again")
    _with_config(create)
    create.add_argument("--name", required=True, help="who uses it")
    scopes = "what it may do (admin: sign in at /manage); may be given again"
    create.add_argument("--scope", action="append", required=True, choices=sorted(SCOPES), help=scopes)
    _with_config(key.add_parser("list", help="the keys, without their tokens"))
    revoke = key.add_parser("revoke", help="end a key")
    _with_config(revoke)
    revoke.add_argument("key_id")
    return top


def _with_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", required=True, type=Path, help="the hub's TOML file")


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    log.silent()
    try:
        if "bare" in args:
            return args.bare(args)
        config = load(args.config)
        if args.word == "run":
            return run(config, args.port)
        if args.word in ("grant", "vouch"):
            return getattr(recovery, args.word)(config, args, _carry_out)
        if args.word in ("restore", "rebuild"):
            with folder.hold(config.data_dir):
                return getattr(recovery, args.word)(config, args, lambda path, change: asyncio.run(_write_alone(path, change)))
        if args.word == "clock":
            return confirm_clock(config, args)
        return {"create": create_key, "list": list_keys, "revoke": revoke_key}[args.key_word](config, args)
    except Refused as no:
        print(no.refusal.detail, file=sys.stderr)
    except (ConfigError, ListenError, TransportConfigError, folder.Held, Failure) as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("Stopped by hand. What the command does is done wholly or not at all; it may be given again.", file=sys.stderr)
        return 130
    return 1


def run(config: Config, port: int | None) -> int:
    """Serves until SIGTERM or SIGINT."""
    handler = log.setup(config.hub.log_level)
    try:
        with folder.hold(config.data_dir):
            sock = server.listen(config.hub.http.host, config.hub.http.port if port is None else port)
            schema.prepare(config.data_dir / hub_app.DATABASE)  # here, so that damaged books are a sentence and no failed start
            app = hub_app.build(config)
            app.hub.desk.box_id, app.hub.desk.term = _identity(config)
            app.hub.mark.read()  # here, so that another box's mark is a sentence too
            host, bound = sock.getsockname()[:2]
            told = log.get("hub")

            def ready(_: int) -> None:
                told.info("hub.serving", host=host, port=bound, hub_id=config.hub.hub_id)

            server.run(app.asgi, sock, ready=ready)
            told.info("hub.stopped")
    finally:
        handler.close()
    return 0


def _identity(config: Config) -> tuple[str, int]:
    """What these books call themselves (empty where they are new), and their term (loss-5)."""
    reader = connect(config.data_dir / hub_app.DATABASE, readonly=True)
    try:
        return settings.get(Tx(reader), "box_id"), int(settings.get(Tx(reader), "term") or 1)
    finally:
        reader.close()


def _backups(args: argparse.Namespace) -> Backups:
    return open_backups(load(args.config), time.time, hub_app.DATABASE)


# ---- the clock
def confirm_clock(config: Config, args: argparse.Namespace) -> int:
    """clock-2: a person says that this machine's time is right."""
    print(f"This machine believes it is {datetime.now(UTC):%A, %d %B %Y, %H:%M:%S} UTC.")
    if not args.yes and not _says_yes():
        print("Nothing was confirmed. Set the clock, then try again.", file=sys.stderr)
        return 1
    shown_at = int(time.time())  # the clock that was found right has only run on meanwhile
    source = Machine(config.hub.clock.rtc)
    _carry_out(config, Wish(clock_shown_at=shown_at), lambda tx: clock_trust.vouch_in(tx, shown_at, "", "operator", source))
    print("The time is confirmed.", file=sys.stderr)
    return 0


def _says_yes() -> bool:
    try:
        return input("Is that right? Type yes: ").strip().casefold() == "yes"
    except EOFError:  # nobody is there to ask, as in a script
        print()
        return False


def _books(config: Config) -> Path:
    return config.data_dir / hub_app.DATABASE


def _lift(config: Config, lift: halts.Lift) -> None:
    chance = Chance()
    desk = Desk("hub", clock=time.time, new_id=chance.new_id, chance=chance.random)
    _carry_out(config, Wish(lift=lift), lambda tx: halts.lift(tx, desk, lift))


# ---- the second machine
def serve_witness(args: argparse.Namespace) -> int:
    """Keeps what the hub sends until SIGTERM or SIGINT."""
    host, _, port = args.listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"{args.listen!r} is no address to listen on; give HOST:PORT, for example 0.0.0.0:8090.")
    handler = log.setup("INFO")
    try:
        with folder.hold(args.dir):
            key = keyfile.load_or_create(args.key_file)
            sock = server.listen(host.strip("[]"), int(port))
            told = log.get("witness")
            bound = sock.getsockname()[1]
            server.run(hub_app.witness_server(args.dir / "rows", key), sock, ready=lambda _: told.info("witness.serving", host=host, port=bound))
    except folder.Held:
        raise folder.Held(f"A witness keeps its rows in {args.dir} already; two must not share one folder.") from None
    finally:
        handler.close()
    return 0


def make_push_key(args: argparse.Namespace) -> int:
    """Every browser that has subscribed belongs to one key, so none is ever written over."""
    from .vendors.web_push import new_key  # with its packages, which no other word needs

    try:
        with os.fdopen(os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new_key() + "\n")
    except FileExistsError:
        print(f"{args.file} is there already. Another key would cut off every browser that subscribed under this one.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{args.file} cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    print(f"Written to {args.file}. Name it as vapid_key_file under [channels.web_push].", file=sys.stderr)
    return 0


# ---- API keys
def create_key(config: Config, args: argparse.Namespace) -> int:
    key, token = make(args.name, args.scope, int(time.time()))
    _carry_out(config, KeyWish(add=key))
    print(f"{key.id} for {key.name}: {', '.join(sorted(key.scopes))}.", file=sys.stderr)
    print("This is the key. It is shown now and never again:", file=sys.stderr)
    print(token)
    return 0


def revoke_key(config: Config, args: argparse.Namespace) -> int:
    if not is_key_id(args.key_id) or all(key.id != args.key_id for key in _keys(config)):
        print(f"There is no key {args.key_id[:40]!r}. `cloud-hub key list` shows them.", file=sys.stderr)
        return 1
    _carry_out(config, KeyWish(revoke=args.key_id))
    print(f"{args.key_id} is revoked.", file=sys.stderr)
    return 0


def list_keys(config: Config, args: argparse.Namespace) -> int:
    for key in _keys(config):
        since = datetime.fromtimestamp(key.created_at, UTC).date()
        print(f"{key.id}  {'revoked' if key.revoked_at else 'stands '}  {since}  {key.name}: {', '.join(sorted(key.scopes))}")
    return 0


def _keys(config: Config) -> list[ApiKey]:
    path = config.data_dir / hub_app.DATABASE
    if not path.exists():
        return []
    reader = connect(path, readonly=True)
    try:
        return api_keys.all_keys(Tx(reader))
    finally:
        reader.close()


async def _write_alone(path: Path, change: Callable[[Tx], object]) -> None:
    schema.prepare(path)
    books = InlineWriter(path)
    try:
        await books.write(change)
    finally:
        await books.stop()


def _carry_out(config: Config, wish: KeyWish, also: Callable[[Tx], object] = lambda tx: None) -> None:
    """Writes the books ourselves, or leaves the wish for the hub that has them and waits until it is done."""

    def change(tx: Tx) -> None:
        if wish.add is not None:
            api_keys.add(tx, wish.add)
        if wish.revoke:
            api_keys.revoke(tx, wish.revoke, int(time.time()))
        also(tx)

    try:
        with folder.hold(config.data_dir):
            asyncio.run(_write_alone(config.data_dir / hub_app.DATABASE, change))
            return
    except folder.Held:
        left = folder.wish(config.data_dir, msgspec.json.encode(wish))
    deadline = time.monotonic() + TAKEN_WITHIN_S
    while left.exists():
        if time.monotonic() > deadline:
            left.unlink(missing_ok=True)
            raise Failure("The running hub did not carry it out. Is it in good health? Nothing was changed.")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
