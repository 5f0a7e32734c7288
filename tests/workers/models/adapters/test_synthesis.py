"""A cascaded refinement network as a model: class ids in, pictures out, and the classes that it knows."""

from __future__ import annotations

import torch

from pixelmill.workers.drawn_classes import FACADES
from pixelmill.workers.models.adapters.synthesis import synthesize
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.models.zoo import zoo_path
from pixelmill.workers.networks.crn import one_hot
from tests.saved_networks import saved


def test_the_network_of_facades_knows_their_classes_and_its_one_size() -> None:
    model = load_model(resolve("crn-facades", "synthesize"), "synthesize")
    assert model.classes == Classes(tuple(FACADES), tuple(FACADES.values()))
    assert model.size.resize_px == (128, 128)


def test_a_card_without_classes_is_of_facades_or_has_numbers_for_names() -> None:
    path = zoo_path("crn-facades")
    assert path is not None
    module, card = load_checkpoint(path)
    bare = Checkpoint("old", module, card.model_copy(update={"classes": None}), "0")
    assert synthesize(bare).classes == Classes(tuple(FACADES), tuple(FACADES.values()))
    module, card = load_checkpoint(saved("crn", "unnamed", classes=4, start_px=(2, 2), widths=(4, 4)))
    assert synthesize(Checkpoint("new", module, card, "0")).classes == Classes(
        ("class_0", "class_1", "class_2", "class_3")
    )


def test_ids_are_fed_as_the_executor_feeds_pixels_and_the_first_of_several_outputs_is_taken() -> None:
    path = saved("crn", "several", classes=4, start_px=(2, 2), widths=(4, 4), outputs=3)
    network, _ = load_checkpoint(path)
    model = load_model(resolve(str(path), "synthesize"), "synthesize")
    ids_B1HW = torch.tensor([0, 1, 2, 3, 255, 3, 2, 1, 0, 0, 1, 1, 2, 2, 3, 255]).view(1, 1, 4, 4)
    scale, shift = 1 / (255 * torch.tensor(model.std)), -torch.tensor(model.mean) / torch.tensor(model.std)
    with torch.inference_mode():
        made_B3HW = model.module(torch.addcmul(shift, ids_B1HW.float(), scale))
        expected_BOCHW = network(one_hot(ids_B1HW[:, 0], 4)).clamp(0, 1)
    assert torch.equal(made_B3HW, expected_BOCHW[:, 0])
    assert 0 <= float(made_B3HW.min()) <= float(made_B3HW.max()) <= 1


def test_ids_are_reported_apart_in_short_floats() -> None:
    model = load_model(resolve("crn-facades", "synthesize"), "synthesize")
    ids_B1HW = torch.randint(0, 12, (1, 1, 128, 128), generator=torch.Generator().manual_seed(0)).float()
    with torch.inference_mode():
        exact_B3HW = model.module(ids_B1HW)
        short_B3HW = model.module.bfloat16()(ids_B1HW.bfloat16()).float()
    assert (short_B3HW - exact_B3HW).abs().mean() < 0.02
