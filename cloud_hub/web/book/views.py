"""Pages from templates: what every page is given, and the answers they travel in.

What it is not: a decision. Handlers bring values of the services; here they get words and a frame.
Invariant: templates escape whatever they print, and an answer about one guest is kept by no cache, index or referrer.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from litestar import MediaType, Request, Response
from markupsafe import Markup

from shared.errors import Refusal, status_of
from shared.runtime.csrf import FIELD, Csrf
from shared.runtime.templates import environment

from . import words

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
STEPS = ("Place", "Time", "Details", "Done")
#: about one guest: no robot lists it and nothing keeps it
PRIVATE = {"x-robots-tag": "noindex, nofollow", "cache-control": "no-store"}


class Views:
    """`static_url` gives the address of a file of ours. Templates know `words` and nothing of the services."""

    def __init__(self, csrf: Csrf, static_url: Callable[[str], str]):
        self._csrf = csrf
        self._env = environment(FOLDER / "templates", words=words, static=static_url, steps=STEPS)
        self._env.filters["safe_svg"] = Markup  # our own QR picture

    def page(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        public: bool = False,
        **values: Any,
    ) -> Response[str]:
        """A page with a token for its forms. `public` pages are about nobody and may be found by search."""
        token = Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, self._csrf.token(request.scope))
        text = self._env.get_template(template).render(csrf=token, path=request.url.path, public=public, **values)
        return Response(text, status_code=status, media_type=MediaType.HTML, headers={**({} if public else PRIVATE), **(headers or {})})

    def visitor(self, request: Request) -> str:
        """What only this browser knows; one that is new gets it with the answer."""
        return self._csrf.visitor(request.scope)

    def problem(self, document: Mapping[str, Any], scope: Mapping[str, Any]) -> str:
        """For `Problems(render_page=…)`: whatever goes wrong on a page, told in its frame."""
        told = [
            item.get("message", "") if isinstance(item, Mapping) else getattr(item, "message", "")
            for item in document.get("violations", ())
        ]
        return self._env.get_template("problem.html").render(
            csrf="", public=False, path=scope.get("path", ""), title=document["title"], detail=document["detail"], told=[one for one in told if one],
            status=document["status"], request_id=document.get("request_id", ""),
        )  # fmt: skip


def sentences(refusal: Refusal) -> list[str]:
    """Every violated rule as a sentence; the refusal's own where no rule is named."""
    return [one.detail for one in refusal.violations] or [refusal.detail]


def status(refusal: Refusal) -> int:
    return status_of(refusal.code)
