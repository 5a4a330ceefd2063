"""The emulated NinjaOne's OAuth: apps, a person's consent with PKCE, tokens that remember whether a person stands behind them.

Not for: HTTP. Invariants: a code is good once and for its own app, redirect and challenge; a token never has a scope that its app lacks; what
was revoked stays so.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from random import Random
from typing import Literal
from urllib.parse import urlencode, urlsplit

import msgspec

from deploy.emulators.ninjaone.errors import ApiError
from deploy.emulators.ninjaone.variants import Variants

SCOPES = ("monitoring", "management", "control")
CODE_S = 120
TOKENS_MAX = 10_000
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class App(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A client app. machine: client credentials only. web: a person's consent, with a secret. native: the same without one, with PKCE, back to
    any port of the person's own machine. `redirects` are the web app's."""

    client_id: str
    kind: Literal["machine", "web", "native"]
    secret: str = ""
    scopes: tuple[str, ...] = ("monitoring", "management")
    redirects: tuple[str, ...] = ()
    refreshes: bool = True


class Token(msgspec.Struct, frozen=True):
    """An access token. `user` is empty where no person stands behind it; `family` joins what came of one consent."""

    text: str
    client_id: str
    scopes: frozenset[str]
    user: str
    expires_at: float
    family: str = ""


class _Code(msgspec.Struct, frozen=True):
    client_id: str
    redirect_uri: str
    challenge: str
    scopes: tuple[str, ...]
    user: str
    ends_at: float


class _Refresh(msgspec.Struct):
    """A refresh token; `spent` once it was exchanged, `successor` what for."""

    client_id: str
    scopes: tuple[str, ...]
    user: str
    family: str
    ends_at: float
    spent: bool = False
    dead: bool = False
    before: str = ""


class OAuth:
    """Apps and tokens. `access_s`, `refresh_s`: how long they live."""

    def __init__(
        self, apps: tuple[App, ...], now: Callable[[], float], rng: Random, variants: Variants, access_s: float, refresh_s: float
    ) -> None:
        self.apps = {app.client_id: app for app in apps}
        self.access_s, self.refresh_s = access_s, refresh_s
        self.revoked = False
        """Whether everything is refused: an administrator took the apps back."""
        self.grants: list[tuple[float, str, str]] = []
        """What tokens were given: (unix seconds, grant type, app), oldest first."""
        self._now, self._rng, self._variants = now, rng, variants
        self._codes: dict[str, _Code] = {}
        self._tokens: dict[str, Token] = {}
        self._refreshes: dict[str, _Refresh] = {}

    # ---- a person's consent
    def asked(self, query: Mapping[str, str]) -> App:
        """Checks what an authorize address asks for. ApiError, as the page would show it."""
        app = self.apps.get(query.get("client_id", ""))
        if app is None or app.kind == "machine":
            raise ApiError(400, "invalid_client", "Client app not exist")
        if query.get("response_type") != "code":
            raise ApiError(400, "unsupported_response_type", "response_type must be code.")
        if not _redirect_fits(app, query.get("redirect_uri", "")):
            raise ApiError(400, "invalid_request", "redirect_uri is none of this app's.")
        if app.kind == "native" and (query.get("code_challenge_method") != "S256" or not query.get("code_challenge")):
            raise ApiError(400, "invalid_request", "A native app needs a code_challenge with S256.")
        self._scopes(app, query.get("scope", ""))
        return app

    def allow(self, query: Mapping[str, str], user: str, *, yes: bool = True) -> str:
        """A person has decided: where their browser goes next."""
        app = self.asked(query)
        answer = {"state": query["state"]} if query.get("state") else {}
        if not yes:
            return _with_query(query["redirect_uri"], {"error": "access_denied", **answer})
        code = self._secret()
        scopes = self._scopes(app, query.get("scope", ""))
        self._codes[code] = _Code(app.client_id, query["redirect_uri"], query.get("code_challenge", ""), scopes, user, self._now() + CODE_S)
        return _with_query(query["redirect_uri"], {"code": code, **answer})

    # ---- the token endpoint
    def token(self, form: Mapping[str, str]) -> dict[str, object]:
        """The answer of the token endpoint. ApiError in the gateway's words."""
        app = self.apps.get(form.get("client_id", ""))
        if app is None or self.revoked or not hmac.compare_digest(app.secret.encode(), form.get("client_secret", "").encode()):
            raise ApiError(401, "invalid_client", "Client app not exist" if app is None else "Invalid client credentials.")
        grant = form.get("grant_type", "")
        if grant == "client_credentials" and app.kind == "machine":
            answer = self._machine(app, form)
        elif grant == "authorization_code" and app.kind != "machine":
            answer = self._exchange(app, form)
        elif grant == "refresh_token" and app.kind != "machine" and app.refreshes:
            answer = self._renew(app, form)
        else:
            raise ApiError(400, "unsupported_grant_type", f"This app may not use the grant type {grant!r}.")
        self.grants.append((self._now(), grant, app.client_id))
        return answer

    def _machine(self, app: App, form: Mapping[str, str]) -> dict[str, object]:
        asked = form.get("scope", "").split()
        if "offline_access" in asked:
            if self._variants.machine_offline_access == "refused":
                raise ApiError(400, "invalid_scope", "offline_access is not for client credentials.")
            asked.remove("offline_access")
        return self._answer(app, self._scopes(app, " ".join(asked)), "", "")

    def _exchange(self, app: App, form: Mapping[str, str]) -> dict[str, object]:
        code = self._codes.pop(form.get("code", ""), None)
        if (
            code is None
            or code.client_id != app.client_id
            or code.redirect_uri != form.get("redirect_uri", "")
            or code.ends_at < self._now()
        ):
            raise ApiError(400, "invalid_grant", "The code is unknown, used, too old or another app's.")
        if code.challenge and not hmac.compare_digest(code.challenge, challenge_of(form.get("code_verifier", ""))):
            raise ApiError(400, "invalid_grant", "The code_verifier does not fit.")
        return self._answer(app, code.scopes, code.user, self._secret())

    def _renew(self, app: App, form: Mapping[str, str]) -> dict[str, object]:
        text = form.get("refresh_token", "")
        known = self._refreshes.get(text)
        if known is None or known.client_id != app.client_id or known.dead or known.ends_at < self._now():
            raise ApiError(400, "invalid_grant", "The refresh token is unknown, revoked or expired.")
        if known.spent and self._variants.old_refresh != "grace":
            if self._variants.old_refresh == "family":
                self.end_consent(known.family)
            raise ApiError(400, "invalid_grant", "The refresh token has been used.")
        if not self._variants.rotates:
            return self._answer(app, known.scopes, known.user, known.family) | {"refresh_token": text}
        known.spent = True
        if known.before:
            self._refreshes[known.before].dead = True  # the new one was used, so the old one has served
        return self._answer(app, known.scopes, known.user, known.family, before=text)

    def _answer(self, app: App, scopes: tuple[str, ...], user: str, family: str, before: str = "") -> dict[str, object]:
        while len(self._tokens) >= TOKENS_MAX:
            del self._tokens[next(iter(self._tokens))]
        text = self._secret()
        self._tokens[text] = Token(text, app.client_id, frozenset(scopes), user, self._now() + self.access_s, family)
        answer: dict[str, object] = {
            "access_token": text,
            "token_type": "Bearer",
            "expires_in": int(self.access_s),
            "scope": " ".join(scopes),
        }
        if user and app.refreshes and "offline_access" in scopes:
            refresh = self._secret()
            self._refreshes[refresh] = _Refresh(app.client_id, scopes, user, family, self._now() + self.refresh_s, before=before)
            answer["refresh_token"] = refresh
        return answer

    # ---- judging
    def bearer(self, header: str) -> Token:
        """Whose call it is. ApiError 401 for nobody's."""
        kind, _, text = header.partition(" ")
        token = self._tokens.get(text.strip()) if kind.lower() == "bearer" else None
        if not header:
            raise ApiError(401, "not_authenticated", "Invalid credentials")
        if token is None or token.expires_at <= self._now() or self.revoked:
            raise ApiError(401, "invalid_token", "The access token is invalid or has expired.")
        return token

    # ---- by hand
    def revoke_access(self) -> None:
        """Every access token is dead from now on; consents stay."""
        self._tokens.clear()

    def end_consent(self, family: str = "") -> None:
        """A person's consent is taken back: its tokens are dead. Without a family, all."""
        for refresh in self._refreshes.values():
            refresh.dead = refresh.dead or not family or refresh.family == family
        for text in [text for text, token in self._tokens.items() if token.user and (not family or token.family == family)]:
            del self._tokens[text]

    @property
    def consents(self) -> int:
        """How many consents can still be renewed."""
        now = self._now()
        return len({one.family for one in self._refreshes.values() if not one.dead and one.ends_at > now})

    def _scopes(self, app: App, asked: str) -> tuple[str, ...]:
        granted = {*app.scopes, *(("offline_access",) if app.refreshes and app.kind != "machine" else ())}
        wanted = tuple(dict.fromkeys(asked.split())) or app.scopes
        if not set(wanted) <= granted:
            raise ApiError(400, "invalid_scope", f"The app was not granted {', '.join(sorted(set(wanted) - granted))}.")
        return wanted

    def _secret(self) -> str:
        return base64.urlsafe_b64encode(self._rng.getrandbits(256).to_bytes(32, "big")).decode().rstrip("=")


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _redirect_fits(app: App, uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    if app.kind == "native" and parts.scheme == "http" and parts.hostname in LOOPBACK:
        return True
    return uri in app.redirects


def _with_query(uri: str, answer: dict[str, str]) -> str:
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}"
