"""The two vaults keep the same promises: a folder on this disk, and a store that speaks S3 (moto's server on this machine)."""

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.errors import Broken, Unavailable
from shared.runtime.vault import READ_MAX, FolderVault, Item, Missing, S3Vault
from tests.mounts import needs_mount, small_disk
from tests.s3 import BUCKET, store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def endpoint():
    with store() as url:
        yield url


def s3(endpoint: str, owner: str, bucket: str = BUCKET) -> S3Vault:
    return S3Vault(endpoint=endpoint, bucket=bucket, region="us-east-1", key_id="test", secret_key="not-a-secret", owner=owner, timeout_s=5)


@pytest.fixture(params=["folder", "s3"])
def vaults(request, tmp_path):
    """`of(owner)` opens the vault of an owner in an empty place."""
    if request.param == "folder":
        (tmp_path / "vault").mkdir()
        return lambda owner: FolderVault(tmp_path / "vault", owner)
    endpoint = request.getfixturevalue("endpoint")
    return lambda owner: s3(endpoint, f"{tmp_path.name}/{owner}")


def test_an_empty_vault_holds_nothing(vaults):
    assert vaults("site-a").list() == []


def test_what_was_put_is_listed_and_comes_back(vaults, tmp_path):
    vault = vaults("site-a")
    (tmp_path / "in").write_bytes(b"x" * 3_000_000)
    vault.put("b.age", tmp_path / "in")
    vault.put_small("a.json", b"{}")
    vault.get("b.age", tmp_path / "out")
    assert vault.list() == [Item("a.json", 2), Item("b.age", 3_000_000)]
    assert (tmp_path / "out").read_bytes() == b"x" * 3_000_000 and vault.read("a.json") == b"{}"
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0


def test_a_large_one_goes_in_parts_and_comes_back_whole(vaults, tmp_path):
    body = bytes(range(256)) * 60_000  # 15 MB: more than one part
    (tmp_path / "in").write_bytes(body)
    vault = vaults("site-a")
    vault.put("big.age", tmp_path / "in")
    vault.get("big.age", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == body


def test_owners_do_not_see_each_other(vaults):
    vaults("site-a").put_small("one", b"1")
    assert vaults("site-b").list() == [] and vaults("site-a1").list() == []
    with pytest.raises(Missing):
        vaults("site-b").read("one")


def test_what_was_deleted_is_gone_and_may_be_deleted_again(vaults):
    vault = vaults("site-a")
    vault.put_small("one", b"1")
    vault.delete("one")
    vault.delete("one")
    assert vault.list() == []


def test_a_name_is_replaced_whole(vaults):
    vault = vaults("site-a")
    vault.put_small("one", b"first, and longer")
    vault.put_small("one", b"second")
    assert vault.read("one") == b"second"


def test_what_is_not_there_is_missing(vaults, tmp_path):
    vault = vaults("site-a")
    vault.put_small("other", b"")
    with pytest.raises(Missing):
        vault.get("one", tmp_path / "out")
    with pytest.raises(Missing):
        vault.read("one")


@pytest.mark.parametrize("name", ["../one", "/etc/passwd", "", ".hidden", "a b", "a/b", "x" * 200])
def test_a_name_that_leads_elsewhere_is_refused(vaults, tmp_path, name):
    vault = vaults("site-a")
    for do in (lambda: vault.put_small(name, b"x"), lambda: vault.read(name), lambda: vault.get(name, tmp_path / "o"), lambda: vault.delete(name)):
        with pytest.raises(Missing):
            do()


# ---- folders
def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    vault = FolderVault(tmp_path / "disk", "site-a")
    for do in (vault.list, lambda: vault.put_small("one", b"1")):
        with pytest.raises(Unavailable, match=r"there is no such folder \(is its disk connected\?\)\.$"):
            do()
    assert not (tmp_path / "disk").exists()


def test_a_full_disk_is_told_and_leaves_no_half(tmp_path, monkeypatch):
    import errno
    import shutil

    (tmp_path / "vault").mkdir()
    vault = FolderVault(tmp_path / "vault", "site-a")

    def full(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(Unavailable, match="its disk is full"):
        vault.put_small("one", b"1")
    monkeypatch.undo()
    assert vault.list() == [] and list((tmp_path / "vault" / "site-a").iterdir()) == []


def test_a_copy_that_has_no_room_here_is_not_laid_to_the_vault(vaults, tmp_path):
    vault = vaults("site-a")
    vault.put_small("one", b"1")
    (tmp_path / "here").write_bytes(b"stands in the way")
    with pytest.raises(Unavailable, match="could not be kept on this machine: file exists"):
        vault.get("one", tmp_path / "here")


def test_a_copy_on_the_same_disk_is_warned_of(tmp_path):
    assert "same disk" in FolderVault(tmp_path, "site-a").warning(tmp_path)


@needs_mount
def test_a_vault_without_room_is_told_works_again_with_room_and_keeps_what_it_has(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        vault = FolderVault(disk.path, "site-a")
        vault.put_small("first", b"1")
        (tmp_path / "in").write_bytes(b"x" * 2_000_000)
        with pytest.raises(Unavailable, match="its disk is full"):
            vault.put("second", tmp_path / "in")
        assert vault.list() == [Item("first", 1)] and len(list((disk.path / "site-a").iterdir())) == 1
        vault.put_small("second", b"2")
        disk.read_only()
        with pytest.raises(Unavailable, match="read-only"):
            vault.put_small("third", b"3")
        disk.writable()
        assert vault.read("first") == b"1"
        assert vault.warning(tmp_path) == ""


# ---- stores
def test_a_store_that_does_not_answer_is_unavailable_and_named():
    vault = s3("http://127.0.0.1:9", "site-a")
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 \(bucket backups\) cannot be used: it does not answer"):
        vault.put_small("one", b"1")


def test_a_bucket_that_is_not_there_is_broken(endpoint):
    with pytest.raises(Broken, match="no such bucket"):
        s3(endpoint, "site-a", "nowhere").put_small("one", b"1")


def test_a_note_too_large_is_not_read_into_memory(endpoint):
    vault = s3(endpoint, "large")
    vault.put_small("one", b"x" * (READ_MAX + 1))
    with pytest.raises(Broken, match="too large"):
        vault.read("one")


class _SlowStore(BaseHTTPRequestHandler):
    """Takes and gives a copy so slowly that no single request could carry it within a second."""

    protocol_version = "HTTP/1.1"
    body, parts, under_way, together = bytes(3_000_000), {}, 0, 0

    def log_message(self, *args) -> None:
        return None

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"ETag": '"one"', "Last-Modified": "Sat, 21 Nov 2026 08:00:00 GMT", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.answer(200, self.body)

    def do_GET(self) -> None:
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        found = self.body[int(first) : int(last or len(self.body)) + 1]
        time.sleep(len(found) / 2_500_000)
        self.answer(206, found, Content_Range=f"bytes {first}-{int(first) + len(found) - 1}/{len(self.body)}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        kind = "InitiateMultipartUpload" if self.path.endswith("?uploads") else "CompleteMultipartUpload"
        self.answer(200, f"<{kind}Result><UploadId>u</UploadId><ETag>one</ETag></{kind}Result>".encode())

    def do_PUT(self) -> None:
        store = type(self)
        store.under_way += 1
        store.together = max(store.together, store.under_way)
        number = int(parse_qs(urlsplit(self.path).query)["partNumber"][0])
        store.parts[number] = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.4)
        store.under_way -= 1
        self.answer(200)


def test_a_slow_line_carries_a_copy_that_takes_longer_than_any_request_may(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SlowStore)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        vault = S3Vault(endpoint=url, bucket=BUCKET, region="us-east-1", key_id="test", secret_key="not-a-secret", owner="a", timeout_s=1)
        vault.get("copy.age", tmp_path / "out")
        (tmp_path / "in").write_bytes(bytes(range(250)) * 60_000)
        vault.put("copy.age", tmp_path / "in")
    finally:
        server.shutdown()
        server.server_close()
    assert (tmp_path / "out").read_bytes() == _SlowStore.body
    assert b"".join(_SlowStore.parts[n] for n in sorted(_SlowStore.parts)) == (tmp_path / "in").read_bytes()
    assert _SlowStore.together == 1, "parts that share a slow line are all late"


def test_a_folder_needs_no_client_of_stores_in_memory():
    """Nor does a box without backups hold the sealing library."""
    script = (
        "import sys, site_agent.app, cloud_hub.app\nfrom pathlib import Path\nfrom shared.runtime.vault import FolderVault\n"
        "FolderVault(Path('.'), 'a').warning(Path('.'))\nprint([m for m in ('obstore', 'pyrage') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
