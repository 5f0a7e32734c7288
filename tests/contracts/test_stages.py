"""What holds for every stage, now and to come: a new one is tested by being added to the job file's stages."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import STAGES, Stage, StageConfig, StageContext, config_class

QUICK: dict[str, dict[str, Any]] = {"embed": {"model": "torchvision:squeezenet1_1/random"}}
"""For each stage the options with which it is built quickly and offline."""

CHANGED: dict[str, dict[str, Any]] = {
    "embed": {
        "model": "torchvision:squeezenet1_0/random",
        "layer": "features.3",
        "pooling": "max",
        "column": "other",
        "output": "float16",
        "precision": "float32",
        "batch": 3,
        "channels_last": False,
        "compile": False,
    }
}
"""For each key of each stage a value that is not its own."""

CONFIGS = {name: config_class(name) for name in STAGES}
SIZES = ((1, 1), (5000, 1), (37, 501), (256, 256))
CONTEXT = StageContext(device="cpu", threads=1, job_images=len(SIZES), cache_dir=None)


@pytest.fixture(scope="module", params=sorted(CONFIGS))
def config(request: pytest.FixtureRequest) -> StageConfig:
    return CONFIGS[request.param](**QUICK[request.param])


@pytest.fixture(scope="module")
def stage(config: StageConfig) -> Stage:
    return config.build(CONTEXT)


def pictures() -> list[Picture]:
    generator = torch.Generator().manual_seed(0)
    return [Picture(torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)) for size in SIZES]


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


def test_identity_is_everything_but_speed(config: StageConfig) -> None:
    (identity,) = config.identity().values()
    assert isinstance(identity, dict)
    assert own_keys(config) - config.speed_only <= set(identity)
    assert not {"name", "from", "reads"} & set(identity), "an output made before there were such keys has to resume"
    assert not config.speed_only & set(identity)


def test_identity_changes_with_every_key_but_those_of_speed(config: StageConfig) -> None:
    changes = CHANGED[config.stage]
    assert set(changes) == own_keys(config)
    for key, value in changes.items():
        changed = config.model_copy(update={key: value})
        assert (changed.identity() == config.identity()) == (key in config.speed_only), key


def test_a_stage_goes_by_the_name_that_the_job_file_has_for_it(config: StageConfig, stage: Stage) -> None:
    assert CONFIGS[config.stage] is type(config)
    assert stage.name == config.stage
    assert list(config.identity()) == [config.stage]


def test_the_bytes_of_a_row_are_foreseen_within_a_factor(config: StageConfig, stage: Stage) -> None:
    milled = stage.run([stage.prepare(picture) for picture in pictures()])
    made = sum(column.nbytes for column in milled.columns.values()) / len(SIZES)
    assert config.row_bytes() / 32 <= made <= config.row_bytes() * 4


def test_columns_are_what_the_fields_say_for_pictures_of_any_size(config: StageConfig, stage: Stage) -> None:
    milled = stage.run([stage.prepare(picture) for picture in pictures()])
    assert not milled.errors
    assert tuple(milled.columns) == tuple(f.name for f in stage.fields) == config.columns()
    for column in stage.fields:
        made = milled.columns[column.name]
        assert isinstance(made, pa.Array)
        assert made.type == column.type
        assert len(made) == len(SIZES)


def test_a_picture_comes_out_the_same_whatever_lies_beside_it(stage: Stage) -> None:
    samples = [stage.prepare(picture) for picture in pictures()]
    together, alone = stage.run(samples), stage.run(samples[2:3])
    for column in stage.fields:
        (first,), (second,) = (
            together.columns[column.name].slice(2, 1).to_pylist(),
            alone.columns[column.name].to_pylist(),
        )
        assert first == pytest.approx(second, rel=1e-3, abs=1e-4)


def test_the_same_config_has_the_same_weights(config: StageConfig, stage: Stage) -> None:
    assert config.build(CONTEXT).weights_sha256 == stage.weights_sha256


def test_settings_are_told_once_they_are_chosen(stage: Stage) -> None:
    stage.run([stage.prepare(pictures()[0])])
    assert stage.settings["chosen"] == "default"
    assert stage.batch >= 1


@pytest.mark.parametrize("output", ["float32", "float16"])
def test_a_vector_that_is_not_finite_is_an_error_at_its_place(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = CONFIGS["embed"](**QUICK["embed"], output=output).build(CONTEXT)
    vectors_BD = torch.ones(6, stage.fields[0].type.list_size)
    vectors_BD[1, 5], vectors_BD[2, 0], vectors_BD[4, 3] = float("nan"), float("inf"), 1e6  # too large for float16
    monkeypatch.setattr(stage, "_execute", lambda _: vectors_BD)
    milled = stage.run([torch.zeros(3, 8, 8, dtype=torch.uint8)] * 6)
    assert set(milled.errors) == ({1, 2} if output == "float32" else {1, 2, 4})
    assert {(error.stage, error.error_type) for error in milled.errors.values()} == {("embed", "NotFinite")}
    assert len(milled.columns["embedding"]) == 6
