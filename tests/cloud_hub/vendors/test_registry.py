"""The registry of channels: each can be opened from its table, a wrong table is told by name, and no vendor is loaded before it is wanted."""

import subprocess
import sys
from pathlib import Path

import pytest

from cloud_hub.vendors import channels
from cloud_hub.vendors.channels import CHANNELS, Around, open_channel, open_hooks
from shared.runtime.config import ConfigError

ROOT = Path(__file__).parents[3]
SECRETS = {
    "token": "its-token", "key": "SG.x", "vapid": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE", "hook": "https://hooks.slack.com/services/T/B/x"
}  # fmt: skip
PUBLIC_KEY = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="
TABLES = {
    "twilio": {"account_sid": "AC" + "0" * 32, "auth_token_file": "token", "sender": "+19025550199"},
    "sendgrid": {"api_key_file": "key", "sender": "desk@example.test", "webhook_public_key": PUBLIC_KEY},
    "smtp": {"host": "mail.example.test", "sender": "desk@example.test"},
    "web_push": {"vapid_key_file": "vapid", "contact": "mailto:ops@example.test"},
    "slack": {"hooks": {"desk": "hook"}},
}
HEAVY = {"twilio", "sendgrid", "pywebpush", "aiohttp", "aiosmtplib"}


def secret(file: str, key: str) -> str:
    if file and file not in SECRETS:
        raise ConfigError(f"{key}_file: {file} cannot be read.")
    return SECRETS.get(file, "")


def around(**more) -> Around:
    given = {"secret": secret, "path": Path, "now": lambda: 0.0, "public_url": "https://hub.example.test/", "where": "hub.toml"}
    return Around(**(given | more))


def test_every_channel_has_a_table_here() -> None:
    assert set(TABLES) == set(CHANNELS)


@pytest.mark.parametrize("vendor", CHANNELS)
async def test_a_channel_opens_from_its_table(vendor: str) -> None:
    channel = open_channel(vendor, TABLES[vendor], around())
    assert (channel.vendor, channel.name) == (vendor, CHANNELS[vendor].channel)
    assert not any(text and text in repr(channel) for text in SECRETS.values())
    await channel.close()


@pytest.mark.parametrize("vendor", CHANNELS)
def test_hooks_open_for_those_that_call(vendor: str) -> None:
    hooks = open_hooks(vendor, TABLES[vendor], around())
    assert (hooks is not None) == bool(CHANNELS[vendor].hooks)
    assert hooks is None or hooks.vendor == vendor


def test_vendors_that_cannot_call_us_have_no_hooks() -> None:
    assert open_hooks("twilio", TABLES["twilio"], around(public_url="")) is None
    assert open_hooks("sendgrid", TABLES["sendgrid"] | {"webhook_public_key": ""}, around()) is None


def test_vendors_call_below_the_public_address() -> None:
    assert around().hook_url("twilio") == "https://hub.example.test/hooks/twilio"
    assert around(public_url="").hook_url("twilio") == ""


@pytest.mark.parametrize(
    ("vendor", "more", "told"),
    [
        ("twilio", {"acount_sid": "x"}, r"hub.toml, \[channels.twilio\]: there is no setting 'acount_sid'. Did you mean 'account_sid'?"),
        ("twilio", {"account_sid": "x"}, "'account_sid' is wrong"),
        ("twilio", {"sender": "5550199"}, "'sender' is wrong"),
        ("twilio", {"auth_token_file": "nowhere"}, "channels.twilio.auth_token_file: nowhere cannot be read"),
        ("twilio", {"auth_token_file": ""}, r"\[channels.twilio\]: .*missing"),
        ("twilio", {"key_sid": "SK" + "0" * 32}, "both 'key_sid' and 'key_secret_file'"),
        ("twilio", {"base_url": "http://sms.example.test"}, "base_url"),
        ("twilio", {"timeout_s": 0}, "'timeout_s' is wrong"),
        ("sendgrid", {"sender": "nobody"}, "'sender' is wrong"),
        ("smtp", {"security": "none"}, "'security' is wrong"),
        ("smtp", {"username": "desk"}, "password_file"),
        ("smtp", {"ca_file": "nowhere"}, "ca_file"),
        ("web_push", {"vapid_key_file": "token"}, "vapid_key_file"),
        ("slack", {"hooks": {"desk": "token"}}, "hooks.desk"),
        ("slack", {"hooks": {"De sk": "hook"}}, "hooks"),
    ],
)
def test_a_wrong_table_is_told_by_name(vendor: str, more: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        open_channel(vendor, TABLES[vendor] | more, around())


def test_a_wrong_key_for_events_is_told_by_name() -> None:
    with pytest.raises(ConfigError, match=r"\[channels.sendgrid\]: .*webhook_public_key"):
        open_hooks("sendgrid", TABLES["sendgrid"] | {"webhook_public_key": "x"}, around())


def test_a_channel_that_is_none_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="hub.toml: there is no channel 'channels.pigeon'. Known here: twilio, "):
        open_channel("pigeon", {}, around())


def test_no_vendor_is_loaded_before_it_is_wanted() -> None:
    asked = f"import sys, cloud_hub.app, {channels.__name__}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == ""
