"""`python -m deploy.emulators.messages`: the emulated message vendors as a process.

Not for: settings of the vendors one by one, which stand in a TOML file. Invariant: keys are read from that file and never printed.
"""

import argparse
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from deploy.emulators.common.command import run
from deploy.emulators.message_vendors import MessageVendors
from deploy.emulators.messages.vendors import Ports, Settings

DEFAULT_PORTS = Ports(desk=8130, twilio=8131, sendgrid=8132, smtp=8133, slack=8134, web_push=8135)


def main(argv: list[str] | None = None) -> int:
    """The command: 0 after a clean stop, 2 with a sentence when it cannot start."""
    parser = argparse.ArgumentParser(prog="messages", description="Emulated message vendors: SMS, mail, Slack and push.")
    parser.add_argument("--config", help="a TOML file with host, timezone, webhook_hosts, [ports], [twilio], [sendgrid], [smtp], [slack]")
    parser.add_argument("--host", help="address to listen on (this machine only by default)")
    for name in Ports.__struct_fields__:
        usual = getattr(DEFAULT_PORTS, name)
        parser.add_argument(f"--{name.replace('_', '-')}-port", type=int, help=f"port of {name} ({usual} by default, 0 for a free one)")
    parser.add_argument("--folder", type=Path, help="where the mail server's certificate is kept (made anew at every start if not given)")
    args = parser.parse_args(argv)
    return run("emulated message vendors", lambda: MessageVendors(_settings(args), folder=args.folder), _lines)


def _settings(args: argparse.Namespace) -> Settings:
    read = tomllib.loads(Path(args.config).read_text(encoding="utf-8")) if args.config else {}
    given = {name: getattr(args, f"{name}_port") for name in Ports.__struct_fields__}
    ports = msgspec.to_builtins(DEFAULT_PORTS) | read.pop("ports", {}) | {name: port for name, port in given.items() if port is not None}
    if args.host:
        read["host"] = args.host
    return msgspec.convert(read | {"ports": ports}, Settings)


def _lines(vendors: MessageVendors) -> Iterator[str]:
    yield f"What customers receive: {vendors.desk_url}/_emulator/"
    for name, listener in vendors.listeners.items():
        yield f"{name}: {listener.url}"
    yield f"The key that checks SendGrid's events: {vendors.sendgrid.public_key}"


if __name__ == "__main__":
    raise SystemExit(main())
