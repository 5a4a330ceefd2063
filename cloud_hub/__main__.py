"""The `cloud-hub` command: run the hub, and look after its API keys.

    cloud-hub run --config hub.toml [--port N]
    cloud-hub key create --config hub.toml --name reports --scope bookings:read --scope availability:read
    cloud-hub key list | revoke KEY_ID

Exit codes: 0 done, 1 could not, with a sentence, 2 wrong words.
"""

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from shared.errors import Failure, Refused
from shared.runtime import log, server
from shared.runtime.config import ConfigError
from shared.runtime.database import InlineWriter, Tx, connect
from shared.runtime.mqtt import TransportConfigError
from shared.runtime.server import ListenError

from . import app as hub_app
from .config import Config, load
from .services.api_keys import SCOPES, ApiKey, KeyWish, is_key_id, make
from .store import api_keys, folder, schema

#: how long a running hub may take to carry out a wish
TAKEN_WITHIN_S = 10.0
#: objects between looks for garbage; the default of 700 is a look every few requests
GARBAGE_AFTER = 20_000


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="cloud-hub", description="The cloud hub: all facilities, booked on the web and by API.")
    words = top.add_subparsers(dest="word", required=True)
    run = words.add_parser("run", help="serve until told to stop")
    _with_config(run)
    run.add_argument("--port", type=int, help="instead of the config's; 0 takes a free one")
    key = words.add_parser("key", help="API keys").add_subparsers(dest="key_word", required=True)
    create = key.add_parser("create", help="make a key; it is printed once and never again")
    _with_config(create)
    create.add_argument("--name", required=True, help="who uses it")
    create.add_argument("--scope", action="append", required=True, choices=sorted(SCOPES), help="what it may do; may be given again")
    _with_config(key.add_parser("list", help="the keys, without their tokens"))
    revoke = key.add_parser("revoke", help="end a key")
    _with_config(revoke)
    revoke.add_argument("key_id")
    return top


def _with_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", required=True, type=Path, help="the hub's TOML file")


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        config = load(args.config)
        if args.word == "run":
            return run(config, args.port)
        return {"create": create_key, "list": list_keys, "revoke": revoke_key}[args.key_word](config, args)
    except Refused as no:
        print(no.refusal.detail, file=sys.stderr)
    except (ConfigError, ListenError, TransportConfigError, folder.Held, Failure) as error:
        print(error, file=sys.stderr)
    return 1


def run(config: Config, port: int | None) -> int:
    """Serves until SIGTERM or SIGINT."""
    handler = log.setup(config.hub.log_level)
    try:
        with folder.hold(config.data_dir):
            sock = server.listen(config.hub.http.host, config.hub.http.port if port is None else port)
            schema.prepare(config.data_dir / hub_app.DATABASE)  # here, so that damaged books are a sentence and no failed start
            app = hub_app.build(config)
            host, bound = sock.getsockname()[:2]
            told = log.get("hub")

            def ready(_: int) -> None:
                # What start has made stays for good; requests make little that refers to itself.
                gc.freeze()
                gc.set_threshold(GARBAGE_AFTER)
                told.info("hub.serving", host=host, port=bound, hub_id=config.hub.hub_id)

            server.run(app.asgi, sock, ready=ready)
            told.info("hub.stopped")
    finally:
        handler.close()
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


def _carry_out(config: Config, wish: KeyWish) -> None:
    """Writes the books ourselves, or leaves the wish for the hub that has them and waits until it is done."""

    def change(tx: Tx) -> None:
        if wish.add is not None:
            api_keys.add(tx, wish.add)
        if wish.revoke:
            api_keys.revoke(tx, wish.revoke, int(time.time()))

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
