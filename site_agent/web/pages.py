"""Pages out of templates: one Jinja environment, everything escaped, and what every page is told.

Invariant: a template gets values, never services; scripts and styles come from our own static files only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litestar import Response

from shared.runtime.static import RUNTIME_STATIC, StaticFiles
from shared.runtime.templates import environment

HERE = Path(__file__).parent


class Pages:
    """Renders templates; `static` gives the addresses of scripts and styles."""

    def __init__(self) -> None:
        self.static = StaticFiles({"site": HERE / "static", "runtime": RUNTIME_STATIC})
        self._jinja = environment(HERE / "templates", static=self.static.url)

    def text(self, template: str, **values: Any) -> str:
        return self._jinja.get_template(template).render(**values)

    def page(self, template: str, status: int = 200, **values: Any) -> Response[str]:
        return Response(self.text(template, **values), status_code=status, media_type="text/html; charset=utf-8")

    def problem(self, document: Mapping[str, Any], scope: Mapping[str, Any]) -> str:
        """The page of a refusal, for browsers. What an unpaired browser may see of us is no more than this."""
        if document["status"] == 404:
            return "<!doctype html><html lang=en><meta charset=utf-8><title>Not found</title><p>There is nothing here."
        return self.text("problem.html", problem=document, back="/kiosk" if scope["path"].startswith("/kiosk") else "/staff")
