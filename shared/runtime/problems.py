"""Every refusal over HTTP, as one document (RFC 9457) with a stable `code` and a sentence for a person.

What it is for: handlers raise `Problem`; `Problems` turns it, and everything else that can go wrong in a request, into an
answer: `application/problem+json` for programs, a small page for browsers on page routes.
What it is not: the list of booking refusals (those come from the domain and are handed in as codes and sentences).
Invariant: no answer holds internals (traceback, SQL, paths); what was sent in is echoed only JSON-encoded or HTML-escaped.
"""

import html
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

PROBLEM_MEDIA = "application/problem+json"
PROBLEM_TYPE_PREFIX = "urn:clubos:problem:"
ECHO_MAX = 300  # characters of a decoder's own words that an answer repeats

_CODE = re.compile(r"[a-z][a-z0-9_]{1,63}\Z")
_AT_PATH = re.compile(r" - at `(?P<path>\$.*)`\Z", re.DOTALL)
#: a field that people type -> what is said where it does not fit its pattern
_SAID = {
    "phone": "The phone number is not written as it should be. Please write it with its area code, for example 902-555-0123.",
    "email": "The e-mail address is not written as it should be. Please write it like name@example.com.",
}
_logger = logging.getLogger("runtime.problems")

# status -> (code, title, sentence): what a bare status of the framework means to a person
BY_STATUS: dict[int, tuple[str, str, str]] = {
    400: ("bad_request", "The request cannot be understood", "The request cannot be understood."),
    401: ("unauthorized", "Sign-in needed", "This needs a sign-in or a valid key."),
    403: ("forbidden", "Not allowed", "You are signed in, but not allowed to do this."),
    404: ("not_found", "Not found", "There is nothing at this address."),
    405: ("method_not_allowed", "Method not allowed", "This address does not take this method."),
    406: ("not_acceptable", "Not available in this form", "This address cannot answer in the form asked for."),
    409: ("conflict", "Conflict", "This clashes with the present state."),
    413: ("too_large", "Too large", "What was sent is larger than this address takes."),
    415: ("unsupported_media_type", "Wrong content type", "This address does not take this content type."),
    422: ("unprocessable", "Cannot be done", "The request is well formed, but cannot be done as it is."),
    429: ("too_many_requests", "Too many requests", "Too many requests. Please wait a moment and try again."),
    431: ("headers_too_large", "Headers too large", "The request's headers are larger than this server takes."),
    500: ("internal", "Something went wrong here", "This is our fault. It has been noted under the request id."),
    503: ("unavailable", "Not available just now", "This cannot be done just now. Please try again shortly."),
}

# What HTTP asks to go with a status.
_USUAL_HEADERS = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "5"}}


class Violation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong: a sentence, where it is (`$.slots[0]`, `query.date`), and a code where there is one."""

    message: str
    path: str = ""
    code: str = ""


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The shape of every refusal, as clients and the API's schema see it; a problem may carry further members."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str = ""
    violations: list[Violation] = []
    suggestions: list[Any] = []


class Problem(Exception):
    """A refusal to be answered over HTTP.

    `status` 4xx or 503; `code` stable, snake_case; `title` short and the same for every problem of the code; `detail` a full
    sentence about this one. `violations` and `suggestions` hold anything msgspec can encode; `extra` become further members.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        violations: Sequence[Any] = (),
        suggestions: Sequence[Any] = (),
        **extra: Any,
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"A problem's status is 400 to 599, not {status}.")
        if not _CODE.match(code):
            raise ValueError(f"A problem's code is snake_case, not {code!r}.")
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.violations = list(violations)
        self.suggestions = list(suggestions)
        self.extra = extra

    def document(self, request_id: str = "") -> dict[str, Any]:
        """The problem's members as plain data, ready to encode."""
        members: dict[str, Any] = {
            "type": PROBLEM_TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if request_id:
            members["request_id"] = request_id
        if self.violations:
            members["violations"] = self.violations
        if self.suggestions:
            members["suggestions"] = self.suggestions
        for name, value in self.extra.items():
            members.setdefault(name, value)
        return members


class Unavailable(Problem):
    """The machine itself cannot serve just now: 503 with Retry-After."""

    def __init__(self, detail: str, *, retry_after_s: int = 5, code: str = "unavailable", **extra: Any) -> None:
        super().__init__(503, code, BY_STATUS[503][1], detail, headers={"retry-after": str(retry_after_s)}, **extra)


def of_status(status: int, detail: str = "", *, code: str = "", **more: Any) -> Problem:
    """The ordinary problem of a status, with its usual code, title and sentence unless others are given."""
    usual_code, title, sentence = BY_STATUS.get(status) or BY_STATUS[500 if status >= 500 else 400]
    headers = {**_USUAL_HEADERS.get(status, {}), **(more.pop("headers", None) or {})}
    return Problem(status, code or usual_code, title, detail or sentence, headers=headers, **more)


def bad_request(detail: str, violations: Sequence[Any] = (), *, code: str = "bad_request") -> Problem:
    """400: malformed; `detail` says what, `violations` where."""
    return of_status(400, detail, code=code, violations=violations)


def unauthorized(detail: str = "", *, code: str = "", scheme: str = "Bearer") -> Problem:
    """401 with the challenge that RFC 9110 asks for."""
    return of_status(401, detail, code=code, headers={"www-authenticate": scheme})


def too_many_requests(retry_after_s: int, detail: str = "", *, code: str = "") -> Problem:
    """429 with Retry-After in whole seconds."""
    return of_status(429, detail, code=code, headers={"retry-after": str(max(1, retry_after_s))})


def of_decode_error(error: msgspec.MsgspecError | UnicodeError, what: str = "body") -> Problem:
    """400 out of a decoder's complaint: one sentence, and the JSON path where there is one."""
    if isinstance(error, UnicodeError):
        return bad_request(f"The {what} is not valid UTF-8 text.")
    words = str(error)
    found = _AT_PATH.search(words)
    path = found["path"] if found else "$"
    words = (words[: found.start()] if found else words)[:ECHO_MAX]
    if " matching regex " in words:  # a pattern says nothing to people
        if said := _SAID.get(path.rpartition(".")[2]):
            return bad_request(said, [Violation(said, path[:ECHO_MAX])])
        words = "It is not written as it should be"
    if isinstance(error, msgspec.ValidationError):
        return bad_request(f"The {what} does not fit at {path[:ECHO_MAX]}: {words}.", [Violation(words, path[:ECHO_MAX])])
    return bad_request(f"The {what} is not valid JSON: {words}.")


def _of_validation(error: ValidationException) -> Problem:
    violations = []
    for item in error.extra if isinstance(error.extra, list) else []:
        if not isinstance(item, dict):
            continue
        source = str(getattr(item.get("source"), "value", item.get("source")) or "")
        key = str(item.get("key", ""))
        path = f"$.{key}" if source == "body" else ".".join(part for part in (source, key) if part)
        violations.append(Violation(str(item.get("message", "Not valid."))[:ECHO_MAX], path))
    if violations:
        first = violations[0]
        return bad_request(f"The request does not fit at {first.path or '$'}: {first.message}.", violations)
    if error.detail.startswith("Missing required"):
        return bad_request(error.detail.split(" for ")[0][:ECHO_MAX] + ".")
    return bad_request(BY_STATUS[400][2])


def problem_of(error: Exception) -> Problem | None:
    """The problem that an exception stands for; None for one that nobody foresaw."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ValidationException):
        return _of_validation(error)
    if isinstance(error, HTTPException):
        if error.status_code == 500 or not 400 <= error.status_code <= 599:
            return None
        return of_status(error.status_code, headers={name.lower(): value for name, value in (error.headers or {}).items()})
    if isinstance(error, msgspec.DecodeError):
        return of_decode_error(error)
    return None


def plain_page(document: Mapping[str, Any]) -> str:
    """A page that needs nothing else: title, sentence, violations, request id. All of it escaped."""
    title, detail = html.escape(str(document["title"])), html.escape(str(document["detail"]))
    told = "".join(f"<li>{html.escape(str(_message_of(item)))}</li>" for item in document.get("violations", ()))
    known_as = html.escape(str(document.get("request_id", "")))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title></head>'
        f"<body><main><h1>{title}</h1><p>{detail}</p>{f'<ul>{told}</ul>' if told else ''}"
        f"<p><small>{known_as}</small></p></main></body></html>"
    )


def _message_of(item: Any) -> Any:
    if isinstance(item, Mapping):
        return item.get("message", item)
    return getattr(item, "message", item)


def _encodable(value: Any) -> Any:
    """Plain data without lone surrogates, which no UTF-8 text can carry; only reached when the plain way has failed."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_encodable(str(key)): _encodable(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [_encodable(item) for item in value]
    try:
        return _encodable(msgspec.to_builtins(value)) if isinstance(value, msgspec.Struct) else value
    except (TypeError, ValueError):
        return str(value)


class Problems:
    """Turns what a request raised into an answer. One per app, used by Litestar's handlers and by the web edge alike.

    `render_page(document, scope)` gives the HTML for browsers on page routes (default: a plain page); `sign_in(scope)` the
    address a browser without a session is sent to, or None. `api_prefixes` are the paths that never answer with a page.
    """

    def __init__(
        self,
        *,
        render_page: Callable[[Mapping[str, Any], Mapping[str, Any]], str] | None = None,
        sign_in: Callable[[Mapping[str, Any]], str | None] | None = None,
        api_prefixes: tuple[str, ...] = ("/api/", "/health/", "/metrics", "/static/"),
        translate: Callable[[Exception], Problem | None] | None = None,
    ) -> None:
        self._render_page = render_page
        self._sign_in = sign_in
        self._api_prefixes = api_prefixes
        self._translate = translate

    def handlers(self) -> dict[type[Exception] | int, Callable[..., Response]]:
        """For Litestar's `exception_handlers`."""
        return {Exception: self._handle}

    def _handle(self, request: Request, error: Exception) -> Response:
        status, headers, body = self.answer(error, request.scope)
        return Response(body, status_code=status, headers=headers, media_type=headers["content-type"])

    def wants_page(self, scope: Mapping[str, Any]) -> bool:
        """A browser that navigates: it names text/html, and the address is not one for programs."""
        if scope["path"].startswith(self._api_prefixes):
            return False
        return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])

    def answer(self, error: Exception, scope: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower-case names) and body for anything raised in a request; an unforeseen one is logged here."""
        problem = self._problem(error, scope)
        document = problem.document(scope.get("clubos.request_id", ""))
        if self.wants_page(scope):
            return self._page(problem, document, scope)
        headers = {**problem.headers, "content-type": PROBLEM_MEDIA}
        try:
            body = msgspec.json.encode(document)
        except (TypeError, ValueError):
            body = msgspec.json.encode(_encodable(document), enc_hook=str)
        return problem.status, headers, body

    def _page(self, problem: Problem, document: dict[str, Any], scope: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if problem.status == 401 and self._sign_in and (address := self._sign_in(scope)):
            return 303, {"location": address, "content-type": "text/html; charset=utf-8"}, b""
        page = self._render_page(document, scope) if self._render_page else plain_page(document)
        headers = {**problem.headers, "content-type": "text/html; charset=utf-8"}
        return problem.status, headers, page.encode("utf-8", "replace")

    def _problem(self, error: Exception, scope: Mapping[str, Any]) -> Problem:
        problem = (self._translate(error) if self._translate else None) or problem_of(error)
        if problem is None:
            if "disconnected prematurely" in str(error):
                return of_status(400, "The connection ended before the whole request had arrived.")
            route = scope.get("path_template", "")
            _logger.error("http.unexpected", exc_info=error, extra={"fields": {"method": scope.get("method"), "route": route}})
            return of_status(500)
        if not isinstance(error, Problem) and isinstance(error, msgspec.DecodeError):
            # A decoder's error that no edge turned into a problem may be one of ours (a row, a vendor's reply): leave a trace.
            _logger.warning("http.decode_error", extra={"fields": {"route": scope.get("path_template", ""), "error": str(error)}})
        return problem
