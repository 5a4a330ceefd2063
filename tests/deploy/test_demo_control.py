"""The demo's control over HTTP: who has the token may cut and heal the link; the kiosk's door leads to a paired screen."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator

import httpx
import pytest

from deploy.broker import BrokerError
from deploy.demo.control import Control, Screen, Serving


class ToyBroker:
    """Notes what is done to it."""

    def __init__(self) -> None:
        self.running, self.done, self.broken = True, [], False

    def start(self) -> None:
        if self.broken:
            raise BrokerError("The broker did not start: its port is taken.")
        self.running = True
        self.done.append("start")

    def stop(self) -> None:
        self.running = False
        self.done.append("stop")

    def kill(self) -> None:
        self.running = False
        self.done.append("kill")


@pytest.fixture
async def served() -> AsyncIterator[tuple[ToyBroker, Control, httpx.AsyncClient]]:
    broker = ToyBroker()
    control = Control(broker, {"bedford": Screen(8101, "a-token-of-a-kiosk")}, lambda: broker.done.append("told"))
    serving = Serving(control)
    async with httpx.AsyncClient(base_url=serving.url, trust_env=False) as client:
        yield broker, control, client
    await serving.stop()


async def order(client: httpx.AsyncClient, control: Control, what: object, token: str | None = None) -> httpx.Response:
    return await client.post("/broker", json=what, headers={"authorization": f"Bearer {token or control.token}"})


async def test_the_broker_is_cut_and_healed_and_that_is_known_to_be_no_accident(served) -> None:
    broker, control, client = served
    assert (await order(client, control, {"do": "kill"})).json() == {"broker": "stopped"}
    assert not control.broker_wanted
    assert (await order(client, control, {"do": "start"})).json() == {"broker": "running"}
    assert control.broker_wanted
    assert (await order(client, control, {"do": "start"})).status_code == 200, "what is so already is no error"
    assert (await order(client, control, {"do": "stop"})).json() == {"broker": "stopped"}
    assert [what for what in broker.done if what != "told"] == ["kill", "start", "stop"]
    assert broker.done[-1] == "told", "what has changed is written down"


@pytest.mark.parametrize("what", [{"do": "explode"}, {"broker": "stop"}, {"do": "stop", "more": 1}, [], {"do": "x" * 5000}])
async def test_an_order_that_is_none_is_refused_and_changes_nothing(served, what: object) -> None:
    broker, control, client = served
    answer = await order(client, control, what)
    assert answer.status_code == 400 and "no order for the broker" in answer.json()["detail"]
    assert broker.done == []


async def test_without_the_token_nothing_is_done(served) -> None:
    broker, control, client = served
    assert (await order(client, control, {"do": "kill"}, token="guessed")).status_code == 401
    assert (await client.post("/broker", json={"do": "kill"})).status_code == 401
    assert broker.done == []


async def test_a_trail_is_changed_past_the_agent_and_put_back_as_it_was(served, tmp_path) -> None:
    _, control, client = served
    books = tmp_path / "site.db"
    with contextlib.closing(sqlite3.connect(books)) as db, db:
        db.execute("CREATE TABLE door_trail (no INTEGER PRIMARY KEY, n INTEGER, detail TEXT)")
        db.executemany("INSERT INTO door_trail VALUES (?, ?, ?)", [(1, 1, "opened"), (2, 2, "shut")])

    def said() -> list[str]:
        with contextlib.closing(sqlite3.connect(books)) as db:
            return [row[0] for row in db.execute("SELECT detail FROM door_trail ORDER BY n")]

    async def trail(do: str, site_id: str = "bedford", token: str = "") -> tuple[int, dict]:
        answer = await client.post("/trail", json={"site_id": site_id, "do": do}, headers={"authorization": f"Bearer {token or control.token}"})
        return answer.status_code, answer.json()

    assert (await trail("change"))[0] == 409, "there are no books yet where the screen says"
    control._screens = {"bedford": Screen(8101, "a-token-of-a-kiosk", books)}
    assert (await trail("change", token="guessed"))[0] == 401 and (await trail("change", "atlantis"))[0] == 404
    assert await trail("change") == (200, {"row": 2}) and said()[0] == "opened" and said()[1] != "shut"
    assert (await trail("change"))[0] == 409, "changed already"
    assert await trail("restore") == (200, {"row": 2}) and said() == ["opened", "shut"]
    assert (await trail("restore"))[0] == 409, "nothing is changed any more"


async def test_a_broker_that_cannot_start_says_why_and_stays_wanted_stopped(served) -> None:
    broker, control, client = served
    await order(client, control, {"do": "stop"})
    broker.broken = True
    answer = await order(client, control, {"do": "start"})
    assert answer.status_code == 409 and "port is taken" in answer.json()["detail"]
    assert not control.broker_wanted


async def test_the_kiosk_is_opened_paired(served) -> None:
    _, _, client = served
    answer = await client.get("/kiosk/bedford")
    assert (answer.status_code, answer.headers["location"]) == (303, "http://127.0.0.1:8101/kiosk")
    assert "kiosk=a-token-of-a-kiosk;" in answer.headers["set-cookie"] and "HttpOnly" in answer.headers["set-cookie"]


async def test_the_kiosks_cookie_is_not_given_under_a_name_that_is_not_this_machines(served) -> None:
    _, _, client = served
    answer = await client.get("/kiosk/bedford", headers={"host": f"elsewhere.example.test:{client.base_url.port}"})
    assert answer.status_code == 404 and "set-cookie" not in answer.headers


async def test_what_is_not_there_is_not_found(served) -> None:
    _, _, client = served
    assert (await client.get("/kiosk/nowhere")).status_code == 404
    assert (await client.get("/")).status_code == 404
