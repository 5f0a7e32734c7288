"""Every recipe trains, judges itself and is saved on a device that is not the CPU, to the same weights and figures."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import find, layouts_for
from pixelmill.pipelines.training.worker import Training
from pixelmill.workers.drawn_classes import FACADES
from pixelmill.workers.losses.gatys import GatysSettings, stylize
from pixelmill.workers.models import backbones
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.networks.autoencoder import AutoencoderConfig, ConvAutoencoder
from pixelmill.workers.networks.vgg import Vgg, VggConfig
from pixelmill.workers.recipes.registry import RECIPES, recipe_type
from pixelmill.workers.recipes.scoring import evaluate, joined
from pixelmill.workers.runtime.execution import Executor
from pixelmill.workers.runtime.settings import Settings
from tests.elsewhere import HERE, elsewhere
from tests.in_process_training import training_of

SLIM: dict[str, dict[str, Any]] = {
    "autoencoder": {"size_px": 32, "width": 4, "code_channels": 4},
    "vae": {"size_px": 16, "latent_size": 3, "hidden": 8},
    "fcn": {"classes": 3, "width": 4, "fc_width": 8},
    "segnet": {"classes": 3, "width": 4, "class_weights": "median"},
    "unet": {"classes": 3, "base": 4, "padding": "same", "batch_norm": True},
    "monodepth": {"width": 4, "height_px": 64, "width_px": 128},
    "vdsr": {"depth": 3, "width": 4, "patch_px": 24},
    "faststyle": {"size_px": 24, "style_size_px": 32, "width": 4, "blocks": 1},
    "crn": {"start_px": (4, 4), "widths": (8, 8, 8, 8)},
    "crn-labels": {
        "start_px": (4, 4),
        "widths": (8, 8, 8, 8),
        "palette": {"a": (0, 0, 0), "b": (99, 0, 0), "c": (0, 99, 0)},
    },
    "ct-autoencoder": {"widths": (4, 8), "size_px": 64, "crop_px": 32, "drop_air": False},
    "ct-finetune": {"widths": (4, 8), "size_px": 64, "crop_px": 32, "drop_air": False, "hold_passes": 1},
    "finetune": {"classes": 3, "size_px": 32},
    "finetune-dense": {"classes": 3},
}
ROUGHLY = {
    "steps": 2,
    "batch": 2,
    "precision": "float32",
    "evaluate_every_steps": 2,
    "accumulate": 2,
    "max_gradient_norm": 1.0,
}
CALIBRATION = {"width_px": 128, "focal_px": 100.0, "baseline_m": 0.5, "depth_png_scale": 256}

COLOURS_K3 = np.array(list(FACADES.values()), np.uint8)


# ---------------------------------------------------------------------------------------------------------- small data


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def noise(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def make_data(folder: Path, name: str) -> str:
    """Four samples for a recipe, in the layout that it reads."""
    layout = layouts_for(recipe_type(name).ROLES)[0]
    for seed in range(4):
        ids_HW = np.random.default_rng(seed).integers(0, 3, (64, 64), np.uint8)
        if name == "crn":
            save(
                folder / f"{seed}.png",
                np.concatenate([noise(seed, 32, 32), COLOURS_K3[ids_HW[:32, :32]]], 1),
            )
        elif layout in {"pictures", "ct-slices"}:
            save(folder / f"{seed}.png", noise(seed, 64, 64))
        elif layout == "ct-labelled":
            save(folder / "images" / f"{seed}.png", noise(seed, 64, 64))
            save(folder / "masks" / f"{seed}.png", (ids_HW > 0).astype(np.uint8) * 255)
        elif layout == "classes":
            save(folder / "abc"[seed % 3] / f"{seed}.png", noise(seed, 64, 64))
        elif layout == "masks":
            save(folder / "images" / f"{seed}.png", noise(seed, 64, 64))
            save(folder / "labels" / f"{seed}.png", ids_HW)
        else:
            save(folder / "left" / f"{seed}.png", noise(seed, 64, 128))
            save(folder / "right" / f"{seed}.png", noise(seed + 9, 64, 128))
            depth_HW = np.random.default_rng(seed).integers(256, 9999, (64, 128)).astype(np.uint16)
            save(folder / "depth" / f"{seed}.png", depth_HW)
            (folder / "calib.json").write_text(json.dumps(CALIBRATION))
    return str(folder)


def make_assets(folder: Path, name: str) -> dict[str, Path]:
    """The files that the recipe asks for: slim VGG weights, a painting, an encoder."""
    folder.mkdir()
    torch.manual_seed(0)
    files = {name: folder / name for name in recipe_type(name).ASSETS}
    if "vgg" in files and name not in {"fcn", "segnet"}:  # those begin with a trunk of the paper's width
        state = Vgg(VggConfig(width=4)).convolutions.state_dict()
        files["vgg"] = folder / "vgg.safetensors"
        save_file({f"block{key[4]}_conv{key[6:]}": tensor for key, tensor in state.items()}, files["vgg"])
    if "style" in files:
        files["style"] = folder / "style.png"
        save(files["style"], noise(5, 32, 32))
    if "checkpoint" in files:
        network = ConvAutoencoder(AutoencoderConfig(size_px=32, width=4, code_channels=4))
        card = Card(
            network="autoencoder", config=asdict(network.config), recipe="autoencoder", settings={}, data="noise",
            data_licence="none", split="none", metrics={}, versions={}, git_revision=None, preprocess=None, trained_on=(),
        )  # fmt: skip
        save_checkpoint(files["checkpoint"], network, card)
    return {name: path for name, path in files.items() if path.exists()}


# --------------------------------------------------------------------------------------------------------------- tests


def trained(name: str, data: str, assets: dict[str, Path], out: Path, device: torch.device) -> Training:
    """A training to its end, read back from what it saved."""
    found = find(recipe_type(name).ROLES, [data], Access())
    settings = {**ROUGHLY, **SLIM[name], **{name: str(path) for name, path in assets.items()}}
    for _ in range(2):
        training = training_of(name, settings, found, found.take(range(2)), out, 1, device, assets)
        training.run()
    return training


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")  # which is not what "meta" is here
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_training_on_another_device_ends_with_the_weights_and_the_figures_of_one_on_the_cpu(
    name: str, tmp_path: Path
) -> None:
    data, assets = make_data(tmp_path / "data", name), make_assets(tmp_path / "assets", name)
    here = trained(name, data, assets, tmp_path / "here", HERE)
    with elsewhere() as device:
        there = trained(name, data, assets, tmp_path / "there", device)
        assert {parameter.device for parameter in there.network.parameters()} == {device}
        weights = {name: tensor.to(HERE) for name, tensor in there.network.state_dict().items()}
    assert there.progress.metrics
    assert there.progress.metrics == pytest.approx(here.progress.metrics, nan_ok=True)
    expected = here.network.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_parts_of_the_samples_are_scored_as_the_whole(name: str, tmp_path: Path) -> None:
    data, assets = make_data(tmp_path / "data", name), make_assets(tmp_path / "assets", name)
    found = find(recipe_type(name).ROLES, [data], Access())
    settings = {**ROUGHLY, **SLIM[name], **{name: str(path) for name, path in assets.items()}}
    made = training_of(name, settings, found, None, tmp_path / "out", 1, HERE, assets)
    samples, network = list(made.samples), made.network.eval()
    with torch.inference_mode():
        whole = evaluate(made.recipe, network, samples)
        parts = [made.recipe.scores(network, part) for part in (samples[:1], [], samples[1:])]
    assert parts[1] == {}
    assert made.recipe.metrics(joined(parts)) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("name", ["torchvision:resnet18/random", "autoencoder-photos"])
def test_embeddings_from_another_device_are_those_from_the_cpu(name: str) -> None:
    network = backbones.load_backbone(resolve(name)).network
    images_BCHW = torch.from_numpy(noise(1, 3 * network.input_px, network.input_px)).view(3, 3, network.input_px, -1)
    here = Executor(network, Settings(microbatch=2))(images_BCHW)
    with elsewhere() as device:
        there = Executor(network, Settings(device=device.type, microbatch=2))(images_BCHW)
    assert there.device == HERE
    assert torch.equal(here, there)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_pictures_are_stylized_on_another_device_as_on_the_cpu(optimizer: Literal["lbfgs", "adam"]) -> None:
    settings = GatysSettings(steps=3, optimizer=optimizer, start="noise")
    made = []
    for place in (nullcontext(HERE), elsewhere()):
        torch.manual_seed(0)
        photos_BCHW, painting_1CHW = torch.rand(2, 3, 24, 24), torch.rand(1, 3, 20, 20)
        vgg = Vgg(VggConfig(width=4))
        with place as device:
            made.append(stylize(photos_BCHW.to(device), painting_1CHW.to(device), vgg, settings).to(HERE))
    assert torch.equal(*made)


def test_a_tensor_left_on_the_cpu_is_noticed() -> None:
    with elsewhere() as device:
        moved = torch.ones(3).to(device)
        assert (moved + moved).to(HERE).tolist() == [2, 2, 2]
        assert (torch.arange(3, device=device) * 2 + 1).tolist() == [1, 3, 5]
        with pytest.raises(RuntimeError, match="is on the CPU and others are not"):
            moved + torch.ones(3)
        with pytest.raises(RuntimeError):
            moved.numpy()
