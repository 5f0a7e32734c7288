"""Networks of ours as encoders: their features are those that the network computes, of pictures as its recipe saw them.

Legend: B batch, C channels, H height, W width, D code size.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.models.encoders import SIZE_UNKNOWN_PX, trained_input
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.models.libraries.checkpoint import CODING, ENCODING
from pixelmill.workers.networks.finetuned import ENCODERS, Finetuned, FinetunedConfig
from pixelmill.workers.recipes import squares
from pixelmill.workers.recipes.registry import recipe_type
from tests.corpus import photo
from tests.workers.encoders import SLIM, base_of
from tests.workers.saved import make_card

GREY: dict[str, dict[str, Any]] = {
    "autoencoder": {"size_px": 32, "channels": 1, "width": 4, "code_channels": 2},
    "vae": {"size_px": 28, "channels": 1, "hidden": 8, "latent_size": 3},
}


def network_of(name: str) -> nn.Module:
    if name != "finetuned":
        return base_of(name).eval()
    torch.manual_seed(0)
    return Finetuned(FinetunedConfig("unet", SLIM["unet"], "dense", 3, 8)).eval()


def saved(folder: Path, name: str, module: nn.Module | None = None, **settings: Any) -> str:
    """A checkpoint of a small network, as a training wrote it."""
    module = module or network_of(name)
    card = make_card(
        network=name,
        recipe=name,
        config=json.loads(json.dumps(vars(module.config))),
        settings=settings,
        preprocess=None,
    )
    save_checkpoint(folder / f"{name}.safetensors", module, card)
    return str(folder / f"{name}.safetensors")


def test_every_network_with_an_encoder_is_known_by_name_without_importing_torch() -> None:
    assert {*ENCODERS, "finetuned", "ct-autoencoder", "ct-finetuned"} == ENCODING
    assert {name for name in ENCODERS if hasattr(base_of(name), "encode")} == CODING


DEEPEST = {
    "autoencoder": "encoder.3",
    "fcn": "trunk.convolutions.conv5_3",
    "segnet": "norms.conv5_3",
    "unet": "contracting.4",
    "monodepth": "encoder.6",
    "finetuned": "encoder.contracting.4",
}
"""The layer of each network that its coarsest feature map comes from."""


@torch.inference_mode()
@pytest.mark.parametrize("name", sorted(DEEPEST))
def test_an_embedding_is_mean_and_deviation_of_the_deepest_map_that_the_network_computes(
    tmp_path: Path, name: str
) -> None:
    module, found = network_of(name), list[Tensor]()
    loaded = load_backbone(resolve(saved(tmp_path, name, module, crop_px=[48, 64])))
    images_BCHW = torch.rand(2, 3, *loaded.preprocess.size_px, generator=torch.Generator().manual_seed(0))
    module.get_submodule(DEEPEST[name]).register_forward_hook(lambda *step: found.append(step[2]))
    module(images_BCHW)
    maps_BCHW = found[0].relu() if name in {"fcn", "segnet"} else found[0]
    if name == "fcn":
        maps_BCHW = nn.functional.max_pool2d(maps_BCHW, 2, ceil_mode=True)
    expected_BD = torch.cat([maps_BCHW.mean((2, 3)), maps_BCHW.std((2, 3), correction=0)], 1)
    torch.testing.assert_close(loaded.network.module(images_BCHW), expected_BD, rtol=1e-4, atol=1e-5)
    assert loaded.dim == expected_BD.shape[1]


@torch.inference_mode()
@pytest.mark.parametrize("config", [SLIM["vae"], GREY["vae"]], ids=["convolutional", "dense"])
def test_a_vae_embeds_as_the_mean_of_its_posterior(tmp_path: Path, config: dict[str, Any]) -> None:
    vae: Any = ENCODERS["vae"].network(ENCODERS["vae"].config(**config)).eval()
    loaded = load_backbone(resolve(saved(tmp_path, "vae", vae)))
    images_BCHW = torch.rand(2, vae.config.channels, *loaded.preprocess.size_px)
    assert torch.equal(loaded.network.module(images_BCHW), vae.posterior(images_BCHW)[0])
    assert loaded.dim == vae.config.latent_size


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("autoencoder", "encoder.1"),
        ("autoencoder", "encoder.0"),
        ("vae", "encoder.0"),
        ("fcn", "trunk.convolutions.conv2_1"),
        ("segnet", "encoder.conv3_1"),
        ("unet", "contracting.1"),
        ("monodepth", "encoder.2"),
    ],
)
def test_a_layer_is_the_networks_layer_of_that_name(tmp_path: Path, name: str, layer: str) -> None:
    module, found = network_of(name), list[Tensor]()
    loaded = load_backbone(resolve(saved(tmp_path, name, module, crop_px=[48, 64])), layer=layer)
    images_BCHW = torch.rand(2, 3, *loaded.preprocess.size_px)
    module.get_submodule(layer).register_forward_hook(lambda *step: found.append(step[2]))
    module(images_BCHW)
    torch.testing.assert_close(loaded.network.module(images_BCHW), found[0].mean((2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["finetuned", *sorted({*ENCODERS} - CODING)])
def test_a_network_without_a_code_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=rf"{name}: a {name} has no code; name another layer, or none"):
        load_backbone(resolve(saved(tmp_path, name)), layer="code")


def test_a_layer_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no layer conv1_1 \(did you mean .*encoder\.conv1_1"):
        load_backbone(resolve(saved(tmp_path, "segnet")), layer="conv1_1")


# --------------------------------------------------------------------------------------------- pictures as it was trained


def files(width: int, height: int, *roles: str) -> dict[str, bytes]:
    data = io.BytesIO()
    photo(width=width, height=height).save(data, "PNG")
    return dict.fromkeys(roles, data.getvalue())


def pixels_of(found: dict[str, bytes]) -> Tensor:
    with Image.open(io.BytesIO(next(iter(found.values())))) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def recipe_of_type(name: str, **settings: Any) -> Any:
    recipe: Any = recipe_type(name)
    return recipe(recipe.Settings(**settings), {})


SIZES = [(20, 14), (32, 32), (90, 40), (41, 77)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("autoencoder", {"size_px": 32, "channels": 1, "width": 4, "pad": True, "crop": False}),
        ("autoencoder", {"size_px": 32, "width": 4, "crop": False}),
        ("vae", {"hidden": 8}),
        ("vae", {"size_px": 16, "channels": 3, "hidden": 8}),
    ],
)
def test_an_autoencoder_sees_pictures_as_its_recipe_did(
    tmp_path: Path, name: str, settings: dict[str, Any], size: tuple[int, int]
) -> None:
    recipe = recipe_of_type(name, **settings, flip=False)
    found = files(*size, "image")
    images_BCHW = recipe.batch([recipe.decode(found)], np.random.default_rng(0))["images"]
    path = saved(tmp_path, name, recipe.network(), **recipe.settings.model_dump(mode="json"))
    fitted_CHW = load_backbone(resolve(path)).preprocess.applied_to(pixels_of(found))
    assert torch.equal(squares.scaled(fitted_CHW[None]), images_BCHW)


def test_monodepth_sees_whole_pictures_at_the_size_of_its_pairs(tmp_path: Path) -> None:
    recipe = recipe_of_type("monodepth", width=4, height_px=32, width_px=64)
    found = files(90, 40, "left", "right")
    path = saved(tmp_path, "monodepth", recipe.network())
    fitted_CHW = load_backbone(resolve(path)).preprocess.applied_to(pixels_of(found))
    assert np.array_equal(fitted_CHW.permute(1, 2, 0).numpy(), recipe.decode(found)["left"])


@pytest.mark.parametrize(
    ("settings", "size_px", "fit"),
    [
        ({"size_px": [40, 60], "crop_px": [20, 30]}, (40, 60), "stretch"),
        ({"size_px": None, "crop_px": [48, 64]}, (48, 64), "central area"),
        ({"size_px": None, "crop_px": None}, (SIZE_UNKNOWN_PX, SIZE_UNKNOWN_PX), "centre crop"),
        ({"size_px": 64}, (64, 64), "centre crop"),
    ],
)
@pytest.mark.parametrize("name", ["segnet", "unet", "finetuned"])
def test_networks_of_any_size_see_the_size_that_they_were_trained_at(
    name: str, settings: dict[str, Any], size_px: tuple[int, int], fit: str
) -> None:
    seen = trained_input(make_card(network=name, settings=settings, preprocess=None), network_of(name))
    assert (seen.size_px, seen.fit) == (size_px, fit)
    assert (seen.mean, seen.std) == ((0.0,) * 3, (1.0,) * 3)


@torch.inference_mode()
def test_a_unet_with_valid_convolutions_sees_so_much_more_that_a_map_is_left(tmp_path: Path) -> None:
    config = ENCODERS["unet"].config(channels=1, base=4, levels=2, skips=(1, 2), padding="valid")
    unet = ENCODERS["unet"].network(config)
    loaded = load_backbone(resolve(saved(tmp_path, "unet", unet, crop_px=[30, 50])))
    assert loaded.preprocess.size_px == tuple(config.output_above(side) + 2 * 20 for side in (30, 50))
    assert loaded.dim == 2 * 16


def test_a_card_that_asks_for_absurd_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"sees pictures of \(70000, 70000\) px; a side is 1 to 4096"):
        load_backbone(resolve(saved(tmp_path, "segnet", crop_px=[70000, 70000])))
    unet = ENCODERS["unet"].network(ENCODERS["unet"].config(channels=2, base=4, padding="same"))
    with pytest.raises(ModelError, match=r"takes pictures of 2 channels; a picture has 1 \(grey\) or 3"):
        load_backbone(resolve(saved(tmp_path, "unet", unet)))


def test_what_ships_embeds_a_picture_of_one_pixel(tmp_path: Path) -> None:
    for name in ("autoencoder-mnist", "vae-mnist", "segnet-camvid", "unet-camvid", "fcn8s-camvid", "monodepth-kitti"):
        loaded = load_backbone(resolve(name))
        pixel_CHW = loaded.preprocess.applied_to(torch.full((3, 1, 1), 77, dtype=torch.uint8))
        with torch.inference_mode():
            assert loaded.network.module(pixel_CHW[None] / 255).isfinite().all()
