"""A small app with every kind of handler the web plumbing meets, for the tests of this folder."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated, Any
from uuid import UUID

import httpx
import msgspec
from litestar import Litestar, MediaType, Request, Response, Router, get, post
from litestar.handlers import asgi
from litestar.openapi.spec import SecurityScheme
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.types import Receive, Scope, Send

from shared.runtime.body import StrictRequest, decode_form, read_form, read_octets
from shared.runtime.clock import ManualClock
from shared.runtime.csrf import Csrf
from shared.runtime.metrics import METRICS_MEDIA, Metrics
from shared.runtime.openapi import ApiDescription, ProblemKind, TakesOctets, raises
from shared.runtime.problems import Problem, Problems, Unavailable, Violation, of_status
from shared.runtime.ratelimit import RateLimiter
from shared.runtime.server import listen, serve
from shared.runtime.static import RUNTIME_STATIC, StaticFiles
from shared.runtime.web import PERMISSIONS_CAMERA, EdgeSettings, WebEdge

Count = Annotated[int, msgspec.Meta(ge=1, le=96, description="How many.")]


class Guest(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    """Something one can make."""

    id: UUID
    slots: Annotated[list[Count], msgspec.Meta(min_length=1, max_length=8)]
    guest: Guest
    on: date | None = None


class Made(msgspec.Struct):
    id: UUID
    slots: list[int]


class NoteForm(msgspec.Struct, forbid_unknown_fields=True):
    text: Annotated[str, msgspec.Meta(min_length=1)]
    count: Count = 1
    tags: list[str] = []


@get("/api/v1/hello", sync_to_thread=False)
def hello() -> dict[str, str]:
    return {"hello": "there"}


@get("/api/v1/things/{thing_id:uuid}", sync_to_thread=False, opt=raises("thing_gone"), tags=["Things"])
def read_thing(thing_id: FromPath[UUID], on: FromQuery[date | None] = None, count: Annotated[int, QueryParameter(ge=1, le=96)] = 1) -> Made:
    """Read one thing.

    It may be `gone`.
    """
    if thing_id.int % 2:
        raise Problem(409, "thing_gone", "The thing is gone", "This thing is gone.", suggestions=["another"], now_at="elsewhere")
    return Made(thing_id, [count])


@post("/api/v1/things", sync_to_thread=False, tags=["Things"], security=[{"key": []}])
def make_thing(data: JSONBody[Thing]) -> Made:
    return Made(data.id, data.slots)


@get("/api/v1/boom", sync_to_thread=False, include_in_schema=False)
def boom() -> None:
    raise RuntimeError("secret detail in /srv/thing.db")


@get("/api/v1/busy", sync_to_thread=False, include_in_schema=False)
def busy() -> None:
    raise Unavailable("The disk is full. Nothing was changed.", retry_after_s=30)


@post("/api/v1/raw", include_in_schema=False)
async def raw_body(request: Request) -> dict[str, int]:
    return {"octets": len(await request.body())}


@post("/api/v1/picture", tags=["Things"], operation_class=TakesOctets)
async def take_picture(request: Request) -> dict[str, int]:
    return {"octets": len(await read_octets(request))}


@asgi("/api/v1/cached", copy_scope=True)
async def cached(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"no-cache"), (b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}", "more_body": False})


@asgi("/api/v1/halfway", copy_scope=True)
async def halfway(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    raise RuntimeError("after the head")


@get("/page", sync_to_thread=False, media_type=MediaType.HTML, include_in_schema=False)
def page(request: Request) -> str:
    return f"<!doctype html><title>t</title><p>{request.app.state.csrf.token(request.scope)}"


@get("/seeing", sync_to_thread=False, media_type=MediaType.HTML, include_in_schema=False)
def seeing_page() -> Response[str]:
    return Response("<!doctype html><title>t</title>", media_type=MediaType.HTML, headers={"permissions-policy": PERMISSIONS_CAMERA})


@get("/refused", sync_to_thread=False, include_in_schema=False)
def refused() -> None:
    raise of_status(422, "No <script>alert(1)</script> here.", violations=[Violation("Too <b>late</b>.")])


@post("/notes", include_in_schema=False)
async def make_note(request: Request) -> Response[dict[str, Any]]:
    form = decode_form(await read_form(request), NoteForm)
    return Response({"text": form.text, "count": form.count, "tags": form.tags})


@get("/secret", sync_to_thread=False, include_in_schema=False)
def secret_page() -> None:
    raise of_status(401)


@get("/health/live", sync_to_thread=False, include_in_schema=False)
def live() -> dict[str, str]:
    return {"status": "live"}


@asgi("/stream", copy_scope=True)
async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": b": hi\n\n", "more_body": True})
    while True:
        await asyncio.sleep(3600)


class Demo:
    """The app behind its edge: `demo.edge` is the ASGI app to serve."""

    def __init__(self, settings: EdgeSettings = EdgeSettings(), **problem_options: Any) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics("demo")
        self.csrf = Csrf(b"k" * 32, tls=settings.tls)
        self.problems = Problems(sign_in=lambda scope: "/sign-in", **problem_options)
        static = StaticFiles({"runtime": RUNTIME_STATIC})
        metrics = self.metrics

        @get("/metrics", sync_to_thread=False, include_in_schema=False, media_type=METRICS_MEDIA)
        def metrics_text() -> bytes:
            return metrics.render()

        description = ApiDescription(
            "Demo",
            "1.0",
            "A `demo` of <b>things</b>.",
            css_url=static.url("runtime/openapi.css"),
            catalogue={"thing_gone": ProblemKind(409, "The thing is no longer there.")},
            security={"key": SecurityScheme(type="http", scheme="bearer")},
        )
        self.app = Litestar(
            [
                *(hello, read_thing, make_thing, take_picture, boom, busy, raw_body, cached, halfway),
                *(page, seeing_page, refused, secret_page, live, stream),
                Router("/", route_handlers=[make_note], guards=[self.csrf.guard]),
                *(metrics_text, static.handler()),
            ],
            request_class=StrictRequest,
            exception_handlers=self.problems.handlers(),
            openapi_config=description.config,
            logging_config=None,
        )
        self.app.state.csrf = self.csrf
        limiter = RateLimiter(self.clock.monotonic) if settings.rate_rules else None
        self.edge = WebEdge(self.app, settings, self.problems, meter=self.metrics.http, limiter=limiter)

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A client without a network in between."""
        transport = httpx.ASGITransport(self.edge, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://demo.test", **options)


@contextlib.asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[int]:
    """The app on a real port of this machine; yields the port."""
    stop, up = asyncio.Event(), asyncio.Event()
    sock = listen("127.0.0.1", 0)
    task = asyncio.create_task(serve(app, sock, ready=lambda port: up.set(), stop=stop, signals=False, **options))
    port = sock.getsockname()[1]
    waiting = asyncio.create_task(up.wait())
    done, _ = await asyncio.wait({waiting, task}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    if waiting not in done:
        waiting.cancel()
        await task
        raise RuntimeError("The server stopped before it was ready.")
    try:
        yield port
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)
