"""The operator's own words, for people: which texts there are, writing one, seeing what it makes, sending it as a test, putting it back to ours.

Not here: what a template may do (`wording_check`), how letters read the texts (`texts`), pages. Invariants: what `check` objects to is never
kept; of two who edit the same text the second is told and nothing of either is lost; who changed a text, and who sent a test of it whereto
(masked), stands in the journal, in the transaction of the act.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping

import msgspec

from shared import sms_text
from shared.errors import Refused, Violation, refuse
from shared.ledger import records, work
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.ledger.work import Work
from shared.model import Facility
from shared.notifications import CHANNELS, EVENTS, LANGUAGES
from shared.runtime.database import Database, InlineWriter, Tx
from shared.runtime.ratelimit import RateLimiter, RateRule
from shared.sms_text import Measure

from ..ports import Channel, Letter
from ..store import notifications as people
from ..store import texts as kept
from ..store.texts import Failing, Version, Which
from .addresses import e164, mail_of
from .admins import Admin
from .texts import override_of
from .trial_letters import KIND, WORTH_S, Trial
from .wording import FACTS, ORDER_KINDS, PIECES, SUBJECT_MAX, Fault, Override, Text, Wording, Words, meant, sample_facts
from .wording_facts import SAMPLETON, Facts

__all__ = [
    "CHANNELS", "EVENTS", "LANGUAGES", "ORDER_KINDS", "TESTABLE", "Failing", "Own", "Preview", "Shown", "Text", "Version", "Which", "WordsDesk",
]  # fmt: skip

#: what a test can be sent by: where an address can be typed
TESTABLE = ("sms", "mail")
#: tests by one key, and to one address
BY_KEY, TO_ADDRESS = RateRule("test-by-key", 20, 3600.0), RateRule("test-to-address", 6, 3600.0)
#: what tells a test from earnest, by language: before the text of an SMS and before a subject, and above a mail
MARKS = {
    "en": ("TEST ", "[Test] ", "This is a test of these words. Nothing was booked, and nothing is changed."),
    "fr": ("ESSAI ", "[Essai] ", "Ceci est un essai de ce texte. Rien n’est réservé ni modifié."),
}
#: an order's id and the token of its link, as long as they always are: what an SMS costs depends on it
_LINK = f"/b/{'0' * 36}/{'A' * 22}"
_ONCE = re.compile(r"[A-Za-z0-9-]{8,64}")
_BODY = re.compile(r"<body[^>]*>")


class Own(msgspec.Struct, frozen=True):
    """A text of the operator's that is in use: whether it could be used where it was to be, and what is wrong with it now, in sentences."""

    version: Version
    failing: Failing | None = None
    wrong: tuple[str, ...] = ()


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One text for its editor. `own` is None where none is in use; `latest` is the number to save over (0: there never was one).

    `otherwise`: what is sent where there is no own one, which is `closest`, a wider text of the operator's, or ours. `versions`: the latest
    first. `near`: the other texts in use for the same event, channel and language.
    """

    which: Which
    own: Own | None
    latest: int
    otherwise: Text
    closest: Which | None
    versions: list[Version]
    near: list[Which]


class Preview(msgspec.Struct, frozen=True):
    """What a text makes of invented facts: `usual` ones, `all` that can be known, or the `least`. `measure`: of an SMS."""

    name: str
    words: Words
    measure: Measure | None


class WordsDesk:
    """`sites`: the facilities that texts can be for. `public_url`: what links begin with. `seconds`: a clock that does not jump."""

    def __init__(
        self,
        db: Database | InlineWriter,
        desk: Desk,
        houses: Houses,
        wording: Wording,
        channels: Mapping[str, Channel],
        *,
        sites: Collection[str],
        public_url: str,
        seconds: Callable[[], float],
    ):
        self._db, self._desk, self._houses, self._wording, self._channels = db, desk, houses, wording, channels
        self.sites, self._url = tuple(sites), public_url.rstrip("/")
        self._limiter = RateLimiter(seconds)

    # ---- which texts there are
    def which(self, event: str, channel: str, language: str, site_id: str = "", order_kind: str = "") -> Which:
        """What an address names. Refuses `not_found` with a sentence."""
        for name, value, known in (
            ("message", event, EVENTS),
            ("channel", channel, CHANNELS),
            ("language", language, LANGUAGES),
            ("kind of order", order_kind, ORDER_KINDS),
        ):
            if value not in known:
                raise refuse("not_found", f"There is no {name} {value[:40]!r}; there are {', '.join(one for one in known if one)}.")
        which = Which(event, channel, language, site_id, order_kind)
        if site_id and site_id not in self.sites and not self._db.read(lambda tx: kept.latest(tx, which)):
            raise refuse("not_found", f"There is no facility {site_id[:40]!r} here, and no text for one of this name.")
        return which

    def own(self) -> list[Own]:
        """The operator's texts that are in use."""
        versions, failing = self._db.read(lambda tx: (kept.active(tx), kept.failing(tx)))
        of = {one.which: one for one in failing}
        return [self._own(version, of.get(version.which)) for version in versions]

    def _own(self, version: Version, failing: Failing | None) -> Own:
        return Own(version, failing, self._wording.wrong_with(override_of(version)))

    def shown(self, which: Which) -> Shown:
        """The text with all that its editor needs."""
        versions, active, failing = self._db.read(lambda tx: (kept.versions(tx, which), kept.active(tx), kept.failing(tx)))
        there = {one.which: one for one in active}
        own = there.get(which)
        wider = [o for o in meant(map(override_of, active), *which) if _which(o) != which]
        closest = wider[0] if wider else None
        return Shown(
            which=which,
            own=self._own(own, next((one for one in failing if one.which == which), None)) if own is not None else None,
            latest=versions[0].version if versions else 0,
            otherwise=Text(closest.text, closest.subject, closest.html) if closest is not None else self._wording.default(*which[:3]),
            closest=_which(closest) if closest is not None else None,
            versions=versions,
            near=[one for one in there if one[:3] == which[:3] and one != which],
        )

    def values(self, which: Which) -> list[tuple[str, str]]:
        """Every value that may stand in the text, and how it looks; empty for a part of a mail, which is seen in the preview."""
        facts = self._facts(which)
        shown = [(name, _shown(getattr(facts, name))) for name in FACTS]
        return shown + [(name, "") for name in PIECES] if which.channel == "mail" else shown

    # ---- what a draft makes
    def check(self, which: Which, draft: Text) -> list[str]:
        """Why these templates cannot be used, in full sentences; none if they can."""
        return self._wording.check(*which[:3], text=draft.text, subject=draft.subject, html=draft.html)

    def previews(self, which: Which, draft: Text) -> list[Preview]:
        """What the draft makes; none of one that cannot be used."""
        if self.check(which, draft):
            return []
        full = self._facts(which)
        usual = msgspec.structs.replace(full, dark=False, stop=False, notices=())
        least = Facts(**{name: getattr(full, name) for name in FACTS[: FACTS.index("name")]})
        found = []
        for name, facts in (("usual", usual), ("all", full), ("least", least)):
            words = self._words(which, draft, facts)
            if isinstance(words, Fault):
                return []
            found.append(Preview(name, words, sms_text.segments(words.text) if which.channel == "sms" else None))
        return found

    def _words(self, which: Which, draft: Text, facts: Facts) -> Words | Fault:
        words = self._wording.render(*which[:3], facts, [_override(which, draft)], site_id=which.site_id, order_kind=which.order_kind)
        return words.faults[0] if words.faults else words

    def _facts(self, which: Which) -> Facts:
        """Invented ones of the facility, with links as long as they are in earnest."""
        facts = sample_facts(which.language, self._facility(which.site_id))
        link = f"{self._url}{_LINK}" if self._url else ""
        return msgspec.structs.replace(facts, link=link, ways_link=link, survey_link=f"{link}/survey" if link else "")

    def _facility(self, site_id: str) -> Facility:
        try:
            return self._db.read(lambda tx: self._houses.of(tx, site_id).facility) if site_id else SAMPLETON
        except Refused:  # it has not been heard yet
            return SAMPLETON

    # ---- changing it
    async def save(self, which: Which, draft: Text, latest: int, admin: Admin) -> Version:
        """Puts the draft into use. `latest`: the version that its editor saw. Refuses `bad_request`, with a violation for each thing that is
        wrong with it, and `illegal_move` where somebody has saved another one meanwhile."""
        self._refuse_unusable(which, draft)
        return await self._db.write(lambda tx: self._put(tx, which, draft, latest, admin, "saved", active=True))

    async def put_back(self, which: Which, latest: int, admin: Admin) -> Version:
        """Has the wider text, or ours, sent again. What there was stays among its versions. Refuses `illegal_move`, also where none is in use."""

        def run(tx: Tx) -> Version:
            before = kept.latest(tx, which)
            if before is None or not before.active:
                raise refuse("illegal_move", "There is no text of your own here that is in use.")
            draft = Text(before.text, before.subject, before.html)
            return self._put(tx, which, draft, latest, admin, "put back", active=False)

        return await self._db.write(run)

    def _put(self, tx: Tx, which: Which, draft: Text, latest: int, admin: Admin, what: str, *, active: bool) -> Version:
        kept.changes(tx, self._desk.new_id())
        before, now = kept.latest(tx, which), self._desk.now()
        if (before.version if before is not None else 0) != latest:
            who = f"{before.actor} has meanwhile {before.what} this text" if before is not None else "This text is not there any more"
            raise refuse(
                "illegal_move", f"{who}. What you have typed is still here. If you save again, it takes the place of what stands now."
            )
        version = Version(
            which=which, version=latest + 1, active=active, text=draft.text, subject=draft.subject, html=draft.html, what=what, actor=admin.signed,
            at=now,
        )  # fmt: skip
        kept.put(tx, version)
        records.journal(tx, now, which.site_id, admin.signed, f"{what} a text", name_of(which), f"version {version.version}")
        return version

    def _refuse_unusable(self, which: Which, draft: Text) -> None:
        wrong = self.check(which, draft)
        if wrong:
            found = tuple(Violation("N4", "bad_request", sentence) for sentence in wrong)
            raise refuse("bad_request", "This text cannot be used as it is.", violations=found)

    # ---- a test
    async def send_test(self, which: Which, draft: Text, to: str, once: str, admin: Admin) -> Work:
        """Sends the draft to an address, as a work row. `once`: of the page that it was pressed on, so that pressing twice sends once.

        Refuses `bad_request` (the draft, the address, the channel), `not_allowed` (nobody writes to that address), `too_many_requests`.
        """
        channel, address = self._way(which.channel, to)
        self._refuse_unusable(which, draft)
        words = self._words(which, draft, msgspec.structs.replace(self._facts(which), dark=False, stop=False, notices=()))
        if isinstance(words, Fault):
            raise refuse("bad_request", f"This text cannot be filled in. {words.why}")
        self._limit(admin, address)
        row = self._row(which, words, channel.vendor, address, once)

        def run(tx: Tx) -> Work:
            why = people.suppressed(tx, which.channel, address)
            if why is not None:
                raise refuse("not_allowed", f"This address is not written to, so no test goes there: {why.reason or why.why}")
            if work.put(tx, row):
                reason = f"{name_of(which)} to {masked(which.channel, address)}"
                records.journal(tx, row.created_at, which.site_id, admin.signed, "sent a test of a text", row.id, reason)
            return work.one(tx, row.id) or row

        return await self._db.write(run)

    def _way(self, name: str, to: str) -> tuple[Channel, str]:
        if name not in TESTABLE:
            raise refuse(
                "bad_request", "A test can be sent by SMS and by mail. This message is read in the browser, as the preview shows it."
            )
        channel = self._channels.get(name)
        if channel is None:
            raise refuse("bad_request", f"This hub has no vendor for {'SMS' if name == 'sms' else 'mail'}, so no test can be sent.")
        address = e164(to) if name == "sms" else mail_of(to)
        if not address:
            what = "a telephone number, such as 902-555-0123" if name == "sms" else "a mail address, such as name@example.test"
            raise refuse("bad_request", f"A test goes to {what}.")
        return channel, address

    def _limit(self, admin: Admin, address: str) -> None:
        for rule, key, whose in ((BY_KEY, admin.key_id, "with this key"), (TO_ADDRESS, address, "to this address")):
            wait_s = self._limiter.take(rule, key)[2]
            if wait_s:
                minutes = -(-wait_s // 60)
                told = f"There were {rule.capacity} tests {whose} within the hour. The next one can go in {minutes} minute{'s' * (minutes > 1)}."
                raise refuse("too_many_requests", told, retry_after_s=wait_s)

    def _row(self, which: Which, words: Words, vendor: str, address: str, once: str) -> Work:
        if not _ONCE.fullmatch(once):
            raise refuse("bad_request", "This page is not whole. Please load it again; copy what you have typed before.")
        words, now = _marked(which, words), self._desk.now()
        letter = Letter(
            key="", to=address, text=words.text, subject=words.subject, html=words.html, url=words.url, expires_at=now + WORTH_S
        )  # fmt: skip
        digest = hashlib.sha256(msgspec.json.encode([letter.to, letter.text, letter.subject, letter.html])).hexdigest()[:16]
        row_id = f"{KIND}|{once}|{digest}"
        letter = msgspec.structs.replace(letter, key=work.mark_of(row_id))
        body = Trial(event=which.event, channel=which.channel, language=which.language, letter=letter)
        return Work(
            id=row_id, kind=KIND, lane=vendor, site_id=which.site_id, subject=name_of(which), due_at=now, until_at=now + WORTH_S,
            body=msgspec.json.encode(body).decode(), created_at=now,
        )  # fmt: skip


def name_of(which: Which) -> str:
    """What a text is called in the journal and in rows: "confirmed/sms/en", "confirmed/sms/en/bedford/group"."""
    return "/".join(which).rstrip("/")


def masked(channel: str, address: str) -> str:
    """Enough of an address for whoever knows it: "…0123", "t…@example.test"."""
    name, _, domain = address.partition("@")
    return f"…{address[-4:]}" if channel == "sms" else f"{name[:1]}…@{domain}"


def _which(o: Override) -> Which:
    return Which(o.event, o.channel, o.language, o.site_id, o.order_kind)


def _override(which: Which, draft: Text) -> Override:
    return Override(**which._asdict(), text=draft.text, subject=draft.subject, html=draft.html)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "; ".join(value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _marked(which: Which, words: Words) -> Words:
    """The same, told from earnest by whoever reads it."""
    short, of_subject, sentence = MARKS[which.language]
    subject = f"{of_subject}{words.subject}"[:SUBJECT_MAX] if words.subject else ""
    if which.channel == "sms":
        return msgspec.structs.replace(words, text=short + words.text)
    told = f'<p style="margin:0;padding:12px 20px;background:#fbeae2;color:#8c2f12;font-family:sans-serif;font-size:16px">{sentence}</p>'
    html = _BODY.sub(lambda found: found[0] + told, words.html, count=1)
    return msgspec.structs.replace(words, text=f"{sentence}\n\n{words.text}", subject=subject, html=html)
