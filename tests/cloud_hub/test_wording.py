"""The words of every message: ours in every event, channel and language, the operator's before ours, and values that stay values."""

import re
import unicodedata
from html.parser import HTMLParser
from itertools import product
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cloud_hub.services.wording import FACTS, LINKS, LISTS, ORDER_KINDS, SUBJECT_MAX, TEXT_MAX, Facts, Override, Wording, sample_facts
from shared import sms_text
from shared.model import Order
from shared.notifications import CHANNELS, EVENTS, LANGUAGES

WORDING = Wording()
EVERY = list(product(EVENTS, CHANNELS, LANGUAGES))
FACILITIES = ("Bedford", "Dartmouth", "Bayers Lake", "Truro", "River Oaks")
#: as long as a hub's own links are
LINK = "https://book.example.test/b/" + "k" * 32
TOLD_PIN = ("confirmed", "moved", "placed", "reminder", "check_in")


def least(language: str = "en") -> Facts:
    """What is always known, and nothing else."""
    return Facts(**{name: getattr(sample_facts(language), name) for name in FACTS[:7]})


def usual(language: str = "en", **more) -> Facts:
    """An ordinary message: nothing is dark, and nobody must be told how to end them."""
    return replace(sample_facts(language), **({"dark": False, "stop": False, "notices": ()} | more))


def override(text: str = "Hello {{ bays }}", **more) -> Override:
    return Override(**({"event": "confirmed", "channel": "sms", "language": "en", "text": text} | more))


def render(event="confirmed", channel="sms", language="en", facts=None, overrides=(), site_id="sampleton"):
    return WORDING.render(event, channel, language, facts or usual(language), overrides, site_id=site_id)


class Skeleton(HTMLParser):
    """The tags of a page with the names of their attributes, without the links that a text may hold; and where links lead."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "a":
            self.links.append(dict(attrs)["href"])
        if tag != "a" or len(attrs) > 1:
            self.tags.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag != "a":
            self.tags.append((f"/{tag}",))

    def handle_data(self, data: str) -> None:
        self.text += data


# ---- ours
@pytest.mark.parametrize(("event", "channel", "language"), EVERY)
def test_ours_say_something_whole_whether_much_or_little_is_known(event: str, channel: str, language: str) -> None:
    for facts in (sample_facts(language), usual(language), least(language)):
        words = render(event, channel, language, facts)
        shown = words.subject + "\n" + words.text
        assert facts.facility in shown and words.faults == ()
        assert not re.search(r"[{}\x00-\x09\x0b-\x1f]|None|\(\)|  | [.,]|\.\.|::| \n|\n\n\n", shown), shown
        assert bool(words.subject) == (channel != "sms") and bool(words.html) == (channel == "mail")
        assert len(words.text) <= TEXT_MAX[channel] and words.text == words.text.strip()


@pytest.mark.parametrize(("event", "channel", "language"), EVERY)
def test_ours_could_be_the_operators_own(event: str, channel: str, language: str) -> None:
    ours = WORDING.default(event, channel, language)
    assert WORDING.check(event, channel, language, text=ours.text, subject=ours.subject, html=ours.html) == []


@pytest.mark.parametrize(("event", "channel", "language"), [(e, c, one) for e, c, one in EVERY if e in TOLD_PIN])
def test_who_is_to_come_is_told_the_pin_and_the_time(event: str, channel: str, language: str) -> None:
    words = render(event, channel, language)
    assert "123456" in words.text
    assert sample_facts(language).from_clock in words.subject + words.text


@pytest.mark.parametrize(("event", "channel"), list(product(("cancelled", "declined", "displaced", "follow_up", "survey"), CHANNELS)))
def test_who_is_not_to_come_is_told_no_pin(event: str, channel: str) -> None:
    assert "123456" not in render(event, channel).text


@pytest.mark.parametrize("language", LANGUAGES)
def test_while_the_facility_is_dark_a_reminder_says_that_the_pin_works(language: str) -> None:
    for event, channel in product(("confirmed", "reminder", "check_in"), ("sms", "mail")):
        assert render(event, channel, language, usual(language, dark=True)).text != render(event, channel, language).text
    assert "works all the same" in render("reminder", "mail", "en", usual(dark=True)).text
    assert "(works though we are offline)" in render("reminder", "sms", "en", usual(dark=True)).text


@pytest.mark.parametrize(("event", "language", "facility"), list(product(EVENTS, LANGUAGES, FACILITIES)))
def test_an_sms_has_one_segment_and_ends_with_its_link(event: str, language: str, facility: str) -> None:
    facts = usual(language, facility=facility, link=LINK, ways_link=LINK, survey_link=LINK)
    text = render(event, "sms", language, facts).text
    assert sms_text.segments(text).segments == 1 and sms_text.fits(text), text
    assert text.startswith(facility) and text.endswith(" " + LINK) and text.count("http") == 1


@pytest.mark.parametrize(("event", "language"), list(product(("confirmed", "reminder", "check_in"), LANGUAGES)))
def test_an_sms_of_a_dark_facility_has_one_segment_too(event: str, language: str) -> None:
    text = render(event, "sms", language, usual(language, facility="Bayers Lake", link=LINK, dark=True)).text
    assert sms_text.segments(text).segments == 1, text


def test_an_sms_says_how_to_end_them_where_it_must() -> None:
    assert "STOP" in render(facts=usual(stop=True)).text and "STOP" not in render().text
    assert not re.search(r"STOP to opt out", render(channel="mail", facts=usual(stop=True)).text)


def test_typography_becomes_plain_in_an_sms_and_stays_in_a_mail() -> None:
    facts = usual("fr", when="sam. 1er août, 18h à 19h30", link="", total="39,90\u00a0$")
    assert "1er aout," in render("confirmed", "sms", "fr", facts).text
    assert "1er août," in render("confirmed", "mail", "fr", facts).text


@pytest.mark.parametrize(
    ("event", "given", "leads"),
    [
        ("confirmed", {}, "link"),
        ("displaced", {}, "ways_link"),
        ("displaced", {"ways_link": ""}, "link"),
        ("survey", {}, "survey_link"),
    ],
)
def test_a_tap_leads_where_the_message_asks_to_go(event: str, given: dict, leads: str) -> None:
    words = render(event, "push", facts=usual(**given))
    assert words.url == getattr(sample_facts("en"), leads)


def test_what_is_no_link_is_left_out() -> None:
    for no_link in ("javascript:alert(1)", "/b/order/token", "https://a.example.test/\r\nx", 'https://a.example.test/"onclick="x'):
        words = render(channel="mail", facts=usual(link=no_link))
        assert words.url == "" and no_link not in words.text and Skeleton(words.html).links == []


def test_a_mail_has_the_same_words_as_text_and_as_a_page_that_loads_nothing() -> None:
    words = render("placed", "mail", facts=sample_facts("en"))
    page = Skeleton(words.html)
    for said in ("Hello Testa Birdie,", "Box 2", "123456", "Box 3, Sat 21 Nov, 19:00 to 20:30, $39.90", "Pull it hard.", "902-555-0199"):
        assert said in words.text and said in page.text
    assert not re.search(r"src=|<link|<script|url\(|@import", words.html)
    assert set(page.links) == {sample_facts("en").ways_link} and '<html lang="en">' in words.html


def test_several_visits_are_all_in_the_mail() -> None:
    facts = usual(visits=("Box 1, Sat 21 Nov, 18:00 to 19:30", "Box 1, Sat 28 Nov, 18:00 to 19:30"))
    words = render(channel="mail", facts=facts)
    assert all(visit in words.text and visit in words.html for visit in facts.visits)


# ---- the operator's
def test_the_operators_text_comes_before_ours() -> None:
    assert render(overrides=[override("Come to {{ bays }}. {{ link }}")]).text == f"Come to Box 2. {usual().link}"


def test_the_facilitys_text_comes_before_the_general_one_in_any_order() -> None:
    general, own = override("For all"), override("For us", site_id="sampleton")
    assert render(overrides=[general, own]).text == render(overrides=[own, general]).text == "For us"
    assert render(overrides=[general, own], site_id="elsewhere").text == "For all"


def test_the_closest_text_is_used_and_the_facilitys_comes_before_the_kinds() -> None:
    ranked = [
        override("Ours, groups", site_id="sampleton", order_kind="group"), override("Ours", site_id="sampleton"),
        override("Groups", order_kind="group"), override("All"),
    ]  # fmt: skip
    for rank, closest in enumerate(ranked):
        words = WORDING.render("confirmed", "sms", "en", usual(), ranked[rank:][::-1], site_id="sampleton", order_kind="group")
        assert words.text == closest.text
    used = {
        kind: WORDING.render("confirmed", "sms", "en", usual(), ranked, site_id="elsewhere", order_kind=kind).text for kind in ORDER_KINDS
    }
    assert used == {"": "All", "single": "All", "group": "Groups", "series": "All"}


def test_a_broken_text_of_a_kind_gives_way_to_the_next_and_the_fault_names_the_kind() -> None:
    broken = override("{{ pin", site_id="sampleton", order_kind="series")
    words = WORDING.render("confirmed", "sms", "en", usual(), [broken, override("All")], site_id="sampleton", order_kind="series")
    assert words.text == "All" and words.faults[0].override == broken
    assert str(words.faults[0]).startswith("The text for confirmed, sms, en, sampleton, series, could not be used. ")


def test_the_kinds_of_orders_that_a_text_can_be_narrowed_to_are_those_that_there_are() -> None:
    assert set(ORDER_KINDS) == {"", *get_args(get_type_hints(Order)["kind"])}


@pytest.mark.parametrize(
    "other", [{"event": "moved"}, {"channel": "push"}, {"language": "fr"}, {"site_id": "elsewhere"}, {"order_kind": "group"}]
)
def test_a_text_for_something_else_is_not_used(other: dict) -> None:
    assert render(overrides=[override("Not here", **other)]).text == render().text


def test_a_subject_that_the_operator_leaves_empty_is_ours() -> None:
    words = render(channel="mail", overrides=[override("Come.", channel="mail")])
    assert words.subject == render(channel="mail").subject and words.text.startswith("Come.")


def test_a_mails_page_is_made_of_the_operators_text_or_is_the_operators_own() -> None:
    text = "Dear {{ name }},\n\nsee https://club.example.test/a?b=1&c=2.\n\n{{ pin_card }}"
    made = Skeleton(render(channel="mail", overrides=[override(text, channel="mail")]).html)
    assert "Dear Testa Birdie," in made.text and "123456" in made.text
    assert made.links == ["https://club.example.test/a?b=1&c=2"]
    own = render(channel="mail", overrides=[override("Text", channel="mail", html="<h1>Own & {{ facility }}</h1>{{ button }}")])
    assert "<h1>Own & Sampleton</h1>" in own.html and own.text.startswith("Text")
    assert Skeleton(own.html).links == [usual().link]


@pytest.mark.parametrize(
    "broken",
    ["{{ pin", "{{ secret }}", "{{ name.__class__ }}", "{% for w in ways %}{% for v in ways %}x{% endfor %}{% endfor %}", "x" * 5000],
)
def test_a_broken_text_is_passed_over_and_reported(broken: str) -> None:
    words = render(overrides=[override(broken, site_id="sampleton"), override("General")])
    assert words.text == "General"
    assert len(words.faults) == 1 and str(words.faults[0]).startswith("The text for confirmed, sms, en, sampleton, could not be used. ")
    last = render(overrides=[override(broken)])
    assert last.text == render().text and "all facilities" in str(last.faults[0])


def test_a_text_that_fails_with_these_facts_only_is_passed_over_without_telling_them() -> None:
    silent = override("{% if pin == '123456' or not pin %}x{% endif %}")
    words = render(facts=usual(pin="777777"), overrides=[silent])
    assert words.text == render(facts=usual(pin="777777")).text
    assert words.faults and "777777" not in str(words.faults[0])
    wrong = override("{% if pin == '123456' or not pin %}x{% else %}{{ notices < 3 }}{% endif %}")
    words = render(facts=usual(pin="777777"), overrides=[wrong])
    assert words.text.startswith("Sampleton") and "TypeError" in words.faults[0].why


def test_a_text_of_ours_that_facts_make_too_long_is_cut() -> None:
    words = render("reminder", facts=usual(notices=("x" * 2000,)))
    assert len(words.text) == TEXT_MAX["sms"] and words.text.endswith("...")


# ---- judging
@pytest.mark.parametrize(
    ("channel", "given", "says"),
    [
        ("sms", {"text": " "}, "The text is empty."),
        ("sms", {"text": "x", "subject": "y"}, "An SMS has no subject."),
        ("push", {"text": "x", "html": "<p>y</p>"}, "Only a mail has html."),
        ("sms", {"text": "a\n{{ pin"}, "The text: line 2 cannot be read"),
        ("sms", {"text": "{% if pin %}x"}, "cannot be read"),
        ("mail", {"text": "\x02pin_card\x03"}, "it holds characters that cannot be sent."),
        ("sms", {"text": "{{ pinn }}"}, "there is no value 'pinn' here; there are address, bays"),
        ("sms", {"text": "{{ pin_card }}"}, "no value 'pin_card'"),
        ("mail", {"text": "x", "subject": "{{ pin_card }}"}, "The subject: there is no value 'pin_card'"),
        ("sms", {"text": "{{ name.__class__ }}"}, "line 1: a value has no parts"),
        ("sms", {"text": "{{ name['x'] }}"}, "a value has no parts"),
        ("sms", {"text": "{{ name.upper() }}"}, "nothing can be called"),
        ("sms", {"text": "{{ range(9) }}"}, "nothing can be called"),
        ("sms", {"text": "{{ 'x' * 1000000000 }}"}, "does not calculate"),
        ("sms", {"text": "{{ -1 }}"}, "does not calculate"),
        ("sms", {"text": "{{ name | attr('x') }}"}, "there is no filter 'attr'; there are capitalize"),
        ("sms", {"text": "{{ name | safe }}"}, "there is no filter 'safe'"),
        ("sms", {"text": "{% filter upper %}x{% endfilter %}"}, "'filterblock' is not for templates"),
        ("sms", {"text": "{% set a = 1 %}{{ a }}"}, "'assign' is not for templates"),
        ("sms", {"text": "{% include 'x' %}"}, "'include' is not for templates"),
        ("sms", {"text": "{% macro m() %}x{% endmacro %}"}, "'macro' is not for templates"),
        ("sms", {"text": "{% for a in name %}x{% endfor %}"}, "a for goes through one of notices, visits, ways"),
        ("sms", {"text": "{% for a in ways %}{% for b in ways %}x{% endfor %}{% endfor %}"}, "a for stands inside another"),
        ("sms", {"text": "{% for a in ways recursive %}x{% endfor %}"}, "a for stands inside another"),
        ("sms", {"text": "x" * 460}, "it is an SMS of 4 segments; 3 are allowed."),
        ("sms", {"text": "x" * 901}, "the text came out 901 characters long; 900 are allowed."),
        ("mail", {"text": "x", "subject": "x" * 151}, "the subject came out 151 characters long"),
        ("push", {"text": "x" * 20_001}, "it has 20,001 characters; 20,000 are allowed."),
        ("sms", {"text": "{% if pin %}{{ pin }}{% endif %}"}, "When only bay and time are known: the text came out empty."),
        ("sms", {"text": "x{{ ways | first }}"}, "When only bay and time are known, it cannot be filled in"),
        ("mail", {"text": "{{ pin_card | upper }}"}, "a part such as pin_card stands by itself"),
        ("sms", {"text": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}"}, "nested too deeply"),
        ("sms", {"text": "x" + "{% if pin %}" * 150 + "{% endif %}" * 150}, "cannot be filled in"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_a_sentence(channel: str, given: dict, says: str) -> None:
    found = WORDING.check("confirmed", channel, "en", **given)
    assert any(says in sentence for sentence in found), found
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in found)


@pytest.mark.parametrize(
    ("html", "says"),
    [
        ("<script>x</script>", "<script> is not for mails"),
        ("<img src='https://a.example.test/x.png'>", "<img> is not for mails"),
        ("<p onclick='x'>y</p>", "may not have 'onclick'"),
        ("<a href='javascript:x'>y</a>", "a link begins with https://"),
        ("<a href='java&#115;cript:x'>y</a>", "a link begins with https://"),
        ("<a href='{{ name }}'>y</a>", "only a link may stand there"),
        ("<p title='{{ name }}'>y</p>", "only a link may stand there"),
        ("<p title={{ name }}>y</p>", "may not have"),
        ("<p {{ name }}>y</p>", "may not have"),
        ("<p style='background:url(https://a.example.test)'>y</p>", "a style may not load anything"),
        ("<p>y", "<p> is never ended"),
        ("y</div></td>", "</div> ends what is not open there"),
        ("<p>y</p><!-- z", "a tag at the end is not finished"),
        ("<p>y</p><!-- z -->", "a comment of html would be sent"),
        ("<!DOCTYPE html><p>y</p>", "the frame of the page is there already"),
        ("<p>y</p><a href=", "a tag at the end is not finished"),
        ("<p>1 < 2</p>", "a < that begins no tag is written &lt;"),
        ("<div/>", "needs an end tag of its own"),
        ("<a href='{{ ways_link }}'>y</a>", "one that may be empty stands inside {% if … %}"),
        ("{% autoescape false %}{{ name }}{% endautoescape %}", "is not for templates"),
    ],
)
def test_html_that_could_break_the_page_is_refused_with_a_sentence(html: str, says: str) -> None:
    found = WORDING.check("confirmed", "mail", "en", text="x", html=html)
    assert any(says in sentence for sentence in found), found


def test_good_texts_are_taken() -> None:
    assert (
        WORDING.check("confirmed", "sms", "fr", text="{{ facility | upper }}: {{ name or 'bonjour' }} {{ when }} {{ visits | join('; ') }}")
        == []
    )
    rows = "{% for way in ways %}{{ loop.index }}. {{ way }}{% if not loop.last %}, {% endif %}{% endfor %}"
    html = f'<h2 style="color:#14553d">{{{{ name }}}}</h2><ul><li>{rows}</li></ul>{{% if link %}}<a href="{{{{ link }}}}">Go</a>{{% endif %}}<br>{{{{ button }}}}'
    assert WORDING.check("placed", "mail", "en", text=rows + " x", html=html, subject="{{ facility }}") == []


# ---- values stay values
# Letters first, so that nothing becomes empty and the same sentences are said.
HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text(st.sampled_from("<>\"'&=/{}%#\\\r\n\t\x00\x02\x03\x85\u2028\u202e\ud800 ab:;()-!"), max_size=60),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "</title></style><b>",
            "{{ 7 * 7 }}",
            "{% for a in ways %}x{% endfor %}",
            "a\r\nBcc: victim@example.test",
            "\x02pin_card\x03",
            "&lt;b&gt;",
            "-->",
            "]]>",
            "http://a.example.test/<b>",
            'https://a"onclick="b',
        ]  # fmt: skip
    ),
).map(lambda text: "zz " + text)


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    texts = {name: draw(HOSTILE) for name in FACTS if isinstance(getattr(usual(), name), str) and name not in LINKS}
    lists = {name: (draw(HOSTILE),) for name in LISTS}
    return replace(sample_facts("en"), **texts, **lists)


@given(any_facts(), st.sampled_from(EVENTS), st.sampled_from(LANGUAGES))
def test_no_fact_breaks_out_of_the_page(facts: Facts, event: str, language: str) -> None:
    there = Skeleton(render(event, "mail", language, facts).html)
    assert there.tags == Skeleton(render(event, "mail", language, replace(sample_facts(language), ways=("x",), notices=("x",))).html).tags
    assert all(re.match(r"https?://[^\"'<>\s]+$", link) for link in there.links)


@given(any_facts())
def test_no_fact_breaks_out_of_the_operators_page(facts: Facts) -> None:
    html = '<p>{{ name }} {{ notices | join("; ") }}</p><a href="{{ link or "https://a.example.test" }}">{{ reason }}</a>'
    own = override("For {{ name }}", channel="mail", html=html)
    words, calm = render(channel="mail", facts=facts, overrides=[own]), render(channel="mail", facts=sample_facts("en"), overrides=[own])
    assert words.faults == calm.faults == ()
    assert Skeleton(words.html).tags == Skeleton(calm.html).tags


@given(any_facts(), st.sampled_from(EVERY))
def test_a_subject_is_one_line_and_a_text_can_be_sent(facts: Facts, where: tuple) -> None:
    words = render(*where, facts)
    assert len(words.subject.splitlines()) <= 1 and len(words.subject) <= SUBJECT_MAX
    assert all(unicodedata.category(letter) not in ("Cc", "Cs") for letter in words.subject + words.text.replace("\n", ""))
    assert words.text.encode() and words.html.encode() is not None and len(words.text) <= TEXT_MAX[where[1]]


@pytest.mark.parametrize("code", ["{{ 7 * 7 }}", "{% if true %}x{% endif %}", "{{ link }}", "{# x #}"])
def test_code_in_a_fact_is_shown_and_not_run(code: str) -> None:
    facts = usual(name=code, bays=code)
    for channel in CHANNELS:
        assert code in render(channel=channel, facts=facts, overrides=[override("{{ bays }}", channel=channel)]).text
    assert f"Hello {code}," in render(channel="mail", facts=facts).text
    assert code in Skeleton(render(channel="mail", facts=facts).html).text


PARTS = st.sampled_from(
    ["{{", "}}", "{%", "%}", "if ", "for ", "in ", "endif", "endfor", "name", "ways", "pin_card", " | ", "upper", "first", "length", "(", ")", ".", "x", "'",
     "1", " ", "<", "<p>", "</p>", "loop.index", "not ", "==", "{#", "#}", "\n", "\x02", "\x03"]
)  # fmt: skip


@given(st.lists(PARTS, max_size=14).map("".join), st.lists(PARTS, max_size=8).map("".join))
def test_whatever_an_override_holds_a_message_is_worded(text: str, html: str) -> None:
    words = render(channel="mail", overrides=[override(text, channel="mail", subject=text, html=html)])
    wrong = WORDING.check("confirmed", "mail", "en", text=text, subject=text, html=html)
    assert words.text and words.html and len(words.subject.splitlines()) == 1
    if wrong:
        assert words.faults and words.text == render(channel="mail").text
