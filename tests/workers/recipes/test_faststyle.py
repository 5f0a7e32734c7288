"""The recipe of fast style: one network a painting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pixelmill.workers.codecs.encode import encode_jpeg, encode_png
from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.networks.vgg import Vgg, VggConfig
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.faststyle import FastStyleRecipe, FastStyleSettings, random_crop
from pixelmill.workers.recipes.registry import recipe_type
from pixelmill.workers.recipes.scoring import evaluate
from tests.learning import assert_seeded, descend
from tests.tolerances import sum_tolerance
from tests.workers.painters import SLIM, built


def coarse_pixels(height: int, width: int, seed: int = 0) -> Tensor:
    cells_1CHW = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.interpolate(cells_1CHW, (height, width))[0] * 255).byte()


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights in the Caffe format, four channels wide, and a painting."""
    folder = tmp_path_factory.mktemp("faststyle")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = Vgg(VggConfig(width=4)).convolutions.state_dict()
    save_file({f"block{key[4]}_conv{key[6:]}": tensor for key, tensor in state.items()}, folder / "vgg.safetensors")
    stripes_HWC = np.zeros((40, 56, 3), np.uint8)
    stripes_HWC[:, ::4] = (255, 200, 0)
    (folder / "style.png").write_bytes(encode_png(stripes_HWC))
    return {"vgg": folder / "vgg.safetensors", "style": folder / "style.png"}


def recipe(assets: dict[str, Path], **settings: object) -> FastStyleRecipe:
    small = {
        "size_px": 24,
        "style_size_px": 32,
        "width": 4,
        "blocks": 1,
        "tv_weight": 0.0,
        "batch": 2,
        "scale": "relative",
    }
    return FastStyleRecipe(FastStyleSettings(**{"vgg": "vgg", "style": "style", **small, **settings}), assets)


def photographs(recipe: FastStyleRecipe, count: int = 3) -> list[Sample]:
    encoded = (encode_jpeg(coarse_pixels(40, 50, seed)) for seed in range(count))
    return [recipe.decode({"image": data}) for data in encoded]


def test_the_recipe_is_found_by_name_and_has_the_papers_defaults() -> None:
    assert recipe_type("faststyle") is FastStyleRecipe
    settings = FastStyleSettings(vgg="vgg", style="style")
    assert settings.style_layers == ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    assert settings.content_layers == ("relu3_3",)
    assert (settings.learning_rate, settings.batch, settings.size_px) == (1e-3, 4, 256)


def test_one_batch_is_painted_by_heart(assets: dict[str, Path]) -> None:
    trained = recipe(assets, width=8, content_weight=0.1)
    network = built(trained.settings.network)
    batch = trained.batch(photographs(trained), np.random.default_rng(0))
    losses = descend(trained.optimizer(network), lambda: trained.losses(network, batch)["loss"], steps=80)
    assert losses[-1] < 0.6 * losses[0]


def test_the_same_seed_gives_the_same_weights_and_another_one_others(assets: dict[str, Path]) -> None:
    assert_seeded(recipe(assets).network)


def test_photographs_left_as_they_are_have_a_ratio_of_one_and_no_content_loss(assets: dict[str, Path]) -> None:
    untouched = nn.Sequential(nn.Identity(), nn.PReLU(init=1.0))

    judged = recipe(assets, tv_weight=2.0)
    metrics = evaluate(judged, untouched, photographs(judged))
    assert metrics["loss_ratio"] == 1
    assert metrics["content_loss"] == 0
    assert metrics["total_loss"] == metrics["total_loss_untouched"] > 0
    # the total is summed over pictures in float32, each term by itself too
    assert metrics["style_loss"] + metrics["tv_loss"] == pytest.approx(metrics["total_loss"], rel=sum_tolerance(20))
    assert metrics["tv_loss"] > 0


def test_the_ratio_is_the_loss_over_that_of_the_untouched_photographs(assets: dict[str, Path]) -> None:
    judged = recipe(assets)
    metrics = evaluate(judged, built(SLIM).eval(), photographs(judged))
    assert metrics["loss_ratio"] == pytest.approx(metrics["total_loss"] / metrics["total_loss_untouched"])
    assert metrics["content_loss"] > 0
    assert metrics["loss_ratio"] != pytest.approx(1, abs=1e-3)


def test_metrics_are_means_over_samples_whatever_the_batch(assets: dict[str, Path]) -> None:
    network, samples = built(SLIM).eval(), photographs(recipe(assets), 5)
    with torch.inference_mode():
        results = [evaluate(recipe(assets, batch=batch), network, samples) for batch in (1, 2, 5)]
    assert results[1] == pytest.approx(results[0], rel=1e-4)
    assert results[2] == pytest.approx(results[0], rel=1e-4)


def test_losses_are_trained_through_after_an_evaluation_in_inference_mode(assets: dict[str, Path]) -> None:
    trained, network = recipe(assets), built(SLIM)
    with torch.inference_mode():
        evaluate(trained, network, photographs(trained))
    losses = trained.losses(network, trained.batch(photographs(trained), np.random.default_rng(0)))
    losses["loss"].backward()
    assert losses.keys() == {"loss", "content", "style", "total_variation"}
    total = losses["content"] + losses["style"] + losses["total_variation"]
    torch.testing.assert_close(
        losses["loss"], total, rtol=sum_tolerance(3 * 4), atol=0
    )  # 3 terms of 4 pictures at most


def test_losses_call_the_network_once_and_stay_in_float32_under_autocast(assets: dict[str, Path]) -> None:
    trained, network = recipe(assets), built(SLIM)
    calls: list[object] = []
    network.register_forward_hook(lambda *_: calls.append(None))
    with torch.autocast("cpu", torch.bfloat16):
        losses = trained.losses(network, trained.batch(photographs(trained), np.random.default_rng(0)))
    assert len(calls) == 1
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


def test_the_crop_of_a_sample_does_not_depend_on_its_batch(assets: dict[str, Path]) -> None:
    trained = recipe(assets)
    samples = photographs(trained, 4)
    together, one_by_one = np.random.default_rng(3), np.random.default_rng(3)
    batch_BCSS = trained.batch(samples, together)["images"]
    alone = [trained.batch([sample], one_by_one)["images"] for sample in samples]
    assert batch_BCSS.shape == (4, 3, 24, 24)
    assert batch_BCSS.dtype == torch.uint8
    assert torch.equal(batch_BCSS, torch.cat(alone))


def test_three_numbers_are_drawn_for_a_sample_of_any_size() -> None:
    random, expected = np.random.default_rng(3), np.random.default_rng(3)
    for height, width in ((24, 24), (30, 57), (300, 25)):
        random_crop(np.zeros((height, width, 3), np.uint8), 24, random)
        expected.random(3)
    assert random.random() == expected.random()


def test_crops_come_from_everywhere_and_half_of_them_are_mirrored() -> None:
    ramp_HWC = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None], (30, 40, 3))
    random = np.random.default_rng(0)
    crops = [random_crop(ramp_HWC, 16, random) for _ in range(300)]
    lefts = {int(crop[0].min()) for crop in crops}
    assert lefts == set(range(25))
    assert 100 < sum(crop[0, 0, 0] > crop[0, -1, 0] for crop in crops) < 200


def test_what_is_no_picture_is_refused(assets: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"signature|text"):
        recipe(assets).decode({"image": b"no picture at all"})
    (tmp_path / "style.png").write_bytes(b"no painting")
    broken = recipe({**assets, "style": tmp_path / "style.png"})
    with pytest.raises(DataError, match="painting"):
        evaluate(broken, built(SLIM), photographs(broken))


def test_the_rate_is_constant_or_falls_to_nothing(assets: dict[str, Path]) -> None:
    assert {recipe(assets).rate(step, 100) for step in range(100)} == {1.0}
    falling = [recipe(assets, schedule="cosine").rate(step, 100) for step in range(100)]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] == 1
    assert falling[-1] < 0.001


def test_the_sheet_shows_the_painting_the_photographs_and_what_was_made_of_them(assets: dict[str, Path]) -> None:
    shown = recipe(assets)
    with torch.inference_mode():
        sheet_CHW = shown.pictures(built(SLIM).eval(), photographs(shown))
    assert sheet_CHW.dtype == torch.uint8
    assert sheet_CHW.shape[0] == 3
    assert sheet_CHW.shape[1] >= 2 * 24
    assert sheet_CHW.shape[2] >= 4 * 24


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({"style": "gone.png"}, {}, r"gone\.png: the painting can't be read \(No such file"),
        ({"style": "vgg.safetensors"}, {}, r"vgg\.safetensors: the painting can't be read"),
        ({"vgg": "style.png"}, {}, r"style\.png: not a whole safetensors file"),
        ({"vgg": "weights.pth"}, {}, "a pickle can run code"),
        ({}, {"content_layers": ("relu9_9",)}, "there is no layer relu9_9"),
    ],
)
def test_files_that_can_not_be_learned_from_are_found_before_a_training(
    assets: dict[str, Path], changes: dict[str, str], settings: dict[str, object], said: str
) -> None:
    folder = assets["vgg"].parent
    recipe(assets).check([], 1)
    with pytest.raises((DataError, ModelError), match=said):
        recipe({**assets, **{name: folder / file for name, file in changes.items()}}, **settings).check([], 1)


def test_published_weights_are_looked_up_and_not_fetched_before_a_training(assets: dict[str, Path]) -> None:
    only_style = {"style": assets["style"]}
    recipe(only_style, vgg="torchvision:VGG16_Weights.IMAGENET1K_V1").check([], 1)
    with pytest.raises(ModelError, match="NOPE: torchvision has no such weights"):
        recipe(only_style, vgg="torchvision:VGG16_Weights.NOPE").check([], 1)
