"""Segmentation networks use the preprocessing of their training, and their reach is not larger than stated."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.adapters import ADAPTERS, adapter, kind_of
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import Classes, PictureModel
from pixelmill.workers.networks.finetuned import ENCODERS, Finetuned, FinetunedConfig
from pixelmill.workers.networks.registry import network_types
from pixelmill.workers.networks.unet import UNet, predict_tiled
from pixelmill.workers.prediction.dense import DensePrediction
from pixelmill.workers.runtime.agreement import MaskAgreement
from pixelmill.workers.runtime.settings import Pins, Settings
from pixelmill.workers.runtime.tuned import TunedNetwork
from tests.workers.encoders import SLIM
from tests.workers.saved import make_card

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "segnet": ("segnet", {"width": 2, "classes": 3}),
    "segnet basic": ("segnet", {"width": 4, "variant": "basic", "classes": 3}),
    "segnet bicubic": ("segnet", {"width": 4, "variant": "basic", "upsampling": "bicubic", "decoder": "single"}),
    "fcn": ("fcn", {"width": 2, "fc_width": 4, "classes": 3}),
    "fcn caffe": ("fcn", {"width": 2, "fc_width": 4, "classes": 3, "padding": "caffe", "convention": "caffe"}),
    "fcn bilinear": ("fcn", {"width": 2, "fc_width": 4, "classes": 3, "upsampling": "bilinear", "skips": (4,)}),
    "unet": ("unet", {"base": 4, "levels": 2, "skips": (1, 2), "padding": "same", "batch_norm": True}),
    "unet transposed": (
        "unet",
        {"base": 4, "levels": 2, "skips": (1, 2), "padding": "same", "upsampling": "transposed"},
    ),
    "unet valid": ("unet", {"base": 4, "levels": 2, "skips": (1, 2), "padding": "valid"}),
}


def checkpoint(name: str, **card: Any) -> Checkpoint:
    """A small network, with weights that let something through everywhere."""
    network, options = SMALL[name]
    config_type, network_type = network_types(network)
    torch.manual_seed(0)
    module = network_type(config_type(**options)).eval()
    for parameter in module.parameters():
        if parameter.ndim == 4:
            nn.init.kaiming_normal_(parameter)
            parameter.data += 0.3 * parameter.data.std()  # ReLUs of a narrow network would shut off what is far away
    described = make_card(network=network, config=json.loads(json.dumps(asdict(module.config))), **card)
    return Checkpoint(name, module, described, "0" * 64)


def model_of(name: str, **card: Any) -> PictureModel:
    given = checkpoint(name, **card)
    return adapter(kind_of(given.card.network, given.card.config), "segment")(given)


def logits(model: PictureModel, picture_CHW: Tensor, most_pixels: int) -> Tensor:
    base = Settings(channels_last=False, fold_batchnorm=False)
    tuned = TunedNetwork(
        model.network, "k", base=base, pins=Pins("float32"), agreement=MaskAgreement(), cache_dir=None, job_images=1
    )
    prediction = DensePrediction(model, tuned, most_pixels=most_pixels)
    return prediction.run([prediction.prepare(picture_CHW)])[0]


def noise(height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", SMALL)
def test_a_pixel_shows_as_far_as_stated_and_no_farther(name: str) -> None:
    model = model_of(name)
    assert model.size.reach_px is not None
    module, side = model.module, 2 * model.size.reach_px + 2 * model.size.stride_px
    picture_1CHW = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    farthest = 0
    with torch.inference_mode():
        before_HW = module(picture_1CHW).amax(1)[0]
        for place in {side // 2 + shift * model.size.stride_px // 2 for shift in range(2)}:
            changed_1CHW = picture_1CHW.clone()
            changed_1CHW[..., place, place] += 100
            changes_N2 = (module(changed_1CHW).amax(1)[0] != before_HW).nonzero()
            farthest = max(farthest, int((changes_N2 - place).abs().max()))
    assert 0.8 * model.size.reach_px <= farthest <= model.size.reach_px


@pytest.mark.parametrize("name", ["segnet basic", "unet", "unet valid", pytest.param("fcn", marks=pytest.mark.slow)])
def test_tiles_give_what_the_whole_picture_does(name: str) -> None:
    model = model_of(name)
    assert model.size.reach_px is not None
    side = -(-4 * model.size.reach_px // model.size.stride_px) * model.size.stride_px
    picture_CHW = noise(side - 5, 2 * side - 11)
    whole_KHW, tiled_KHW = logits(model, picture_CHW, 2 * side**2), logits(model, picture_CHW, side**2)
    assert (whole_KHW - tiled_KHW).abs().max() < 1e-4 * whole_KHW.abs().max()


@pytest.mark.parametrize("name", SMALL)
def test_pictures_of_their_own_size_have_logits_of_it(name: str) -> None:
    model = model_of(name)
    least = model.size.least_px
    for size in ((least, least), (least, 2 * least + 3), (least + 5, least + 1), (75, 100)):
        with torch.inference_mode():
            assert model.module(torch.rand(1, 3, *size)).shape[2:] == size


@pytest.mark.parametrize("name", ["segnet", "fcn caffe", "unet"])
def test_what_the_weights_want_of_pixels_is_stated_and_not_done_twice(name: str) -> None:
    model, inside = model_of(name), checkpoint(name).module
    images_BCHW = torch.rand(1, 3, 64, 64)
    mean_C11, std_C11 = (torch.tensor(each).view(3, 1, 1) for each in (model.mean, model.std))
    with torch.inference_mode():
        made, wanted = model.module((images_BCHW - mean_C11) / std_C11), inside(images_BCHW)
    assert (made - wanted).abs().max() < 1e-4 * wanted.abs().max()
    assert (model.mean == (0.0, 0.0, 0.0)) == (name == "unet")


def test_a_valid_unet_gives_the_logits_of_its_recipe() -> None:
    model = model_of("unet valid")
    network: Any = checkpoint("unet valid").module
    assert isinstance(network, UNet)
    images_BCHW = torch.rand(1, 3, 61, 40)
    with torch.inference_mode():
        made, wanted = model.module(images_BCHW), predict_tiled(network, images_BCHW, tile_px=32)
    assert (made - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_pictures_that_were_resized_for_training_are_resized_again() -> None:
    assert model_of("unet", settings={"size_px": [96, 128]}).size.resize_px == (96, 128)
    assert model_of("unet", settings={"size_px": None}).size.resize_px is None


def test_classes_are_those_of_the_card() -> None:
    named = Classes(("sky", "kiosk", "road"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    assert model_of("fcn", classes=named).classes == named


def test_a_network_of_grey_pictures_is_refused(tmp_path: Path) -> None:
    config_type, network_type = network_types("unet")
    network = network_type(config_type(channels=1, base=2, levels=1, skips=(1,)))
    save_checkpoint(tmp_path, network, make_card(network="unet", config={**asdict(network.config), "skips": [1]}))  # type: ignore[call-overload]
    with pytest.raises(ModelError, match="takes pictures of 1 channels; take one of colour pictures"):
        load_model(resolve(str(tmp_path), "segment"), "segment")


# -------------------------------------------------------------------------------------------------------------- fine-tuned


def tuned_checkpoint(encoder: str, head: Any) -> Checkpoint:
    torch.manual_seed(0)
    network = Finetuned(FinetunedConfig(encoder, dict(SLIM[encoder]), head, classes=3, width=8)).eval()
    return Checkpoint(encoder, network, make_card(network="finetuned", config=asdict(network.config)), "0" * 64)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_dense_head_over_any_encoder_takes_pictures_from_the_least_size_on(encoder: str) -> None:
    model = adapter("finetuned dense", "segment")(tuned_checkpoint(encoder, "dense"))
    least = model.size.least_px
    for size in ((least, least), (least, 2 * least + 3), (least + 1, least + 5), (75, 100)):
        size = max(size[0], least), max(size[1], least)
        with torch.inference_mode():
            assert model.module(torch.rand(1, 3, *size)).shape[2:] == size
    assert model.size.tiling == "refused"


def test_what_a_fine_tuned_network_can_do_is_known_by_its_head(tmp_path: Path) -> None:
    given = tuned_checkpoint("autoencoder", "classifier")
    save_checkpoint(tmp_path, given.module, given.card)
    with pytest.raises(ModelError, match="holds the network finetuned classifier, which can't segment; it can"):
        resolve(str(tmp_path), "segment")


def test_every_adapter_is_there() -> None:
    assert all(callable(adapter(network, task)) for network, task in ADAPTERS)
