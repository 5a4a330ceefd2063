"""`clubos bay-agent`: makes the one file that is copied to the bays' PCs.

Invariant: the file holds `deploy/bay_agent` and nothing else, and the same source gives the same file.
"""

import argparse
import sys
import zipfile
from pathlib import Path

SOURCE = Path(__file__).parent / "bay_agent"
#: a time that every archive can hold, so that the same source gives the same file
THEN = (2026, 1, 1, 0, 0, 0)
SAID = """The bay agent, the program for a bay's PC: it asks the site agent for work over the LAN, and needs Python 3.11 or newer and nothing else.
1. At the facility's box, site-agent bays enrol BAY prints the PC's key. Put it into bay.key, beside this file and a bay-agent.toml (after bay-agent.example.toml).
2. On the PC, try it: py bay-agent.pyz check --config bay-agent.toml. Then have it run at log on. All of it is in deploy/bay_agent/README.md.
{made}"""
_MAIN = "import sys\n\nfrom bay_agent.__main__ import main\n\nsys.exit(main())\n"


def pack(into: Path) -> Path:
    """Writes the archive: `python bay-agent.pyz run --config …`."""
    into.parent.mkdir(parents=True, exist_ok=True)
    files = {f"bay_agent/{path.name}": path.read_bytes() for path in sorted(SOURCE.glob("*.py"))} | {"__main__.py": _MAIN.encode()}
    with open(into, "wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name, THEN), content, zipfile.ZIP_DEFLATED)
    return into


def main(argv: list[str] | None = None) -> int:
    """The command: 0 with what it has made and how that is put on a PC, 2 with a sentence where it cannot be written."""
    parser = argparse.ArgumentParser(prog="clubos bay-agent", description="Make the one file for the bays' PCs.")
    parser.add_argument("--out", type=Path, default=Path("build/bay-agent.pyz"), help="the file (build/bay-agent.pyz)")
    args = parser.parse_args(argv)
    try:
        made = pack(args.out)
    except OSError as error:
        print(f"{args.out} cannot be written: {(error.strerror or 'unknown reason').lower()}.", file=sys.stderr)
        return 2
    print(SAID.format(made=made))
    return 0
