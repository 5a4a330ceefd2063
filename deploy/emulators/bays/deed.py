"""What an emulated PC does when its bay agent runs a command: it notes it down, and says that it is done. Run by its path, in its own process.

    python deed.py FOLDER KIND WHAT PARAMETERS

`ends.json` in the folder says how the next ones end. Invariant: nothing outside the folder is touched.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
SAYS = {
    "restart": "The PC restarts.",
    "shutdown": "The PC shuts down.",
    "message": "The message is on the screen.",
    "prepare": "The bay is ready for its guest.",
    "cleanup": "The bay is as it was.",
    "script": "The script ran.",
    "service": "The service runs again.",
}


def main(folder: str, kind: str, what: str, parameters: str) -> int:
    if sys.platform == "linux":  # a PC without power does nothing more, what it had begun included
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    here = Path(folder)
    how = _next(here / "ends.json")
    with open(here / "deeds.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"at": time.time(), "kind": kind, "what": what, "parameters": parameters}) + "\n")
    time.sleep(float(how.get("seconds", 0)))
    print(how.get("text") or SAYS.get(kind, "Done."))
    return int(how.get("exit_code", 0))


def _next(path: Path) -> dict:
    try:
        waiting = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not waiting:
        return {}
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(waiting[1:]))
    os.replace(beside, path)
    return waiting[0]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
