"""Admins' pages from templates, in the same dress as the customers' (their style sheet and icons), kept by no cache and listed nowhere.

What it is not: a decision. Invariant: templates escape whatever they print.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from litestar import MediaType, Request, Response
from markupsafe import Markup

from cloud_hub.services.admins import Admin
from cloud_hub.web.book import views as book
from shared.runtime.csrf import FIELD, Csrf
from shared.runtime.templates import environment
from shared.runtime.web import CSP

from . import words, words_of_texts

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
#: a frame without an address has the page's own policy, so that its styles need to be allowed here
STYLED = {"content-security-policy": CSP.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")}


class Views:
    """`static_url` gives the address of a file of ours; `displaced` says how many bookings wait for a place, which every page's links tell;
    `phones`: whether any facility asks telephones to confirm. Templates know `words` and nothing of the services."""

    def __init__(self, csrf: Csrf, static_url: Callable[[str], str], displaced: Callable[[], int], *, phones: bool):
        self._csrf, self._displaced, self._phones = csrf, displaced, phones
        self._env = environment(FOLDER / "templates", book.FOLDER / "templates", words=words, texts=words_of_texts, static=static_url)

    def page(
        self, request: Request, template: str, *, admin: Admin | None, status: int = 200, styled: bool = False, **values: Any
    ) -> Response[str]:
        """A page with a token for its forms. `styled`: it holds the page of a mail in a frame of its own, which has its styles in itself."""
        token = Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, self._csrf.token(request.scope))
        text = self._env.get_template(template).render(
            csrf=token, admin=admin, displaced=self._displaced() if admin is not None else 0, phones=self._phones, **values
        )
        return Response(text, status_code=status, media_type=MediaType.HTML, headers={**book.PRIVATE, **(STYLED if styled else {})})

    def problem(self, document: Mapping[str, Any], scope: Mapping[str, Any]) -> str:
        """For `Problems(render_page=…)`: whatever goes wrong on a page, told in its frame."""
        return self._env.get_template("manage_problem.html").render(
            csrf="", admin=None, title=document["title"], detail=document["detail"], status=document["status"],
            request_id=document.get("request_id", ""),
        )  # fmt: skip
