"""The API's description: OpenAPI 3.1 as JSON at `/api/openapi.json`, and as a page at `/api/docs`.

What it is for: Litestar draws the schema from the handlers; this adds the refusals (one shape for all, `Problem`) and serves both forms.
What it is not: a drawer of pages (`openapi_page`).
Invariant: nothing in either form is loaded from elsewhere; every operation says which problems it answers with.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

import msgspec
from litestar import Request, Router
from litestar.enums import MediaType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema, SecurityScheme, Tag
from litestar.routes import HTTPRoute

from shared.runtime.body import OCTETS_MEDIA
from shared.runtime.openapi_page import render_page
from shared.runtime.problems import BY_STATUS, PROBLEM_MEDIA, PROBLEM_TYPE_PREFIX

OPT = "problems"
HEADERS_OPT = "headers"
_METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")


@dataclass(frozen=True)
class ProblemKind:
    """One code of the catalogue: the status it comes with and a sentence on when."""

    status: int
    about: str


def raises(*codes: str) -> dict[str, Any]:
    """For a handler's `opt`: the problem codes of the catalogue it may answer with. `@post(…, opt=raises("slot_taken"))`."""
    return {OPT: codes}


@dataclass(frozen=True)
class HeaderField:
    """A header that a handler reads by itself: its name, a sentence on what for, and the pattern of its value. Never required."""

    name: str
    about: str
    pattern: str

    def parameter(self) -> dict[str, Any]:
        schema = {"type": "string", "pattern": self.pattern}
        return {"name": self.name, "in": "header", "description": self.about, "required": False, "schema": schema}


def reads(*headers: HeaderField) -> dict[str, Any]:
    """For a handler's `opt`: the headers it reads beyond what its signature names. `@post(…, opt=reads(IDEMPOTENCY_KEY))`."""
    return {HEADERS_OPT: headers}


@dataclass
class TakesOctets(Operation):
    """For a handler that reads its body with `body.read_octets`. `@post(…, operation_class=TakesOctets)`."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody({OCTETS_MEDIA: OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, format="binary"))}, required=True)


class ApiDescription:
    """`catalogue`: every problem code the API knows besides the ordinary ones. `css_url`: the address of `runtime/openapi.css`.

    `examples`: field, parameter or shape -> the value that the page shows for it; days in them are those of the day after `clock`'s (UTC).
    Hand `config` to Litestar. `security`: scheme name -> scheme; operations name theirs by `security=[{name: []}]`.
    """

    def __init__(
        self,
        title: str,
        version: str,
        description: str,
        *,
        css_url: str,
        icon_url: str = "data:,",
        catalogue: Mapping[str, ProblemKind] | None = None,
        security: Mapping[str, SecurityScheme] | None = None,
        tags: Sequence[Tag] = (),
        path: str = "/api",
        examples: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.catalogue = dict(catalogue or {})
        self._examples = dict(examples or {})
        self._clock = clock
        self._css_url = css_url
        self._icon_url = icon_url
        self._finished: dict[str, Any] | None = None
        self.config = OpenAPIConfig(
            title=title,
            version=version,
            description=description,
            path=path,
            tags=list(tags) or None,
            use_handler_docstrings=True,
            components=Components(security_schemes=dict(security or {}) or None),
            render_plugins=[
                _Plugin(self, "/openapi.json", MediaType.JSON, lambda app, schema: msgspec.json.encode(self.finished(app, schema))),
                _Plugin(self, "/docs", MediaType.HTML, lambda app, schema: self.page(app, schema).encode()),
            ],
        )

    def finished(self, app: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The schema with the problems in it; made once, since routes do not change after start."""
        if self._finished is None:
            plain = json.loads(msgspec.json.encode(schema, enc_hook=str))
            _use_exact_shapes(app, plain)
            _forbid_nul(plain)
            plain.setdefault("components", {}).setdefault("schemas", {})["Problem"] = problem_schema()
            declared, headers = _declared(app, self.catalogue), _headers(app)
            for path, item in plain.get("paths", {}).items():
                for method in _METHODS:
                    if method in item:
                        if read := headers.get((path, method)):
                            item[method].setdefault("parameters", []).extend(header.parameter() for header in read)
                        _add_problems(item[method], path, declared.get((path, method), ()), self.catalogue)
            self._finished = plain
        return self._finished

    def page(self, app: Any, schema: Mapping[str, Any]) -> str:
        json_url = f"{self.config.path}/openapi.json"
        return render_page(
            self.finished(app, schema), css_url=self._css_url, json_url=json_url, icon_url=self._icon_url, examples=self._examples,
            example_day=self.example_day(),
        )  # fmt: skip

    def example_day(self) -> date:
        """The day after today, which can still be booked."""
        return (datetime.fromtimestamp(self._clock(), UTC) + timedelta(days=1)).date()


def problem_schema() -> dict[str, Any]:
    """The JSON schema of a problem document. Further members are allowed, as RFC 9457 says."""
    text = {"type": "string"}
    return {
        "title": "Problem",
        "description": "Why a request was refused (RFC 9457). Programs go by `code`, people read `detail`.",
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {**text, "description": f"`{PROBLEM_TYPE_PREFIX}` and the code."},
            "title": {**text, "description": "The same for every problem of the code."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": {**text, "pattern": "^[a-z][a-z0-9_]+$", "description": "Stable; new ones may be added."},
            "detail": {**text, "description": "A sentence about this one."},
            "request_id": {**text, "description": "Name it when you report the problem."},
            "violations": {
                "type": "array",
                "description": "Each thing that is wrong, with its place where there is one.",
                "items": {"type": "object", "properties": {"message": text, "path": text, "code": text, "rule": text, "limit": text}},
            },
            "suggestions": {"type": "array", "description": "What would work instead.", "items": {}},
        },
    }


def _use_exact_shapes(app: Any, document: dict[str, Any]) -> None:
    """Put msgspec's own schema in the place of Litestar's, which drops constraints on items of lists and mappings."""
    by_name: dict[str, set[type]] = {}
    for struct in _structs_in(app):
        by_name.setdefault(struct.__name__, set()).add(struct)
    shapes = document.setdefault("components", {}).setdefault("schemas", {})
    known = [struct for name, structs in by_name.items() if len(structs) == 1 and name in shapes for struct in structs]
    _, exact = msgspec.json.schema_components(known, ref_template="#/components/schemas/{name}")
    for name, shape in exact.items():
        if name in by_name or name not in shapes:
            shapes[name] = shape


def _forbid_nul(schema: Any) -> None:
    """Say of every free text that it holds no NUL, as the body's decoder demands."""
    if isinstance(schema, list):
        for item in schema:
            _forbid_nul(item)
    elif isinstance(schema, dict):
        if schema.get("type") == "string" and not schema.keys() & {"format", "enum", "const", "pattern", "contentEncoding"}:
            schema["pattern"] = "^[^\\u0000]*$"
        for item in schema.values():
            _forbid_nul(item)


def _structs_in(app: Any) -> set[type]:
    found: set[type] = set()
    waiting: list[Any] = []
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            if handler.resolve_include_in_schema():
                fields = [handler.parsed_fn_signature.return_type, handler.parsed_fn_signature.parameters.get("data")]
                waiting += [field.annotation for field in fields if field is not None]
    while waiting:
        kind = waiting.pop()
        waiting.extend(get_args(kind))
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in found:
            found.add(kind)
            waiting.extend(field.type for field in msgspec.structs.fields(kind))
    return found


def _handlers(app: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    """Every handler with the path and the method that the document knows it by."""
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            for method in handler.http_methods:
                yield (route.path_format, method.lower()), handler


def _headers(app: Any) -> dict[tuple[str, str], tuple[HeaderField, ...]]:
    return {place: tuple(handler.opt.get(HEADERS_OPT, ())) for place, handler in _handlers(app)}


def _declared(app: Any, catalogue: Mapping[str, ProblemKind]) -> dict[tuple[str, str], tuple[str, ...]]:
    declared: dict[tuple[str, str], tuple[str, ...]] = {}
    for place, handler in _handlers(app):
        codes = tuple(handler.opt.get(OPT, ()))
        if unknown := [code for code in codes if code not in catalogue]:
            raise LookupError(f"{handler} names the problem {unknown[0]!r}, which the catalogue does not know.")
        declared[place] = codes
    return declared


def _add_problems(operation: dict[str, Any], path: str, codes: Sequence[str], catalogue: Mapping[str, ProblemKind]) -> None:
    told: dict[int, list[str]] = {status: [] for status in _usual_statuses(operation, path)}
    for code in codes:
        told.setdefault(catalogue[code].status, []).append(f"`{code}`: {catalogue[code].about}")
    responses = operation.setdefault("responses", {})
    for status, lines in sorted(told.items()):
        responses[str(status)] = _response("\n".join([BY_STATUS[status][2] if status in BY_STATUS else "Refused.", *lines]))
    responses["default"] = _response("Any other refusal.")
    if codes:
        operation["x-problem-codes"] = list(codes)


def _usual_statuses(operation: Mapping[str, Any], path: str) -> list[int]:
    statuses = [400, 429, 503]
    if "{" in path:
        statuses.append(404)
    if "requestBody" in operation:
        statuses += [413, 415]
    if operation.get("security"):
        statuses += [401, 403]
    return statuses


def _response(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


class _Plugin(OpenAPIRenderPlugin):
    """One page below the API's path, drawn once a day by `draw(app, schema)`."""

    def __init__(self, description: ApiDescription, path: str, media_type: MediaType, draw: Callable[[Any, dict[str, Any]], bytes]) -> None:
        super().__init__(path=path, media_type=media_type, favicon="", style="")
        self._description = description
        self._draw = draw
        self._rendered: tuple[date, bytes] | None = None

    def render(self, request: Request, openapi_schema: dict[str, Any]) -> bytes:
        # Routes do not change after start, but the day in the examples does.
        day = self._description.example_day()
        if self._rendered is None or self._rendered[0] != day:
            self._rendered = day, self._draw(request.app, openapi_schema)
        return self._rendered[1]

    def receive_router(self, router: Router) -> None:
        # Litestar adds a catch-all that answers HTML below the API's path; unknown addresses there are a problem document.
        router.routes = [route for route in router.routes if "{path" not in route.path and route.path.strip("/") != router.path.strip("/")]
