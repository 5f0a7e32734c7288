"""Encode: codes equal those of the network for pictures preprocessed as in training, and a VAE adds the deviation.

Legend: B batch, C channels, D numbers of a code.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.models.encoders import trained_input
from pixelmill.workers.models.zoo import zoo_path
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled, StageContext
from pixelmill.workers.stages.encode import EncodeConfig

CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)
NAMES = ("autoencoder-photos", "autoencoder-mnist", "vae-mnist")


def numbers(milled: Milled, name: str) -> Tensor:
    column = milled.columns[name]
    assert isinstance(column, pa.Array)
    return torch.tensor(column.to_pylist())


@torch.inference_mode()
@pytest.mark.parametrize("name", NAMES)
def test_codes_are_those_of_the_network_for_what_it_was_trained_to_see(name: str) -> None:
    path = zoo_path(name)
    assert path is not None
    loaded: Any = load_checkpoint(path)
    network, card = loaded
    pixels = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((28, 28), (300, 200), (1, 9))]
    stage = EncodeConfig(model=name, precision="float32").build(CONTEXT)
    milled = stage.run([stage.prepare(Picture(each)) for each in pixels])
    seen = trained_input(card, network)
    images_BCHW = torch.stack([seen.applied_to(each) for each in pixels]).float() / 255
    torch.testing.assert_close(numbers(milled, "latent"), network.encode(images_BCHW), rtol=1e-4, atol=1e-4)
    if name == "vae-mnist":
        deviation_BD = (network.posterior(images_BCHW)[1] / 2).exp()
        torch.testing.assert_close(numbers(milled, "latent_deviation"), deviation_BD, rtol=1e-4, atol=1e-5)
    assert list(milled.columns) == list(EncodeConfig(model=name).columns())
    assert len(milled.columns) == (2 if name == "vae-mnist" else 1)


@pytest.mark.parametrize("output", ["float32", "float16"])
def test_a_code_or_a_deviation_that_is_not_finite_is_an_error_at_its_place(output: str) -> None:
    stage = EncodeConfig.model_validate({"model": "vae-mnist", "output": output}).build(CONTEXT)
    mean_BD, deviation_BD = torch.zeros(4, 20), torch.ones(4, 20)
    mean_BD[1, 3], deviation_BD[2, 0] = float("nan"), float("inf")
    milled = stage.milled(mean_BD, deviation_BD)
    assert {place: str(error).split(" has ")[0] for place, error in milled.errors.items()} == {
        1: "the code",
        2: "the deviation of the code",
    }
    assert {column.type for column in milled.columns.values()} == {pa.list_(getattr(pa, output)(), 20)}  # type: ignore[union-attr]


def test_another_column_takes_the_deviation_with_it() -> None:
    stage = EncodeConfig(model="vae-mnist", column="z").build(CONTEXT)
    assert tuple(field.name for field in stage.fields) == ("z", "z_deviation")
