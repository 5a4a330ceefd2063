"""The `clubos` command: the demo and the tools that look over both sides.

Each sub-command lives in a module of its own with `main(argv: list[str]) -> int`, where `argv` is what follows the sub-command's name
and the result is the process's exit code. This file only knows their names; it is not the place for what they do.

Invariant: a sub-command's module is opened only when it is asked for, so `clubos --help` answers at once and one tool's needs never
stand in another's way.
"""

import argparse
import importlib
import sys
from dataclasses import dataclass
from importlib import metadata


@dataclass(frozen=True)
class Command:
    """One sub-command: what is typed, the line of help, and the module whose `main(argv)` does it."""

    name: str
    help: str
    module: str


COMMANDS = (
    Command("demo", "start a hub, sites, a broker and emulated devices on this machine", "deploy.demo.main"),
    Command("demo-check", "walk a booking through the running demo, with a cut in the middle", "deploy.demo_check.main"),
    Command("bay-agent", "make the one file for the bays' PCs", "deploy.bay_pack"),
    Command("rules", "list every rule of the protocol with its tests, and miss each guard once", "deploy.rules"),
    Command("bench", "measure this machine's ratios against the bars", "deploy.bench"),
)


def build_parser(commands: tuple[Command, ...] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the first word only; the rest of the line belongs to the sub-command and is not read here."""
    width = max((len(command.name) for command in commands), default=0)
    listing = "\n".join(f"  {command.name:<{width}}  {command.help}" for command in commands)
    parser = argparse.ArgumentParser(
        prog="clubos",
        description="Demo and tools over the site agent and the cloud hub.",
        epilog=f"commands:\n{listing}\n\n`clubos COMMAND --help` tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"clubos-booking {_version()}")
    parser.add_argument("command", metavar="COMMAND", choices=[command.name for command in commands], help="one of those below")
    return parser


def main(argv: list[str] | None = None, commands: tuple[Command, ...] = COMMANDS) -> int:
    """Run one sub-command and answer its exit code. An unknown or missing one exits with 2 and a line that names the choices."""
    words = sys.argv[1:] if argv is None else argv
    # Everything after the first word that is not an option is the sub-command's own, its --help included.
    split = next((index + 1 for index, word in enumerate(words) if not word.startswith("-")), len(words))
    chosen = build_parser(commands).parse_args(words[:split]).command
    command = next(command for command in commands if command.name == chosen)
    return int(importlib.import_module(command.module).main(words[split:]) or 0)


def _version() -> str:
    try:
        return metadata.version("clubos-booking")
    except metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
