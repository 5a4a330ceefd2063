"""Brokers for tests, the demo and trying things out: Mosquitto as a child process, or amqtt in one where there is no Mosquitto.

For: a started broker on 127.0.0.1 that knows the hub and the sites by password and lets each read and write only what
protocol rule stream-6 gives it, that can be stopped, killed and started again on the same port.
Not for: production, where the machine's own Mosquitto service runs (the files written here show its settings).
Invariant: both kinds read the same two files, `passwords` and `access`, in their folder; a child is ended by its process id only.
"""

import base64
import hashlib
import importlib.util
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
TREE = "clubos/v1"
START_WITHIN_S = 10.0
STOP_WITHIN_S = 3.0
PORTS = range(20_000, 32_000)  # below the range from which the system takes ports for outgoing connections
PORT_TRIES = 5
HASH_ROUNDS = 1_000  # the passwords are random tokens, so the rounds only need to keep the file from being plain

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class BrokerError(RuntimeError):
    """A broker is missing, did not start or was asked for something it cannot do. The sentence says what to do."""


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """Somebody who may connect. `site_id` names the one site this user is; without it the user is the hub, for all sites."""

    name: str
    password: str
    site_id: str | None = None

    def __post_init__(self) -> None:
        for value in (self.name, self.site_id):
            if value is not None and not _NAME.fullmatch(value):
                raise BrokerError(f"{value!r} cannot name a user or a site on the broker: use letters, digits, '-' and '_'.")
        if not self.password:
            raise BrokerError(f"The broker user {self.name!r} needs a password.")

    def writes(self) -> tuple[str, ...]:
        """Topic filters this user may publish to (stream-6: one direction each)."""
        return _topics("down", "hub", "+") if self.site_id is None else _topics("up", "site", self.site_id)

    def reads(self) -> tuple[str, ...]:
        """Topic filters this user may subscribe to."""
        return _topics("up", "site", "+") if self.site_id is None else _topics("down", "hub", self.site_id)


def _topics(stream: str, side: str, site: str) -> tuple[str, ...]:
    return tuple(f"{TREE}/{site}/{leaf}" for leaf in (stream, f"hello/{side}", f"state/{side}"))


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """Certificate and key files (PEM) with which the broker answers, instead of plain TCP."""

    cert_file: Path
    key_file: Path


def password_line(user: BrokerUser, salt: bytes | None = None) -> str:
    """A line of Mosquitto's password file: name, then '$7$rounds$salt$hash' (PBKDF2 with SHA-512, both parts in base64)."""
    salt = salt or secrets.token_bytes(12)
    return f"{user.name}:$7${HASH_ROUNDS}${base64.b64encode(salt).decode()}${_hash(user.password, salt, HASH_ROUNDS)}"


def password_fits(stored: str, password: str) -> bool:
    """Whether a password belongs to the part of a password line after the name."""
    try:
        _, kind, rounds, salt, wanted = stored.split("$")
        return kind == "7" and secrets.compare_digest(_hash(password, base64.b64decode(salt), int(rounds)), wanted)
    except ValueError:
        return False


def _hash(password: str, salt: bytes, rounds: int) -> str:
    return base64.b64encode(hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)).decode()


def access_text(users: Sequence[BrokerUser]) -> str:
    """Mosquitto's access list: what is not named is denied."""
    lines = []
    for user in users:
        lines.append(f"user {user.name}")
        lines += [f"topic write {topic}" for topic in user.writes()]
        lines += [f"topic read {topic}" for topic in user.reads()]
    return "\n".join(lines) + "\n"


class Broker(ABC):
    """What both kinds share: files in a folder, one child process, one port that stays the same over restarts.

    `port` 0 takes a free one. Usable as a context manager. Methods block for milliseconds (start: at most `START_WITHIN_S`).
    """

    kind = ""
    #: the files in its folder that it keeps from one run to the next
    kept: tuple[str, ...] = ()

    def __init__(self, folder: Path, users: Sequence[BrokerUser], *, port: int = 0, tls: BrokerTls | None = None) -> None:
        self.host = HOST
        self.port = port
        self.folder = Path(folder)
        self.users = tuple(users)
        self.tls = tls
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Broker":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    @property
    def log_path(self) -> Path:
        return self.folder / "broker.log"

    def start(self) -> None:
        """Returns when the broker accepts connections; raises BrokerError with the end of its log when it does not."""
        if self.running:
            raise BrokerError(f"This broker runs already, on port {self.port}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        _write_private(self.folder / "passwords", "\n".join(password_line(user) for user in self.users) + "\n")
        _write_private(self.folder / "access", access_text(self.users))
        tries = 1 if self.port else PORT_TRIES
        for left in reversed(range(tries)):
            port = self.port or _free_port()
            try:
                self._start_on(port)
                self.port = port
                return
            except BrokerError:
                if not left:
                    raise

    def stop(self) -> None:
        """Ask it to end (SIGTERM), insist after `STOP_WITHIN_S`. Does nothing when it is not running."""
        self._end(kindly=True)

    def kill(self) -> None:
        """SIGKILL: whatever it had not written is lost."""
        self._end(kindly=False)

    def restart(self, *, wipe: bool = False) -> None:
        """Stop if running, forget everything kept on disk if `wipe`, start again on the same port."""
        self.stop()
        if wipe:
            for name in self.kept:
                (self.folder / name).unlink(missing_ok=True)
        self.start()

    @abstractmethod
    def _command(self, port: int) -> list[str]:
        """The words that start the program on this port; its settings are written before."""

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _start_on(self, port: int) -> None:
        command = self._command(port)
        if not _is_free(port):  # else whoever listens there would be taken for our broker
            raise BrokerError(f"The broker did not start: another program listens on port {port} of {HOST}.")
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment())
        deadline = time.monotonic() + START_WITHIN_S
        while self._child.poll() is None and time.monotonic() < deadline:
            if _answers(port):
                time.sleep(0.02)  # Mosquitto listens before it reads its certificate, and ends if it cannot
                if self._child.poll() is None:
                    return
            time.sleep(0.005)
        self.kill()
        raise BrokerError(f"The broker did not start on port {port}. The end of its log: {_tail(self.log_path)}")

    def _end(self, *, kindly: bool) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if kindly and child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                kindly = False
        if not kindly:
            child.kill()
        child.wait()


class Mosquitto(Broker):
    """Mosquitto. `persistence`: whether it writes retained messages to disk, so that they outlive a restart."""

    kind = "mosquitto"
    kept = ("mosquitto.db",)

    def __init__(
        self, folder: Path, users: Sequence[BrokerUser], *, port: int = 0, tls: BrokerTls | None = None, persistence: bool = True
    ) -> None:
        super().__init__(folder, users, port=port, tls=tls)
        self.persistence = persistence

    @staticmethod
    def program() -> str | None:
        """Where Mosquitto is on this machine; service programs are often not on a user's PATH."""
        return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")

    def config_text(self, port: int) -> str:
        lines = [
            f"listener {port} {HOST}",
            "allow_anonymous false",
            f"password_file {self.folder / 'passwords'}",
            f"acl_file {self.folder / 'access'}",
            "set_tcp_nodelay true",  # off by default, and then every reply waits 44 ms
            "max_inflight_messages 0",
            "sys_interval 0",
            "log_dest stdout",
            "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # it would become the user mosquitto and could not read this folder
        if self.tls is not None:
            lines += [f"certfile {self.tls.cert_file}", f"keyfile {self.tls.key_file}"]
        if self.persistence:
            lines += ["persistence true", f"persistence_location {self.folder}/", "autosave_interval 1"]
        return "\n".join(lines) + "\n"

    def _command(self, port: int) -> list[str]:
        program = self.program()
        if program is None:
            raise BrokerError("Mosquitto is not on this machine. Install the package 'mosquitto' (apt-get install mosquitto).")
        config = self.folder / "mosquitto.conf"
        _write_private(config, self.config_text(port))
        return [program, "-c", str(config)]


class EmbeddedBroker(Broker):
    """amqtt in a child process, for a machine without Mosquitto. It keeps nothing over a restart and never notices a peer
    that went silent without closing, so it is for the demo only."""

    kind = "amqtt"

    @staticmethod
    def available() -> bool:
        return importlib.util.find_spec("amqtt") is not None

    def _command(self, port: int) -> list[str]:
        if not self.available():
            raise BrokerError("The embedded broker needs the package amqtt: install clubos-booking[demo].")
        command = [sys.executable, "-m", "deploy.broker_embedded", "--host", HOST, "--port", str(port), "--folder", str(self.folder)]
        if self.tls is not None:
            command += ["--cert-file", str(self.tls.cert_file), "--key-file", str(self.tls.key_file)]
        return command

    def _environment(self) -> dict[str, str]:
        here = str(Path(__file__).resolve().parent.parent)
        paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def find_broker(folder: Path, users: Sequence[BrokerUser], *, port: int = 0) -> Broker:
    """Mosquitto where it is installed, else the embedded broker; not yet started. Raises BrokerError when there is neither."""
    if Mosquitto.program() is not None:
        return Mosquitto(folder, users, port=port)
    if EmbeddedBroker.available():
        return EmbeddedBroker(folder, users, port=port)
    raise BrokerError("There is no MQTT broker: install the package 'mosquitto' (apt-get install mosquitto), or clubos-booking[demo].")


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _free_port() -> int:
    for _ in range(200):
        port = random.choice(PORTS)
        if _is_free(port):
            return port
    raise BrokerError(f"No free port was found between {PORTS.start} and {PORTS.stop}.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


def _tail(path: Path, size: int = 600) -> str:
    text = path.read_text(errors="replace") if path.exists() else ""
    return text[-size:].strip() or "(empty)"
