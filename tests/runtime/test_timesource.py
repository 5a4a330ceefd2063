"""What the machine says of its own clock: RTC, host, time server, uptime."""

import pytest

from shared.runtime import timesource
from shared.runtime.clock import ManualClock
from shared.runtime.timesource import STA_UNSYNC, TIME_ERROR, Given, Machine


def machine(root, files: dict[str, str], rtc="auto") -> Machine:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(rtc, root)


def test_an_rtc_that_set_the_clock_at_boot_is_found(tmp_path):
    assert machine(tmp_path, {"sys/class/rtc/rtc0/hctosys": "0\n", "sys/class/rtc/rtc1/hctosys": "1\n"}).rtc()


def test_an_rtc_that_did_not_set_the_clock_counts_for_nothing(tmp_path):
    assert not machine(tmp_path, {"sys/class/rtc/rtc0/hctosys": "0\n"}).rtc()


def test_a_virtual_machine_has_its_time_from_the_host(tmp_path):
    sources = "sys/devices/system/clocksource/clocksource0/available_clocksource"
    assert machine(tmp_path, {sources: "tsc kvm-clock \n"}).rtc()


def test_a_machine_without_either_has_none(tmp_path):
    sources = "sys/devices/system/clocksource/clocksource0/available_clocksource"
    assert not machine(tmp_path, {sources: "arch_sys_counter \n"}).rtc()
    assert not Machine("auto", tmp_path / "nothing").rtc()


@pytest.mark.parametrize(("said", "found"), [("yes", True), ("no", False)])
def test_what_the_config_says_of_the_rtc_is_not_looked_for(tmp_path, said, found):
    assert machine(tmp_path, {"sys/class/rtc/rtc0/hctosys": "0\n"}, said).rtc() is found


@pytest.mark.parametrize(
    ("answer", "synchronised"), [(None, False), ((TIME_ERROR, 0), False), ((0, STA_UNSYNC), False), ((0, 0x2001), True)]
)
def test_a_clock_counts_as_disciplined_only_when_the_kernel_says_so(monkeypatch, answer, synchronised):
    monkeypatch.setattr(timesource, "_adjtimex", lambda: answer)
    assert Machine().synchronised() is synchronised


def test_the_kernel_of_this_machine_can_be_asked():
    answer = timesource._adjtimex()
    assert answer is None or 0 <= answer[0] <= TIME_ERROR


def test_uptime_never_goes_back_and_the_boot_has_a_name(tmp_path):
    here = Machine()
    first = here.uptime_s()
    assert 0 < first <= here.uptime_s()
    assert machine(tmp_path, {"proc/sys/kernel/random/boot_id": "3b9c\n"}).boot_id() == "3b9c"
    assert Machine("auto", tmp_path / "nothing").boot_id() == ""


def test_a_clock_that_is_handed_in_is_vouched_for_by_who_moves_it():
    clock = ManualClock()
    given = Given(clock)
    clock.forward(5)
    assert (given.rtc(), given.synchronised(), given.boot_id(), given.uptime_s()) == (True, False, "", 5.0)
