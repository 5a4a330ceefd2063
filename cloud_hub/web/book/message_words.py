"""What the page of messages says of each channel, and why one brings nothing.

Invariant: an address appears masked only, and whoever reads that something brings nothing reads what can be done.
"""

from cloud_hub.services.reaching import Way
from shared.notifications import USUAL_QUIET

NAMES = {"sms": "SMS", "mail": "E-mail", "push": "Push", "app": "On your booking’s page"}
LANGUAGES = {"en": "English", "fr": "Français"}
_CALL = "If that is wrong, please call us."
#: (channel, why nothing is sent by it) -> what is said of it; "{to}" is the masked address
_WHY = {
    ("sms", "none"): "No mobile number is known that an SMS reaches.",
    ("sms", "stop"): "You answered STOP from {to}, so nothing is sent there. Text START to that same number of ours to hear from us.",
    ("sms", "dead"): "An SMS cannot be delivered to {to}. " + _CALL,
    ("mail", "none"): "No e-mail address is known.",
    ("mail", "stop"): "You asked us to write no more to {to}. To change that, please call us.",
    ("mail", "dead"): "Mail cannot be delivered to {to}. " + _CALL,
    ("mail", "bounced"): "Mail to {to} came back, so none is sent there. " + _CALL,
    ("mail", "complained"): "A mail to {to} was marked as unwanted, so none is sent there. " + _CALL,
    ("mail", "unsubscribed"): "You unsubscribed from mail to {to}. To change that, please call us.",
    ("push", "none"): "No device is told of this booking yet.",
}


def about(way: Way) -> str:
    """One line about a channel."""
    if way.why:
        return _WHY.get((way.name, way.why), "Nothing can be sent by it just now. " + _CALL).format(to=way.shown)
    if way.name == "push":
        return "to one device" if way.shown == "1" else f"to {way.shown} devices"
    return "under “What we told you”, for whoever opens it" if way.name == "app" else f"to {way.shown}"


def clock(minute: int) -> str:
    """A minute of the day: "22:00"."""
    return f"{minute // 60:02}:{minute % 60:02}"


def usual_quiet() -> str:
    return f"from {clock(USUAL_QUIET[0])} until {clock(USUAL_QUIET[1])}"
