"""Ids that were seen are known again, in 16 bytes each."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.pipelines.outputs.seen_ids import SeenIds, packed_ids

BATCHES = st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12)


def ids_of(numbers: list[int]) -> np.ndarray:
    """Ids whose last bytes are zeros too, at which arrays of bytes end."""
    texts = [f"{number:02x}{'00' * 15}" if number % 2 else f"{number:032x}" for number in numbers]
    return packed_ids(pa.chunked_array([pa.array(texts, pa.string())]))


@given(BATCHES)
def test_each_id_is_seen_for_the_first_time_once(batches: list[list[int]]) -> None:
    seen, before = SeenIds(), set[int]()
    for numbers in batches:
        expected = [number not in before and not before.add(number) for number in numbers]
        assert seen.add(ids_of(numbers)).tolist() == expected
    assert len(seen) == len(before)


def test_an_id_takes_16_bytes() -> None:
    numbers = np.random.default_rng(0)
    seen = SeenIds()
    tracemalloc.start()
    try:
        for _ in range(64):
            seen.add(np.frombuffer(numbers.bytes(16 * 4096), "S16"))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen) == 64 * 4096
    assert held < 18 * len(seen)
