"""Notes to the staff by Slack's incoming webhooks: the wire and the channel.

A hook's address is its secret: it is in no error, no outcome and no log. Slack gives no id and takes no letter back. Invariant: nothing
that a guest wrote can call the whole channel or pose as a link.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import msgspec

from shared.outcomes import Later, Misconfigured, Never, Outcome, Taken, Unknown

from ..ports import Letter
from . import answers
from .channels import Around

TEXT_MAX = 40_000


class SlackSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[channels.slack]: `hooks` names files, each with one hook's address; the name is what a letter is sent to."""

    hooks: dict[Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")], str]
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0


SETTINGS = SlackSettings


def open_channel(settings: SlackSettings, around: Around) -> Slack:
    """Raises ConfigError, ValueError."""
    hooks = {name: around.secret(file, f"hooks.{name}") for name, file in settings.hooks.items()}
    return Slack(hooks, timeout_s=settings.timeout_s, now=around.now)


class Slack:
    """`cloud_hub.ports.Channel` for Slack. `hooks`: name -> address. ValueError (with a sentence, without the address) for a wrong one."""

    name = "slack"
    vendor = "slack"
    finds = False

    def __init__(self, hooks: Mapping[str, str], *, timeout_s: float = 10.0, connect_timeout_s: float = 3.0, now: Callable[[], float]):
        self._hooks = {name: answers.checked_url(url, f"hooks.{name}") for name, url in hooks.items()}
        self._now = now
        # At INFO it writes the address of every request into the log.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        limit = httpx.Timeout(timeout_s, connect=min(connect_timeout_s, timeout_s))
        # An emulator on this machine is asked directly, whatever proxy the environment names.
        here = any(answers.is_loopback(urlsplit(url).hostname or "") for url in self._hooks.values())
        self._http = httpx.AsyncClient(timeout=limit, follow_redirects=False, trust_env=not here)

    async def send(self, letter: Letter) -> Outcome:
        if late := answers.worthless(letter, self._now()):
            return late
        url = self._hooks.get(letter.to)
        if url is None:
            return Misconfigured(answers.told(f"There is no Slack hook named {letter.to!r} in the settings."))
        try:
            answer = await self._http.post(url, json={"text": _text(letter)})
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Later(f"Slack cannot be reached ({type(error).__name__}).")
        except httpx.HTTPError as error:
            return Unknown(f"Slack's answer was lost ({type(error).__name__}).")
        return self._judged(answer)

    async def find(self, letter: Letter, since_at: int) -> Taken | None | Unknown:
        return Unknown("Slack cannot be asked what it has shown.")

    async def close(self) -> None:
        await self._http.aclose()

    def _judged(self, answer: httpx.Response) -> Outcome:
        status, said = answer.status_code, answers.told(answer.text)
        if status == 200:
            return Taken(final=True) if said == "ok" else Unknown("Slack's answer makes no sense.")
        if status == 429:
            return Later("Slack has too much to do for us just now (429).", answers.after_s(answer.headers.get("Retry-After"), self._now()))
        if status >= 500 or status == 408 or 200 < status < 300:
            return Unknown(f"Slack answered {status}.")
        reason = f"Slack answered {status}." if answers.looks_like_html(said) else f"Slack said {said!r} ({status})."
        return Never(said or "400", reason) if status in (400, 413) else Misconfigured(reason)


def escaped(text: str) -> str:
    """Text as Slack shows it, and nothing else: `<!channel>` stays these letters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(letter: Letter) -> str:
    whole = escaped(f"{letter.subject}\n{letter.text}" if letter.subject else letter.text)
    if len(whole) <= TEXT_MAX:
        return whole
    cut = whole[: TEXT_MAX - 1]
    begun = cut.rfind("&")  # an entity that was cut in two would show as rubbish
    return (cut[:begun] if begun > len(cut) - 5 and ";" not in cut[begun:] else cut) + "…"
