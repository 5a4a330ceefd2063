"""Small disks for tests: a tmpfs of its own that can be filled, made read-only, and goes with the test.

Mounting takes rights that CI's root has; where they are missing the tests that need a disk are skipped, and the run says so.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest

REASON = "this machine does not let the tests mount a small disk (run them as root, with util-linux)"


class SmallDisk:
    """A mounted tmpfs of `size`."""

    def __init__(self, path: Path):
        self.path = path
        self._fill = path / "fill"

    def fill(self) -> None:
        """Leaves no free page on it."""
        with open(self._fill, "ab", buffering=0) as file:
            for octets in (4096, 1):
                try:
                    while file.write(b"\0" * octets):
                        pass
                except OSError:
                    pass
        assert os.statvfs(self.path).f_bavail == 0

    def make_room(self) -> None:
        self._fill.unlink()

    def read_only(self) -> None:
        _mount("-o", "remount,ro", str(self.path))

    def writable(self) -> None:
        _mount("-o", "remount,rw", str(self.path))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True, timeout=10)


@contextmanager
def small_disk(path: Path, size: str = "1m") -> Iterator[SmallDisk]:
    path.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size},mode=0700", "clubos-test", str(path))
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True, timeout=10)


@lru_cache
def may_mount() -> bool:
    """Tried once, in a namespace of its own, so that nothing stays of it."""
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "clubos-test", "/mnt"]
    try:
        return subprocess.run(tried, check=False, capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


@lru_cache
def may_unplug() -> bool:
    """Whether a process can be given a network of its own with no way out."""
    try:
        return subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


needs_mount = pytest.mark.skipif(not may_mount(), reason=REASON)
needs_unshare = pytest.mark.skipif(not may_unplug(), reason="this machine does not let the tests unshare a network (run them as root, with util-linux)")
