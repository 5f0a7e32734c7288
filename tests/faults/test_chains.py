"""A chain of stages over one fetch and one decode: enlarge -> mask + colour, with a column of pictures encoded on threads.

What runs is what a run does to the dataset, with the mill in this process; it is killed at each of its writes, and inside jobs
that encode.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pixelmill.pipelines.bulk.mill import Mill
from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.reading import ObjectReader
from pixelmill.workers.decoders.picture import PictureDecoder
from pixelmill.workers.stages import StageConfig
from pixelmill.workers.stages.depth import DepthConfig
from pixelmill.workers.stages.embed import EmbedConfig
from pixelmill.workers.stages.segment import SegmentConfig
from pixelmill.workers.stages.upscale import UpscaleConfig
from tests import in_process_run
from tests.dying_writes import Killed, die_at
from tests.mills import BLACK, BLUE, GREEN, RED, ColourConfig, write
from tests.toys.enlarge import Enlarge, EnlargeConfig
from tests.toys.threshold import ThresholdConfig

pytestmark = pytest.mark.faults

COLOURS = {"a": RED, "b": GREEN, "c": BLUE, "d": BLACK, "e": RED, "f": GREEN, "g": RED, "h": BLUE}
WIDTHS = {name: 8 + 2 * (number % 3) for number, name in enumerate(COLOURS)}


def stages(
    *, refuses: tuple[int, int, int] | None = None, widest: int = 99, black: bool = False
) -> tuple[StageConfig, ...]:
    return (
        ColourConfig.model_validate({"from": "large", "batch": 3, "refuses": refuses}),
        EnlargeConfig(name="large", refuse_wider_than=widest),
        ThresholdConfig.model_validate({"from": "large", "batch": 2, "level": 50, "refuse_black": black}),
        ThresholdConfig(name="small", column="small_fraction", level=50),
    )


@pytest.fixture
def job(tmp_path: Path) -> in_process_run.Job:
    for name, colour in COLOURS.items():
        write(tmp_path / "in", f"{name}.png", colour, size=(WIDTHS[name], 6))
    access = Access(retry_for_s=1.0)
    out = Folder(str(tmp_path / "out"), access)
    return in_process_run.Job(Source((str(tmp_path / "in"),), access=access), out, stages(), file_bytes=128)


def rows_in(out: Folder, below: str) -> list[dict[str, Any]]:
    """As an outsider reads them."""
    tables = [pq.read_table(pa.BufferReader(out.read(f"{below}/{name}") or b"")) for name in out.names(below)]
    return [row for table in tables for row in table.to_pylist()]


def assert_whole(out: Folder, failed: dict[str, tuple[str, str]]) -> None:
    """Law 1 from the files alone: every input is done with all its columns, or failed for this reason."""
    rows = rows_in(out, "data")
    assert Counter(Path(row["uri"]).stem for row in rows) == Counter(COLOURS.keys() - failed.keys())
    for row in rows:
        name = Path(row["uri"]).stem
        pixels_HWC = np.asarray(Image.open(io.BytesIO(row["enlarged"]["bytes"])))
        assert pixels_HWC.shape == (12, 2 * WIDTHS[name], 3)
        assert (pixels_HWC == COLOURS[name]).all()
        assert row["colour"] == pytest.approx(COLOURS[name])
        assert row["bright_fraction"] == row["small_fraction"] == float(sum(COLOURS[name]) / 3 > 50)
    found = {Path(row["uri"]).stem: (row["stage"], row["error_type"]) for row in rows_in(out, "failed")}
    assert found == failed
    assert len(rows_in(out, "failed")) == len(failed)


def test_every_stage_runs_over_one_fetch_and_one_decode(
    job: in_process_run.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, decodes = count_calls(monkeypatch)
    account = in_process_run.live(job)
    assert (account.done, account.failed, account.is_exact) == (8, 0, True)
    assert_whole(job.out, {})
    assert (len(reads), len(decodes)) == (8, 8)
    assert len(job.out.names("data")) > 2


def count_calls(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[int]]:
    """The uris that are read and the sizes of what is decoded, from now on."""
    reads: list[str] = []
    decodes: list[int] = []
    read, decode = ObjectReader.read, PictureDecoder.decode

    def counted_read(self: ObjectReader, uri: str, **options: Any) -> bytes:
        reads.append(uri)
        return read(self, uri, **options)

    def counted_decode(self: PictureDecoder, pieces: Sequence[bytes], **options: Any) -> Any:
        decodes.append(len(pieces[0]))
        return decode(self, pieces, **options)

    monkeypatch.setattr(ObjectReader, "read", counted_read)
    monkeypatch.setattr(PictureDecoder, "decode", counted_decode)
    return reads, decodes


@pytest.mark.parametrize(
    ("options", "failed"),
    [
        ({"refuses": GREEN}, dict.fromkeys("bf", ("colour", "Refused"))),
        ({"black": True}, {"d": ("threshold", "Black")}),
        ({"widest": 10}, dict.fromkeys("cf", ("large", "TooWide"))),
    ],
)
def test_a_failure_in_one_stage_files_the_input_once_under_its_name(
    job: in_process_run.Job, options: dict[str, Any], failed: dict[str, tuple[str, str]]
) -> None:
    account = in_process_run.live(replace(job, stages=stages(**options)))
    assert (account.done, account.failed, account.is_exact) == (8 - len(failed), len(failed), True)
    assert_whole(job.out, failed)


def test_an_input_that_fails_in_several_stages_is_filed_once(job: in_process_run.Job) -> None:
    account = in_process_run.live(replace(job, stages=stages(refuses=GREEN, widest=10, black=True)))
    assert (account.done, account.failed, account.is_exact) == (4, 4, True)
    assert len(rows_in(job.out, "failed")) == 4


def test_killed_at_each_of_its_writes_and_resumed_every_input_is_there_once(
    job: in_process_run.Job, tmp_path: Path
) -> None:
    """A finished input is not fetched again."""
    step, finished = 0, False
    while not finished:
        for is_written in (True, False):
            mine = replace(job, out=Folder(str(tmp_path / f"out-{step}-{is_written}"), job.out.access))
            with pytest.MonkeyPatch.context() as patch:
                die_at(step, patch, is_written=is_written)
                finished = not dies(mine)
            before = {Path(row["uri"]).stem for row in rows_in(mine.out, "data")}
            with pytest.MonkeyPatch.context() as patch:
                reads, _ = count_calls(patch)
                account = in_process_run.live(mine, 2)
            assert account.is_exact
            assert account.done == 8
            assert_whole(mine.out, {})
            assert {Path(uri).stem for uri in reads} == COLOURS.keys() - before
        step += 1
    assert step > 5


def dies(job: in_process_run.Job) -> bool:
    try:
        in_process_run.live(job)
    except Killed:
        return True
    return False


@pytest.mark.parametrize("at", [0, 3, 7])
def test_killed_inside_a_job_that_encodes_and_resumed_every_input_is_there_once(
    job: in_process_run.Job, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    encoded = Enlarge.encoded

    def dying(self: Enlarge, picture_CHW: Any) -> Any:
        nonlocal count
        count += 1
        if count == at + 1:
            raise Killed
        return encoded(self, picture_CHW)

    monkeypatch.setattr(Enlarge, "encoded", dying)
    assert dies(job)
    assert in_process_run.live(job, 2).is_exact
    assert_whole(job.out, {})


def test_no_memory_is_held_when_an_order_is_done(job: in_process_run.Job, monkeypatch: pytest.MonkeyPatch) -> None:
    mills: list[Mill] = []
    build = in_process_run.mill_of

    def kept(*arguments: Any) -> Mill:
        mills.append(build(*arguments))
        return mills[-1]

    monkeypatch.setattr(in_process_run, "mill_of", kept)
    in_process_run.live(job)
    assert [mill.budget.held_bytes for mill in mills] == [0]


def test_the_stages_that_ship_chain_over_one_fetch_and_one_decode(
    job: in_process_run.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upscale -> segment, depth and embed: what is upscaled is what the others read."""
    chain = (
        UpscaleConfig.model_validate({"scale": 2, "precision": "float32"}),
        SegmentConfig.model_validate({"from": "upscale", "precision": "float32"}),
        DepthConfig.model_validate({"from": "upscale", "precision": "float32"}),
        EmbedConfig.model_validate({"from": "upscale", "precision": "float32", "model": "autoencoder-photos"}),
    )
    reads, decodes = count_calls(monkeypatch)
    account = in_process_run.live(replace(job, stages=chain))
    assert (account.done, account.failed, account.is_exact) == (8, 0, True)
    assert (len(reads), len(decodes)) == (8, 8)
    for row in rows_in(job.out, "data"):
        size = 2 * WIDTHS[Path(row["uri"]).stem], 12
        for name in ("upscaled", "mask", "disparity_px"):
            assert Image.open(io.BytesIO(row[name]["bytes"])).size == size, name
        assert row["embedding"]
    for name in job.out.names("data"):
        schema = pq.read_schema(pa.BufferReader(job.out.read(f"data/{name}") or b""))
        assert b"road" in b"".join(schema.field("mask").metadata.values()), "the names of the classes are in every file"
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        assert features == {name: {"_type": "Image"} for name in ("upscaled", "mask", "disparity_px")}
