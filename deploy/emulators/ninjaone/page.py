"""The emulated NinjaOne's page for people: each device with its state, what runs, what was told, and buttons to trouble them.

Not for: changing anything (its script posts to the desk). Invariants: every value is escaped; the page shows everything without its script.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from deploy.emulators.common import page as common
from deploy.emulators.ninjaone.devices import Device

if TYPE_CHECKING:
    from deploy.emulators.ninjaone.tenant import Tenant

STATIC = Path(__file__).parent / "static"
ROWS_SHOWN = 25
_KINDS = {"status": "answers with an error", "inside": "answers 200 with an error inside", "html": "answers with a gateway's page",
          "empty": "answers with nothing", "slow": "does it late", "lost": "does it, then closes without an answer"}  # fmt: skip
_MOODS = {"HEALTHY": "good", "NEEDS_ATTENTION": "bad", "UNHEALTHY": "bad", "UNKNOWN": "plain"}
_WORDS = {"HEALTHY": "healthy", "NEEDS_ATTENTION": "needs attention", "UNHEALTHY": "unhealthy", "UNKNOWN": "unknown"}


def render(tenant: Tenant) -> str:
    """The whole page."""
    kinds = "".join(f'<option value="{kind}">{word}</option>' for kind, word in _KINDS.items())
    styles = "".join(f'<option value="{name}">{name or "its own"}</option>' for name in ("", "gateway", "application", "coded", "plain"))
    body = f"""<main id="board">{board(tenant)}</main>
<section class="card" aria-labelledby="break-title"><h2 id="break-title">Break the next requests</h2><form id="break">
<label>What happens <select name="kind">{kinds}</select></label>
<label>How many <input name="count" type="number" min="1" max="1000" value="1" required></label>
<label>Status <input name="status" type="number" min="200" max="599" placeholder="usual"></label>
<label>Worded <select name="style">{styles}</select></label>
<label>Retry-After <input name="retry_after_s" type="number" min="0" max="600" placeholder="none"></label>
<label>Seconds <input name="seconds" type="number" min="0" max="600" step="0.1" value="0" required></label>
<label>Path <input name="path" placeholder="/v2/…" maxlength="100"></label><button>Break</button></form></section>"""
    return common.document("NinjaOne", "emulated", body, STATIC)


def board(tenant: Tenant) -> str:
    """The part that changes; the script swaps it in as a whole."""
    return _devices(tenant) + _troubles(tenant) + _runs(tenant) + _activities(tenant) + _grants(tenant) + _hooks(tenant)


def _devices(tenant: Tenant) -> str:
    return f'<section><h2>Devices</h2><ul class="devices">{"".join(_device(tenant, one) for one in tenant.estate.devices.values())}</ul></section>'


def _device(tenant: Tenant, machine: Device) -> str:
    row, alerts = tenant.estate.health_row(machine), tenant.estate.alerts_of(machine.id)
    health = row["healthStatus"]
    mood = "bad" if machine.offline else _MOODS[health]
    word = f"offline since {_clock(tenant, machine.last_contact)}" if machine.offline else f"online, {_WORDS[health]}"
    notes = [f"{name}: {state.lower()}" for name, state in machine.services.items()]
    notes += [f"in maintenance: {machine.maintenance.reason}"] if machine.maintenance else []
    told = "".join(f'<li class="alert">{escape(alert.message)}</li>' for alert in alerts) + "".join(
        f"<li>{escape(note)}</li>" for note in notes
    )
    buttons = common.button(
        "/device", {"device_id": machine.id, "power": machine.offline}, "Switch on" if machine.offline else "Pull the plug"
    )
    buttons += common.button("/device", {"device_id": machine.id, "alert": "The projector shows no picture"}, "Raise an alert")
    if alerts or machine.health != "HEALTHY":
        buttons += common.button("/device", {"device_id": machine.id, "mend": True}, "Mend")
    return (
        f'<li class="device {mood}"><p><strong>{escape(machine.spec.name)}</strong> <code>{machine.id}</code></p><b>{escape(word)}</b>'
        f'<ul class="notes">{told}</ul><p class="deeds">{buttons}</p></li>'
    )


def _troubles(tenant: Tenant) -> str:
    waiting = [f"{one.count} × {_KINDS[one.kind]}" for one in tenant.faults.waiting()]
    waiting += ["every app is refused"] if tenant.oauth.revoked else []
    waiting += [f"{len(tenant.estate.results)} runs end as scripted"] if tenant.estate.results else []
    buttons = common.button("/tokens", {"access": True}, "Kill access tokens") + common.button(
        "/tokens", {"consent": True}, "Take the consent back"
    )
    buttons += common.button(
        "/tokens", {"revoked": not tenant.oauth.revoked}, "Give the apps back" if tenant.oauth.revoked else "Revoke the apps"
    )
    buttons += common.button("/faults", {"refuse_s": 10}, "Refuse connections for 10 s")
    buttons += common.button(
        "/runs", {"next": [{"result": "FAILURE", "exit_code": 1, "message": "The script said no"}]}, "Let the next script fail"
    )
    buttons += common.button("/runs", {"next": [{"never": True}]}, "Let the next script never end")
    buttons += common.button("/faults", {"clear": True}, "Mend all requests")
    said = ", ".join(waiting) or "nothing"
    return f'<section><h2>What is broken on purpose</h2><p>{escape(said)}</p><p class="deeds">{buttons}</p></section>'


def _runs(tenant: Tenant) -> str:
    words = {"asked": "waits for the device", "started": "runs", "over": "over"}
    rows = [
        (_clock(tenant, run.asked_at), _name(tenant, run.device_id), run.kind, run.name, run.parameters, words[run.step], run.by)
        for run in list(reversed(tenant.estate.runs))[:ROWS_SHOWN]
    ]
    return common.table(
        "Commands", ("When", "Device", "Kind", "What", "Parameters", "State", "By"), rows, "No device was asked for anything yet."
    )


def _activities(tenant: Tenant) -> str:
    rows = [
        (_clock(tenant, one.at), _name(tenant, one.device_id), one.activity_type, one.status_code, one.result, one.message)
        for one in tenant.estate.journal.visible()[:ROWS_SHOWN]
    ]
    return common.table("Activities", ("When", "Device", "Type", "Code", "Result", "Message"), rows, "Nothing has happened yet.")


def _grants(tenant: Tenant) -> str:
    rows = [(_clock(tenant, at), app, grant) for at, grant, app in reversed(tenant.oauth.grants[-ROWS_SHOWN:])]
    return common.table("Tokens", ("When", "App", "By"), rows, "No token was given yet.")


def _hooks(tenant: Tenant) -> str:
    rows = [(_clock(tenant, one.at), one.url, str(one.status or one.trouble)) for one in list(reversed(tenant.hooks.attempts))[:ROWS_SHOWN]]
    return common.table("Webhook", ("When", "To", "Answer"), rows, "The webhook has told nobody yet.")


def _name(tenant: Tenant, device_id: int) -> str:
    machine = tenant.estate.devices.get(device_id)
    return machine.spec.name if machine else str(device_id)


def _clock(tenant: Tenant, at: float) -> str:
    return common.clock(at, ZoneInfo(tenant.settings.timezone))
