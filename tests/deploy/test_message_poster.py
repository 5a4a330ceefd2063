"""What posts the emulators' webhooks ends when it is told to, at whatever moment."""

import asyncio

import pytest

from deploy.emulators.messages.post import Heard, Poster


class Answering:
    """A connection whose answer comes when the test says."""

    keeps = False

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()

    def ask(self, request: bytes) -> asyncio.Future[Heard]:
        self.asked.set()
        return self.answer

    def close(self) -> None:
        return None


async def test_a_post_that_is_cancelled_just_as_its_answer_comes_is_cancelled() -> None:
    poster, connection = Poster(), Answering()
    poster._kept = lambda key: connection  # type: ignore[method-assign]
    posting = asyncio.create_task(poster.post("http://127.0.0.1:9/x", {}, b"", connect_s=5, read_s=5))
    await connection.asked.wait()
    connection.answer.set_result(Heard(200, {}, b""))
    posting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await posting
