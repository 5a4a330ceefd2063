"""Our own static files, held in memory: style sheets, scripts and icons of both apps.

What it is not: a file server. Only what was in the folders at start is served, so no path can lead elsewhere.
Invariant: `url()` carries a hash of the content, and only an address with the right hash may be cached for long.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from shared.runtime.problems import of_status

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
TOTAL_MAX = 8 * 1024 * 1024  # bytes kept in memory by one app
RUNTIME_STATIC = Path(__file__).parent / "static"


class StaticFiles:
    """`folders`: the name in the address -> the folder. Files of kinds not in MEDIA_TYPES are left out."""

    def __init__(self, folders: Mapping[str, Path], *, prefix: str = "/static") -> None:
        self._prefix = prefix
        self._files: dict[str, tuple[bytes, str, str]] = {}
        for name, folder in folders.items():
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.suffix in MEDIA_TYPES:
                    body = path.read_bytes()
                    mark = hashlib.sha256(body).hexdigest()[:16]
                    self._files[f"{name}/{path.relative_to(folder).as_posix()}"] = (body, mark, MEDIA_TYPES[path.suffix])
        total = sum(len(body) for body, _, _ in self._files.values())
        if total > TOTAL_MAX:
            raise ValueError(f"The static files are {total} bytes together; {TOTAL_MAX} is the limit.")

    def url(self, name: str) -> str:
        """The address of e.g. "runtime/openapi.css". KeyError if there is no such file."""
        return f"{self._prefix}/{name}?v={self._files[name][1]}"

    def handler(self) -> HTTPRouteHandler:
        """The GET handler to register with the app."""

        @get(f"{self._prefix}/{{name:path}}", include_in_schema=False, sync_to_thread=False)
        def static_file(request: Request, name: FromPath[str]) -> Response[bytes]:
            return self._answer(request, name.strip("/"))

        return static_file

    def _answer(self, request: Request, name: str) -> Response[bytes]:
        found = self._files.get(name)
        if found is None:
            raise of_status(404)
        body, mark, media = found
        tag = f'"{mark}"'
        long = request.scope["query_string"] == b"v=" + mark.encode()
        headers = {"etag": tag, "cache-control": "public, max-age=31536000, immutable" if long else "no-cache"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(b"", status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=media)
