"""With tasks that decode, every row is what it is without them, whatever happens to the tasks; on a real Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray

from pixelmill.pipelines.bulk import decode_nodes, decode_tasks
from pixelmill.pipelines.bulk.decode_nodes import DecodeNodes
from pixelmill.pipelines.bulk.decode_tasks import DecodeTasks
from pixelmill.pipelines.bulk.mill import ORDER_COLUMN, Mill
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.workers.errors import JobError
from pixelmill.workers.stages import StageConfig
from pixelmill.workers.stages.embed import EmbedConfig
from tests.corpus import image_items
from tests.jpegs import make_jpegs
from tests.mills import mill_of, order
from tests.pipelines.bulk.crop_stage import (
    DEADLY,
    FOLDER,
    HANGS,
    KILLS,
    KILLS_ONCE,
    TEST_PROCESS,
    CropConfig,
)
from tests.pipelines.bulk.test_crops import config_of, inputs_of
from tests.waiting import comes

DECODERS = 2
ON = DecodeNodes(tasks=2, resources={"decoder": 1.0})
MANY = 40


@pytest.fixture(scope="module", autouse=True)
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray with room for two tasks that decode. It keeps as many idle processes as it has CPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TEST_PROCESS, str(os.getpid()))
        patch.setenv(FOLDER, str(tmp_path_factory.mktemp("deadly")))
        quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
        ray.init(
            address="local", num_cpus=DECODERS, resources={"decoder": DECODERS}, object_store_memory=80 << 20, **quiet
        )
        yield
        ray.shutdown()


def milled(mill: Mill, rows: int) -> pa.Table:
    parts = (Part(0, 0, 0, rows - 3), Part(1, 0, rows - 3, 3))
    return mill(order(parts=parts)).drop_columns([ORDER_COLUMN])


def here_and_there(photos: Path, *stages: StageConfig, **changes: Any) -> tuple[pa.Table, pa.Table]:
    """The rows as a worker makes them, and as it makes them of what tasks decode."""
    rows = sum(1 for path in photos.rglob("*") if path.is_file())
    made = [
        milled(mill_of(photos, *stages, max_pixels=100_000_000, decode_on=on, **changes)[0], rows) for on in (None, ON)
    ]
    return made[0], made[1]


def small_blocks(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(decode_nodes, "MOST_BLOCK_ROWS", rows)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_jpegs(tmp_path / "photos", MANY)
    return tmp_path / "photos"


def free_decoders() -> float:
    return ray.available_resources().get("decoder", 0.0)


def spoil(photos: Path, marks: dict[int, bytes]) -> None:
    paths = sorted(path for path in photos.rglob("*.jpg"))
    for number, mark in marks.items():
        paths[number].write_bytes(paths[number].read_bytes() + mark)


def test_rows_of_good_odd_and_broken_pictures_are_equal_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch, 7)
    (tmp_path / "photos").mkdir()
    for number, item in enumerate(image_items()):
        (tmp_path / "photos" / f"{number:03d}{Path(item.name).suffix}").write_bytes(item.data)
    here, there = here_and_there(
        tmp_path / "photos", CropConfig(name="a"), CropConfig(name="b", column="small", side_px=64)
    )
    assert there.equals(here)
    assert there["crop"].null_count > 20
    assert there.num_rows - there["crop"].null_count > 60


@pytest.mark.parametrize("whole", [False, True], ids=["at the size that is seen", "whole"])
def test_embeddings_are_equal_to_the_last_bit(photos: Path, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch, 8)
    embed = EmbedConfig(model="torchvision:resnet18/random", precision="float32", backend="torch")
    here, there = here_and_there(photos, embed, decodes_whole=whole)
    assert there.equals(here)
    assert there["embedding"].null_count == 0
    assert len({str(value) for value in there["embedding"].to_pylist()}) == MANY


def test_a_picture_that_kills_its_task_costs_one_row_and_its_worker_lives(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch, 8)
    spoil(photos, {11: KILLS})
    said: list[str] = []
    here, there = here_and_there(photos, CropConfig(), decoder=DEADLY, announce=said.append)
    keep = [number for number in range(MANY) if number != 11]
    assert there.take(keep).equals(here.take(keep))
    lost = there.slice(11, 1).to_pylist()[0]
    assert (lost["stage"], lost["error_type"], lost["crop"]) == ("worker", "KilledWorker", None)
    assert "alone in its decoding task at 2 deaths" in lost["error"]
    assert said == ["a decoding task died; its inputs are decoded again"] * 4


def test_a_task_that_is_killed_once_costs_no_row(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch, 8)
    spoil(photos, {11: KILLS_ONCE})
    said: list[str] = []
    here, there = here_and_there(photos, CropConfig(), decoder=DEADLY, announce=said.append)
    assert there.equals(here)
    assert len(said) == 1


def test_a_chunk_that_hangs_is_decoded_by_the_worker_and_its_task_is_ended(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch, 8)
    spoil(photos, {11: HANGS, 30: HANGS})
    here, there = here_and_there(photos, CropConfig(), decoder=DEADLY, stall_s=20.0)
    assert there.equals(here)
    assert comes(lambda: free_decoders() == DECODERS, 60), "a task that hangs was not ended"


def test_the_worker_decodes_where_no_node_offers_what_a_task_asks_for(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_tasks, "GONE_S", 1.0)
    monkeypatch.setattr(decode_tasks, "POLL_S", 0.2)
    small_blocks(monkeypatch, 2)
    nowhere = DecodeNodes(tasks=2, cpus=0, resources={"gone": 1.0})
    changes = {"max_pixels": 1_000_000}
    here = milled(mill_of(photos, CropConfig(), **changes)[0], MANY)
    began_s = time.monotonic()
    there = milled(mill_of(photos, CropConfig(), decode_on=nowhere, **changes)[0], MANY)
    assert there.equals(here)
    assert time.monotonic() - began_s < 15, "each of 20 chunks was waited for"


def test_an_error_of_every_task_ends_the_run_in_the_words_of_the_user(photos: Path) -> None:
    inputs, config = inputs_of(photos), config_of()
    wrong = DecodeTasks(ON, replace(config, decoder="nowhere:Decoder"), 60.0, lambda text: None)
    with pytest.raises(JobError, match=r"run\.decode_on: a decoding task failed \(ModuleNotFoundError: .*nowhere"):
        list(wrong.stream(inputs))


def test_no_more_blocks_are_under_way_than_the_bytes_of_a_worker_allow(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 MB have room for 13 crops of 224 px: the rows of blocks that are begun and not taken."""
    config, inputs = config_of(), inputs_of(photos)
    tasks = DecodeTasks(DecodeNodes(2, 1, {"decoder": 1.0}, in_flight_bytes=2 << 20), config, 60.0, lambda text: None)
    begun: list[int] = []
    start = DecodeTasks._started
    monkeypatch.setattr(
        DecodeTasks,
        "_started",
        lambda self, place, rows: (begun.append(rows.num_rows), start(self, place, rows))[1],
    )
    taken = most = 0
    for _, rows, block in tasks.stream(inputs):
        assert isinstance(block, np.ndarray)
        most = max(most, sum(begun) - taken)
        assert block.nbytes <= rows.num_rows * (config.crop_bytes + 400) + 4096
        taken += rows.num_rows
    assert taken == sum(begun) == MANY
    assert most == 4 * 3


def test_chunks_that_are_not_needed_any_more_are_given_up(photos: Path) -> None:
    spoil(photos, dict.fromkeys(range(1, MANY), HANGS))
    config = replace(config_of(), decoder=DEADLY)
    nodes = DecodeNodes(2, 1, {"decoder": 1.0}, in_flight_bytes=1 << 20)  # an input a block
    stream = DecodeTasks(nodes, config, 60.0, lambda text: None).stream(inputs_of(photos))
    next(stream)
    assert comes(lambda: free_decoders() == 0, 60), "no task was begun"
    stream.close()
    assert comes(lambda: free_decoders() == DECODERS, 60), "a task that hangs was not ended"
