"""`site-agent ninjaone connect`, `webhook` and `status`: what the installer does once, and looks at afterwards.

Not for: options and settings (`__main__` reads them). Invariant: neither prints a token, a code or a secret; `status` changes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from shared.errors import Failure
from site_agent.devices.ninjaone.consent import WITHIN_S, Listener
from site_agent.devices.ninjaone.machines import DAY_S, LAPSES_AFTER_S, NinjaOneMachines
from site_agent.devices.ninjaone.words import is_uid
from site_agent.ports import Machine

Say = Callable[[str], None]
#: below the hub's address; the least that the secret of its calls must have
HOOK_PATH, SECRET_MIN, LOOPBACK = "/hooks/machines/ninjaone", 24, ("127.0.0.1", "localhost", "::1")
_SIGN_IN = "Open this address and sign in as the technician who looks after the bays' PCs, then press Allow:"


class Bay(NamedTuple):
    """A bay as people call it, and its machine's id (empty: none is named)."""

    name: str
    machine_id: str


async def connect(
    machines: NinjaOneMachines, say: Say, *, port: int = 0, redirect: str = "", ask: Callable[[str], str] | None = None
) -> None:
    """The one consent: prints the address, waits for the browser's way back on this machine, keeps what it gives.

    `redirect`: the address that is registered with a web app; then, and wherever the browser runs elsewhere, `ask` takes what it shows.
    Raises ValueError with a sentence, and the port's failures.
    """
    if redirect or ask is not None:
        consent = machines.asking(redirect or f"http://127.0.0.1:{port or 8765}/ninjaone")
        if ask is None:
            raise ValueError("What comes back to another address than this machine's must be pasted.")
        say(f"{_SIGN_IN}\n\n  {consent.url}\n")
        code = consent.code_in(ask("Then paste the whole address that the browser shows: "))
    else:
        async with Listener(port) as listener:
            consent = machines.asking(listener.redirect_uri)
            say(f"{_SIGN_IN}\n\n  {consent.url}\n\nThe browser must run on this machine; from another one, use --paste.")
            try:
                code = await listener.code(consent)
            except TimeoutError:
                raise ValueError(f"Nobody allowed it within {WITHIN_S / 60:.0f} minutes. Nothing has changed.") from None
    kept = await machines.keep(consent, code)
    say(f"Connected: scripts are run in the name of whoever just signed in, with the rights {kept.scopes or 'that the app has'}.")
    say("A running agent uses it from now on; it is renewed by itself.")


async def webhook(machines: NinjaOneMachines, say: Say, hub_url: str, secret: str) -> None:
    """Has NinjaOne call the hub at this address; an empty one ends that. Raises ValueError with a sentence, and the port's failures."""
    if not hub_url:
        await machines.call_at("", "")
        say("NinjaOne calls the booking centre no more. Machines are looked at by the clock, as before.")
        return
    parts = urlsplit(hub_url)
    if parts.scheme not in ("https", "http") or not parts.hostname or (parts.scheme == "http" and parts.hostname not in LOOPBACK):
        raise ValueError(f"{hub_url!r} is no address at which NinjaOne could call: give the booking centre's, as https://book.example.com.")
    if len(secret) < SECRET_MIN or not secret.isascii() or not secret.isprintable():
        raise ValueError(
            f"The secret needs at least {SECRET_MIN} plain characters; the booking centre has the same in [machines.ninjaone]."
        )
    url = f"{hub_url.rstrip('/')}{HOOK_PATH}"
    await machines.call_at(url, secret)
    say(f"NinjaOne calls {url} from now on, for all facilities of this app: it keeps one such address.")
    say("Trouble shows within seconds; a call that is lost is made up for by the next look.")


async def status(
    machines: NinjaOneMachines, say: Say, now: float, bays: Collection[Bay], scripts: Mapping[str, str], zone: dt.tzinfo
) -> bool:
    """What works: the address, the consent, each bay's machine, each approved script (label -> id). False where something does not."""
    say(f"NinjaOne at {machines.settings.url}")
    good = _consent(machines, say, now, zone)
    try:
        found = {one.machine_id: one for one in await machines.machines()}
        library = await machines.library() if scripts else {}
    except Failure as error:
        say(f"Reading: {error.detail}")
        return False
    say(f"Reading: {len(found)} machines")
    for bay in bays:
        good &= _bay(bay, found, say)
    named = {bay.machine_id for bay in bays}
    for one in found.values():
        if one.machine_id not in named:
            say(f"  {one.name} ({one.machine_id}) is no bay's")
    for label, script in scripts.items():
        known = library.get(script, "a built-in action" if is_uid(script) else "")
        say(f"Script {label}: {script}, {known}" if known else f"Script {label}: NinjaOne's library has no script {script}")
        good &= bool(known)
    return good


def _consent(machines: NinjaOneMachines, say: Say, now: float, zone: dt.tzinfo) -> bool:
    alarms, kept = machines.alarms(), machines.kept()
    for alarm in alarms:
        say(f"Consent: {alarm}")
    if alarms or kept is None:
        if not alarms:
            say("Consent: the settings ask for none, so no script is run")
        return not alarms
    lapses = dt.datetime.fromtimestamp(kept.renewed_at + LAPSES_AFTER_S, zone)
    days = (now - kept.granted_at) / DAY_S
    say(f"Consent: given {days:.0f} days ago, lapses on {lapses:%d %b %Y} unless it is renewed, which happens each week")
    return True


def _bay(bay: Bay, found: Mapping[str, Machine], say: Say) -> bool:
    if not bay.machine_id:
        say(f"  {bay.name}: no machine is named in the settings (machine_id)")
        return True
    one = found.get(bay.machine_id)
    if one is None:
        say(f"  {bay.name}: NinjaOne has no machine {bay.machine_id} here")
        return False
    say(f"  {bay.name}: {one.name} ({one.machine_id}), {one.health}{': ' + ' '.join(one.troubles) if one.troubles else ''}")
    return True
