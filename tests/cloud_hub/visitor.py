"""A guest with a browser without JavaScript: follows links and redirects, keeps cookies, sends forms as they stand on the page."""

import html
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

import httpx

from tests.cloud_hub.hub_world import NOON, SITE, HubWorld

DETAILS = {"name": "Testa Birdie", "phone": "902-555-0101", "email": "testa@example.test"}


@dataclass
class Page:
    """An answer as a person sees it."""

    address: str
    status: int
    text: str
    headers: httpx.Headers
    forms: list["Form"] = field(default_factory=list)

    @property
    def heading(self) -> str:
        found = re.search(r"<h1[^>]*>(.*?)</h1>", self.text, re.S)
        return words(found[1]) if found else ""

    @property
    def words(self) -> str:
        return words(self.text)

    def form(self, action: str, method: str = "post") -> "Form":
        """The first form whose address matches the pattern to its end."""
        return next(form for form in self.forms if form.method == method and re.search(action + r"\Z", form.action))

    def links(self, pattern: str) -> list[str]:
        return [html.unescape(one) for one in re.findall(r'<a[^>]*href="([^"]*)"', self.text) if re.search(pattern, one)]


@dataclass
class Form:
    action: str
    method: str
    fields: list[tuple[str, str]]
    buttons: list[tuple[str, str]]

    def filled(self, **values: str) -> list[tuple[str, str]]:
        """The fields as they stand, with these in place of theirs (None leaves one out)."""
        kept = [(name, value) for name, value in self.fields if name not in values]
        return kept + [(name, str(value)) for name, value in values.items() if value is not None]


def words(text: str) -> str:
    """The text without its marks."""
    text = re.sub(r"<(script|style|svg|head)\b.*?</\1>", " ", text, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def forms(text: str) -> list[Form]:
    found = []
    for attributes, body in re.findall(r"<form([^>]*)>(.*?)</form>", text, re.S):
        fields = []
        for tag in re.findall(r"<input[^>]*>", body):
            if not re.search(r'type="(radio|checkbox)"', tag) or " checked" in tag:
                fields.append((_attribute(tag, "name"), _attribute(tag, "value")))
        for name, options in re.findall(r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', body, re.S):
            fields.append((name, re.search(r'value="([^"]*)"[^>]*selected', options)[1]))
        buttons = [(_attribute(tag, "name"), _attribute(tag, "value")) for tag in re.findall(r"<button[^>]*>", body)]
        found.append(Form(_attribute(attributes, "action"), _attribute(attributes, "method"), fields, buttons))
    return found


def _attribute(tag: str, name: str) -> str:
    found = re.search(rf'{name}="([^"]*)"', tag)
    return html.unescape(found[1]) if found else ""


class Visitor:
    def __init__(self, w: HubWorld, address: str = "127.0.0.1"):
        self.w = w
        transport = httpx.ASGITransport(w.app.asgi, raise_app_exceptions=False, client=(address, 1))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://hub.test", headers={"accept": "text/html"})

    async def get(self, address: str) -> Page:
        return await self._followed(await self.client.get(address))

    async def send(self, form: Form, **values) -> Page:
        return await self.post(form.action, form.filled(**values))

    async def post(self, address: str, fields: list[tuple[str, str]], **headers: str) -> Page:
        headers = {"content-type": "application/x-www-form-urlencoded"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return await self._followed(await self.client.post(address, content=urlencode(fields), headers=headers))

    async def _followed(self, answer: httpx.Response) -> Page:
        while answer.status_code == 303:
            answer = await self.client.get(answer.headers["location"])
        return Page(str(answer.url.raw_path, "ascii"), answer.status_code, answer.text, answer.headers, forms(answer.text))

    # ---- steps
    async def times(self, **query) -> Page:
        return await self.get(f"/book/{SITE}?" + urlencode(query))

    async def press(self, start: int, page: Page | None = None, **query) -> Page:
        """Presses the start that lies so many slots after NOON; the page of details, or why not."""
        page = page or await self.times(**query)
        return await self.send(page.form(f"/book/{SITE}"), start=self.slot(start))

    async def booked(self, start: int, *, details: dict[str, str] | None = None, **query) -> Page:
        """The whole path to the order's page."""
        page = await self.press(start, **query)
        return await self.send(page.form(r"/book/hold/[^/]+"), **{**DETAILS, **(details or {})}, do="book")

    @staticmethod
    def slot(start: int) -> int:
        return NOON // 900 + start
