"""Samples are decoded in their order, in windows of bounded bytes; a broken one is replaced and recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.pipelines.training.decoding import (
    STREAM_BYTES,
    TASK_BYTES,
    Decoded,
    DecodingShare,
    Stacked,
    decode_window,
    own,
    share_of,
    share_of_cluster,
    stacked,
)
from pixelmill.workers.errors import DataError, RowError
from pixelmill.workers.recipes import Sample
from tests.pipelines.training.sources import Verbatim, decoder, numbers, some


def test_samples_come_in_the_order_of_their_windows(tmp_path: Path) -> None:
    read = decoder(some(tmp_path, 6)).read(iter([np.array([5, 0]), np.array([3])]), substitutes=True)
    assert [(index, numbers([sample])) for index, sample in read] == [(5, [5]), (0, [0]), (3, [3])]


def test_windows_are_planned_as_they_are_needed_and_not_ahead(tmp_path: Path) -> None:
    planned: list[int] = []

    def endless() -> Iterator[np.ndarray]:
        while True:
            planned.append(1)
            yield np.array([0, 1])

    read = decoder(some(tmp_path, 2)).read(endless(), substitutes=True)
    assert len([next(read) for _ in range(5)]) == 5
    assert len(planned) == 3


def test_a_window_of_large_samples_holds_few_and_one_of_small_ones_no_more_than_the_limit(tmp_path: Path) -> None:
    data = some(tmp_path, 3)
    cityscapes, digits, volume = (decoder(data, most).window_samples for most in (8_400_000, 784, 1 << 32))
    assert (cityscapes, digits, volume) == (2, 256, 1)
    many = DecodingShare(tasks=63)
    assert (
        many.windows
        * SIZE_OF_LARGE
        * decoder(data, SIZE_OF_LARGE).size.window_samples(many.stream_bytes // many.windows)
        <= many.stream_bytes
    )


SIZE_OF_LARGE = 1 << 20


def window(data_of: Path, count: int, broken: set[int], indices: list[int], known: list[int]) -> Decoded:
    recipe = Verbatim()
    return decode_window(some(data_of, count, *broken), recipe, indices, known, True)  # type: ignore[arg-type]


@given(count=st.integers(2, 7), draws=st.data())
def test_the_place_of_a_broken_sample_is_taken_by_the_next_good_one_whatever_is_known_already(
    count: int, draws: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broken = draws.draw(st.sets(st.integers(0, count - 1), max_size=count - 1))
    known = draws.draw(st.lists(st.sampled_from(sorted(broken)))) if broken else []
    indices = draws.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=9))
    decoded = window(tmp_path_factory.mktemp("data"), count, broken, indices, known)
    expected = [next(i for more in range(count) if (i := (index + more) % count) not in broken) for index in indices]
    assert decoded.used == expected == numbers(decoded.samples)
    assert decoded.broken.keys() <= broken - set(known)


def test_a_sample_that_is_known_to_be_broken_is_not_read_again(tmp_path: Path) -> None:
    recipe = Verbatim()
    made = decoder(some(tmp_path, 4, 1), recipe=recipe)
    for _ in range(2):
        assert [used for used, _ in made.read(iter([np.array([1, 3])]), substitutes=True)] == [2, 3]
    assert recipe.read.count(b"broken 1") == 1
    assert made.broken.indices == [1]


def test_a_scan_leaves_out_what_is_broken(tmp_path: Path) -> None:
    scanned = list(decoder(some(tmp_path, 4, 1)).scan())
    assert scanned[1] is None
    assert numbers(sample for sample in scanned if sample is not None) == [0, 2, 3]


def test_where_all_samples_are_broken_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 samples in a row are broken; the first: .*001\.png: is no picture"):
        window(tmp_path, 2, {0, 1}, [1], [])


def test_a_sample_that_no_process_survives_costs_no_other_and_is_recorded(tmp_path: Path) -> None:
    made = decoder(some(tmp_path, 4, 2))

    def alone(index: int) -> Decoded | None:
        return None if index == 1 else decode_window(made.data, made.recipe, [index], [], False)

    assert made.one_by_one(0, alone, True).used == [0]
    taken = made.one_by_one(1, alone, True)
    assert (taken.used, numbers(taken.samples)) == ([3], [3])
    assert {index: error.error_type for index, error in made.broken.errors.items()} == {1: "WorkerDied", 2: "BadSample"}
    assert made.one_by_one(1, alone, False).samples == [None]


@pytest.mark.slow  # Ray starts a process four times for the window and for the sample
@pytest.mark.timeout(900)
def test_a_task_that_ends_its_process_is_found_out_sample_by_sample(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.pipelines.training.dying_decoder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *_, last = (line for line in done.stdout.splitlines() if line.startswith("[["))
    assert json.loads(last) == [[0, 1, 4, 4], {"3": "WorkerDied", "2": "BadSample"}]


@pytest.mark.timeout(240)
def test_tasks_decode_where_the_workers_hold_every_cpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.pipelines.training.crowded_decoder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 1, 3, 2]


GIB = 1 << 30


@pytest.mark.parametrize(
    ("nodes", "workers", "expected"),
    [
        ([{"CPU": 3.0, "object_store_memory": GIB, "memory": 4.0 * GIB}], 1, DecodingShare(2, STREAM_BYTES, 4.0 * GIB)),
        ([{"CPU": 16.0, "object_store_memory": GIB}] * 2, 4, DecodingShare(7, STREAM_BYTES)),
        ([{"CPU": 2.0, "object_store_memory": 100.0}], 2, DecodingShare(1, 25, task_cpus=0)),
        ([{"CPU": 3.0, "object_store_memory": 100.0}], 2, DecodingShare(1, 25, task_cpus=0)),
        ([{"CPU": 4.0, "object_store_memory": 100.0}], 2, DecodingShare(1, 25, task_cpus=1)),
    ],
)
def test_workers_share_the_processors_that_they_leave_free_and_half_of_the_object_store(
    nodes: list[dict[str, float]], workers: int, expected: DecodingShare
) -> None:
    assert share_of(nodes, workers) == expected


def test_a_task_declares_its_samples_twice_and_never_more_than_a_node_has(tmp_path: Path) -> None:
    made = decoder(some(tmp_path, 2), 8_400_000)
    assert made.task_bytes == TASK_BYTES + 2 * made.window_samples * 8_400_000
    assert replace(made, share=DecodingShare(most_task_bytes=1000.0)).task_bytes == 1000


def test_without_ray_a_worker_decodes_itself() -> None:
    assert share_of_cluster(3) == DecodingShare(tasks=1)


def window_of(*samples: Sample | None) -> Decoded:
    return Decoded(list(range(7, 7 + len(samples))), list(samples), {3: RowError("decode", "Corrupt", "cut")})


def small(value: int, **shape: int) -> Sample:
    side = shape.get("side", 4)
    return {"image": np.full((side, side, 3), value, np.uint8), "label": np.array(value, np.int64)}


def test_small_samples_are_handed_on_stacked_and_come_as_they_were() -> None:
    samples = [small(value) for value in range(5)]
    handed = stacked(window_of(*samples))
    assert isinstance(handed, Stacked)
    for array in handed.arrays.values():
        array.flags.writeable = False  # as Ray gives it
    taken = own(handed)
    assert (taken.used, set(taken.broken)) == (list(range(7, 12)), {3})
    for sample, expected in zip(taken.samples, samples, strict=True):
        assert sample is not None
        assert list(sample) == list(expected)
        for name, array in sample.items():
            assert isinstance(array, np.ndarray)
            assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
            assert array.tobytes() == expected[name].tobytes()
        sample["image"][:] = 9  # they are the caller's


@pytest.mark.parametrize(
    "window",
    [
        window_of(small(0), None),
        window_of(None),
        window_of(),
        window_of(small(0), small(1, side=5)),
        window_of(small(0), {"image": small(0)["image"].astype(np.int16), "label": small(0)["label"]}),
        window_of(small(0), {"image": small(0)["image"]}),
        window_of(small(0, side=200), small(1, side=200)),
    ],
    ids=["a broken one", "all broken", "none", "shapes", "types", "names", "large ones"],
)
def test_other_windows_are_handed_on_as_they_are(window: Decoded) -> None:
    assert stacked(window) is window
    assert len(own(window).samples) == len(window.samples)
