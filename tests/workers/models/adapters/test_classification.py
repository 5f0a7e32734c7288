"""A fine-tuned classifier sees pictures as its recipe read them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch

from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.models.adapters import adapter
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.networks.finetuned import Finetuned, FinetunedConfig
from pixelmill.workers.recipes.finetune import FinetuneRecipe, FinetuneSettings
from tests.workers.encoders import SLIM
from tests.workers.saved import make_card


def classifier(encoder: str, recipe: FinetuneRecipe, **card: Any) -> Any:
    torch.manual_seed(0)
    network = Finetuned(FinetunedConfig(encoder, dict(SLIM[encoder]), classes=3)).eval()
    config = json.loads(json.dumps(asdict(network.config)))
    described = {"network": "finetuned", "config": config, "preprocess": recipe.preprocess(), "settings": {}} | card
    return adapter("finetuned classifier", "classify")(Checkpoint(encoder, network, make_card(**described), "0" * 64))


@pytest.mark.parametrize("encoder", ["autoencoder", "segnet", "fcn"])
@pytest.mark.parametrize("is_older", [False, True], ids=["card", "older card"])
def test_logits_are_those_of_the_recipe(encoder: str, is_older: bool) -> None:
    recipe = FinetuneRecipe(FinetuneSettings(checkpoint="base", classes=3, size_px=64, flip=False), {})
    older = {"preprocess": None, "settings": {"size_px": 64}} if is_older else {}
    model = classifier(encoder, recipe, **older)
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    sample = recipe.decode({"image": encode_png(pixels_HWC), "label": b"1"})
    assert model.preprocess is not None
    seen_CHW = model.preprocess.applied_to(torch.from_numpy(pixels_HWC).permute(2, 0, 1))
    assert np.array_equal(seen_CHW.permute(1, 2, 0).numpy(), sample["pixels"])
    mean_C11, std_C11 = (torch.tensor(each).view(3, 1, 1) for each in (model.mean, model.std))
    with torch.inference_mode():
        made_BK = model.module((seen_CHW[None] / 255 - mean_C11) / std_C11)
        wanted_BK = model.module(recipe.batch([sample], np.random.default_rng(0))["images"])
    assert made_BK.shape == (1, 3)
    assert torch.allclose(made_BK, wanted_BK, rtol=1e-4)
