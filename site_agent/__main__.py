"""The command `site-agent`: run the agent, add staff, pair a kiosk, let NinjaOne be connected, rehearse an outage.

`staff add` and `kiosk pair` leave an errand for the agent (running or not), `drill outage` one for the running agent; none opens its
database. Exit codes: 0 done, 2 with a sentence when it cannot be done.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import getpass
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from shared.ledger import backup_command, journal_command
from shared.runtime import log
from shared.runtime.config import ConfigError
from site_agent import recovery
from site_agent.config import Loaded, load
from site_agent.services import key_command
from site_agent.store.door_trail import TRAIL

if TYPE_CHECKING:  # a command that serves nothing starts without the services
    from shared.ledger.backups import Backups
    from site_agent.services.outage import Drill

#: how long a running agent may take to take up an errand
TAKEN_WITHIN_S = 10.0


def main(argv: list[str] | None = None) -> int:
    """Runs one sub-command; its exit code is the answer."""
    args = _parser().parse_args(argv)
    log.silent()
    try:
        return args.bare(args) if "bare" in args else args.do(load(args.config), args)
    except (ConfigError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped by hand. What the command does is done wholly or not at all; it may be given again.", file=sys.stderr)
        return 130


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
    backup_command.words(commands.add_parser("backup", help="copies of the books"), _backups)
    recovery.words(commands, _command)
    key_command.words(commands, _command, _key_files)
    journal_command.words(commands.add_parser("journal", help="who did or saw what"), _books)
    journal_command.words(commands.add_parser("trail", help="what happened at the doors"), _books, TRAIL)
    kiosk = commands.add_parser("kiosk", help="screens for guests").add_subparsers(required=True, metavar="ACTION")
    pair = _command(kiosk, "pair", "print a link that pairs one screen, good for 15 minutes", _kiosk_pair)
    pair.add_argument("--name", default="Kiosk", help="what the screen is called in logs")
    pair.add_argument("--url", help="address under which the screen reaches the agent")
    _ninjaone_words(commands.add_parser("ninjaone", help="who looks after the bays' PCs").add_subparsers(required=True, metavar="ACTION"))
    _bays_words(commands.add_parser("bays", help="the program on the bays' PCs").add_subparsers(required=True, metavar="ACTION"))
    _doors_words(commands.add_parser("doors", help="the door controller").add_subparsers(required=True, metavar="ACTION"))
    drill = commands.add_parser("drill", help="rehearsals").add_subparsers(required=True, metavar="ACTION")
    outage = _command(
        drill, "outage", "unplug the facility from the booking centre for some minutes, and report what worked", _drill_outage
    )
    outage.add_argument("--minutes", type=int, default=10, help="1 to 60 (10)")
    outage.add_argument("--wait", action="store_true", help="stay until the report is there and print it")
    return parser


def _doors_words(actions) -> None:
    pin = actions.add_parser("pin", help="show the controller's certificate, and write its fingerprint into the settings once it is confirmed")
    pin.add_argument("--config", required=True, type=Path, help="the site's TOML file")
    pin.set_defaults(bare=_doors_pin)
    _command(actions, "check", "connection, what the token may do, the doors, the PIN's length, the clock", _doors_check)


def _ninjaone_words(actions) -> None:
    connect = _command(actions, "connect", "let a technician consent, once, that scripts are run in their name", _ninjaone_connect)
    connect.add_argument("--port", type=int, default=0, help="port of this machine that the browser comes back to (a free one)")
    connect.add_argument("--paste", action="store_true", help="the browser runs elsewhere: paste the address that it shows afterwards")
    connect.add_argument("--redirect", default="", help="address registered with a web app (then what the browser shows is pasted)")
    calls = _command(actions, "webhook", "have NinjaOne call the booking centre when something is wrong with a PC", _ninjaone_webhook)
    calls.add_argument("--hub-url", default="", help="the booking centre's address, such as https://book.example.com")
    calls.add_argument("--secret-file", default="", help="what each call bears: the file that the booking centre has in [machines.ninjaone]")
    calls.add_argument("--off", action="store_true", help="end it, for all facilities of this app")
    _command(actions, "status", "what works: address, consent, each bay's machine, each approved script", _ninjaone_status)


def _bays_words(actions) -> None:
    enrol = _command(actions, "enrol", "make the key of a bay's PC, and print it this once", _bays_enrol)
    enrol.add_argument("resource", help="the bay's id, such as bedford.box-1")
    _command(actions, "list", "which bays' PCs have a key", _bays_list)
    _command(actions, "remove", "end the key of a bay's PC", _bays_remove).add_argument("resource")


def _command(commands, name: str, about: str, do) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about)
    parser.add_argument("--config", required=True, type=Path, help="the site's TOML file")
    parser.set_defaults(do=do)
    return parser


def _run(loaded: Loaded, args: argparse.Namespace) -> int:
    from shared.errors import Failure
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
        except Failure as error:
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


def _books(args: argparse.Namespace) -> Path:
    from site_agent.app import DATABASE

    return load(args.config).data_dir / DATABASE


def _key_files(loaded: Loaded) -> tuple[Path, Path]:
    from site_agent.app import DATABASE, SIGNING_KEY

    return loaded.data_dir / DATABASE, loaded.data_dir / SIGNING_KEY


def _backups(args: argparse.Namespace) -> Backups:
    from site_agent.app import DATABASE
    from site_agent.services.backups import open_backups

    return open_backups(load(args.config), time.time, DATABASE)


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


def _doors_pin(args: argparse.Namespace) -> int:
    """Before the settings are whole: without a fingerprint they cannot be loaded."""
    from site_agent.devices.unifi import command

    try:
        return 0 if asyncio.run(command.pin(args.config.absolute(), _say, input)) else 2
    except EOFError:
        raise ValueError("Nobody confirmed it, so nothing has changed.") from None


def _doors_check(loaded: Loaded, args: argparse.Namespace) -> int:
    from types import SimpleNamespace

    from shared.runtime.clock import SystemClock
    from site_agent.devices.door_ways import Around, open_doors
    from site_agent.devices.unifi import command

    settings = loaded.config.doors
    if settings is None:
        raise ConfigError(f"{loaded.file}: the settings name no door controller: there is no table [doors].")
    named = [("The facility", door_id) for door_id in loaded.facility.door_ids]
    named += [(bay.name, door_id) for bay in loaded.resources for door_id in bay.door_ids]

    async def run() -> bool:
        doors = open_doors(settings, Around(loaded.secret, loaded.path, SystemClock(), str(loaded.file)))
        try:
            return await command.check(doors, _say, SimpleNamespace(doors=tuple(named), pin_digits=settings.pin_digits))
        finally:
            await doors.stop()

    return 0 if asyncio.run(run()) else 2


def _ninjaone(loaded: Loaded):
    """NinjaOne as the settings name it, opened beside whatever agent runs. Raises ConfigError where they do not."""
    from shared.runtime.clock import SystemClock
    from site_agent.devices.machine_ways import Around, open_machines

    table = loaded.config.machines.way.get("ninjaone") if loaded.config.machines else None
    if table is None:
        raise ConfigError(f"{loaded.file}: the settings name no NinjaOne: there is no table [machines.way.ninjaone].")
    loaded.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open_machines("ninjaone", table, Around(loaded.secret, loaded.data_dir, SystemClock(), str(loaded.file), loaded.resources))


def _ninjaone_connect(loaded: Loaded, args: argparse.Namespace) -> int:
    from shared.errors import Failure
    from shared.runtime.keyfile import load_or_create
    from site_agent.devices.ninjaone import command
    from site_agent.devices.ninjaone.machines import KEY

    if not 0 <= args.port <= 65535:
        raise ValueError("A port is a number up to 65535.")
    machines = _ninjaone(loaded)

    async def run() -> None:
        load_or_create(loaded.data_dir / KEY)  # a consent under a key that cannot be read again would be lost at once
        try:
            await command.connect(
                machines, _say, port=args.port, redirect=args.redirect, ask=input if args.paste or args.redirect else None
            )
        finally:
            await machines.stop()

    try:
        asyncio.run(run())
    except Failure as error:
        raise ValueError(error.detail) from None
    except EOFError:
        raise ValueError("Nothing was pasted, so nothing has changed.") from None
    except OSError as error:
        raise ValueError(f"The consent could not be asked for or kept: {(error.strerror or 'unknown reason').lower()}.") from None
    return 0


def _ninjaone_webhook(loaded: Loaded, args: argparse.Namespace) -> int:
    from shared.errors import Failure
    from site_agent.devices.ninjaone import command

    if args.off == bool(args.hub_url):
        raise ValueError("Give either --hub-url with --secret-file, or --off.")
    secret = loaded.secret(str(Path(args.secret_file).absolute()), "--secret-file") if args.secret_file else ""
    machines = _ninjaone(loaded)

    async def run() -> None:
        try:
            await command.webhook(machines, _say, args.hub_url, secret)
        finally:
            await machines.stop()

    try:
        asyncio.run(run())
    except Failure as error:
        raise ValueError(error.detail) from None
    return 0


def _ninjaone_status(loaded: Loaded, args: argparse.Namespace) -> int:
    from zoneinfo import ZoneInfo

    from shared import rules
    from site_agent.devices.ninjaone import command

    machines = _ninjaone(loaded)
    bays = [command.Bay(rules.called(one, loaded.facility), one.machine_id) for one in loaded.resources if one.active]
    scripts = {one.label: one.script for one in loaded.config.machines.script}

    async def run() -> bool:
        try:
            return await command.status(machines, _say, time.time(), bays, scripts, ZoneInfo(loaded.facility.zone))
        finally:
            await machines.stop()

    return 0 if asyncio.run(run()) else 2


def _bays_enrol(loaded: Loaded, args: argparse.Namespace) -> int:
    from site_agent.devices.bay_agent import command

    certificate = loaded.path(loaded.config.http.tls_cert) if loaded.config.http.tls_cert else None
    # the key alone on standard output, so that it can be sent into a file
    command.enrol(loaded.resources, loaded.data_dir, args.resource, certificate, _say, lambda text: print(text, file=sys.stderr))
    if loaded.config.machines is None or "bay_agent" not in loaded.config.machines.way:
        print(f"{loaded.file} has no table [machines.way.bay_agent] yet: add it, and start the agent again.", file=sys.stderr)
    return 0


def _bays_list(loaded: Loaded, args: argparse.Namespace) -> int:
    from site_agent.devices.bay_agent import command

    command.listed(loaded.resources, loaded.data_dir, _say)
    return 0


def _bays_remove(loaded: Loaded, args: argparse.Namespace) -> int:
    from site_agent.devices.bay_agent import command

    command.remove(loaded.data_dir, loaded.resources, args.resource, _say)
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


def _drill_outage(loaded: Loaded, args: argparse.Namespace) -> int:
    from site_agent.services.outage import CATCH_UP_MAX_S, MINUTES_MAX, SPOOL, WISH_VALID_S, sentences
    from site_agent.store import spool

    if not 1 <= args.minutes <= MINUTES_MAX:
        raise ValueError(f"An outage drill lasts 1 to {MINUTES_MAX} minutes.")
    errand = spool.Errand(kind="drill", name="command", minutes=args.minutes, ends_at=int(time.time()) + WISH_VALID_S)
    left = spool.leave(loaded.data_dir / SPOOL, errand)
    answer = spool.answer_of(left)
    try:
        drill = _drill_told(answer, lambda drill: True, TAKEN_WITHIN_S)
        if drill is None:
            raise ValueError("No running agent took it up, so nothing was unplugged. Is the agent running?")
        print(f"Unplugged for {drill.minutes} min; the agent plugs in again by itself.", flush=True)
        if args.wait:
            drill = _drill_told(answer, lambda drill: drill.state == "done", args.minutes * 60 + CATCH_UP_MAX_S + TAKEN_WITHIN_S)
            if drill is None:
                raise ValueError("There is no report. Has the agent been stopped? The staff page shows the drills it knows.")
            print("\n".join(sentences(drill)))
    finally:
        for path in (left, answer):
            path.unlink(missing_ok=True)
    return 0


def _drill_told(answer: Path, enough: Callable[[Drill], bool], within_s: float) -> Drill | None:
    """What the agent has answered, once it is enough; None where it has not been within that time. Raises ValueError with its refusal."""
    import msgspec

    from site_agent.services.outage import Drill

    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        body = answer.read_bytes() if answer.exists() else b""
        told = msgspec.json.decode(body) if body else {}
        if "refused" in told:
            raise ValueError(told["refused"])
        if body and enough(drill := msgspec.convert(told, Drill)):
            return drill
        time.sleep(0.1)
    return None


if __name__ == "__main__":
    sys.exit(main())
