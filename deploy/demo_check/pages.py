"""A browser without a script: pages, their forms, what is typed in, cookies, redirects.

For: the check's walk through the customer's pages. Not for: looks or scripts (browser tests do those). Invariant: it sends only what a
form on the page holds, so a page that cannot be used without a script fails here.
"""

import html
import re
from html.parser import HTMLParser

import httpx
import msgspec

from deploy.demo.clients import TIMEOUT_S


class Form(msgspec.Struct):
    """A form as it stands in a page: where it goes, what its fields hold, its buttons as (name, value)."""

    method: str
    action: str
    fields: dict[str, str] = {}
    buttons: list[tuple[str, str]] = []


class Page(msgspec.Struct):
    """One page as it came."""

    status: int
    url: str
    text: str

    @property
    def words(self) -> str:
        """What a person reads, in one line."""
        body = re.sub(r"(?s)<(head|script|style|svg)\b.*?</\1>", " ", self.text)
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())

    def forms(self) -> list[Form]:
        reader = _Forms()
        reader.feed(self.text)
        return reader.found

    def form(self, action: str, *, button: str = "") -> Form | None:
        """The first form that is posted to this path and has such a button, if one is named."""
        fits = (one for one in self.forms() if one.method == "post" and one.action == action)
        return next((one for one in fits if not button or any(name == button for name, _ in one.buttons)), None)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._open: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(given.get("method", "get").lower(), given.get("action", ""))
            self.found.append(self._open)
        elif self._open is not None and tag == "input" and given.get("name"):
            if given.get("type") not in ("checkbox", "radio") or "checked" in given:
                self._open.fields[given["name"]] = given.get("value", "")
        elif self._open is not None and tag == "button":
            self._open.buttons.append((given.get("name", ""), given.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


class Browser:
    """Keeps cookies and follows redirects, as an async context."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, follow_redirects=True, timeout=TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> "Browser":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def go(self, address: str) -> Page:
        return self._page(await self._http.get(address))

    async def send(self, form: Form, typed: dict[str, str], button: tuple[str, str] | None = None) -> Page:
        """Presses a button of the form (its only one, if none is named) after typing into its fields."""
        pressed = button or next(iter(form.buttons), ("", ""))
        fields = {**form.fields, **typed, **({pressed[0]: pressed[1]} if pressed[0] else {})}
        return self._page(await self._http.post(form.action, data=fields))

    @staticmethod
    def _page(answer: httpx.Response) -> Page:
        return Page(answer.status_code, str(answer.url), answer.text)
