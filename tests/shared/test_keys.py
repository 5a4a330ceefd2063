"""Keys: who is believed, until when, and that nothing brings a withdrawn key back (pass-1)."""

import base64
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Broken
from shared.keys import BadKey, KeyRing, PublicKey, SigningKey, id_of, may_seal_to, sealed_by, to_sign_with
from shared.runtime.keyfile import load_or_create
from shared.sealing import SealKey

PASS, QUOTE = b"clubos.pass.v1\0", b"clubos.quote.v1\0"
SITE, HUB = SigningKey.from_seed(b"s" * 32), SigningKey.from_seed(b"h" * 32)
RING = KeyRing([SITE.public("site", "bedford"), HUB.public("hub")])


def test_a_key_is_named_after_its_public_half():
    public = SITE.public("site", "bedford")
    assert public.id == SITE.id == id_of(base64.b64decode(public.raw_b64))
    assert len(SITE.id) == 16 and SITE.id != HUB.id


def test_the_same_seed_makes_the_same_key_and_another_seed_another():
    assert SigningKey.from_seed(b"s" * 32).id == SITE.id
    assert SigningKey.from_seed(b"t" * 32).id != SITE.id


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_seed_of_another_length_is_refused(length):
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey.from_seed(b"x" * length)


def test_the_text_of_a_private_key_shows_its_id_only():
    assert repr(SITE) == f"SigningKey({SITE.id})" == str(SITE)


@given(st.binary(max_size=200))
def test_a_signature_is_good_in_its_own_domain_for_its_own_payload_and_key_only(payload):
    signature = SITE.sign(PASS, payload)
    assert RING.verifies(SITE.id, PASS, payload, signature)
    assert not RING.verifies(SITE.id, QUOTE, payload, signature)
    assert not RING.verifies(SITE.id, PASS, payload + b"x", signature)
    assert not RING.verifies(HUB.id, PASS, payload, signature)
    assert not RING.verifies("0" * 16, PASS, payload, signature)
    assert not RING.verifies(SITE.id, PASS, payload, signature[:-1])


@pytest.mark.parametrize("domain", [b"", b"clubos.pass.v1", b"a\0b\0"])
def test_a_domain_that_could_begin_another_is_refused(domain):
    with pytest.raises(ValueError, match="NUL"):
        SITE.sign(domain, b"payload")


def test_a_ring_never_changes():
    other = RING.add(SigningKey.from_seed(b"n" * 32).public("hub"))
    assert len(other.keys) == 3 and len(RING.keys) == 2
    assert RING.withdraw_now(SITE.id) is not RING and not RING.find(SITE.id).withdrawn


def test_a_kept_ring_can_be_built_again():
    ring = RING.withdraw_now(SITE.id).withdraw(HUB.id, 5000)
    assert KeyRing(msgspec.json.decode(msgspec.json.encode(ring.keys), type=tuple[PublicKey, ...])).keys == ring.keys


def test_an_unknown_key_and_a_key_of_another_site_may_not_speak():
    assert RING.problem("0" * 16, site_id="bedford", until_at=1) == "unknown"
    assert RING.problem(SITE.id, site_id="dartmouth", until_at=1) == "other_site"
    assert RING.problem(SITE.id, site_id="bedford", until_at=1) == ""
    assert RING.problem(HUB.id, site_id="dartmouth", until_at=1) == ""


def test_a_key_that_ended_is_good_for_its_last_pass_and_for_nothing_later():
    ended = RING.withdraw(HUB.id, last_end_at=9000)
    assert ended.problem(HUB.id, site_id="bedford", until_at=9000) == ""
    assert ended.problem(HUB.id, site_id="bedford", until_at=9001) == "withdrawn"
    assert RING.problem(HUB.id, site_id="bedford", until_at=9001) == "", "before it was withdrawn it could sign for that"


def test_a_key_that_never_signed_ends_at_once():
    assert RING.withdraw(HUB.id, last_end_at=0).problem(HUB.id, site_id="bedford", until_at=9000) == "withdrawn"


def test_a_compromised_key_is_good_for_nothing_at_once():
    assert RING.withdraw_now(HUB.id).problem(HUB.id, site_id="bedford", until_at=1) == "withdrawn"


def test_a_replayed_hello_does_not_bring_a_withdrawn_key_back_nor_lengthen_an_ended_one():
    announced = HUB.public("hub")
    assert RING.withdraw_now(HUB.id).add(announced).find(HUB.id).withdrawn
    later = msgspec.structs.replace(announced, not_after=99_000)
    assert RING.withdraw(HUB.id, 9000).add(announced, later).find(HUB.id).not_after == 9000


def test_a_key_cannot_be_announced_as_another_sides():
    with pytest.raises(BadKey, match="another's"):
        RING.add(SITE.public("hub"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"raw_b64": "not base64"}, "32 bytes"),
        ({"raw_b64": base64.b64encode(b"short").decode()}, "32 bytes"),
        ({"raw_b64": HUB.public("hub").raw_b64}, "another id"),
        ({"id": "0" * 16}, "another id"),
    ],
)
def test_a_malformed_or_misnamed_public_key_is_refused(change, reason):
    with pytest.raises(BadKey, match=reason):
        KeyRing([msgspec.structs.replace(SITE.public("site", "bedford"), **change)])


def test_what_is_not_known_cannot_be_withdrawn():
    with pytest.raises(BadKey, match="no key"):
        RING.withdraw_now("0" * 16)


def test_the_hub_signs_with_the_newest_key_that_the_site_has_acknowledged():
    old, new = SITE, HUB
    assert to_sign_with([old, new], {old.id}) is old
    assert to_sign_with([old, new], {old.id, new.id}) is new
    assert to_sign_with([old, new], set()) is None


# --- the file ----------------------------------------------------------------------------------------------------------------------


def test_a_key_file_is_made_once_and_for_its_owner_only(tmp_path):
    path = tmp_path / "site.key"
    seed = load_or_create(path)
    assert len(seed) == 32 and load_or_create(path) == seed
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["site.key"], "nothing is left beside it"


def test_the_process_that_comes_second_takes_the_key_of_the_first(tmp_path):
    path = tmp_path / "site.key"

    def overtaken() -> bytes:
        load_or_create(path, lambda: b"1" * 32)  # the other process writes between our look and our link
        return b"2" * 32

    assert load_or_create(path, overtaken) == b"1" * 32
    assert [found.name for found in tmp_path.iterdir()] == ["site.key"]


def test_many_that_start_at_once_agree_on_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        seeds = list(pool.map(lambda _: load_or_create(tmp_path / "site.key"), range(32)))
    assert len(set(seeds)) == 1


@pytest.mark.parametrize("content", ["", "clubos-key-1", "clubos-key-1 zz 00\n", "something else entirely"])
def test_a_damaged_key_file_is_an_error_and_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "site.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(Broken, match="damaged"):
        load_or_create(path)
    assert path.read_text() == content


def test_one_changed_character_in_a_key_file_is_seen(tmp_path):
    path = tmp_path / "site.key"
    load_or_create(path)
    text = path.read_text()
    path.write_text(text[:20] + ("0" if text[20] != "0" else "1") + text[21:])
    with pytest.raises(Broken, match="damaged"):
        load_or_create(path)


def test_a_key_file_that_others_may_read_is_refused_without_saying_the_key(tmp_path):
    path = tmp_path / "site.key"
    seed = load_or_create(path)
    path.chmod(0o644)
    with pytest.raises(Broken, match="open to others") as caught:
        load_or_create(path)
    assert seed.hex() not in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Broken, match="no_such_folder.*No such file"):
        load_or_create(tmp_path / "no_such_folder" / "site.key")


KEY = HUB.public("hub")
FACTS = st.lists(
    st.builds(lambda end, gone: msgspec.structs.replace(KEY, not_after=end, withdrawn=gone), st.integers(0, 99), st.booleans()), max_size=6
)


@given(FACTS, st.randoms(use_true_random=False), st.integers(1, 100))
def test_whatever_order_hellos_are_heard_in_the_strictest_word_on_a_key_stands(facts, random, until_at):
    shuffled = random.sample(facts, len(facts))
    rings = [RING.add(*facts), RING.add(*shuffled), RING.add(*facts, *shuffled, KEY)]
    ends = [one.not_after for one in facts if one.not_after]
    refused = any(one.withdrawn for one in facts) or (ends and until_at > min(ends))
    assert {ring.problem(HUB.id, site_id="bedford", until_at=until_at) for ring in rings} == {"withdrawn" if refused else ""}


# ---- whose key secrets are sealed to
def test_a_key_to_seal_to_is_believed_by_the_word_of_a_hubs_key_alone():
    public = SealKey(bytes(32)).public
    told = sealed_by(HUB, public)
    assert may_seal_to(told, RING) == public
    other = SealKey(b"o" * 32).public
    forged = [
        (), ("",), (other, *told[1:]), (public, SITE.id, told[2]), sealed_by(SITE, public), sealed_by(SigningKey.from_seed(b"x" * 32), public),
        (public, HUB.id, "????"), ("AAAA", *told[1:]),
    ]  # fmt: skip
    assert [may_seal_to(one, RING) for one in forged] == [""] * len(forged)
    assert may_seal_to(told, RING.withdraw_now(HUB.id)) == ""
