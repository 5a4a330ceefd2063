"""The units start what the wheel installs, and keep it in its cage."""

import configparser
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNITS = {"site-agent.service": "site-agent", "cloud-hub.service": "cloud-hub"}
CAGE = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "CapabilityBoundingSet": "", "UMask": "0077"}


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str
    parser.read(ROOT / "systemd" / name)
    return parser


@pytest.mark.parametrize(("name", "command"), UNITS.items())
def test_a_unit_runs_a_console_script_of_the_wheel_with_its_config(name, command):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    program, verb, flag, config = unit(name)["Service"]["ExecStart"].split()
    assert Path(program).name == command in scripts
    assert (verb, flag, Path(config).name) == ("run", "--config", f"{command}.toml")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_restarts_always_is_watched_and_waits_for_no_network(name):
    parsed = unit(name)
    assert parsed["Service"]["Restart"] == "always" and parsed["Service"]["Type"] == "notify"
    assert int(parsed["Service"]["WatchdogSec"]) > 0 and parsed["Unit"]["StartLimitIntervalSec"] == "0"
    assert "After" not in parsed["Unit"] and "Requires" not in parsed["Unit"]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_hardened(name):
    service = unit(name)["Service"]
    assert {key: service.get(key) for key in CAGE} == CAGE
