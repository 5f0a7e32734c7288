"""The autoencoder: its shapes, that it learns, and that the one that ships is worth shipping.

Legend: N images of a data set, B batch, C channels, H height, W width, D code size.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import skimage.data
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import functional as transforms

from workers import checkpoint
from workers.errors import ModelError
from workers.modelnames import DEFAULT_MODEL, ZOO
from workers.networks.autoencoder import AutoencoderConfig, ConvAutoencoder
from workers.recipes.autoencoder import (
    TrainingConfig,
    encode_all,
    learning_rate,
    reconstruction_mse,
    sample_batch,
    to_input,
    train,
)

SMALL = AutoencoderConfig(size_px=32, width=8, code_channels=6)
UNSEEN = ("astronaut", "chelsea", "coffee", "rocket")


def random_images(count: int, size_px: int = 40) -> Tensor:
    return torch.randint(0, 256, (count, 3, size_px, size_px), dtype=torch.uint8, generator=seeded())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unseen_photograph(name: str, size_px: int) -> Tensor:
    pixels_CHW = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)
    return transforms.center_crop(transforms.resize(pixels_CHW, [size_px], antialias=True), [size_px, size_px])


@pytest.fixture(scope="module")
def shipped() -> tuple[ConvAutoencoder, checkpoint.Card]:
    module, card = checkpoint.load(ZOO / f"{DEFAULT_MODEL}.safetensors")
    assert isinstance(module, ConvAutoencoder)
    return module, card


@pytest.mark.parametrize(
    ("config", "code_size"),
    [
        (AutoencoderConfig(), 256),
        (AutoencoderConfig(size_px=96, code_channels=20), 180),
        (AutoencoderConfig(size_px=64, channels=1, width=4, code_channels=3), 12),
        (AutoencoderConfig(size_px=64, channels=1, width=2, code_channels=3, dims=3), 24),
    ],
)
def test_a_code_has_the_stated_size_and_decodes_to_the_shape_it_came_from(
    config: AutoencoderConfig, code_size: int
) -> None:
    model = ConvAutoencoder(config)
    images_BCHW = torch.rand(2, config.channels, *[config.size_px] * config.dims, generator=seeded())
    codes_BD = model.encode(images_BCHW)
    assert codes_BD.shape == (2, code_size) == (2, config.code_size)
    assert code_size < images_BCHW[0].numel()
    assert model.decode(codes_BD).shape == images_BCHW.shape
    assert torch.equal(model(images_BCHW), model.decode(codes_BD))


def test_the_docstring_states_the_number_of_parameters() -> None:
    count = sum(parameter.numel() for parameter in ConvAutoencoder(AutoencoderConfig()).parameters())
    assert f"{count:,} parameters" in (ConvAutoencoder.__doc__ or "")


@pytest.mark.parametrize("dims", [2, 3])
def test_every_parameter_gets_a_gradient(dims: int) -> None:
    model = ConvAutoencoder(AutoencoderConfig(size_px=32, width=4, code_channels=2, dims=2 if dims == 2 else 3))
    images_BCHW = torch.rand(2, 3, *[32] * dims, generator=seeded())
    functional.mse_loss(model(images_BCHW), images_BCHW).backward()
    silent = [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert silent == []


@pytest.mark.parametrize("wrong", [{"size_px": 100}, {"size_px": 0}, {"width": 0}, {"code_channels": 0}, {"dims": 4}])
def test_a_shape_that_cannot_be_built_is_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        AutoencoderConfig(**wrong)  # pyright: ignore[reportArgumentType]


def test_centring_moves_the_codes_and_not_the_reconstruction() -> None:
    model, images_BCHW = ConvAutoencoder(SMALL), torch.rand(5, 3, 32, 32, generator=seeded())
    with torch.inference_mode():
        before_BCHW, codes_BD = model(images_BCHW), model.encode(images_BCHW) + 3
        model.center(codes_BD - 3)
        torch.testing.assert_close(model.encode(images_BCHW).mean(0), torch.zeros(SMALL.code_size), atol=1e-6, rtol=0)
        torch.testing.assert_close(model(images_BCHW), before_BCHW)


def test_one_batch_is_learned_by_heart() -> None:
    images_NCHW = torch.stack([unseen_photograph(name, 64) for name in UNSEEN])
    roomy = AutoencoderConfig(size_px=32, width=16, code_channels=32)
    config = TrainingConfig(steps=200, batch=4, learning_rate=1e-2, smallest_crop=1.0, bfloat16=False)
    losses: list[float] = []
    train(images_NCHW, roomy, config, on_step=lambda step, loss, model: losses.append(loss))
    assert losses[-1] < losses[0] / 10


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_the_same_seed_gives_the_same_weights_and_another_one_others(loss: str) -> None:
    def weights(seed: int) -> dict[str, Tensor]:
        config = TrainingConfig(steps=3, batch=4, seed=seed, loss="l1" if loss == "l1" else "l2")
        torch.rand(1)  # the caller's random numbers move on, which must not matter
        return train(random_images(6), SMALL, config).state_dict()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_leaves_the_callers_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(random_images(4), SMALL, TrainingConfig(steps=1, batch=2))
    assert torch.equal(torch.rand(3), expected)


def test_trained_codes_have_mean_zero_over_the_training_images() -> None:
    images_NCHW = random_images(12)
    model = train(images_NCHW, SMALL, TrainingConfig(steps=2, batch=4))
    torch.testing.assert_close(encode_all(model, images_NCHW).mean(0), torch.zeros(SMALL.code_size), atol=1e-5, rtol=0)


def test_a_batch_is_cut_from_the_images_and_mirrored_half_the_time() -> None:
    ramp_W = torch.arange(64, dtype=torch.uint8).expand(1, 3, 64, 64) * 4
    batch_BCHW = sample_batch(ramp_W, 32, TrainingConfig(batch=200, smallest_crop=0.5, whole_share=0.0), seeded())
    rises_B = batch_BCHW[:, 0, 16, -1] > batch_BCHW[:, 0, 16, 0]
    assert batch_BCHW.shape == (200, 3, 32, 32)
    assert batch_BCHW.min() >= 0
    assert batch_BCHW.max() <= 1
    assert 70 < int(rises_B.sum()) < 130
    assert batch_BCHW[:, 0, 16].mean(1).unique().numel() > 5


def test_the_learning_rate_warms_up_then_falls_to_nothing() -> None:
    config = TrainingConfig(steps=1000, warmup_steps=100, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(1000)]
    assert rates[0] < 0.02
    assert rates[:100] == sorted(rates[:100])
    assert rates[99:] == sorted(rates[99:], reverse=True)
    assert math.isclose(rates[500], 0.5, abs_tol=1e-6)
    assert rates[-1] < 1e-4


@pytest.mark.parametrize("images_NCHW", [torch.rand(2, 3, 40, 40), torch.zeros(2, 3, 40, 50, dtype=torch.uint8)])
def test_images_that_are_not_square_uint8_are_refused(images_NCHW: Tensor) -> None:
    with pytest.raises(ModelError, match="square uint8"):
        train(images_NCHW, SMALL, TrainingConfig(steps=1))


def test_the_error_is_the_mean_over_images_whatever_the_batch() -> None:
    model, images_NCHW = ConvAutoencoder(SMALL).eval(), random_images(7)
    expected = [reconstruction_mse(model, image_CHW[None]) for image_CHW in images_NCHW]
    assert math.isclose(reconstruction_mse(model, images_NCHW, batch=3), sum(expected) / 7, rel_tol=1e-5)


@pytest.mark.parametrize("name", UNSEEN)
def test_the_shipped_weights_reconstruct_photographs_that_they_never_saw(
    shipped: tuple[ConvAutoencoder, checkpoint.Card], name: str
) -> None:
    model, _ = shipped
    photograph_1CHW = unseen_photograph(name, model.config.size_px)[None]
    spread = to_input(photograph_1CHW, model.config.size_px).var().item()
    assert reconstruction_mse(model, photograph_1CHW) < min(0.02, spread / 4)


def test_the_shipped_weights_beat_pca_with_a_code_of_the_same_size(
    shipped: tuple[ConvAutoencoder, checkpoint.Card],
) -> None:
    _, card = shipped
    assert card.metrics["mse"] < card.metrics["mse_pca"]


def test_the_shipped_code_keeps_its_direction_in_bfloat16(shipped: tuple[ConvAutoencoder, checkpoint.Card]) -> None:
    model, _ = shipped
    images_BCHW = torch.cat([to_input(unseen_photograph(name, 128)[None], 128) for name in UNSEEN])
    rounded, _ = checkpoint.load(ZOO / f"{DEFAULT_MODEL}.safetensors")
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
    shipped: tuple[ConvAutoencoder, checkpoint.Card], changed: Callable[[Tensor], Tensor]
) -> None:
    model, _ = shipped
    images_NCHW = torch.stack([unseen_photograph(name, 160) for name in UNSEEN])
    codes_ND, changed_ND = encode_all(model, images_NCHW), encode_all(model, changed(images_NCHW))
    cosines_NN = functional.cosine_similarity(codes_ND[:, None], changed_ND, dim=2)
    assert cosines_NN.argmax(1).tolist() == cosines_NN.argmax(0).tolist() == list(range(len(UNSEEN)))


def test_the_shipped_files_are_small_and_their_card_is_complete() -> None:
    weights = ZOO / f"{DEFAULT_MODEL}.safetensors"
    card = checkpoint.read_card(weights)
    assert weights.stat().st_size < 4_000_000
    assert card.network == "autoencoder"
    assert card.settings.keys() >= {"steps", "batch", "loss", "learning_rate", "seed"}
    assert {"mse", "mse_pca", "nearest_same_category_code", "nearest_same_photo_code"} <= card.metrics.keys()
    assert card.preprocess.size_px == card.config["size_px"]
    assert card.data
    assert card.data_licence
    assert card.split
    assert card.versions["torch"]
