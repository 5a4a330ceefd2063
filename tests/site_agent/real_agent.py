"""The real `site-agent` in a process of its own, spoken to over HTTP; optionally in a network with nothing but itself.

Not for: what it is asked (`test_disk_and_power`, `test_boot_dark`). Ends the process that it started and no other.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.site_agent.site_world import CONFIG, PASSWORD, staff_file

T = TypeVar("T")
PROJECT = Path(__file__).parents[2]
#: brings `lo` up (SIOCSIFFLAGS with IFF_UP and IFF_RUNNING), then becomes what it is told
UNPLUGGED = """
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh22x", b"lo", 0x41))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
_CLONE_NEWNET = 0x40000000


def config_in(folder: Path, data_dir: Path, more: str = "", clock: str = "yes") -> Path:
    """The test facility with its data elsewhere; `clock` is the config's `clock.rtc`."""
    plain = CONFIG.replace('[clock]\nrtc = "yes"\n', "").replace('data_dir = "data"', f'data_dir = "{data_dir}"')
    text = f'{plain}\n[clock]\nrtc = "{clock}"\n{more}'
    (folder / "site.toml").write_text(text)
    (folder / "staff.toml").write_text(staff_file())
    return folder / "site.toml"


def wish(number: int, half_hours: int, box: int = 1) -> dict[str, Any]:
    """An hour in a bay, so many half hours from the running one on, for an invented person."""
    at = int(time.time()) // 1800 * 1800 + half_hours * 1800
    start, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) for moment in (at, at + 3600))
    who = {"name": "Testa Birdie", "phone": f"902-555-{100 + number:04d}"}
    return {"booking_id": f"booking-{number:04d}", "resource_id": f"bedford.box-{box}", "start": start, "end": end, **who}


class RealAgent:
    """`with RealAgent(config) as agent: agent.get("/health/ready")`; `lines` is what it has logged. `signed_in`: the agent that this one
    follows on the same folder, at whose staff page somebody is still signed in."""

    def __init__(self, config: Path, *, unplugged: bool = False, signed_in: RealAgent | None = None):
        command = [sys.executable, "-m", "site_agent", "run", "--config", str(config), "--port", "0"]
        if unplugged:
            command = ["unshare", "-n", sys.executable, "-c", UNPLUGGED, *command[1:]]
        self._unplugged, self._signed_in = unplugged, signed_in
        self.lines: list[dict[str, Any]] = []
        self.url = ""
        self._serving = threading.Event()
        self._caller = ThreadPoolExecutor(1)
        self._client: httpx.Client | None = None
        self.begun_at = time.monotonic()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(PROJECT)}
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for text in self.process.stdout:
            line = json.loads(text)
            self.lines.append(line)
            if line["event"] == "agent.serving":
                self.url = line["url"]
                self._serving.set()
        self._serving.set()

    def __enter__(self) -> RealAgent:
        assert self._serving.wait(40) and self.url, f"It did not serve: {self.lines[-3:]}, {self.process.stderr.read()}"
        self.served_after_s = time.monotonic() - self.begun_at
        try:
            self._call(self._sign_in)
        except BaseException:
            self.stop()  # nobody else will: the test has not begun
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, by: int = signal.SIGTERM) -> int:
        """Ends it; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(by)
        code = self.process.wait(20)
        self._reader.join(5)
        self._caller.shutdown()
        return code

    def refused(self) -> tuple[int, str]:
        """Waits for a start that fails: exit code and what it said."""
        _, said = self.process.communicate(timeout=40)
        return self.process.returncode, said

    # ---- asking
    def get(self, path: str) -> httpx.Response:
        return self._call(lambda: self._client.get(path))

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self._call(lambda: self._client.post(path, json=body))

    def until(self, condition: Callable[[], bool], what: str, within_s: float = 15.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, (what, self.lines[-5:])
            time.sleep(0.05)

    def ready(self) -> bool:
        return self.get("/health/ready").status_code == 200

    def _sign_in(self) -> None:
        if self._unplugged:
            self._enter_its_network()
        self._client = httpx.Client(base_url=self.url, timeout=10)
        if self._signed_in is not None:
            before = self._signed_in._client
            self._client.cookies, self._client.headers["x-csrf-token"] = before.cookies, before.headers["x-csrf-token"]
            return
        answer = self._client.post("/api/sign-in", json={"user": "ada", "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        self._client.headers["x-csrf-token"] = answer.json()["csrf_token"]

    def _enter_its_network(self) -> None:
        """Of this thread only; sockets made here belong there."""
        with open(f"/proc/{self.process.pid}/ns/net") as namespace:
            assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

    def _call(self, work: Callable[[], T]) -> T:
        return self._caller.submit(work).result(30)

    # ---- looking
    def rss_mb(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    def loud(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["level"] in ("error", "critical")]
