"""What holds for every stage, now and to come: one that is registered is tested with the example that has its name."""

from __future__ import annotations

import io
from collections.abc import Hashable, Iterator, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from pixelmill.jobs import spec
from pixelmill.jobs.documents.faults import faults
from pixelmill.workers.decoders import DECODERS, decoder_of
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import (
    STAGES,
    Deferred,
    Milled,
    Prepared,
    SeesCrops,
    SortsBySize,
    Stage,
    StageConfig,
    StageContext,
    config_class,
)
from tests.toys.registered import TOY_STAGES, toy_stages

SIZES = ((1, 1), (5000, 1), (37, 501), (256, 256), (37, 501))
CONTEXT = StageContext(device="cpu", threads=1, job_images=len(SIZES), cache_dir=None)
OVER_HU = ("classify-hu", "embed-hu", "reconstruct-hu", "segment-hu")
"""Stages with networks of CT, by the names that their examples give them."""
SHAPES: dict[Kind, tuple[int, torch.dtype]] = {
    "rgb8": (3, torch.uint8),
    "grey8": (1, torch.uint8),
    "grey16": (1, torch.uint16),
    "ids8": (1, torch.uint8),
    "hu16": (1, torch.int16),
}
"""Channels and numbers of each kind of flat picture."""


def example(kind: str) -> Any:
    """`QUICK`: options with which the stage is built quickly and offline; `CHANGED`: for each key another value.

    `STAGE` is the kind of stage where the example has another name. `LEVELS`, where it is there, is how many values its
    pictures may have, as class ids have few; `pictures()` makes the pictures of a stage that takes no others; `ASSETS` is
    what the job has read for its keys.
    """
    return import_module(f"tests.contracts.examples.{kind.replace('-', '_')}")


@pytest.fixture(scope="module", params=sorted({*STAGES, *TOY_STAGES, *OVER_HU}))
def config(request: pytest.FixtureRequest) -> Iterator[StageConfig]:
    with toy_stages():
        given = example(request.param)
        built = config_class(getattr(given, "STAGE", request.param)).model_validate(given.QUICK)
        yield built.with_assets(getattr(given, "ASSETS", {}))


@pytest.fixture(scope="module")
def stage(config: StageConfig) -> Stage:
    return config.build(CONTEXT)


def pictures(config: StageConfig) -> list[Picture]:
    """One of each size, of a kind that the stage takes."""
    if hasattr(example(config.name or config.stage), "pictures"):
        return example(config.name or config.stage).pictures()
    kind = min(
        config.takes - {"hu16", "volume"} or config.takes - {"volume"}
    )  # which one a network takes is in its card
    channels, dtype = SHAPES[kind]
    generator = torch.Generator().manual_seed(0)
    most = min(getattr(example(config.name or config.stage), "LEVELS", 256), torch.iinfo(dtype).max)
    return [Picture(torch.randint(0, most, (channels, *size), generator=generator).to(dtype), kind) for size in SIZES]


def columns_of(stage: Stage, milled: Milled) -> dict[str, pa.Array]:
    """The columns, with what was deferred done."""
    types = {field.name: field.type for field in stage.fields}
    return {
        name: pa.array([job() for job in column.jobs], types[name]) if isinstance(column, Deferred) else column
        for name, column in milled.columns.items()
    }


def milled_of(stage: Stage, samples: Sequence[Prepared]) -> Milled:
    """What a stage makes of samples of any size, in their order: bucket by bucket where it takes one size at once."""
    if not isinstance(stage, SortsBySize):
        return stage.run(samples)
    buckets: dict[Hashable, list[int]] = {}
    for place, sample in enumerate(samples):
        buckets.setdefault(stage.bucket_of(sample), []).append(place)
    batches = [stage.run([samples[place] for place in places]) for places in buckets.values()]
    order = np.argsort([place for places in buckets.values() for place in places])
    columns = [columns_of(stage, batch) for batch in batches]
    pictures = [picture for batch in batches for picture in batch.pictures]
    errors = {
        places[place]: error
        for places, batch in zip(buckets.values(), batches, strict=True)
        for place, error in batch.errors.items()
    }
    return Milled(
        {name: pa.concat_arrays([each[name] for each in columns]).take(pa.array(order)) for name in columns[0]},
        errors,
        [pictures[place] for place in order] if pictures else (),
    )


def assert_near(first: Any, second: Any) -> None:
    """Equal but for the rounding of numbers, however deep in lists and structs they are, and of pixels in pictures."""
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        first, second = list(first.values()), list(second.values())
    if isinstance(first, list) and not all(isinstance(each, float) for each in first):
        for mine, other in zip(first, second, strict=True):
            assert_near(mine, other)
    elif isinstance(first, bytes) and first != second:
        assert_near_pixels(*(np.asarray(Image.open(io.BytesIO(data))) for data in (first, second)))
    else:
        is_number = isinstance(second, int | float | list)
        assert first == (pytest.approx(second, rel=1e-3, abs=1e-4) if is_number else second)


def assert_near_pixels(first: np.ndarray, second: np.ndarray) -> None:
    """Equal, or off by one grey level of 256 in few places: sums of a network are rounded as its batch has it."""
    assert (first.shape, first.dtype) == (second.shape, second.dtype)
    levels = np.iinfo(first.dtype).max // 255
    difference = np.abs(first.astype(np.int64) - second.astype(np.int64))
    assert difference.max() <= levels
    assert difference.mean() <= 0.01 * levels


def own_keys(config: StageConfig) -> set[str]:
    """The keys that this kind of stage has beside those of every stage."""
    return set(type(config).model_fields) - set(StageConfig.model_fields)


def test_a_config_is_frozen_and_refuses_unknown_keys(config: StageConfig) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, next(iter(type(config).model_fields)), None)
    with pytest.raises(ValidationError, match="not permitted"):
        type(config)(**config.model_dump(by_alias=True), no_such_key=1)


def test_every_key_is_described_in_the_schema(config: StageConfig) -> None:
    assert all("description" in key for key in config.model_json_schema()["properties"].values())


def test_importing_a_config_does_not_import_torch(config: StageConfig) -> None:
    import subprocess
    import sys

    place = STAGES[config.stage].partition(":")[0]
    program = f"import sys, {place}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_identity_is_everything_but_speed(config: StageConfig) -> None:
    (identity,) = config.identity().values()
    assert isinstance(identity, dict)
    assert own_keys(config) - config.speed_only - config.added <= set(identity)
    named = () if config.name else ("name",)
    assert not {*config.speed_only, *config.added, *named, "from", "reads"} & set(identity)


def test_identity_changes_with_every_key_but_those_of_speed(config: StageConfig) -> None:
    changes = example(config.name or config.stage).CHANGED
    assert set(changes) == own_keys(config)
    for key, value in {**changes, "name": "other", "reads": "other"}.items():
        changed = config.model_copy(update={key: value})
        assert (changed.identity() == config.identity()) == (key in config.speed_only), key


def test_a_stage_goes_by_the_name_that_the_job_file_has_for_it(config: StageConfig) -> None:
    assert config_class(config.stage) is type(config)
    assert list(config.identity()) == [config.stage]


def test_the_job_file_its_schema_and_its_suggestions_know_the_stage(config: StageConfig) -> None:
    source = {"uri": "in", "decoder": next(name for name in DECODERS if decoder_of(name).kind in config.takes)}
    written = {"version": 1, "source": source, "out": "out", "stages": [config.stage]}
    quick = example(config.name or config.stage).QUICK
    (entry,) = spec.JobSpec.model_validate(written | {"stages": [{config.stage: quick}]}).stages
    assert entry.config.model_dump() == config.model_dump()
    assert config.stage in str(spec.schema()["properties"]["stages"]["items"])
    for key in own_keys(config):
        misspelt = {**quick, f"{key}x": 1}
        with pytest.raises(ValidationError) as caught:
            spec.JobSpec.model_validate(written | {"stages": [{config.stage: misspelt}]})
        assert f"did you mean {key}?" in faults(caught.value, spec.known_keys())[0]


def test_the_bytes_of_a_row_are_foreseen_within_a_factor(config: StageConfig, stage: Stage) -> None:
    milled = milled_of(stage, [stage.prepare(picture) for picture in pictures(config)])
    made = sum(column.nbytes for column in columns_of(stage, milled).values()) / len(SIZES)
    foreseen = sum(config.row_bytes(height * width) for height, width in SIZES) / len(SIZES)
    assert foreseen / 32 <= made <= foreseen * 4


def test_columns_are_what_the_fields_say_for_pictures_of_any_size(config: StageConfig, stage: Stage) -> None:
    milled = milled_of(stage, [stage.prepare(picture) for picture in pictures(config)])
    assert not milled.errors
    assert tuple(milled.columns) == tuple(f.name for f in stage.fields) == config.columns()
    for column in stage.fields:
        made = columns_of(stage, milled)[column.name]
        assert isinstance(made, pa.Array)
        assert made.type == column.type
        assert len(made) == len(SIZES)


def test_pictures_are_of_the_kind_that_the_config_states(config: StageConfig, stage: Stage) -> None:
    milled = milled_of(stage, [stage.prepare(picture) for picture in pictures(config)])
    assert len(milled.pictures) == (0 if config.makes is None else len(SIZES))
    for picture in milled.pictures:
        assert picture is not None
        assert picture.kind == config.makes
        assert (picture.pixels.shape[0], picture.pixels.dtype) == SHAPES[picture.kind]


def test_no_picture_that_a_stage_reads_is_written_to(config: StageConfig, stage: Stage) -> None:
    read = pictures(config)
    milled_of(stage, [stage.prepare(picture) for picture in read])
    assert all(torch.equal(mine.pixels, fresh.pixels) for mine, fresh in zip(read, pictures(config), strict=True))


def test_a_stage_that_sees_crops_makes_them_without_its_network(config: StageConfig, stage: Stage) -> None:
    assert isinstance(stage, SeesCrops) == config.sees_crops
    if isinstance(stage, SeesCrops):
        for picture in pictures(config):
            crop_CHW = stage.preprocess.applied_to(picture.pixels, picture.reduced)
            assert crop_CHW.dtype == torch.uint8
            assert torch.equal(stage.prepare(picture), crop_CHW)


def test_a_picture_comes_out_the_same_whatever_lies_beside_it(config: StageConfig, stage: Stage) -> None:
    samples = [stage.prepare(picture) for picture in pictures(config)]
    together, alone = milled_of(stage, samples), stage.run(samples[2:3])
    for column in stage.fields:
        (first,) = columns_of(stage, together)[column.name].slice(2, 1).to_pylist()
        (second,) = columns_of(stage, alone)[column.name].to_pylist()
        assert_near(first, second)
    for first, second in zip(together.pictures[2:3], alone.pictures, strict=True):
        assert first is not None
        assert second is not None
        assert_near_pixels(first.pixels.numpy(), second.pixels.numpy())


def test_the_same_config_has_the_same_weights(config: StageConfig, stage: Stage) -> None:
    assert config.build(CONTEXT).weights_sha256 == stage.weights_sha256


def test_settings_are_recorded_once_they_are_chosen(config: StageConfig, stage: Stage) -> None:
    stage.run([stage.prepare(pictures(config)[0])])
    assert stage.settings["chosen"] == "default"
    assert stage.batch >= 1
    assert stage.batch_pixels is None or stage.batch_pixels >= 1


def test_a_plan_describes_the_stage(config: StageConfig) -> None:
    assert all(config.describe(CONTEXT, here=False))
