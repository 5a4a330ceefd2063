"""Values as an admin reads them: moments in UTC and how long ago, states of work, what each of a row's times means, what a row is about.

What messages are called, and what may stand in them, is in `words_of_texts`. Invariant: a moment is always said with its zone, and with how far it
is from now beside it or in its place.
"""

from datetime import UTC, datetime

from cloud_hub.services.work_desk import About, Lane

from .words_of_texts import CHANNELS, EVENTS

#: state -> (what it is called, what it means)
STATES: dict[str, tuple[str, str]] = {
    "waiting": ("Waiting", "It waits for its turn."),
    "taken": ("Being done", "It is being done just now."),
    "unknown": ("Not known", "It may have been done. Nothing is done again before somebody knows."),
    "sent": ("Sent", "The vendor has it. What became of it has not been reported yet."),
    "done": ("Done", "It is done."),
    "dropped": ("Dropped", "It was not done, because nobody wanted it any more or its moment had passed."),
    "stuck": ("Stuck", "It was not done, and nothing more happens before a person has it tried again."),
}
#: state -> what `next_at` is then
NEXT = {"waiting": "Next try", "unknown": "Looked up next", "sent": "Report expected until"}
#: what of a row is on top: what needs a person, then what is under way
ORDER = ("stuck", "unknown", "waiting", "taken", "sent", "done", "dropped")


#: lane -> what it does, for people
LANES = {
    "plan": "Whom to tell", "twilio": "SMS by Twilio", "sendgrid": "Mail by SendGrid", "smtp": "Mail by SMTP", "web_push": "Push to browsers",
    "slack": "Slack",
}  # fmt: skip

#: kind of a row -> how its title begins, before what the event is called
KINDS = {"plan": "Whom to tell: ", "message": "", "test": "Test of words: "}


def title(about: About, facility: str) -> str:
    """What a row is about: "Confirmation by SMS, Bedford, order K7QF2MX"."""
    event = EVENTS[about.event].name if about.event in EVENTS else about.event.replace("_", " ")
    begins = KINDS.get(about.kind, f"{about.kind.replace('_', ' ').capitalize()}{': ' if event else ''}")
    by = f" by {CHANNELS.get(about.channel, about.channel)}" if about.channel else ""
    parts = [f"{begins}{event}{by}", facility, f"order {about.reference}" if about.reference else ""]
    return ", ".join(part for part in parts if part) or "Work"


def lane(name: str) -> str:
    """ "SMS by Twilio"; of a lane that has no words, its name as words."""
    return LANES.get(name) or name.replace("_", " ").capitalize()


def state(name: str) -> str:
    return STATES[name][0]


def moment(at: float) -> str:
    """A unix second: "Sat 21 Nov 2026, 16:00:05 UTC"."""
    there = datetime.fromtimestamp(at, UTC)
    return f"{there:%a} {there.day} {there:%b %Y, %H:%M:%S} UTC"


def machine(at: float) -> str:
    """The same for `<time datetime>`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(seconds: float) -> str:
    """ "40 s", "3 min", "5 h", "2 days": one unit, rounded down."""
    whole = int(seconds)
    for unit, length, more in ((" day", 86_400, "s"), (" h", 3600, ""), (" min", 60, "")):
        if whole >= length * (2 if unit == " day" else 1):
            n = whole // length
            return f"{n}{unit}{more if n > 1 else ''}"
    return f"{whole} s"


def away(at: float, now: float) -> str:
    """How far from now: "3 min ago", "in 2 h", "now"."""
    if int(at) == int(now):
        return "now"
    return f"{span(now - at)} ago" if at < now else f"in {span(at - now)}"


def condition(lane: Lane, now: float) -> tuple[str, str]:
    """How a vendor does: `good`, `calm` or `warn`, and a sentence."""
    if lane.doing is None:
        return "warn", "No channel of this hub works in it, so nothing of it is done."
    if lane.away_since:
        left = f"It is asked again {away(lane.open_until, now)}." if lane.open_until > now else "One thing at a time is tried."
        return "warn", f"Left alone for {span(now - lane.away_since)}. {left} {lane.why}".strip()
    if lane.why:
        return "calm", f"Its last try failed: {lane.why}"
    if lane.rows.get("stuck"):
        return "calm", "It goes on; what is stuck waits for a person."
    return "good", "No trouble."
