"""Profiles: both are complete, travel as documents, and a wrong file is refused with the key that is wrong."""

from datetime import date
from importlib.resources import files

import msgspec
import pytest

from shared import profiles
from shared.policy import Care, Discount, Displacement, Health, Hours, Opening, Overtime, Policy, Presence, Profile, PromoCode, Rate, Tariff

BUSINESS = files("shared.profiles").joinpath("business.toml").read_text("utf-8")


@pytest.mark.parametrize("name", profiles.NAMES)
def test_a_profile_is_read_once_and_travels_as_a_document(name):
    profile = profiles.profile(name)
    assert profile is profiles.profile(name)
    assert profile.name == name
    assert profiles.from_json(profiles.to_json(profile)) == profile


def test_a_document_from_a_newer_peer_is_still_read():
    document = msgspec.json.decode(profiles.to_json(profiles.profile("business")))
    document["policy"]["something_new"] = {"a": 1}
    assert profiles.from_json(msgspec.json.encode(document)) == profiles.profile("business")


def test_a_document_with_dates_keeps_them():
    profile = profiles.from_toml(BUSINESS + '\n[[tariff.base]]\ncents_per_hour = 3700\nvalid_from = 2027-01-01\nlabel = "New rate"\n')
    assert profile.tariff.base[-1].valid_from == date(2027, 1, 1)
    assert profiles.from_json(profiles.to_json(profile)) == profile


@pytest.mark.parametrize("name", ["", "Business", "../business", "skedda"])
def test_an_unknown_profile_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match="there are business and planning"):
        profiles.profile(name)


def test_the_business_profile_says_what_the_operator_does():
    profile = profiles.profile("business")
    policy, tariff = profile.policy, profile.tariff
    assert (policy.grid_min, policy.min_min, policy.step_min, policy.max_min) == (30, 60, 30, 360)
    assert (policy.notice_min.web, policy.notice_min.kiosk, policy.notice_min.staff) == (60, 0, 0)
    assert (policy.horizon_days, [one.days for one in policy.horizons], policy.open_max) == (14, [30, 150], 2)
    assert policy.hours == Hours()
    assert not any(one.on for one in tariff.demand)
    assert [tax.rate_ppm for tax in tariff.taxes] == [140_000]


@pytest.mark.parametrize(
    ("line", "wrong", "named"),
    [
        ("grid_min = 30", "gird_min = 30", "policy.gird_min"),
        ("web = 60", "web = 60\nfax = 60", "policy.notice_min.fax"),
        ("\ndays = 30", "\ndays = 30\ncolour = 1", "policy.horizons.0.colour"),
        ('name = "HST"', 'name = "HST"\ncompound = true', "tariff.taxes.0.compound"),
        ('name = "business"', 'name = "business"\nextra = 1', "extra"),
    ],
)
def test_an_unknown_key_is_named(line, wrong, named):
    assert line in BUSINESS
    with pytest.raises(ValueError, match=f"unknown keys: {named}"):
        profiles.from_toml(BUSINESS.replace(line, wrong, 1))


@pytest.mark.parametrize(
    ("line", "wrong", "said"),
    [
        ("grid_min = 30", "grid_min = 20", "grid_min is 20; it must be 15, 30 or 60"),
        ("grid_min = 30", 'grid_min = "30"', r"\$.policy.grid_min"),
        ("step_min = 30", "step_min = 20", "step_min is 20; it must be a multiple of 15"),
        ("max_min = 360", "max_min = 30", "max_min 30 is less than min_min 60"),
        ("buffer_min = 0", "buffer_min = 10", "buffer_min is 10"),
        ("open_max = 2", "open_max = -1", r"\$.policy.open_max"),
        ("version = 1", "version = 0", r"\$.version"),
        ('closes = "24:00"', 'closes = "25:00"', r"\$.policy.hours.weekly"),
        ('opens = "00:00"', 'opens = "24:00"', "Nothing opens at 24:00"),
        ('to_clock = "05:00"', 'to_clock = "00:00"', "begins and ends at 00:00"),
        ('to_clock = "05:00"', 'to_clock = "05:10"', r"\$.tariff.rates"),
        ("cents_per_hour = 1500", "cents_per_hour = 15.5", r"\$.tariff.rates"),
        ("cents_per_hour = 1500", "", "needs either cents_per_hour or percent"),
        ("cents_per_hour = 1500", "cents_per_hour = 1500\npercent = 5", "needs either cents_per_hour or percent"),
        ('name = "weekday-morning"', 'name = "weekday-night"', "Rate 'weekday-night' is given twice"),
        ("cents_per_hour = 3500", "cents_per_hour = 3500\nvalid_from = 2026-01-01", "so that every hour has a price"),
        ("rate_ppm = 140000", "rate_ppm = 140000\nvalid_from = 2026-02-01\nvalid_until = 2026-01-01", "lies before valid_from"),
        ('staff_skip = ["cut_off_passed", "reschedule_limit"]', 'staff_skip = ["in_the_past"]', r"\$.policy.staff_skip"),
        ('currency = "CAD"', "", "currency"),
        ("[tariff]", "[tariff", "cannot be read"),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence(line, wrong, said):
    assert line in BUSINESS
    with pytest.raises(ValueError, match=said):
        profiles.from_toml(BUSINESS.replace(line, wrong, 1))


@pytest.mark.parametrize("document", [b"", b"{}", b"[1]", b"\xff\xfe"])
def test_a_document_that_is_no_profile_is_refused(document):
    with pytest.raises(ValueError, match="The profile cannot be read"):
        profiles.from_json(document)


def test_exactly_one_of_percent_and_cents_makes_a_code():
    with pytest.raises(ValueError, match="needs either cents or percent"):
        PromoCode(text="WINTER", label="Winter")
    assert PromoCode(text="WINTER", label="Winter", percent=10).percent == 10


def test_every_setting_is_read_by_some_decision():
    """A field that nobody reads is a promise that nobody keeps."""
    pure = ("slots", "rules", "pricing", "terms", "conflicts", "presence", "overtime", "health", "foresight")
    services = (("bays", "stock"), ("bays", "foresight"), ("visits", "presence"), ("visits", "presence_words"))
    found = [("shared", name) for name in pure] + [(f"site_agent.services.{room}", name) for room, name in services]
    readers = " ".join(files(package).joinpath(f"{name}.py").read_text("utf-8") for package, name in found)
    for struct in (Policy, Displacement, Presence, Overtime, Health, Care, Hours, Opening, Tariff, Rate, Discount, PromoCode):
        for field in struct.__struct_fields__:
            assert f".{field}" in readers, f"{struct.__name__}.{field}"
    assert Profile.__struct_fields__ == ("name", "version", "policy", "tariff")


def test_a_profile_like_another_says_only_what_is_other():
    mine = profiles.from_toml('like = "business"\n[policy.health]\nbroken_min = 1\n')
    theirs = profiles.profile("business")
    assert mine.policy.health.broken_min == 1 and mine.policy.health.healthy_min == theirs.policy.health.healthy_min
    assert msgspec.structs.replace(mine, policy=theirs.policy) == theirs
    assert msgspec.structs.replace(mine.policy, health=theirs.policy.health) == theirs.policy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('like = "nobody"', "business or planning"),
        ('like = 3', "business or planning"),
        ('like = "business"\n[policy.health]\nbroken = 1', "policy.health.broken"),
        ('like = "business"\npolicy = 3', "policy"),
    ],
)
def test_a_profile_like_none_or_with_what_there_is_not_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        profiles.from_toml(text)
