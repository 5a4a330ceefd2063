"""Which templates are taken: plain values, `if` and `for`, a few filters, and html that no value and no mistake of its own can break.

A template is written by staff and filled with what customers have typed. It is read as a tree and judged before it ever runs, so that what
is not listed here does not exist for it: no calls, no arithmetic, no looking into values, no loops in loops.
Not here: the texts themselves, and how long they may be (`wording`). Invariant: every objection is a full sentence that helps its writer;
a template without objections takes time and room in proportion to its own length.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from html.parser import HTMLParser

from jinja2 import Environment, TemplateSyntaxError, meta, nodes

SOURCE_CHARS_MAX = 20_000
FILTERS = ("capitalize", "first", "join", "last", "length", "lower", "trim", "upper")
_LOOP = ("first", "last", "index")
_PLAIN = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.Not, nodes.And, nodes.Or,
    nodes.Compare, nodes.Operand, nodes.CondExpr,
)  # fmt: skip
_UNSENDABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_TOO_DEEP = "It is nested too deeply."

#: in a value, it would be markup wherever a value is not escaped or stands where escaping does not help
MARK = "zqzq"
HOSTILE = f"{MARK}\"'><i {MARK}={MARK}> {MARK}={MARK} &amp; {{{{ 7 * 7 }}}}"

_TAGS = frozenset({
    "a", "b", "blockquote", "br", "div", "em", "h1", "h2", "h3", "hr", "i", "li", "ol", "p", "small", "span", "strong", "table", "tbody",
    "td", "th", "thead", "tr", "u", "ul",
})  # fmt: skip
_VOID = frozenset({"br", "hr"})
_ATTRIBUTES = frozenset({"align", "class", "dir", "href", "lang", "role", "style", "title", "valign", "width"})
_LINK = re.compile(r"(?:https?://|mailto:|tel:)", re.IGNORECASE)
_REMOTE_STYLE = re.compile(r"url\s*\(|@import|expression\s*\(|\\", re.IGNORECASE)


def objections(source: str, env: Environment, names: Collection[str], lists: Collection[str]) -> list[str]:
    """What is wrong with a template, as sentences; none if it may be used. `names` are its variables, `lists` those that a `for` may go through."""
    if len(source) > SOURCE_CHARS_MAX:
        return [f"It has {len(source):,} characters; {SOURCE_CHARS_MAX:,} are allowed."]
    if _UNSENDABLE.search(source):
        return ["It holds characters that cannot be sent."]
    try:
        tree = env.parse(source)
        found = list(dict.fromkeys(_refused(tree, lists, in_loop=False)))
        return found or list(_unknown(tree, names))
    except TemplateSyntaxError as problem:
        return [f"Line {problem.lineno} cannot be read: {(problem.message or 'it is no template').rstrip('.')}."]
    except (RecursionError, MemoryError):
        return [_TOO_DEEP]


def _refused(node: nodes.Node, lists: Collection[str], *, in_loop: bool) -> Iterator[str]:
    why = _why_not(node, lists, in_loop)
    if why:
        yield f"Line {node.lineno}: {why}."
        return
    loop = in_loop or isinstance(node, nodes.For)
    for inner in node.iter_child_nodes(exclude=("node",) if isinstance(node, nodes.Getattr) else None):
        yield from _refused(inner, lists, in_loop=loop)


def _why_not(node: nodes.Node, lists: Collection[str], in_loop: bool) -> str:
    if isinstance(node, _PLAIN):
        return ""
    if isinstance(node, nodes.Filter):
        return "" if node.name in FILTERS and node.node is not None else f"there is no filter {node.name!r}; there are {', '.join(FILTERS)}"
    if isinstance(node, nodes.For):
        return _why_no_loop(node, lists, in_loop)
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in _LOOP:
        return ""
    if isinstance(node, nodes.Getattr | nodes.Getitem):
        return "a value has no parts that could be looked into"
    if isinstance(node, nodes.Call):
        return "nothing can be called"
    if isinstance(node, nodes.BinExpr | nodes.UnaryExpr):
        return "a template does not calculate; values come ready to be shown"
    return f"{type(node).__name__.lower()!r} is not for templates of messages; use plain values, if and for"


def _why_no_loop(node: nodes.For, lists: Collection[str], in_loop: bool) -> str:
    if in_loop or node.recursive:
        return "a for stands inside another"
    if not isinstance(node.iter, nodes.Name) or node.iter.name not in lists or not isinstance(node.target, nodes.Name):
        return f"a for goes through one of {', '.join(sorted(lists))}, as in {{% for one in {min(lists)} %}}"
    return ""


def _unknown(tree: nodes.Template, names: Collection[str]) -> Iterator[str]:
    for name in sorted(meta.find_undeclared_variables(tree) - set(names)):
        yield f"There is no value {name!r} here; there are {', '.join(sorted(names))}."


class _Reader(HTMLParser):
    """The skeleton of a piece of html, and what in it cannot be sent."""

    def __init__(self):
        super().__init__(convert_charrefs=False)
        self.skeleton: list[tuple[str, ...]] = []
        self.wrong: dict[str, None] = {}
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.skeleton.append((tag, *(name for name, _ in attrs)))
        if tag not in _TAGS:
            self._no(f"<{_shown(tag)}> is not for mails; there are {', '.join(sorted(_TAGS))}.")
        for name, value in attrs:
            self._attribute(tag, name, value or "")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self._no(f"<{_shown(tag)}/> needs an end tag of its own.")
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        self.skeleton.append((f"/{tag}",))
        if not self._open or self._open.pop() != tag:
            self._no(f"</{_shown(tag)}> ends what is not open there.")
            self._open.clear()

    def handle_data(self, data: str) -> None:
        if "<" in data:
            self._no("A < that begins no tag is written &lt;.")

    def handle_comment(self, data: str) -> None:
        self._no("A comment of html would be sent; write {# … #} instead.")

    def handle_decl(self, decl: str) -> None:
        self._no("The frame of the page is there already; write only what stands in it.")

    unknown_decl = handle_pi = handle_decl

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name not in _ATTRIBUTES:
            self._no(f"<{_shown(tag)}> may not have {_shown(name)!r}; an element may have {', '.join(sorted(_ATTRIBUTES))}.")
        elif MARK in value:
            self._no(f"A value stands in {name!r} of <{_shown(tag)}>; only a link may stand there, and only in href.")
        elif name == "href" and not _LINK.match(value.strip()):
            self._no("A link begins with https://, http://, mailto: or tel:; one that may be empty stands inside {% if … %}.")
        elif name == "style" and _REMOTE_STYLE.search(value):
            self._no("A style may not load anything.")

    def ended(self, rest: str) -> None:
        if "<" in rest:
            self._no("A tag at the end is not finished.")
        elif self._open:
            self._no(f"<{_shown(self._open[-1])}> is never ended.")

    def _no(self, sentence: str) -> None:
        self.wrong[sentence] = None


def _shown(text: str) -> str:
    return text if len(text) <= 20 and text.isprintable() else f"{text[:20]!r}…"


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.ended(reader.rawdata)
    return reader


def html_objections(plain: str, hostile: str) -> list[str]:
    """What is wrong with html that a template made, as sentences. `plain`: of ordinary values, `hostile`: of the same with `HOSTILE` for each
    text."""
    first, second = _read(plain), _read(hostile)
    found = [*first.wrong, *(one for one in second.wrong if one not in first.wrong)]
    if not found and first.skeleton != second.skeleton:
        return ["A value could break the page where it stands; put it between tags, or a link between the quotes of href."]
    return found
