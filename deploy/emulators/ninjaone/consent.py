"""The page at which a person lets an app act for them: who asks for what, Allow and Deny.

Not for: tokens. Invariant: nothing is allowed by looking; only the form's Allow makes a code.
"""

from html import escape

from deploy.emulators.messages.wire import Answer
from deploy.emulators.ninjaone.errors import ApiError
from deploy.emulators.ninjaone.http import Request
from deploy.emulators.ninjaone.oauth import OAuth

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_KEPT = ("response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method")
_MEANS = {
    "monitoring": "see devices, alerts and what was done",
    "management": "change devices and run scripts",
    "control": "open remote sessions",
    "offline_access": "stay connected",
}


def answer(oauth: OAuth, technician: str, request: Request) -> Answer:
    """The page, or where its form leads. Errors are shown on the page: the app's address is not trusted until all is right."""
    try:
        if request.method == "GET":
            oauth.asked(request.query)
            return _html(200, _page(request.query, technician))
        if request.method == "POST":
            form = request.form()
            return Answer(302, headers={"Location": oauth.allow(form, technician, yes=form.get("answer") == "allow")})
    except ApiError as error:
        return _html(error.status, f"<h1>{escape(error.text)}</h1><p>{escape(error.code)}</p>")
    raise ApiError(405, "method_not_allowed", "Use GET.")


def _page(query: dict[str, str], technician: str) -> str:
    hidden = "".join(f'<input type="hidden" name="{name}" value="{escape(query[name])}">' for name in _KEPT if name in query)
    wanted = "".join(f"<li>{escape(_MEANS.get(scope, scope))}</li>" for scope in query.get("scope", "").split())
    return f"""<h1>NinjaOne <small>emulated</small></h1><section class="card"><h2>{escape(query["client_id"])} asks to act for you</h2>
<p>You are signed in as {escape(technician)}. It wants to:</p><ul>{wanted}</ul>
<form method="post">{hidden}<button name="answer" value="allow">Allow</button><button name="answer" value="deny" class="plain">Deny</button></form></section>"""


def _html(status: int, body: str) -> Answer:
    text = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>NinjaOne (emulated)</title><link rel="stylesheet" href="/_emulator/page.css"><link rel="icon" href="/_emulator/icon.svg"></head><body>{body}</body></html>"""
    return Answer(status, text.encode(), "text/html; charset=utf-8", _HEADERS)
