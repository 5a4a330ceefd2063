"""The flush of a folder: names that were made, replaced or taken away in it outlast a power cut once this has returned.

Not for what stands in the files: each is flushed by whoever writes it, before its name is.
"""

from __future__ import annotations

import os
from pathlib import Path


def flush_folder(folder: Path) -> None:
    """Blocks on the disk; OSError where that fails."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
