"""The demo's children: their end is noticed and told, they end with the demo, and nobody is left over."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.demo.addresses import DemoError
from deploy.demo.processes import Child, Children, until

WAITS = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(0)); print('up', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
FAILS = "print('the last words'); raise SystemExit(3)"


@pytest.fixture
async def children() -> AsyncIterator[Children]:
    made = Children()
    yield made
    made.kill()
    await asyncio.gather(*(child.ended() for child in made))


async def start(children: Children, tmp_path: Path, name: str, program: str) -> Child:
    child = await children.start(Child(name, ("-c", program), tmp_path / f"{name}.log"))
    if program is not FAILS:

        async def is_up() -> bool:
            return "up" in child.tail()

        await until(f"{name} did not come up", is_up, 10)
    return child


async def test_the_first_child_that_ends_is_named_with_its_exit_code_and_its_last_words(children: Children, tmp_path: Path) -> None:
    await start(children, tmp_path, "good", WAITS)
    await start(children, tmp_path, "bad", FAILS)
    child, code = await asyncio.wait_for(children.first_end(), 10)
    assert (child.name, code) == ("bad", 3)
    assert "the last words" in child.tail()


async def test_children_end_when_asked(children: Children, tmp_path: Path) -> None:
    one = await start(children, tmp_path, "one", WAITS)
    other = await start(children, tmp_path, "other", WAITS)
    await asyncio.wait_for(children.stop(), 10)
    assert not one.running and not other.running
    assert await one.ended() == 0


async def test_a_child_that_does_not_listen_is_killed(children: Children, tmp_path: Path) -> None:
    deaf = await start(children, tmp_path, "deaf", DEAF)
    began = time.monotonic()
    await children.stop(within_s=0.2)
    assert await deaf.ended() == -signal.SIGKILL
    assert time.monotonic() - began < 5


async def test_stopping_what_has_ended_does_nothing(children: Children, tmp_path: Path) -> None:
    child = await start(children, tmp_path, "bad", FAILS)
    assert await child.ended() == 3
    await children.stop()
    child.kill()
    assert not child.running and await child.ended() == 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
async def test_a_child_does_not_outlive_a_demo_that_was_killed(tmp_path: Path) -> None:
    parent = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom deploy.demo.processes import Child\n"
        f"async def main():\n    child = Child('inner', ('-c', {WAITS!r}), Path({str(tmp_path / 'inner.log')!r}))\n"
        "    await child.start()\n    print(child.pid, flush=True)\n    await asyncio.sleep(60)\nasyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", parent, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    process.kill()
    await process.wait()

    async def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"

    await until("The child did not end", gone, 10)


async def test_waiting_in_vain_says_for_what(children: Children) -> None:
    async def never() -> bool:
        return False

    with pytest.raises(DemoError, match="The hub did not serve within 0 s."):
        await until("The hub did not serve", never, 0.05, every_s=0.01)
