"""Networks in 3-D train on the blocks of `ct ingest --volumes`, and resume with the weights of an uninterrupted training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.ct_slices import CtSlices
from pixelmill.pipelines.training.plan import TrainingPlan
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.pipelines.training.splits import split
from pixelmill.workers.ct.phantom_volume import phantom_volume
from pixelmill.workers.recipes.ct_autoencoder import CtAutoencoderRecipe, CtAutoencoderSettings
from tests.ct_tables import write_blocks
from tests.pipelines.training.trainings import train

SETTINGS = {
    "dims": 3, "widths": (4, 8), "size_px": 32, "crop_px": 16, "patch_px": 8, "batch": 2, "steps": 6,
    "evaluate_every_steps": 3, "drop_air": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("blocks")
    write_blocks(folder / "data/part-0.parquet", 6)
    (folder / "_run").mkdir()
    return str(folder)


def _plan(blocks: str, out: Path, pretext: str) -> TrainingPlan:
    found = split(CtSlices().ROLES, [blocks], [], 0.3, 1, Access())
    return TrainingPlan(
        recipe="ct-autoencoder", settings={**SETTINGS, "pretext": pretext}, train=found.train, held_out=found.held_out,
        split=found.says, trained_on=(), data="blocks", data_licence="none", out=str(out), access=Access(), versions={},
        git_revision=None, checkpoint_every_s=0.0, log_every_steps=1,
    )  # fmt: skip


def test_blocks_are_read_exactly_with_their_patients(blocks: str) -> None:
    found = CtSlices().find([blocks], Access(), None)
    assert found.slices is not None
    assert found.slices.patients == tuple(f"p{number}" for number in range(6) for _ in range(2))
    assert np.isnan(found.slices.positions_mm).all()
    values = [
        sample["values"] for sample in read_samples(found, CtAutoencoderRecipe(CtAutoencoderSettings(**SETTINGS), {}))
    ]
    expected = np.concatenate([phantom_volume(32, 32, seed).hu_DHW.astype(np.int16) for seed in range(6)])
    assert np.array_equal(np.concatenate(values), expected)


@pytest.mark.parametrize("pretext", ["masked", "denoising", "plain"])
def test_a_training_in_3d_that_was_killed_ends_with_the_weights_of_one_that_was_not(
    blocks: str, pretext: str, tmp_path: Path
) -> None:
    whole = train(_plan(blocks, tmp_path / "whole", pretext))
    with pytest.raises(KeyboardInterrupt):
        train(_plan(blocks, tmp_path / "killed", pretext), killed_at=4)
    resumed = train(_plan(blocks, tmp_path / "killed", pretext))
    state = resumed.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.network.state_dict().items())
    assert any(value.dim() == 5 for value in state.values())


def test_blocks_have_defaults_of_their_own_and_those_that_are_given_count() -> None:
    deep = CtAutoencoderSettings.model_validate({"dims": 3})
    assert (deep.size_px, deep.crop_px, deep.batch) == (128, 64, 4)
    assert CtAutoencoderSettings.model_validate({"dims": 3, "batch": 9}).batch == 9
    assert CtAutoencoderSettings.model_validate({}).size_px == 256
