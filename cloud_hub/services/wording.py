"""The words of every message to a customer: event × channel × language, the operator's own texts before ours (N4).

    words = Wording().render("confirmed", "sms", "en", facts, overrides, site_id="bedford")
    words.text        "Bedford: booked Box 1, Sat 21 Nov, 18:00 to 19:30. PIN 123456. https://…"

Texts are Jinja templates of plain values: ours in `cloud_hub/wording/*.toml`, the operator's handed in as overrides. What they may do is in
`wording_check`, what they can say in `wording_facts`. Not here: when and to whom a message goes, and sending it.
Invariants: `render` answers whatever the overrides hold; an override that `check` objects to is never sent; a value stays text wherever it
stands; a subject is one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, get_args

import msgspec
from jinja2 import Environment, StrictUndefined, Template, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from shared import sms_text
from shared.notifications import LANGUAGES, ChannelName, Event, Language

from .wording_check import FILTERS, HOSTILE, html_objections, objections
from .wording_facts import Facts, facts_of, sample_facts

__all__ = ["Facts", "Fault", "OrderKind", "Override", "Text", "Wording", "Words", "facts_of", "meant", "sample_facts"]

#: what an override may be narrowed to (`model.Order.kind`); empty means any
OrderKind = Literal["", "single", "group", "series"]
ORDER_KINDS: tuple[OrderKind, ...] = get_args(OrderKind)

#: characters of a finished text; an SMS of ours has one segment where it can, one of the operator's at most so many
TEXT_MAX: dict[ChannelName, int] = {"sms": 900, "mail": 20_000, "push": 800, "app": 2_000}
SUBJECT_MAX, SEGMENTS_MAX = 150, 3
TEMPLATES_MAX = 2_000

FACTS = tuple(Facts.__struct_fields__)
LISTS = ("notices", "visits", "ways")
LINKS = ("link", "survey_link", "ways_link")
#: for mails only: a part of the page that looks good as html and reads well as text; nothing where there is nothing to say
PIECES = ("button", "notice_card", "pin_card", "visit_card", "ways_card")
#: where a tap leads, if not to the order's own page
_LEADS: dict[Event, str] = {"displaced": "ways_link", "placed": "ways_link", "declined": "ways_link", "survey": "survey_link"}

_URL = re.compile(r"https?://[^\s<>\"'\\]+")
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Halves of characters, which no vendor can be sent, and marks that turn the direction of what follows.
_UNSENDABLE = re.compile(r"[\ud800-\udfff\u202a-\u202e\u2066-\u2069]+")
# Where a piece goes into a text: in characters that no cleaned value can hold.
_PIECE = re.compile(r"\x02(\w+)\x03")


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The templates of one message. `subject`: of mails, pushes and in-app messages; `html`: of mails, empty to have it made from the text."""

    text: str
    subject: str = ""
    html: str = ""


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's own text for one event, channel and language; of one facility, or with an empty `site_id` of all. An empty subject is ours.

    `order_kind` narrows it to messages about one kind of order, which is how a tournament or a course is told in words of its own: it is booked
    as a group or a series. Of several that fit, the one of the facility and the kind is used, then the facility's, then the kind's, then the
    general one: a facility knows best what its guests must read.
    """

    event: Event
    channel: ChannelName
    language: Language
    site_id: str = ""
    order_kind: OrderKind = ""
    text: str
    subject: str = ""
    html: str = ""


class Fault(msgspec.Struct, frozen=True):
    """An override that should have been used and could not be; `why` is a sentence without any facts of the message."""

    override: Override
    why: str

    def __str__(self) -> str:
        return f"{_named(self.override)} could not be used. {self.why}"


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What a letter says (`ports.Letter`). `faults`: the overrides that should have been used and could not be."""

    text: str
    subject: str = ""
    html: str = ""
    url: str = ""
    faults: tuple[Fault, ...] = ()


class _Book(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One language's file. `pieces` are those of text mails, `labels` and `buttons` (event -> label, "other" for the rest) those of html."""

    footer: str
    labels: dict[str, str]
    buttons: dict[str, str]
    pieces: dict[str, str]
    events: dict[Event, dict[ChannelName, Text]]


class _Unusable(Exception):
    """A template gave something that cannot be sent; a sentence."""


class _Sheet(msgspec.Struct, frozen=True):
    """One message being worded: the values as templates see them, and what its button says and opens."""

    book: _Book
    language: Language
    values: dict[str, Any]
    url: str
    label: str


class Wording:
    """Reads the texts that come with the product when it is built; ValueError (msgspec's) if they cannot be read."""

    def __init__(self):
        here = files("cloud_hub").joinpath("wording")
        self._books = {one: msgspec.toml.decode(here.joinpath(f"{one}.toml").read_text("utf-8"), type=_Book) for one in LANGUAGES}
        self._text_env, self._html_env = _environment(autoescape=False), _environment(autoescape=True)
        self._mail = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
            here.joinpath("mail.html").read_text("utf-8")
        )
        self._compiled = lru_cache(TEMPLATES_MAX)(self._compile)
        self._wrong_with = lru_cache(TEMPLATES_MAX)(self._judge)

    def default(self, event: Event, channel: ChannelName, language: Language) -> Text:
        """Our own templates, as the operator's begin."""
        return self._books[language].events[event][channel]

    def render(
        self,
        event: Event,
        channel: ChannelName,
        language: Language,
        facts: Facts,
        overrides: Iterable[Override] = (),
        *,
        site_id: str,
        order_kind: str = "",
    ) -> Words:
        """The message in words, about an order of this kind (empty: of no known kind). Of the overrides that fit, the closest is used (see
        `Override`), and ours is the last resort."""
        sheet, faults = self._sheet(event, language, _cleaned(facts)), []
        ours = self.default(event, channel, language)
        for override in meant(overrides, event, channel, language, site_id, order_kind):
            wrong = self._wrong_with(override)
            if not wrong:
                try:
                    own = Text(override.text, override.subject or ours.subject, override.html)
                    return msgspec.structs.replace(self._worded(channel, own, sheet), faults=tuple(faults))
                except Exception as problem:  # whatever a sandboxed template may do, somebody waits for this message
                    wrong = (str(problem) if isinstance(problem, _Unusable) else f"It cannot be filled in ({type(problem).__name__}).",)
            faults.append(Fault(override, wrong[0]))
        words = self._worded(channel, ours, sheet, cut=True)
        return msgspec.structs.replace(words, faults=tuple(faults))

    def check(self, event: Event, channel: ChannelName, language: Language, *, text: str, subject: str = "", html: str = "") -> list[str]:
        """Why these templates cannot be used as an override, in full sentences; none if they can. Tried with invented facts, all known and none."""
        # not remembered, as those in use are: a draft is judged a few times, and may be of any length
        return list(self._judge(Override(event=event, channel=channel, language=language, text=text, subject=subject, html=html)))

    def wrong_with(self, override: Override) -> tuple[str, ...]:
        """The same of an override that is in use, which is judged once."""
        return self._wrong_with(override)

    # ---- judging
    def _judge(self, o: Override) -> tuple[str, ...]:
        found = list(self._misfits(o))
        if not found:
            full = sample_facts(o.language)
            found = [*self._tried(o, full, "every fact is known"), *self._tried(o, _least(full), "only bay and time are known")]
        return tuple(dict.fromkeys(found))

    def _misfits(self, o: Override) -> Iterator[str]:
        if not o.text.strip():
            yield "The text is empty."
        if o.subject and o.channel == "sms":
            yield "An SMS has no subject."
        if o.html and o.channel != "mail":
            yield "Only a mail has html."
        more = PIECES if o.channel == "mail" else ()
        for part, source, names in (("subject", o.subject, FACTS), ("text", o.text, FACTS + more), ("html", o.html, FACTS + more)):
            env = self._html_env if part == "html" else self._text_env
            yield from (f"The {part}: {_lowered(one)}" for one in objections(source, env, names, LISTS))

    def _tried(self, o: Override, facts: Facts, when: str) -> Iterator[str]:
        ours = self.default(o.event, o.channel, o.language)
        try:
            words = self._worded(
                o.channel, Text(o.text, o.subject or ours.subject, o.html), self._sheet(o.event, o.language, _cleaned(facts))
            )
            if o.html:
                yield from (f"The html: {_lowered(one)}" for one in self._tried_html(o, facts))
        except _Unusable as problem:
            yield f"When {when}: {_lowered(str(problem))}"
            return
        except Exception as problem:  # a template may fail in any way there is
            yield f"When {when}, it cannot be filled in: {str(problem).rstrip('.')[:200] or type(problem).__name__}."
            return
        measure = sms_text.segments(words.text)
        if o.channel == "sms" and measure.segments > SEGMENTS_MAX:
            yield f"When {when}, it is an SMS of {measure.segments} segments; {SEGMENTS_MAX} are allowed."

    def _tried_html(self, o: Override, facts: Facts) -> list[str]:
        both = []
        for some in (facts, _hostile(facts)):
            pieces = dict.fromkeys(PIECES, Markup("piece"))
            both.append(self._compiled(o.html, True)[0].render(_cleaned(some) | pieces))
        return html_objections(*both)

    # ---- wording
    def _sheet(self, event: Event, language: Language, values: dict[str, Any]) -> _Sheet:
        book = self._books[language]
        lead = _LEADS.get(event, "link")
        own = lead if values[lead] else "link"
        return _Sheet(book, language, values, values[own], book.buttons.get(event if own == lead else "other", book.buttons["other"]))

    def _worded(self, channel: ChannelName, source: Text, sheet: _Sheet, *, cut: bool = False) -> Words:
        """Raises _Unusable for what cannot be sent; `cut` shortens what is too long instead."""
        subject = _fitted("subject", _one_line(self._filled(source.subject, sheet.values)), SUBJECT_MAX, cut)
        if channel == "mail":
            text, html = self._mail_of(source, sheet, subject)
        else:
            text, html = _tidy(self._filled(source.text, sheet.values)), ""
            text = "\n".join(line for line in text.split("\n") if line)
        if channel == "sms":
            text = sms_text.plain(text)
        if not text:
            raise _Unusable("The text came out empty.")
        return Words(text=_fitted("text", text, TEXT_MAX[channel], cut), subject=subject, html=html, url=sheet.url)

    def _mail_of(self, source: Text, sheet: _Sheet, subject: str) -> tuple[str, str]:
        """The mail as text and as html; of one template, unless it has html of its own."""
        used = self._compiled(source.text, False)[1] | self._compiled(source.html, True)[1]
        plain = {name: _tidy(self._filled(sheet.book.pieces[name], _in_mail(sheet))) for name in PIECES if name in used}
        page = self._mail.make_module(_in_mail(sheet) | {"label": sheet.book.labels})
        drawn = {name: getattr(page, name)() if plain[name] else "" for name in plain}
        places = {name: f"\x02{name}\x03" if text else "" for name, text in plain.items()}
        body = _tidy(self._filled(source.text, sheet.values | places))
        text = _tidy(_PIECE.sub(lambda place: plain.get(place[1], place[0]), body))
        if not text or "\x02" in text or "\x03" in text:
            raise _Unusable("A part such as pin_card stands by itself, without filters." if text else "The text came out empty.")
        html = Markup(self._compiled(source.html, True)[0].render(sheet.values | drawn)) if source.html else _as_html(body, drawn, page)
        footer = _tidy(self._filled(sheet.book.footer, _in_mail(sheet)))
        whole = page.whole(html, subject, sheet.language, _lines(footer))
        return f"{text}\n\n{footer}" if footer else text, str(whole)

    def _filled(self, source: str, values: Mapping[str, Any]) -> str:
        return self._compiled(source, False)[0].render(values)

    def _compile(self, source: str, html: bool) -> tuple[Template, frozenset[str]]:
        """The template and the names that it uses."""
        env = self._html_env if html else self._text_env
        return env.from_string(source), frozenset(meta.find_undeclared_variables(env.parse(source)))


def _environment(*, autoescape: bool) -> Environment:
    env = ImmutableSandboxedEnvironment(autoescape=autoescape, undefined=StrictUndefined)
    env.globals.clear()
    env.filters = {name: env.filters[name] for name in FILTERS}
    env.tests.clear()
    return env


def meant(
    overrides: Iterable[Override], event: Event, channel: ChannelName, language: Language, site_id: str, order_kind: str = ""
) -> list[Override]:
    """Those for this message, the closest first."""
    fit = [
        o
        for o in overrides
        if (o.event, o.channel, o.language) == (event, channel, language)
        and o.site_id in ("", site_id)
        and o.order_kind in ("", order_kind)
    ]
    return sorted(fit, key=lambda o: (o.site_id == "", o.order_kind == ""))


def _named(o: Override) -> str:
    kind = f", {o.order_kind}" if o.order_kind else ""
    return f"The text for {o.event}, {o.channel}, {o.language}, {o.site_id or 'all facilities'}{kind},"


def _cleaned(facts: Facts) -> dict[str, Any]:
    """The facts as values: each text one line of what can be sent, and links that are links."""
    values = {name: _clean(getattr(facts, name)) for name in FACTS}
    return values | {name: values[name] if _URL.fullmatch(values[name]) else "" for name in LINKS}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _one_line(value)
    return tuple(_one_line(one) for one in value) if isinstance(value, tuple) else value


def _one_line(text: str) -> str:
    return _UNSENDABLE.sub("", _BREAKS.sub(" ", text)).strip()


def _least(facts: Facts) -> Facts:
    """The same with nothing known but what is always known."""
    return Facts(**{name: getattr(facts, name) for name in FACTS[: FACTS.index("name")]})


def _hostile(facts: Facts) -> Facts:
    """The same with markup for every text, so that a template that lets it through shows it."""
    texts = {name: HOSTILE for name in FACTS if isinstance(getattr(facts, name), str) and getattr(facts, name) and name not in LINKS}
    lists = {name: tuple(HOSTILE for _ in getattr(facts, name)) for name in LISTS}
    return msgspec.structs.replace(facts, **texts, **lists)


def _in_mail(sheet: _Sheet) -> dict[str, Any]:
    return sheet.values | {"url": sheet.url, "url_label": sheet.label}


def _tidy(text: str) -> str:
    """Without the blanks that left-out values leave behind."""
    lines = (re.sub(r"[ \t]+", " ", line).strip(" \t") for line in text.replace("\r\n", "\n").split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _fitted(part: str, text: str, most: int, cut: bool) -> str:
    if len(text) <= most:
        return text
    if not cut:
        raise _Unusable(f"The {part} came out {len(text):,} characters long; {most:,} are allowed.")
    return text[: most - 3].rstrip() + "..."


def _lowered(sentence: str) -> str:
    """For behind a colon."""
    return sentence[:1].lower() + sentence[1:]


def _as_html(body: str, drawn: Mapping[str, str], page: Any) -> Markup:
    """A text with places for pieces as paragraphs and pieces; its links can be tapped."""
    made: list[str] = []
    for index, part in enumerate(_PIECE.split(body)):
        if index % 2:
            made.append(drawn[part])
        else:
            made += [page.paragraph(_lines(one)) for one in part.split("\n\n") if one.strip()]
    return Markup("\n").join(made)


def _lines(text: str) -> Markup:
    return Markup("<br>\n").join(_linked(line) for line in text.strip().split("\n"))


def _linked(line: str) -> Markup:
    made, at = Markup(), 0
    for found in _URL.finditer(line):
        url = found[0].rstrip(".,;:!?)")
        made += escape(line[at : found.start()]) + Markup('<a href="{0}">{0}</a>').format(url)
        at = found.start() + len(url)
    return made + escape(line[at:])
