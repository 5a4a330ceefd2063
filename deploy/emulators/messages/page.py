"""The emulators' page for people: what customers received, like the phone it came to, and what can be broken.

Not for: changing anything (its script posts to the desk). Invariants: every value is escaped; a mail's HTML appears only in a sandboxed frame; the
page shows everything without its script, which keeps it fresh and presses the buttons.
"""

import datetime as dt
from html import escape
from pathlib import Path
from urllib.parse import urlencode

from deploy.emulators.common import page as common
from deploy.emulators.messages.faults import VENDORS
from deploy.emulators.messages.inbox import Recipient, Shown
from deploy.emulators.messages.vendors import Vendors

STATIC = Path(__file__).parent / "static"
MESSAGES_SHOWN = 100
PREVIEW_MAX = 600
CHANNELS = {"": "Everything", "sms": "SMS", "mail": "Mail", "push": "Push", "slack": "Slack"}
NAMES = {"twilio": "Twilio", "sendgrid": "SendGrid", "smtp": "Mail server", "slack": "Slack", "web_push": "Push service"}
_GOOD = {"delivered", "shown", "received", "read"}
_BAD = {"failed", "undelivered", "bounced", "blocked", "dropped", "expired", "unreadable", "canceled"}
_KINDS = {
    "status": "answers with an error",
    "lost": "does it, then closes without an answer",
    "slow": "does it late",
    "html": "answers with a gateway's page",
    "empty": "answers with nothing",
}


def render(box: Vendors, to: str, channel: str) -> str:
    """The whole page, for one recipient or channel if named."""
    writer = _composer(to) if to.startswith("+") else ""
    body = f"""<nav aria-label="Channels">{_tabs(channel, to)}</nav>
<div class="desk"><section id="people" aria-label="Recipients">{_people(box, to, channel)}</section>
<main class="phone"><div id="screen">{_screen(box, to, channel)}</div>{writer}</main>
<aside aria-label="What is broken on purpose"><div id="vendors">{_vendors(box)}</div>{_break_form()}</aside></div>"""
    return common.document("What customers received", "emulated", body, STATIC, again_s=5, css_class="one" if to else "all")


def board(box: Vendors, to: str, channel: str) -> str:
    """The parts that change; the script puts each in its place."""
    return (
        f'<section id="people">{_people(box, to, channel)}</section><div id="screen">{_screen(box, to, channel)}</div>'
        f'<div id="vendors">{_vendors(box)}</div>'
    )


def _tabs(channel: str, to: str) -> str:
    here = ' aria-current="page"'
    return "".join(
        f'<a href="/_emulator/{_query(channel=key)}"{here if key == channel and not to else ""}>{word}</a>'
        for key, word in CHANNELS.items()
    )


def _people(box: Vendors, to: str, channel: str) -> str:
    everybody = [one for one in box.inbox.recipients() if not channel or one.channel == channel]
    if not everybody:
        return '<p class="empty">Nobody received anything yet.</p>'
    return f'<ul class="people">{"".join(_person(box, one, to) for one in everybody)}</ul>'


def _person(box: Vendors, one: Recipient, to: str) -> str:
    here = ' aria-current="true"' if one.to == to else ""
    text = one.newest.title or one.newest.text
    return (
        f'<li><a href="/_emulator/{_query(to=one.to, channel=one.channel)}"{here}><span class="badge {one.channel}">'
        f"{CHANNELS[one.channel]}</span><strong>{escape(one.to)}</strong><time>{_time(box, one.newest.at, short=True)}</time>"
        f'<span class="line">{escape(text[:80])}</span><span class="count">{one.count}</span></a></li>'
    )


def _screen(box: Vendors, to: str, channel: str) -> str:
    shown = box.inbox.shown(to, channel, MESSAGES_SHOWN)
    title = escape(to) if to else CHANNELS[channel]
    back = f'<a class="back" href="/_emulator/{_query(channel=channel)}">All recipients</a>' if to else ""
    head = f'<div class="top">{back}<h2>{title}</h2><p>{_time(box, box.now())}</p></div>'
    if not shown:
        return f'{head}<p class="empty">No message yet. What is sent appears here by itself.</p>'
    return f'{head}<ol class="messages">{"".join(_message(box, one, bool(to)) for one in shown)}</ol>'


def _message(box: Vendors, one: Shown, opened: bool) -> str:
    mood = "good" if one.state in _GOOD else "bad" if one.state in _BAD else "open"
    whom = "" if opened else f'<a class="to" href="/_emulator/{_query(to=one.to, channel=one.channel)}">{escape(one.to)}</a>'
    title = f"<h3>{escape(one.title)}</h3>" if one.title else ""
    text = one.text if not one.html else one.text[:PREVIEW_MAX] + ("…" if len(one.text) > PREVIEW_MAX else "")
    notes = "".join(f"<li>{escape(note)}</li>" for note in one.notes + ((one.url,) if one.url else ()))
    state = escape(one.state + (f": {one.reason}" if one.reason else ""))
    sender = f"<span>from {escape(one.sender)}</span>" if one.sender and not one.mine else ""
    return (
        f'<li class="message {one.channel}{" mine" if one.mine else ""}" id="{escape(one.id)}" data-mark="{state}">'
        f'<p class="meta"><span class="badge {one.channel}">{CHANNELS[one.channel]}</span>{whom}{sender}'
        f'<time>{_time(box, one.at)}</time></p><div class="bubble">{title}<p class="text">{escape(text)}</p>{_frame(one, opened)}'
        f"{f'<ul class=notes>{notes}</ul>' if notes else ''}</div>"
        f'<p class="foot"><span class="state {mood}">{state}</span>{_deeds(one, opened)}</p></li>'
    )


def _frame(one: Shown, opened: bool) -> str:
    if not one.html:
        return ""
    return (
        f"<details{' open' if opened else ''}><summary>As the mail looks</summary>"
        f'<iframe sandbox loading="lazy" title="The mail" src="/_emulator/letters/{escape(one.id)}"></iframe></details>'
    )


def _deeds(one: Shown, opened: bool) -> str:
    """What can be done with a message; where it can be answered below, that is not offered beside each."""
    if one.vendor == "sendgrid":
        words = {"bounce": "Bounce it", "spam": "Mark as spam", "unsubscribe": "Unsubscribe", "open": "Open it"}
        return "".join(common.button("/mail", {"message": one.id, "event": what}, word) for what, word in words.items())
    if one.vendor == "twilio" and not one.mine and not opened:
        return "".join(common.button("/sms", {"sender": one.to, "text": word}, f"Reply {word}") for word in ("STOP", "START"))
    if one.vendor == "web_push":
        return common.button("/push", {"subscription": one.to, "state": "gone"}, "End the subscription")
    return ""


def _vendors(box: Vendors) -> str:
    rows = []
    for vendor in VENDORS:
        fault = box.faults[vendor]
        waiting = [f"{one.count} × {_KINDS[one.kind]}" for one in fault.waiting()]
        troubles = (["its key is refused"] if fault.revoked else []) + waiting
        word = "Give the key back" if fault.revoked else "Revoke the key"
        buttons = common.button("/faults", {"revoked": {vendor: not fault.revoked}}, word)
        buttons += common.button("/faults", {"refuse": {"vendor": vendor, "seconds": 10}}, "Refuse for 10 s")
        if vendor in ("twilio", "sendgrid"):
            held, holds = box.webhooks.held(vendor), box.webhooks.scripts[vendor].hold
            troubles += [f"holds its webhooks, {held} so far"] if holds else []
            change = {"vendor": vendor, "hold": not holds} | ({"release": "shuffled"} if holds else {})
            buttons += common.button("/webhooks", change, "Release its webhooks" if holds else "Hold its webhooks")
        mood = "bad" if troubles else "good"
        rows.append(
            f'<li><strong>{NAMES[vendor]}</strong><span class="state {mood}">{escape(", ".join(troubles) or "well")}</span>'
            f'<span class="deeds">{buttons}</span></li>'
        )
    end = common.button("/faults", {"clear": True}, "Mend everything")
    return f'<h2>Vendors</h2><ul class="vendors">{"".join(rows)}</ul><p class="deeds">{end}</p>'


def _break_form() -> str:
    vendors = "".join(f'<option value="{vendor}">{NAMES[vendor]}</option>' for vendor in VENDORS)
    kinds = "".join(f'<option value="{kind}">{word}</option>' for kind, word in _KINDS.items())
    return f"""<form id="break"><h2>Break the next requests</h2><label>Vendor <select name="vendor">{vendors}</select></label>
<label>What it does <select name="kind">{kinds}</select></label>
<label>How many <input name="count" type="number" min="1" max="100000" value="1" required></label>
<label>Seconds <input name="seconds" type="number" min="0" max="600" step="0.1" value="0" required></label>
<label>Status <input name="status" type="number" min="200" max="599" placeholder="usual"></label>
<label>Retry-After <input name="retry_after_s" type="number" min="0" max="600" placeholder="none"></label>
<label class="check"><input name="acts" type="checkbox"> acts all the same</label><button>Break</button></form>"""


def _composer(to: str) -> str:
    number = escape(to)
    quick = "".join(common.button("/sms", {"sender": to, "text": word}, word) for word in ("STOP", "START", "HELP"))
    return (
        f'<form id="composer" data-sender="{number}"><label for="text">Write as {number}</label>'
        f'<div class="row"><input id="text" name="text" maxlength="1600" autocomplete="off" required><button>Send</button></div>'
        f'<div class="deeds">{quick}</div></form>'
    )


def _query(**wanted: str) -> str:
    given = {name: value for name, value in wanted.items() if value}
    return escape(f"?{urlencode(given)}") if given else ""


def _time(box: Vendors, at: float, short: bool = False) -> str:
    """The facility's local time; with the zone's name, since one hour a year comes twice."""
    local = dt.datetime.fromtimestamp(at, box.timezone)
    return local.strftime("%H:%M") if short else local.strftime("%a %d %b %H:%M:%S %Z")
