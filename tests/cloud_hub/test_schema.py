"""The API does what its description says, whatever is sent: schemathesis makes the requests from the description itself."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.cloud_hub.hub_world import opened
from tests.runtime.demo_app import served

# That a request fits the description does not mean that its time is free or its booking known.
LEFT_OUT = "positive_data_acceptance"


def begun(asgi):
    """The app for a server, which must not start it a second time."""

    async def app(scope, receive, send):
        if scope["type"] != "lifespan":
            return await asgi(scope, receive, send)
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        return await send({"type": "lifespan.shutdown.complete"})

    return app


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_api_keeps_to_its_description_and_never_answers_5xx(tmp_path):
    async with opened(tmp_path) as w, served(begun(w.app.asgi)) as port:
        tool = Path(sys.executable).with_name("schemathesis")
        process = await asyncio.create_subprocess_exec(
            str(tool), "run", f"http://127.0.0.1:{port}/api/openapi.json", "-H", f"Authorization: Bearer {w.key}", "--max-examples", "30",
            "--exclude-checks", LEFT_OUT, "--continue-on-failure", "--generation-database", "none", "--seed", "1",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        told, _ = await process.communicate()
        assert process.returncode == 0, told.decode()[-6000:]
