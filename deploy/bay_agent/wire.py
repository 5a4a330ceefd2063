"""How the program on a bay's PC speaks to its site agent: one signed JSON request at a time, over a connection that is kept.

Not for: what is said. Invariant: an answer that is not signed for this very request is not believed, whatever it says, and over TLS with a
fingerprint nothing is sent to another certificate.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from . import signing

TIMEOUT_S = 10.0
ANSWER_MAX = 262_144


class WireError(Exception):
    """It could not be said, or what came back is not believed. The message is a sentence."""


class SiteTime:
    """The site agent's time as far as it is known here: this PC's clock and what it was found to be off by (`offset_s`)."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.offset_s = 0.0

    def now(self) -> float:
        return self._now() + self.offset_s

    def heard(self, said_at: float) -> None:
        self.offset_s = said_at - self._now()


class Wire:
    """One connection. Not shared between threads; `hang_up` alone may be called from another."""

    def __init__(self, url: str, bay: str, key: bytes, site_time: SiteTime, *, fingerprint: str = "", ca_file: str = "") -> None:
        self._url, self._bay, self._key, self._time = urlsplit(url), bay, key, site_time
        self._fingerprint, self._ca_file = fingerprint, ca_file
        self._open: http.client.HTTPConnection | None = None
        self._lock = threading.Lock()

    def post(self, path: str, value: dict[str, Any], wait_s: float = 0.0) -> dict[str, Any]:
        """The answer to one request; `wait_s` is how much longer than usual it may take. Raises WireError."""
        status, found = self._once(path, value, wait_s)
        if status == 409 and found.get("code") == "clock":
            # signed for this request, so it is the site agent that says what time it is
            self._time.heard(float(found.get("now", 0)))
            status, found = self._once(path, value, wait_s)
        if status != 200:
            raise WireError(str(found.get("detail") or f"The site agent refused it ({status}).")[:300])
        return found

    def hang_up(self) -> None:
        with self._lock:
            connection, self._open = self._open, None
        if connection is not None:
            connection.close()

    def _once(self, path: str, value: dict[str, Any], wait_s: float) -> tuple[int, dict[str, Any]]:
        body = json.dumps(value, separators=(",", ":")).encode()
        at, nonce = str(int(self._time.now())), secrets.token_hex(16)
        headers = {
            "Content-Type": "application/json", signing.BAY: self._bay, signing.TIME: at, signing.NONCE: nonce,
            signing.SIGNATURE: signing.of_request(self._key, path, self._bay, at, nonce, body),
        }  # fmt: skip
        status, told, answer = self._asked(path, body, headers, TIMEOUT_S + wait_s)
        expected = signing.of_answer(self._key, path, self._bay, told.get(signing.TIME.lower(), ""), nonce, status, answer)
        if not signing.same(told.get(signing.SIGNATURE.lower(), ""), expected):
            raise WireError(_unsigned(status, answer))
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise WireError("The site agent's answer makes no sense.")
        return status, found

    def _asked(self, path: str, body: bytes, headers: dict[str, str], timeout_s: float) -> tuple[int, dict[str, str], bytes]:
        try:
            connection = self._connected(timeout_s)
            connection.request("POST", self._url.path + path, body, headers)
            answer = connection.getresponse()
            read = answer.read(ANSWER_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            self.hang_up()
            raise WireError(f"The site agent does not answer ({type(error).__name__}: {error}).") from None
        if len(read) > ANSWER_MAX or answer.will_close:
            self.hang_up()
        return answer.status, {name.lower(): one for name, one in answer.getheaders()}, read

    def _connected(self, timeout_s: float) -> http.client.HTTPConnection:
        with self._lock:
            connection = self._open
        if connection is None:
            connection = self._connect(timeout_s)
            with self._lock:
                self._open = connection
        connection.timeout = timeout_s
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        return connection

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        context = ssl.create_default_context(cafile=self._ca_file or None)
        if self._fingerprint:
            # the certificate is known itself, so nobody needs to vouch for it
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
        connection.connect()
        if self._fingerprint:
            shown = connection.sock.getpeercert(binary_form=True) or b""
            if hashlib.sha256(shown).hexdigest() != self._fingerprint:
                connection.close()
                raise WireError("Somebody answers there with another certificate than the pinned one; nothing was said to them.")
        return connection


def _unsigned(status: int, answer: bytes) -> str:
    """Why it is not believed. What it says is repeated for the log only, and never acted upon."""
    try:
        told = str(json.loads(answer).get("detail", ""))[:200]
    except (ValueError, AttributeError):
        told = ""
    said = f" It said ({status}): {told}" if told else f" It answered {status}."
    return f"What answers there does not show that it is our site agent.{said}"
