"""The weights identify a stage with a model, not their location; weights on a store are sent with the job."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.zoo import ZOO
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.depth import DepthConfig
from pixelmill.workers.stages.encode import EncodeConfig

CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)
SHIPPED = "vae-mnist"


def test_the_place_of_a_file_is_no_part_of_the_identity(tmp_path: Path) -> None:
    for suffix in (".safetensors", ".json"):
        shutil.copy(ZOO / f"{SHIPPED}{suffix}", tmp_path)
    copied = EncodeConfig(model=str(tmp_path / f"{SHIPPED}.safetensors"))
    assert copied.identity() == EncodeConfig(model=SHIPPED).identity()
    assert str(tmp_path) not in str(copied.identity())


def test_only_a_model_on_a_store_is_read_by_the_job() -> None:
    assert EncodeConfig(model="s3://models/run").assets() == {"model": "checkpoint"}
    for here in (SHIPPED, "models/run", "torchvision:resnet18", "file:///models/run"):
        assert EncodeConfig(model=here).assets() == {}


def test_a_model_that_travelled_is_the_one_that_was_read() -> None:
    files = {f"{SHIPPED}{suffix}": (ZOO / f"{SHIPPED}{suffix}").read_bytes() for suffix in (".safetensors", ".json")}
    config = EncodeConfig(model="s3://models/run").with_assets({"model": files})
    assert config.identity() == EncodeConfig(model=SHIPPED).identity()
    assert config.columns() == EncodeConfig(model=SHIPPED).columns()
    assert config.build(CONTEXT).weights_sha256 == EncodeConfig(model=SHIPPED).build(CONTEXT).weights_sha256


@pytest.mark.parametrize("config", [EncodeConfig(model="no-such"), DepthConfig(model="no-such")])
def test_a_model_that_is_not_there_is_reported_by_the_identity_and_not_by_the_columns(
    config: EncodeConfig | DepthConfig,
) -> None:
    assert config.known() is None
    assert config.columns()
    with pytest.raises(ModelError, match="model no-such: unknown"):
        config.identity()
