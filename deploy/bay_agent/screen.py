"""Shows a message on the bay's screen for a minute, above everything else; for PCs on which the settings name nothing better.

Invariant: it goes away by itself, and takes no more than a press of a button before that.
"""

from __future__ import annotations

import subprocess
import sys

SHOWN_S = 60


def show(text: str) -> int:
    """0 when it was shown. Blocks while it is."""
    try:
        import tkinter
    except ImportError:
        return _by_windows(text)
    try:
        window = tkinter.Tk()
    except tkinter.TclError:
        return _by_windows(text)
    window.title("Message")
    window.attributes("-topmost", True)
    tkinter.Label(window, text=text, font=("Segoe UI", 28), wraplength=1100, padx=60, pady=40).pack()
    tkinter.Button(window, text="OK", font=("Segoe UI", 20), command=window.destroy).pack(pady=(0, 30))
    window.after(SHOWN_S * 1000, window.destroy)
    window.mainloop()
    return 0


def _by_windows(text: str) -> int:
    if sys.platform != "win32":
        print("This PC has no way to show a message: give the command 'message' an argv of its own.")
        return 1
    try:
        return subprocess.run(["msg.exe", "*", f"/TIME:{SHOWN_S}", text], timeout=30, check=False).returncode
    except (OSError, subprocess.SubprocessError) as error:
        print(f"The message could not be shown: {error}")
        return 1
