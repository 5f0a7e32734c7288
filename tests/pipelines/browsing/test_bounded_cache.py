"""A cache holds no more than its bound, gives what was used last, and makes a value once for many threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pixelmill.pipelines.browsing.bounded_cache import BoundedCache


def test_what_was_used_longest_ago_goes_first() -> None:
    made = list[str]()
    cache = BoundedCache[bytes](10, len)

    def get(key: str, size: int = 4) -> bytes:
        return cache.get(key, lambda: made.append(key) or bytes(size))

    for key in ("a", "b", "a", "c", "a", "b"):  # c puts b out, since a was used after it
        get(key)
        assert cache.held_bytes <= 10
    assert made == ["a", "b", "c", "b"]
    assert cache.held_bytes == 8


def test_a_value_above_the_bound_is_given_and_puts_nothing_out() -> None:
    cache = BoundedCache[bytes](10, len)
    assert cache.get("small", lambda: b"1234") == b"1234"
    assert len(cache.get("large", lambda: bytes(11))) == 11
    assert cache.held_bytes == 4
    assert cache.get("small", lambda: pytest.fail("it was held")) == b"1234"
    assert cache.get("large", lambda: b"1") == b"1"


def test_many_threads_make_a_value_once_and_do_not_wait_for_other_keys() -> None:
    cache, made, waits = BoundedCache[bytes](100, len), list[str](), threading.Event()

    def slowly() -> bytes:
        made.append("slow")
        assert waits.wait(30)
        return b"slow"

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(cache.get, "slow", slowly) for _ in range(6)]
        while not made:
            time.sleep(0.001)
        assert threads.submit(cache.get, "quick", lambda: b"quick").result(30) == b"quick"
        waits.set()
        assert {each.result(30) for each in asked} == {b"slow"}
    assert made == ["slow"]


def test_a_value_that_could_not_be_made_is_made_by_the_next_one_who_asks() -> None:
    cache = BoundedCache[bytes](10, len)

    def broken() -> bytes:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.get("a", broken)
    assert cache.held_bytes == 0
    assert cache.get("a", lambda: b"there") == b"there"
