"""The demo's settings files are what the apps read, its ports are free, its secrets new and private."""

import json
import random
import socket
import stat
import time
import tomllib
from pathlib import Path

import msgspec
import pytest

from cloud_hub import config as hub_config
from cloud_hub.ports import Letter
from cloud_hub.telling import opened
from deploy.broker import BrokerUser
from deploy.demo import addresses
from deploy.emulators import ninjaone_rmm, unifi_access
from deploy.emulators.messages.sendgrid_api import public_event_key
from deploy.emulators.messages.slack import Slack
from deploy.emulators.messages.vendors import Settings
from deploy.emulators.tls import fingerprint_of
from deploy.emulators.unifi.controller import AGENT_SCOPES
from shared.outcomes import Taken
from shared.runtime.passwords import Passwords
from site_agent import config as site_config
from tests.deploy.message_world import running

DESCRIBED = addresses.describe()


@pytest.fixture
async def written(tmp_path: Path) -> addresses.Plan:
    plan = addresses.plan(tmp_path / "demo", DESCRIBED, usual_ports=False)
    hasher = Passwords()
    addresses.write(plan, {site.id: await hasher.hash(site.staff_password) for site in plan.sites})
    return plan


def test_the_hub_reads_its_settings(written: addresses.Plan) -> None:
    read = hub_config.load(written.hub_folder / "hub.toml")
    assert [site.id for site in read.hub.sites] == ["bedford", "dartmouth"]
    assert (read.hub.http.port, read.hub.http.public_url) == (written.hub_port, written.hub_url)
    assert read.hub.mqtt is not None and read.hub.mqtt.port == written.broker_port
    assert read.mqtt_password == written.hub_broker_password


async def test_each_site_reads_its_settings_and_knows_its_controller_and_its_staff(written: addresses.Plan) -> None:
    for site in written.sites:
        read = site_config.load(site.folder / "site.toml")
        assert tuple(resource.id for resource in read.resources) == site.resource_ids
        assert read.config.hub_id == hub_config.load(written.hub_folder / "hub.toml").hub.hub_id
        assert read.config.doors is not None
        assert read.config.doors.fingerprint == fingerprint_of((site.box_folder / "unifi-access.crt").read_bytes())
        assert read.secret("doors.token", "doors.token") == site.doors_token
        (account,) = read.staff
        assert await Passwords().verify(account.password_hash, site.staff_password)


def test_each_emulated_controller_has_the_doors_that_its_site_opens(written: addresses.Plan) -> None:
    for site in written.sites:
        box = msgspec.convert(tomllib.loads((site.box_folder / "unifi.toml").read_text()), unifi_access.Settings)
        assert {door.id for door in box.doors} == set(site_config.load(site.folder / "site.toml").facility.door_ids)
        assert set(box.tokens[site.doors_token]) == AGENT_SCOPES
        assert box.port == site.unifi_port


def test_each_bays_machine_is_a_device_of_the_emulated_ninjaone_in_its_sites_organization(written: addresses.Plan) -> None:
    found = ninjaone_rmm.settings_of(written.machines.folder / "ninjaone.toml")
    assert found.port == written.machines.port and [device.alert for device in found.devices].count("") == len(found.devices) - 1
    for site in written.sites:
        read = site_config.load(site.folder / "site.toml")
        assert read.config.machines is not None
        way = read.config.machines.way["ninjaone"]
        assert way["url"] == written.machines.url and found.organizations[str(way["organization_id"])] == site.name
        ids = {str(device.id) for device in found.devices if device.organization_id == way["organization_id"]}
        assert {resource.machine_id for resource in read.resources} == ids
        assert {one.script for one in read.config.machines.script} <= {str(script.id) for script in found.scripts}
        assert read.secret(way["secret_file"], "secret") == next(app.secret for app in found.apps if app.client_id == way["client_id"])
        assert way["consent_client_id"] in {app.client_id for app in found.apps if app.kind == "native"}


def test_the_hub_and_the_emulated_message_vendors_know_each_other(written: addresses.Plan) -> None:
    vendors = msgspec.convert(tomllib.loads((written.messages.folder / "messages.toml").read_text()), Settings)
    assert vendors.ports == written.messages.ports and vendors.timezone == DESCRIBED.zone
    config = hub_config.load(written.hub_folder / "hub.toml")
    channels, hooks = opened(config, time.time)
    assert {name: channel.vendor for name, channel in channels.items()} == {
        "sms": "twilio", "mail": "sendgrid", "push": "web_push", "slack": "slack",
    }  # fmt: skip
    assert set(hooks) == {"twilio", "sendgrid"}, "both are believed what they report"
    twilio, sendgrid = config.hub.channels["twilio"], config.hub.channels["sendgrid"]
    for name, table in (("twilio", twilio), ("sendgrid", sendgrid)):
        assert table["base_url"] == f"http://127.0.0.1:{getattr(vendors.ports, name)}"
    assert twilio["account_sid"] == vendors.twilio.account_sid and vendors.twilio.services == {twilio["sender"]: (DESCRIBED.sms_number,)}
    assert (written.hub_folder / twilio["auth_token_file"]).read_text() == vendors.twilio.auth_token
    assert (written.hub_folder / sendgrid["api_key_file"]).read_text() == vendors.sendgrid.api_key
    assert sendgrid["webhook_public_key"] == public_event_key(vendors.sendgrid.event_key)
    assert vendors.sendgrid.senders == (sendgrid["sender"],)
    hooked = {"twilio": vendors.twilio.inbound_url, "sendgrid": vendors.sendgrid.events_url}
    assert hooked == {name: f"{written.hub_url}/hooks/{name}" for name in hooks}


async def test_the_hub_pushes_to_a_browser_of_the_emulated_push_service(written: addresses.Plan) -> None:
    config = hub_config.load(written.hub_folder / "hub.toml")
    channels, _ = opened(config, time.time)
    push = channels["push"]
    async with running() as vendors:
        there = vendors.subscribe(push.public_key)
        sent = await push.send(Letter(key="k-1", to=json.dumps(there), subject="Box 3", text="At 18:00"))
        assert isinstance(sent, Taken) and push.objection(json.dumps(there)) == ""
        assert [one.payload["body"] for one in vendors.pushes] == ["At 18:00"]
    for channel in channels.values():
        await channel.close()


async def test_the_hub_writes_to_the_staffs_channel_of_the_emulated_slack(written: addresses.Plan) -> None:
    config = hub_config.load(written.hub_folder / "hub.toml")
    vendors = msgspec.convert(tomllib.loads((written.messages.folder / "messages.toml").read_text()), Settings)
    hook = (written.hub_folder / config.hub.channels["slack"]["hooks"][config.hub.digest.hook]).read_text()
    assert hook == f"http://127.0.0.1:{vendors.ports.slack}/services/{vendors.slack.hooks['staff']}"
    assert config.hub.digest.zone == DESCRIBED.zone
    box = Slack(vendors.slack, time.time, random.Random(1), lambda: "post-1")
    assert box.hook_at(hook.partition("/services/")[2]) is box.hooks["staff"]


def test_nobody_else_on_the_machine_can_read_what_was_written(written: addresses.Plan) -> None:
    private = [path for path in written.folder.rglob("*") if path.is_file() and path.suffix != ".crt"]
    assert private and all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private)


def test_each_site_is_a_user_of_the_broker_of_its_own(written: addresses.Plan) -> None:
    hub, *sites = written.broker_users()
    assert hub.site_id is None
    assert [user.site_id for user in sites] == ["bedford", "dartmouth"]
    assert all(isinstance(user, BrokerUser) for user in sites)


def test_every_run_has_other_secrets(tmp_path: Path) -> None:
    one, other = (addresses.plan(tmp_path, DESCRIBED, usual_ports=False) for _ in range(2))
    assert one.hub_broker_password != other.hub_broker_password
    assert {site.staff_password for site in one.sites}.isdisjoint({site.staff_password for site in other.sites})
    for name in ("account_sid", "auth_token", "api_key", "event_key", "vapid_key"):
        assert getattr(one.messages, name) != getattr(other.messages, name)


def test_a_taken_port_is_replaced_by_a_free_one_and_none_is_given_twice(tmp_path: Path) -> None:
    with socket.socket() as taken, socket.socket() as free:
        taken.bind((addresses.HOST, 0))
        taken.listen()
        free.bind((addresses.HOST, 0))
        usual = free.getsockname()[1]
        free.close()
        described = msgspec.structs.replace(DESCRIBED, hub_port=taken.getsockname()[1], broker_port=usual)
        plan = addresses.plan(tmp_path, described)
        assert plan.hub_port != described.hub_port
        assert plan.broker_port == usual
    ports = [plan.machines.port, plan.hub_port, plan.broker_port, *(site.port for site in plan.sites), *(site.unifi_port for site in plan.sites)]
    ports += msgspec.structs.astuple(plan.messages.ports)
    assert len(set(ports)) == len(ports)
