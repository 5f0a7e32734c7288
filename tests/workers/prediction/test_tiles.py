"""A large picture in tiles is what it would be in one piece: of networks that ship, and of every adapter that says so.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.models.adapters import ADAPTERS, adapter
from pixelmill.workers.models.card import read_card
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.models.zoo import zoo_names, zoo_path
from pixelmill.workers.prediction.receptive_field import measured_reach
from pixelmill.workers.prediction.sizes import padded_size
from pixelmill.workers.typed_torch import from_numpy
from tests.tolerances import network_tolerance
from tests.workers.prediction.predictions import model_of, predicting, run
from tests.workers.scenes import scene

NEAR_PX = 16
"""More than the small network here sees."""
LEAST_DB = 60.0


def photo(height: int, width: int) -> Tensor:
    """uint8 3HW with edges and texture, each channel another one."""
    return torch.stack([from_numpy(scene(height, width, seed)) for seed in range(3)])


def psnr(made: Tensor, truth: Tensor) -> float:
    """Decibels, of the largest value."""
    error = (made.double() - truth.double()).square().mean().item()
    return math.inf if error == 0 else 10 * math.log10(truth.double().abs().max().item() ** 2 / error)


def in_tiles_and_whole(model: PictureModel, *pictures: Tensor, most_pixels: int) -> tuple[list[Tensor], list[Tensor]]:
    tiled = run(predicting(model, most_pixels=most_pixels), *pictures)
    return tiled, run(predicting(model, most_pixels=1 << 30), *pictures)


def small_network() -> nn.Module:
    """Two strides down and up again between convolutions."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 8, 4, 4),
        nn.Conv2d(8, 5, 3, padding=1),
    )


def test_exact_tiles_of_several_pictures_give_what_the_whole_pictures_would() -> None:
    facts = SizeFacts(multiple_px=4, reach_px=NEAR_PX, tiling="exact")
    assert measured_reach(small_network(), 3, (96, 96), [(48 + step, 48 + step) for step in range(4)]) <= NEAR_PX
    model = model_of(small_network(), facts)
    pictures = [photo(150, 203), photo(90, 300), photo(30, 20), photo(9, 500)]
    tiled, whole = in_tiles_and_whole(model, *pictures, most_pixels=64 * 64)
    for made_CHW, truth_CHW in zip(tiled, whole, strict=True):
        torch.testing.assert_close(made_CHW, truth_CHW, atol=network_tolerance(model.module, truth_CHW), rtol=0)


def test_tiles_with_less_around_them_than_a_network_sees_are_found_out() -> None:
    model = model_of(small_network(), SizeFacts(multiple_px=4, reach_px=2, tiling="exact"))
    (made_CHW,), (truth_CHW,) = in_tiles_and_whole(model, photo(150, 203), most_pixels=64 * 64)
    assert (made_CHW - truth_CHW).abs().max() > network_tolerance(model.module, truth_CHW)


def test_tiles_of_several_pictures_share_a_batch() -> None:
    seen: list[tuple[int, ...]] = []

    class Recorder(nn.Module):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            seen.append(tuple(images_BCHW.shape))
            return images_BCHW

        def __deepcopy__(self, memo: dict[int, object]) -> Recorder:
            return self

    model = model_of(Recorder(), SizeFacts(reach_px=4, tiling="exact"))
    prediction = predicting(model, most_pixels=64 * 64, batch=8)
    pictures = [photo(80, 90), photo(100, 70), photo(70, 200)]
    sized = [prediction.prepare(each) for each in pictures]
    assert {prediction.bucket_of(each) for each in sized} == {(64, 64)}
    for given_CHW, made_CHW in zip(pictures, prediction.run(sized), strict=True):
        torch.testing.assert_close(made_CHW * 255, given_CHW.float())
    assert [shape[0] for shape in seen] == [8, 8]


class OfAllPixels(nn.Module):
    """Every pixel depends slightly on distant ones, as with instance norm."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return nn.functional.instance_norm(images_BCHW) * 0.1 + 0.5


def test_blended_tiles_leave_no_seam() -> None:
    """Where cut tiles jump, blended ones rise or fall slowly."""
    ramp_CHW = torch.linspace(0, 255, 400).round().byte().expand(3, 60, 400)
    model = model_of(OfAllPixels(), SizeFacts(tiling="blended"))
    (blended_CHW,) = run(predicting(model, most_pixels=64 * 64), ramp_CHW)
    exact = replace(model, size=SizeFacts(tiling="exact", reach_px=8))
    (cut_CHW,) = run(predicting(exact, most_pixels=64 * 64), ramp_CHW)
    assert cut_CHW.diff(dim=2).abs().max() > 4 * blended_CHW.diff(dim=2).abs().max()


def test_painted_pictures_in_blended_tiles_are_painted_alike() -> None:
    """Instance norm sees the whole picture: tiles of one that is alike everywhere come near, and are not the same."""
    path = zoo_path("faststyle-starry-night")
    assert path is not None
    model = model_of(load_checkpoint(path)[0], SizeFacts(multiple_px=4, tiling="blended"))
    (made_CHW,), (truth_CHW,) = in_tiles_and_whole(model, photo(200, 320), most_pixels=160 * 160)
    assert 20 < psnr(made_CHW, truth_CHW) < LEAST_DB


# ------------------------------------------------------------------------------------------------------- the zoo


def offered() -> list[tuple[str, Task]]:
    """Every checkpoint that ships with each task that it has an adapter for."""
    networks = {name: read_card(path).network for name in zoo_names() if (path := zoo_path(name)) is not None}
    return [(name, task) for name, network in networks.items() for of, task in ADAPTERS if of == network]


def adapted(name: str, task: Task) -> PictureModel:
    path = zoo_path(name)
    assert path is not None
    module, card = load_checkpoint(path)
    return adapter(card.network, task)(Checkpoint(name, module, card, "0" * 64))


def reach_of(model: PictureModel, stated_px: int) -> int:
    """Along the longer side of a picture that is no higher than it has to be."""
    facts = model.size
    height, width = padded_size((1, 2 * stated_px + 8 * facts.multiple_px), facts)
    step = max(1, facts.multiple_px // 4)
    places = [(height // 2, width // 2 + phase) for phase in range(0, facts.multiple_px, step)]
    return measured_reach(model.module, len(model.mean), (height, width), places, scale=facts.scale)


@pytest.mark.parametrize(("name", "task"), offered())
def test_an_adapter_states_how_far_its_network_sees(name: str, task: Task) -> None:
    model = adapted(name, task)
    if model.size.tiling != "exact":
        pytest.skip("has no exact tiles")
    assert model.size.reach_px is not None
    assert model.size.reach_px / 2 - 4 <= reach_of(model, model.size.reach_px) <= model.size.reach_px


@pytest.mark.parametrize(("name", "task"), offered())
def test_a_model_with_exact_tiles_makes_the_same_of_tiles(name: str, task: Task) -> None:
    model = adapted(name, task)
    if model.size.tiling != "exact":
        pytest.skip("has no exact tiles")
    assert model.size.reach_px is not None
    picture_CHW = photo(50, 6 * (model.size.reach_px + 2 * model.size.multiple_px))
    (made_CHW,), (truth_CHW,) = in_tiles_and_whole(model, picture_CHW, most_pixels=1)
    assert psnr(made_CHW, truth_CHW) >= LEAST_DB
