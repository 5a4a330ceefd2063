"""Another signing key, at the site and at the hub, over the link (pass-1): used once the other side knows it, the old one believed until its last
pass, worthless at once when it was stolen."""

import asyncio

import pytest

from cloud_hub.services.keys import Keys
from cloud_hub.services.passes import Passes
from cloud_hub.store import schema as hub_schema
from shared.errors import Refused, Unavailable
from shared.keys import SigningKey
from shared.ledger import records
from shared.ledger.keychain import KeyChain, next_path
from shared.passes import facts_of
from shared.passes import write as write_pass
from site_agent import __main__ as command
from site_agent.app import DATABASE, SIGNING_KEY
from site_agent.services.keys import SPOOL, SiteKeys
from site_agent.store import spool
from tests.site_agent.site_world import NOON, SITE, opened

pytestmark = pytest.mark.rule("pass-1")


@pytest.fixture
async def w(tmp_path):
    """A site, and a hub with the product's own keys and a chain of files."""
    async with opened(tmp_path, linked=True) as world:
        hub, folder = world.hub, tmp_path / "hub-keys"
        folder.mkdir()
        for statement in hub_schema.TABLES:
            hub.db.write_now(lambda tx, one=statement: tx.run(one))
        hub.chain = KeyChain(folder / "passes.key")
        hub.keys = Keys(hub.db, hub.chain, hub.desk.opener, [SITE])
        hub.pump._keys, hub.pump._known_keys = (lambda: hub.keys.announced(SITE)), (lambda: hub.keys.known(SITE))
        hub.pump._seal = lambda: hub.keys.seal(SITE)
        learning = set()

        def heard(hello):
            learning.add(asyncio.ensure_future(hub.keys.heard(SITE, hello, hub.desk.now())))

        hub.pump._on_hello_reply = heard
        hub.passes = Passes(hub.desk, hub.keys)
        await world.saying_hello(lambda: hub.keys.to_sign(SITE) is not None and hub.keys.known(SITE))
        yield world


def sold(w):
    return w.hub.sell(2, 6)


async def enters(w, token: str) -> int:
    """What the kiosk answers to a pass at the time of its booking."""
    answer = await w.kiosk.post("/api/check-in", {"code": token})
    return answer.status_code


def at_its_time(w, b) -> None:
    w.clock.forward(b.starts_at - w.clock.now())


async def test_the_hubs_new_key_is_used_once_the_site_knows_it_and_passes_of_both_open(w):
    b, other = sold(w), w.hub.sell(3, 6)
    await w.quiet()
    old = w.hub.passes.of(b).token
    w.cut()
    w.hub.keys.rotate()
    assert w.hub.passes.of(b).token == old and w.hub.keys.changing() == (SITE,), "nobody knows the new one"
    w.network.heal("site")
    await w.saying_hello(lambda: w.hub.keys.changing() == ())
    new = w.hub.passes.of(b).token
    assert new != old, "the page shows a new picture"
    await w.saying_hello(lambda: any(key.not_after for key in w.kit.link.ring.keys))
    at_its_time(w, b)
    assert await enters(w, old) == 200 and await enters(w, new) == 200 and await enters(w, w.hub.passes.of(other).token) == 200


async def test_the_old_key_ends_with_the_last_booking_that_stands_also_after_a_restart(w):
    b = sold(w)
    await w.quiet()
    first = w.hub.chain.in_use
    w.hub.keys.rotate()
    await w.saying_hello(lambda: w.hub.keys.changing() == ())
    await w.saying_hello(lambda: (w.kit.link.ring.find(first.id) or first).not_after)
    ends_at = w.kit.link.ring.find(first.id).not_after
    assert ends_at >= b.ends_at
    later = write_pass(facts_of(b, first.id, NOON), first)
    restarted = SiteKeys(w.db, w.agent.desk, SITE, KeyChain(w.loaded.data_dir / SIGNING_KEY), lone=False)
    await restarted.start()
    for ring in (w.kit.link.ring, restarted.ring):
        assert (
            ring.problem(first.id, site_id=SITE, until_at=ends_at) == ""
            and ring.problem(first.id, site_id=SITE, until_at=ends_at + 1) == "withdrawn"
        )
    hub_again = Keys(w.hub.db, KeyChain(w.hub.chain._path), None, [SITE])
    hub_again.load()
    assert hub_again.to_sign(SITE).id == w.hub.chain.in_use.id != first.id and hub_again.ring.find(first.id).not_after == ends_at
    assert not next_path(w.hub.chain._path).exists() and later


async def test_two_hellos_at_once_end_the_old_key_once_and_no_key_that_nobody_knows_yet_is_used(w):
    keys, let, gates = w.hub.keys, w.hub.keys._db.write, [asyncio.Event(), asyncio.Event()]
    keys.rotate()
    second, waiting = w.hub.chain.next, list(gates)
    keys._acknowledged[SITE] = {second.id}

    async def slowly(work):
        gate, done = waiting.pop(0), await let(work)
        await gate.wait()
        return done

    keys._db.write = slowly
    ends = [asyncio.create_task(keys.tick(NOON)) for _ in gates]
    await w.until(lambda: not waiting)
    gates[0].set()
    await ends[0]
    keys.rotate()
    gates[1].set()
    await ends[1]
    keys._db.write = let
    assert w.hub.chain.in_use.id == second.id and w.hub.chain.next is not None and keys.changing() == (SITE,)


async def test_a_stolen_key_of_the_hub_opens_nothing_once_the_site_has_heard(w):
    b = sold(w)
    await w.quiet()
    stolen, thief = w.hub.passes.of(b).token, w.hub.chain.in_use
    w.cut()
    await w.hub.keys.withdraw_now(w.hub.desk.now())
    with pytest.raises(Refused) as refused:
        w.hub.passes.of(b)
    assert refused.value.refusal.code == "site_unreachable", "no pass until the site knows the key it is signed with"
    w.network.heal("site")
    await w.saying_hello(lambda: w.hub.keys.to_sign(SITE) is not None)
    at_its_time(w, b)
    forged = write_pass(facts_of(b, thief.id, NOON), thief)
    assert await enters(w, stolen) == 403 == await enters(w, forged)
    assert await enters(w, w.hub.passes.of(b).token) == 200
    assert any("signing key withdrawn" in row for row in w.hub.db.read(lambda tx: records.journal_of(tx, SITE)))


async def test_the_sites_new_key_is_used_once_the_hub_knows_it(w):
    first = w.kit.link.key()
    booking = await w.booked(1, 0)
    old = (await w.staff.get(f"/api/bookings/{booking['id']}")).json()["pass"]
    w.cut()
    await w.kit.link.keys.rotate()
    assert w.kit.link.key().id == first.id and w.kit.link.keys.changing()
    w.network.heal("site")
    await w.saying_hello(lambda: not w.kit.link.keys.changing())
    new = (await w.staff.get(f"/api/bookings/{booking['id']}")).json()["pass"]
    assert new != old and w.kit.link.key().id != first.id
    assert w.kit.link.key_for_the_hub().id == w.kit.link.key().id
    await w.saying_hello(lambda: w.hub.keys.ring.find(first.id).not_after)
    assert await enters(w, old) == 200 and await enters(w, new) == 200
    assert any("signing key changed" in row for row in w.journal())


async def test_a_stolen_key_of_the_site_is_worthless_at_once_here_and_then_at_the_hub(w):
    first = w.kit.link.key()
    booking = await w.booked(1, 0)
    old = (await w.staff.get(f"/api/bookings/{booking['id']}")).json()["pass"]
    await w.kit.link.keys.withdraw_now()
    assert await enters(w, old) == 403
    assert await enters(w, (await w.staff.get(f"/api/bookings/{booking['id']}")).json()["pass"]) == 200
    await w.saying_hello(lambda: w.hub.keys.ring.find(first.id).withdrawn)
    assert first.id not in w.hub.keys.known(SITE)


async def test_an_old_hello_brings_no_withdrawn_key_back_and_the_hub_ends_no_key_of_ours(w):
    told = w.hub.keys.announced(SITE)
    first = w.hub.chain.in_use.id
    await w.hub.keys.withdraw_now(w.hub.desk.now())
    await w.saying_hello(lambda: w.kit.link.ring.find(first).withdrawn)
    hello = w.hub.pump._hello()
    mine = w.kit.link.key()
    forged = {"id": mine.id, "raw_b64": mine.public("site", SITE).raw_b64, "side": "site", "withdrawn": "1"}
    w.kit.link.keys.heard(type(hello)(**{f: getattr(hello, f) for f in hello.__struct_fields__} | {"keys": (*told, forged, {"id": "x"})}))
    assert w.kit.link.ring.find(first).withdrawn and not w.kit.link.ring.find(mine.id).withdrawn


async def test_a_facility_on_its_own_changes_its_key_by_the_command(tmp_path, capsys):
    async with opened(tmp_path) as w:
        first = w.kit.link.key().id
        spool.leave(w.loaded.data_dir / SPOOL, spool.Errand(kind="keys", name="command", role="rotate"))
        assert await w.kit.link.keys.take_wishes(w.loaded.data_dir) == 1
        assert w.kit.link.key().id != first and not w.kit.link.keys.changing()
        assert command.main(["keys", "list", "--config", str(tmp_path / "site.toml")]) == 0
        shown = capsys.readouterr().out
        assert f"{w.kit.link.key().id}  in use" in shown and f"{first}  changed; its passes are good until" in shown
        assert (w.loaded.data_dir / DATABASE).exists()


async def test_a_wish_to_withdraw_is_not_lost_when_the_agent_ends_meanwhile_and_is_answered_when_the_books_are_full(tmp_path):
    async with opened(tmp_path) as w:
        keys, folder, first = w.kit.link.keys, w.loaded.data_dir, w.kit.link.key().id
        left = spool.leave(folder / SPOOL, spool.Errand(kind="keys", name="command", role="withdraw"))
        let, why = keys._db.write, asyncio.CancelledError()

        async def fails(work):
            raise why

        keys._db.write = fails
        with pytest.raises(asyncio.CancelledError):
            await keys.take_wishes(folder)
        assert left.exists() and keys.ring.find(first).withdrawn is False
        why = Unavailable("The disk is full.")
        await keys.take_wishes(folder)
        assert spool.answer_of(left).read_bytes() == b'{"done":false}' and not left.exists()
        keys._db.write = let
        spool.leave(folder / SPOOL, spool.Errand(kind="keys", name="command", role="withdraw"))
        assert await keys.take_wishes(folder) == 1 and keys.ring.find(first).withdrawn


@pytest.mark.parametrize("lone", [True, False])
@pytest.mark.parametrize("how", ["rotate", "withdraw"])
async def test_a_change_that_was_cut_off_between_the_books_and_the_file_is_gone_on_with(tmp_path, how, lone):
    async with opened(tmp_path) as w:
        keys, path = w.kit.link.keys, w.loaded.data_dir / SIGNING_KEY
        first = w.kit.link.key().id
        keys._chain.finish = lambda: (_ for _ in ()).throw(RuntimeError("the power went"))
        with pytest.raises(RuntimeError):
            await (keys.rotate() if how == "rotate" else keys.withdraw_now())
        again = SiteKeys(w.db, w.agent.desk, SITE, KeyChain(path), lone=lone)
        await again.start()
        if how == "rotate" and not lone:
            assert again.changing() and again.to_sign().id == first, "the hub does not know it yet"
            return
        assert again.to_sign().id != first and not next_path(path).exists()
        ended = again.ring.find(first)
        assert ended.not_after or ended.withdrawn


async def test_a_key_that_is_no_file_cannot_be_changed(tmp_path):
    async with opened(tmp_path) as w:
        keys = SiteKeys(w.db, w.agent.desk, SITE, SigningKey.from_seed(bytes(32)), lone=True)
        keys_of_before = keys.to_sign().id
        from shared.errors import Broken

        with pytest.raises(Broken, match="not kept in a file"):
            await keys.rotate()
        assert keys.to_sign().id == keys_of_before
