"""The command `site-agent`: run the agent, add staff, pair a kiosk.

`staff add` and `kiosk pair` leave an errand for the agent (running or not) and never open its database. Exit codes: 0 done, 2 with a
sentence when it cannot be done.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import getpass
import sys
import time
from pathlib import Path
from typing import TextIO

from shared.runtime.config import ConfigError
from site_agent.config import Loaded, load


def main(argv: list[str] | None = None) -> int:
    """Runs one sub-command; its exit code is the answer."""
    args = _parser().parse_args(argv)
    try:
        return args.do(load(args.config), args)
    except (ConfigError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="site-agent", description="One facility's agent: sells, checks in and opens doors on its own.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = _command(commands, "run", "serve until SIGTERM", _run)
    run.add_argument("--port", type=int, help="port to serve on instead of the config's (0: a free one, printed)")
    staff = commands.add_parser("staff", help="accounts of the staff page").add_subparsers(required=True, metavar="ACTION")
    add = _command(staff, "add", "add an account, or give one a new password or role", _staff_add)
    add.add_argument("user")
    add.add_argument("--name", help="the name as shown (the user if not given)")
    add.add_argument("--role", default="staff", help="admin, staff, viewer, cleaner or contractor")
    add.add_argument("--password-stdin", action="store_true", help="read the password from standard input instead of asking")
    kiosk = commands.add_parser("kiosk", help="screens for guests").add_subparsers(required=True, metavar="ACTION")
    pair = _command(kiosk, "pair", "print a link that pairs one screen, good for 15 minutes", _kiosk_pair)
    pair.add_argument("--name", default="Kiosk", help="what the screen is called in logs")
    pair.add_argument("--url", help="address under which the screen reaches the agent")
    return parser


def _command(commands, name: str, about: str, do) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about)
    parser.add_argument("--config", required=True, type=Path, help="the site's TOML file")
    parser.set_defaults(do=do)
    return parser


def _run(loaded: Loaded, args: argparse.Namespace) -> int:
    from shared.errors import Broken
    from shared.runtime import log
    from shared.runtime.server import ListenError, listen, run
    from site_agent.app import build

    tls = _tls(loaded)
    with _lock_file(loaded) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f"Another agent is running on {loaded.data_dir}; two must not share one folder.", file=sys.stderr)
            return 2
        http = loaded.config.http
        try:
            sock = listen(http.host, http.port if args.port is None else args.port)
        except ListenError as error:
            print(error, file=sys.stderr)
            return 2
        lines = log.setup(loaded.config.log_level)
        try:
            agent = build(loaded)
            run(agent.asgi, sock, ready=_ready(loaded), on_stop=agent.on_stop, tls=tls)
        except Broken as error:
            print(error.detail, file=sys.stderr)
            return 2
        finally:
            lines.close()
    return 0


def _tls(loaded: Loaded) -> tuple[Path, Path] | None:
    """Certificate and key for the screens, tried before anything is started. Raises ConfigError."""
    http = loaded.config.http
    if not http.tls_cert:
        return None
    import ssl

    pair = (loaded.path(http.tls_cert), loaded.path(http.tls_key))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*pair, password=lambda: "")
    except OSError as error:  # ssl's own errors are such
        why = (getattr(error, "reason", "") or error.strerror or "unknown reason").replace("_", " ").lower()
        told = f"{pair[0]} and {pair[1]} cannot be used ({why})"
        raise ConfigError(f"{loaded.file}: the settings 'http.tls_cert' and 'http.tls_key' are wrong: {told}.") from None
    return pair


def _lock_file(loaded: Loaded) -> TextIO:
    """The file that keeps a second agent off the folder. Raises ConfigError where there can be no such folder."""
    try:
        loaded.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return open(loaded.data_dir / "agent.lock", "w")
    except OSError as error:
        told = f"{loaded.data_dir} cannot be used as a folder ({(error.strerror or 'unknown reason').lower()})"
        raise ConfigError(f"{loaded.file}: the setting 'data_dir' is wrong: {told}.") from None


def _ready(loaded: Loaded):
    from shared.runtime import log

    def ready(port: int) -> None:
        scheme = "https" if loaded.config.http.tls_cert else "http"
        log.get("site_agent").info("agent.serving", url=f"{scheme}://{loaded.config.http.host}:{port}", site_id=loaded.config.site.id)

    return ready


def _staff_add(loaded: Loaded, args: argparse.Namespace) -> int:
    from shared.runtime.passwords import Passwords
    from site_agent.services.people import ROLES, SPOOL
    from site_agent.store import spool

    user = args.user.strip().casefold()
    if args.role not in ROLES:
        raise ValueError(f"There is no role {args.role!r}; there are {', '.join(ROLES)}.")
    if not user or not user.replace("-", "").replace(".", "").replace("_", "").replace("@", "").isalnum() or len(user) > 64:
        raise ValueError("A user's name has letters, digits and . _ - @ only.")
    password = sys.stdin.readline().rstrip("\n") if args.password_stdin else getpass.getpass(f"Password for {user}: ")
    hashed = asyncio.run(Passwords().hash(password))
    spool.leave(loaded.data_dir / SPOOL, spool.Errand(kind="staff", user=user, name=args.name or user, role=args.role, secret_hash=hashed))
    print(f"{user} can sign in as {args.role}.")
    return 0


def _kiosk_pair(loaded: Loaded, args: argparse.Namespace) -> int:
    from site_agent.services.people import CODE_VALID_S, SPOOL, code_hash, new_code
    from site_agent.store import spool

    code = new_code()
    ends_at = int(time.time()) + CODE_VALID_S
    spool.leave(loaded.data_dir / SPOOL, spool.Errand(kind="pairing", name=args.name, secret_hash=code_hash(code), ends_at=ends_at))
    http = loaded.config.http
    base = args.url or f"{'https' if http.tls_cert else 'http'}://{http.host}:{http.port}"
    print(f"Open this on the kiosk's screen within {CODE_VALID_S // 60} minutes: {base.rstrip('/')}/kiosk/pair?code={code}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
