"""An HTTP client with as little in it as there can be: one kept connection, for what is timed."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import msgspec


class Caller:
    """JSON with a bearer token, one request at a time; to be used from one thread. Raises OSError and http.client.HTTPException."""

    def __init__(self, url: str, token: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers, body."""
        encoded = None if body is None else msgspec.json.encode(body)
        self._connection.request(method, path, encoded, {**self._headers, **headers})
        answer = self._connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def close(self) -> None:
        self._connection.close()
