"""The recipe of the autoencoder, and the weights that ship."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import functional as transforms

from pixelmill.workers.models.card import Card, SquareInput, read_card
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.models.marks import joined
from pixelmill.workers.models.model_names import DEFAULT_MODEL
from pixelmill.workers.models.zoo import ZOO
from pixelmill.workers.networks.autoencoder import AutoencoderConfig, ConvAutoencoder
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.autoencoder import AutoencoderRecipe, AutoencoderSettings
from pixelmill.workers.recipes.scoring import evaluate
from pixelmill.workers.recipes.squares import stack
from tests import corpus
from tests.learning import learn
from tests.tolerances import network_tolerance

TINY = AutoencoderSettings(size_px=32, width=8, code_channels=6, batch=4, steps=3)


UNSEEN = ("astronaut", "chelsea", "coffee", "rocket")


def recipe_of(**changes: object) -> AutoencoderRecipe:
    return AutoencoderRecipe(TINY.model_copy(update=changes), {})


def random_samples(count: int, size_px: int = 40) -> list[Sample]:
    pixels_NHWC = np.random.default_rng(0).integers(0, 256, (count, size_px, size_px, 3), np.uint8)
    return [{"pixels": pixels_HWC} for pixels_HWC in pixels_NHWC]


def ramp(height: int = 64, width: int = 64) -> Sample:
    """A picture that grows lighter to the right."""
    row_W = np.linspace(0, 255, width).astype(np.uint8)
    return {"pixels": np.broadcast_to(row_W[None, :, None], (height, width, 3))}


def unseen_photograph(name: str, size_px: int) -> Tensor:
    pixels_CHW = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)
    return transforms.center_crop(transforms.resize(pixels_CHW, [size_px], antialias=True), [size_px, size_px])


def to_input(images_NCHW: Tensor, size_px: int = 128) -> Tensor:
    return transforms.resize(images_NCHW, [size_px], antialias=True).float() / 255


@pytest.fixture(scope="module")
def shipped() -> tuple[ConvAutoencoder, Card]:
    module, card = load_checkpoint(ZOO / f"{DEFAULT_MODEL}.safetensors")
    assert isinstance(module, ConvAutoencoder)
    return module, card


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size_px": 100}, "size_px is 100; take a multiple of 32"),
        ({"crop": True, "pad": True}, "turn crop off"),
        ({"loss": "l3"}, "l1"),
        ({"smallest_crop": 0}, "smallest_crop"),
        ({"colour": 1}, "colour"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        AutoencoderSettings.model_validate(wrong)


def test_a_digit_is_padded_and_a_photograph_keeps_room_for_crops() -> None:
    digit = {"image": corpus.encode(Image.new("L", (28, 28), 200), "PNG"), "label": b"3"}
    padded = recipe_of(channels=1, crop=False, flip=False, pad=True).decode(digit)
    assert padded["pixels"].shape == (28, 28, 1)
    assert int(padded["label"]) == 3
    assert recipe_of(channels=1, crop=False).decode(digit)["pixels"].shape == (32, 32, 1)
    assert recipe_of().decode({"image": corpus.encode(corpus.photo(width=90, height=60))})["pixels"].shape == (
        40,
        60,
        3,
    )


def test_crops_lie_anywhere_in_the_picture_and_half_are_mirrored() -> None:
    recipe = recipe_of(smallest_crop=0.5, whole_share=0.0)
    images_BCSS = recipe.batch([ramp(64, 100)] * 200, np.random.default_rng(0))["images"]
    rises_B = images_BCSS[:, 0, 16, -1] - images_BCSS[:, 0, 16, 0]
    assert images_BCSS.shape == (200, 3, 32, 32)
    assert images_BCSS.dtype == torch.float32
    assert 70 < int((rises_B > 0).sum()) < 130
    assert rises_B.abs().min() < 0.36  # 32 of 100 columns
    assert rises_B.abs().max() > 0.58  # 64 of them
    assert images_BCSS[:, 0, 16].amin() < 0.03
    assert images_BCSS[:, 0, 16].amax() > 0.97


@pytest.mark.parametrize(("share", "counted"), [(0.0, range(8)), (0.5, range(70, 130)), (1.0, range(200, 201))])
def test_a_share_of_the_crops_is_the_largest_square(share: float, counted: range) -> None:
    recipe = recipe_of(smallest_crop=0.5, whole_share=share, flip=False)
    images_BCSS = recipe.batch([ramp(256, 256)] * 200, np.random.default_rng(1))["images"]
    whole_CSS = stack([ramp(256, 256)], 32)[0]
    assert sum(torch.equal(image_CSS, whole_CSS) for image_CSS in images_BCSS) in counted


def test_without_augmentation_the_network_learns_what_it_is_judged_on() -> None:
    samples = random_samples(3, 28)
    batch = recipe_of(crop=False, flip=False).batch(samples, np.random.default_rng(0))
    assert torch.equal(batch["images"], stack(samples, 32))


def test_the_draws_of_a_sample_do_not_depend_on_its_batch() -> None:
    recipe, samples = recipe_of(), random_samples(6)
    together_BCSS = recipe.batch(samples, np.random.default_rng(3))["images"]
    random = np.random.default_rng(3)
    parts = [recipe.batch(samples[:1], random)["images"], recipe.batch(samples[1:], random)["images"]]
    assert torch.equal(together_BCSS, torch.cat(parts))


@pytest.mark.parametrize(("loss", "distance"), [("l1", functional.l1_loss), ("l2", functional.mse_loss)])
def test_the_loss_is_the_stated_distance_in_float32_under_autocast(
    loss: str, distance: Callable[[Tensor, Tensor], Tensor]
) -> None:
    recipe = recipe_of(loss=loss)
    model, batch = recipe.network().eval(), recipe.batch(random_samples(4), np.random.default_rng(0))
    expected = distance(model(batch["images"]), batch["images"])
    torch.testing.assert_close(recipe.losses(model, batch)["loss"], expected)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = recipe.losses(model, batch)["loss"]
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, expected, rtol=0.02, atol=0)


def test_the_learning_rate_warms_up_then_falls_to_nothing() -> None:
    rates = [recipe_of(warmup_steps=100).rate(step, 1000) for step in range(1000)]
    assert rates[0] < 0.02
    assert rates[:100] == sorted(rates[:100])
    assert rates[99:] == sorted(rates[99:], reverse=True)
    assert math.isclose(rates[500], 0.5, abs_tol=1e-6)
    assert rates[-1] < 1e-4


def test_one_batch_is_learned_by_heart() -> None:
    samples = [{"pixels": unseen_photograph(name, 64).permute(1, 2, 0).numpy()} for name in UNSEEN]
    changes = {"width": 16, "code_channels": 32, "steps": 200, "learning_rate": 1e-2, "precision": "float32"}
    losses: list[float] = []
    learn(recipe_of(whole_share=1.0, **changes), samples, lambda step, terms: losses.append(terms["loss"]))
    assert losses[-1] < losses[0] / 10


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    def weights(seed: int) -> dict[str, Tensor]:
        torch.rand(1)  # the caller's random numbers move on, which must not matter
        return learn(recipe_of(seed=seed), random_samples(6)).state_dict()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_finished_codes_have_mean_zero_over_the_training_samples_and_decode_as_before() -> None:
    recipe, samples = recipe_of(), random_samples(70)
    model, images_NCSS = recipe.network().eval(), stack(samples, 32)
    with torch.inference_mode():
        before_NCSS = model(images_NCSS)
    recipe.finish(model, iter(samples))
    with torch.inference_mode():
        codes_ND = model.encode(images_NCSS)
        tolerance = network_tolerance(model.encoder, codes_ND)
        torch.testing.assert_close(codes_ND.mean(0), torch.zeros(6), atol=tolerance, rtol=0)
        torch.testing.assert_close(model(images_NCSS), before_NCSS)


def test_the_card_tells_an_embedding_job_how_to_prepare_what_was_not_padded() -> None:
    assert recipe_of().preprocess() == SquareInput(size_px=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert recipe_of(crop=False, pad=True).preprocess() is None


class Fixed(nn.Module):
    """Stands in for a network: the code is the mean of the picture, and what is made of it is given."""

    def __init__(self, made_CSS: Tensor, code_factor: float = 1.0) -> None:
        super().__init__()
        self.config = AutoencoderConfig(size_px=made_CSS.shape[-1], channels=len(made_CSS), code_channels=1)
        self.code_mean_D = torch.zeros(1)
        self.made_CSS, self.code_factor = made_CSS, code_factor

    def encode(self, images_BCSS: Tensor) -> Tensor:
        return self.code_factor * images_BCSS.mean((1, 2, 3))[:, None]

    def decode(self, codes_BD: Tensor) -> Tensor:
        return self.made_CSS.expand(len(codes_BD), -1, -1, -1)


def flat_samples(levels: list[int], labels: list[int] | None = None, size_px: int = 32) -> list[Sample]:
    samples: list[Sample] = [{"pixels": np.full((size_px, size_px, 1), level, np.uint8)} for level in levels]
    for sample, label in zip(samples, labels or [], strict=False):
        sample["label"] = np.asarray(label)
    return samples


def test_the_error_is_the_mean_over_pictures_whatever_the_batch() -> None:
    recipe = recipe_of()
    model, samples = recipe.network().eval(), random_samples(70, 32)
    with torch.inference_mode():
        made_NCSS, images_NCSS = model(stack(samples, 32)).clamp(0, 1), stack(samples, 32)
        found = evaluate(recipe, model, iter(samples))["mse"]
    assert math.isclose(found, functional.mse_loss(made_NCSS, images_NCSS).item(), rel_tol=1e-5)


def test_padding_does_not_dilute_the_error() -> None:
    made_CSS = torch.zeros(1, 32, 32)
    made_CSS[:, :2] = 1  # only on padding
    assert evaluate(recipe_of(channels=1), Fixed(made_CSS), flat_samples([0] * 4, size_px=28))["mse"] == 0
    assert evaluate(recipe_of(channels=1), Fixed(torch.ones(1, 32, 32)), flat_samples([0] * 4, size_px=28))["mse"] == 1


def test_pca_is_measured_with_as_many_numbers_on_pictures_that_its_axes_did_not_see() -> None:
    model = Fixed(torch.zeros(1, 32, 32))
    along_one_axis = flat_samples(list(range(0, 250, 5)), size_px=28)
    found = evaluate(recipe_of(channels=1), model, along_one_axis)
    assert found["mse_pca"] < 1e-6 < found["mse"]
    noise = [{"pixels": sample["pixels"][:28, :28, :1]} for sample in random_samples(20, 28)]
    assert evaluate(recipe_of(channels=1), model, noise)["mse_pca"] > np.var(noise[0]["pixels"] / 255)


def test_pca_is_left_out_where_there_are_too_few_pictures_for_its_axes() -> None:
    recipe = recipe_of()
    assert "mse_pca" not in evaluate(recipe, recipe.network().eval().requires_grad_(False), random_samples(20))


def test_codes_that_tell_the_labels_apart_are_found_to() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(3, size=120).tolist()
    samples = flat_samples([60 * label + int(random.integers(10)) for label in labels], labels)
    found = evaluate(recipe_of(channels=1), Fixed(torch.zeros(1, 32, 32)), samples)
    assert found["nmi"] == pytest.approx(1)
    assert found["cluster_accuracy"] == 1


def test_the_codes_that_are_judged_do_not_move_the_centres() -> None:
    fitted, judged = [20, 60] * 30, [20, 60, 255] * 20  # fitted on the judged ones, 255 would get a centre of its own
    levels = [level for pair in zip(fitted, judged, strict=True) for level in pair]
    samples = flat_samples(levels, [int(level > 20) for level in levels])
    assert evaluate(recipe_of(channels=1), Fixed(torch.zeros(1, 32, 32)), samples)["cluster_accuracy"] == 1


@pytest.mark.parametrize("labels", [None, [0] * 40, [0, 1, 2], list(range(40))])
def test_without_enough_labels_codes_are_not_clustered(labels: list[int] | None) -> None:
    samples = flat_samples(list(range(40)), labels)
    assert evaluate(recipe_of(channels=1), Fixed(torch.zeros(1, 32, 32)), samples).keys() == {"mse", "mse_pca"}


def test_codes_that_are_not_finite_do_not_end_an_evaluation() -> None:
    samples = flat_samples(list(range(60)), [0, 1, 1] * 20)
    found = evaluate(recipe_of(channels=1), Fixed(torch.zeros(1, 32, 32), code_factor=math.nan), samples)
    assert "mse" in found
    assert "nmi" not in found


def test_the_picture_shows_inputs_over_reconstructions() -> None:
    recipe, samples = recipe_of(), random_samples(3, 32)
    with torch.inference_mode():
        picture_CHW = recipe.pictures(recipe.network().eval(), samples)
    assert picture_CHW.dtype == torch.uint8
    assert picture_CHW.shape == (3, 2 + 2 * 34, 2 + 3 * 34)
    assert np.array_equal(picture_CHW[:, 2:34, 2:34].permute(1, 2, 0).numpy(), samples[0]["pixels"])


@pytest.mark.parametrize("name", UNSEEN)
def test_the_shipped_weights_reconstruct_photographs_that_they_never_saw(
    shipped: tuple[ConvAutoencoder, Card], name: str
) -> None:
    model, _ = shipped
    image_1CSS = to_input(unseen_photograph(name, model.config.size_px)[None])
    with torch.inference_mode():
        error = functional.mse_loss(model(image_1CSS).clamp(0, 1), image_1CSS).item()
    assert error < min(0.02, image_1CSS.var().item() / 4)


def test_the_shipped_weights_beat_pca_with_a_code_of_the_same_size(
    shipped: tuple[ConvAutoencoder, Card],
) -> None:
    assert (
        shipped[1].metrics["mse"] < 0.0104
    )  # what `python -m benchmarks.neighbours` prints for PCA on these photographs


def test_the_shipped_code_keeps_its_direction_in_bfloat16(shipped: tuple[ConvAutoencoder, Card]) -> None:
    model, _ = shipped
    images_BCHW = torch.cat([to_input(unseen_photograph(name, 128)[None]) for name in UNSEEN])
    rounded, _ = load_checkpoint(ZOO / f"{DEFAULT_MODEL}.safetensors")
    assert isinstance(rounded, ConvAutoencoder)
    with torch.inference_mode():
        rounded_BD = rounded.bfloat16().encode(images_BCHW.bfloat16()).float()
        cosines_B = functional.cosine_similarity(rounded_BD, model.encode(images_BCHW))
    assert cosines_B.min() > 0.999


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda images_NCHW: images_NCHW[..., 8:, 8:], id="shifted by 5 %"),
        pytest.param(lambda images_NCHW: (images_NCHW.float() * 0.8 + 10).round().byte(), id="darker"),
        pytest.param(lambda images_NCHW: transforms.resize(images_NCHW, [64], antialias=True), id="coarser"),
    ],
)
def test_a_near_duplicate_is_nearest_to_its_original(
    shipped: tuple[ConvAutoencoder, Card], changed: Callable[[Tensor], Tensor]
) -> None:
    model, _ = shipped
    images_NCHW = torch.stack([unseen_photograph(name, 160) for name in UNSEEN])
    with torch.inference_mode():
        codes_ND, changed_ND = (model.encode(to_input(images)) for images in (images_NCHW, changed(images_NCHW)))
    cosines_NN = functional.cosine_similarity(codes_ND[:, None], changed_ND, dim=2)
    assert cosines_NN.argmax(1).tolist() == cosines_NN.argmax(0).tolist() == list(range(len(UNSEEN)))


def test_the_shipped_files_are_small_and_their_card_is_complete() -> None:
    weights = ZOO / f"{DEFAULT_MODEL}.safetensors"
    card = read_card(weights)
    assert weights.stat().st_size < 4_000_000
    assert card.network == "autoencoder"
    assert card.settings.keys() >= {"steps", "batch", "loss", "learning_rate", "seed"}
    assert "mse" in card.metrics
    known = joined(card, weights)
    assert (len(known.trained_on), len(known.selected_on or ())) == (1296, 54)
    assert card.test_metrics
    assert card.preprocess is not None
    assert card.preprocess.size_px == card.config["size_px"]
    assert card.data
    assert card.data_licence
    assert card.split
    assert card.versions["torch"]
