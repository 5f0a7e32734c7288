"""The laws of the test servers: the gateway is a strict S3 store that comes and goes, the proxy counts and fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import BaseError

from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.gateway import Gateway, s3_store

REPOSITORY = Path(__file__).parents[2]
KEYS = [f"small/{number:03d}" for number in range(300)]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("small")
    for key in KEYS:
        (folder / Path(key).name).write_bytes(key.encode() * 1000)
    with Gateway() as gateway:
        gateway.make_bucket("archive")
        assert gateway.put_folder("archive", "small", folder) == len(KEYS)
        yield gateway


def get(store: obstore.store.S3Store, key: str) -> bytes | None:
    try:
        return bytes(obstore.get(store, key).bytes())
    except BaseError:
        return None


def test_what_was_put_is_listed_and_read(gateway: Gateway) -> None:
    gateway.put("archive", "odd/ä #?&+%.jpg", b"picture")
    assert gateway.list("archive", "odd") == ["odd/ä #?&+%.jpg"]
    assert gateway.list("archive", "small") == KEYS
    assert gateway.read("archive", KEYS[7]) == KEYS[7].encode() * 1000


def test_wrong_credentials_are_refused(gateway: Gateway) -> None:
    stranger = s3_store({**gateway.env, "AWS_SECRET_ACCESS_KEY": "wrong"}, "archive")
    with pytest.raises(BaseError, match="SignatureDoesNotMatch"):
        obstore.get(stranger, KEYS[0])


def test_multipart_upload_keeps_every_byte(gateway: Gateway) -> None:
    data = os.urandom(11 << 20)
    obstore.put(s3_store(gateway.env, "archive"), "multipart", data, use_multipart=True, chunk_size=5 << 20)
    assert gateway.read("archive", "multipart") == data


def test_an_outage_keeps_the_data(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        gateway.make_bucket("archive")
        gateway.put("archive", "kept", b"picture")
        gateway.stop()
        assert get(s3_store(gateway.env, "archive", max_retries=0), "kept") is None
        gateway.start()
        assert gateway.read("archive", "kept") == b"picture"


def test_no_server_outlives_a_killed_test(tmp_path: Path) -> None:
    script = (
        "import sys; from tests.servers.gateway import *; g = Gateway(Path(sys.argv[1])).__enter__(); print(g.port)"
    )
    script += "; sys.stdout.flush(); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY) as test:
        assert test.stdout is not None
        port = int(test.stdout.readline())
        assert answers(port)
        test.kill()
    assert eventually_silent(port)


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/minio/health/live", timeout=1).close()
    except OSError:
        return False
    return True


def eventually_silent(port: int) -> bool:
    deadline = time.monotonic() + 5
    while answers(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not answers(port)


def failed_keys(gateway: Gateway, seed: int) -> list[str]:
    """The keys whose first GET fails when a fifth of all requests does."""
    with FaultyProxy(gateway, seed) as proxy:
        proxy.set(fail_503=0.2)
        store = s3_store(proxy.env, "archive", max_retries=0)
        with ThreadPoolExecutor(8) as pool:
            bodies = list(pool.map(lambda key: get(store, key), KEYS))
        failed = [key for key, body in zip(KEYS, bodies, strict=True) if body is None]
        assert proxy.faults == {"SlowDown": len(failed)}
        assert proxy.gets == {f"archive/{key}": 1 for key in KEYS}
    return failed


def test_the_proxy_counts_gets_by_key_and_knows_them_from_listings(gateway: Gateway) -> None:
    with FaultyProxy(gateway) as proxy:
        store = s3_store(proxy.env, "archive")
        store.list("small").collect()
        for key in [*KEYS[:3], KEYS[0]]:
            obstore.get(store, key).bytes()
        obstore.put(store, "odd/ä #?&+%.jpg", b"picture")
    assert proxy.gets == {"archive/small/000": 2, "archive/small/001": 1, "archive/small/002": 1}
    assert proxy.requests["LIST", "archive"] == 1
    assert proxy.requests["PUT", "archive/odd/ä #?&+%.jpg"] == 1


def test_the_proxy_fails_the_asked_fraction_and_the_same_keys_for_a_seed(gateway: Gateway) -> None:
    failed = failed_keys(gateway, seed=1)
    assert 0.13 < len(failed) / len(KEYS) < 0.27
    assert failed_keys(gateway, seed=1) == failed
    assert failed_keys(gateway, seed=2) != failed


def test_a_cut_get_ends_half_way_and_a_cut_put_was_carried_out(gateway: Gateway) -> None:
    with FaultyProxy(gateway) as proxy:
        proxy.set(cut=1.0)
        store = s3_store(proxy.env, "archive", max_retries=0)
        half = next(iter(obstore.get(store, KEYS[0]).stream(min_chunk_size=1)))
        assert len(half) == len(KEYS[0]) * 1000 // 2
        assert get(store, KEYS[0]) is None
        with pytest.raises(BaseError):
            obstore.put(store, "cut", b"picture")
    assert gateway.read("archive", "cut") == b"picture"


@pytest.mark.parametrize(("fault", "code"), [("deny_puts", "AccessDenied"), ("full", "XMinioStorageFull")])
def test_a_store_that_refuses_writes_still_reads_and_heals(gateway: Gateway, fault: str, code: str) -> None:
    with FaultyProxy(gateway) as proxy:
        store = s3_store(proxy.env, "archive", max_retries=0)
        proxy.set(**{fault: True})
        with pytest.raises(BaseError, match=code):
            obstore.put(store, fault, b"picture")
        assert get(store, KEYS[0]) is not None
        assert gateway.list("archive", fault) == []
        proxy.set()
        obstore.put(store, fault, b"picture")


def test_an_outage_is_a_broken_connection_through_the_proxy_too(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway, FaultyProxy(gateway) as proxy:
        gateway.make_bucket("archive")
        gateway.put("archive", "kept", b"picture")
        gateway.stop()
        with pytest.raises(BaseError, match="error sending request"):
            obstore.get(s3_store(proxy.env, "archive", max_retries=0), "kept")
        gateway.start()
        assert get(s3_store(proxy.env, "archive"), "kept") == b"picture"
