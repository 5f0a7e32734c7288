"""What benchmarks.training trains: every recipe with pictures, labels and assets of its own, made up, nothing fetched.

Legend: C = 3 colours, H height, W width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from safetensors.torch import save_file

from pixelmill.pipelines.outputs.encoding import encode
from pixelmill.workers.ct.phantom_volume import phantom_volume
from pixelmill.workers.drawn_classes import FACADES
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.networks.autoencoder import AutoencoderConfig, ConvAutoencoder
from pixelmill.workers.networks.vgg import Vgg, VggConfig

SAMPLES = 32
CLASSES = 11
HALF = {"precision": "bfloat16"}


@dataclass(frozen=True)
class Case:
    """A recipe with its settings on the CPU; `on_gpu` are those that a GPU gets instead. `size_px` is width, height."""

    recipe: str
    layout: str
    size_px: tuple[int, int]
    settings: Mapping[str, Any]
    on_gpu: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def settings_on(self, device: str) -> dict[str, Any]:
        return {**self.settings, **(self.on_gpu if device == "cuda" else {})}


DIGITS = {"size_px": 32, "channels": 1, "width": 32, "code_channels": 32, "crop": False, "flip": False, "pad": True}
CROPS = {"crop_px": (256, 512), "scales": (0.5, 2.0), "brightness": 0.2, **HALF}

CASES: dict[str, Case] = {
    "autoencoder, digits": Case("autoencoder", "pictures", (28, 28), {**DIGITS, "batch": 128}),
    "autoencoder, photographs": Case("autoencoder", "pictures", (500, 375), {"batch": 16}, {"batch": 128}),
    "vae, digits": Case("vae", "pictures", (28, 28), {"batch": 128}),
    "segnet, crops": Case(
        "segnet", "masks", (1024, 512), {**CROPS, "width": 8, "batch": 4},
        {"width": 64, "crop_px": (512, 1024)},
    ),
    "fcn": Case("fcn", "masks", (480, 360), {"width": 8, "fc_width": 64, "batch": 4, **HALF}, {"width": 64, "batch": 16}),
    "unet": Case(
        "unet", "masks", (256, 256), {"base": 8, "padding": "same", "batch_norm": True, "batch": 4, **HALF},
        {"base": 64, "batch": 16},
    ),
    "monodepth": Case(
        "monodepth", "stereo", (620, 188), {"width": 8, "height_px": 128, "width_px": 256, "batch": 4},
        {"width": 32, "height_px": 256, "width_px": 512, "batch": 8},
    ),
    "vdsr": Case(  # a low rate: noise has nothing to learn, and the paper's rate ends at NaN after some hundred steps of it
        "vdsr", "pictures", (480, 320), {"width": 16, "depth": 8, "batch": 16, "learning_rate": 1e-5},
        {"width": 64, "depth": 20, "batch": 64},
    ),
    "faststyle": Case(
        "faststyle", "pictures", (500, 375), {"size_px": 64, "style_size_px": 64, "width": 8, "batch": 2},
        {"size_px": 256, "style_size_px": 256, "width": 32, "batch": 4},
    ),
    "crn": Case(
        "crn", "facades", (512, 256), {"start_px": (4, 4), "widths": (32, 32, 32, 32, 32), "batch": 1, "loss": "l2"},
        {"widths": (256, 256, 256, 256, 256, 128), "batch": 4, "loss": "perceptual"},
    ),
    "finetune": Case("finetune", "classes", (500, 375), {"size_px": 128, "batch": 16}, {"batch": 128}),
    "finetune-dense": Case(
        "finetune-dense", "masks", (480, 360), {"crop_px": (128, 128), "batch": 4, **HALF}, {"crop_px": (320, 320), "batch": 16}
    ),
    "ct-autoencoder, slices": Case(
        "ct-autoencoder", "ct slices", (512, 512), {"widths": (8, 16, 32, 64, 64), "batch": 4, "drop_air": False},
        {"widths": (24, 48, 96, 192, 256), "batch": 16},
    ),
    "ct-autoencoder, blocks": Case(
        "ct-autoencoder", "ct blocks", (128, 128), {"dims": 3, "crop_px": 32, "widths": (8, 16, 32, 64), "batch": 2,
                                                    "drop_air": False},
    ),
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------- data


def make_data(folder: Path, case: Case) -> Path:
    """SAMPLES samples in the layout of the recipe, or a table of `ct ingest` of several row groups."""
    if case.layout in _DEPTHS:
        return _ct_table(folder, case.size_px[0], _DEPTHS[case.layout])
    for number in range(SAMPLES):
        for path, pixels in _LAYOUTS[case.layout](number, case.size_px).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            pixels.save(folder / path)
    if case.layout == "masks":
        (folder / "classes.json").write_text(json.dumps({"classes": [f"class {n}" for n in range(CLASSES)]}))
    return folder


_DEPTHS = {"ct slices": 1, "ct blocks": 64}
_CT_VOXELS = 1 << 26
_PATIENTS = 8


def _ct_table(folder: Path, side_px: int, depth: int) -> Path:
    """Slices, or blocks of so many, of phantoms: 128 MB before compression, as `ct ingest` encodes them."""
    count = _CT_VOXELS // (depth * side_px * side_px)
    rows: list[dict[str, Any]] = []
    for number in range(_PATIENTS):
        hu_DHW = phantom_volume(max(4, depth), side_px, number).hu_DHW.astype(np.int16)
        for place in range(count // _PATIENTS):
            part_DHW = np.roll(hu_DHW, 3 * place, 2)[place % (len(hu_DHW) - depth + 1) :][:depth]
            values = pa.array(part_DHW.ravel())
            rows.append(
                {"patient_id": f"p{number}", "series_id": f"s{number}", "position_mm": 2.0 * place, "hu": values}
            )
    size = {"depth": depth, "height": side_px, "width": side_px}
    table = pa.table(
        {
            "id": [f"{number}" for number in range(len(rows))],
            **{name: [row[name] for row in rows] for name in ("patient_id", "series_id", "position_mm")},
            **{name: pa.array([value] * len(rows), pa.int32()) for name, value in size.items()},
            "hu": lists_of([row["hu"] for row in rows]),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "part-000000.parquet").write_bytes(encode(table))
    return folder


def lists_of(values: list[Any]) -> Any:
    """A column of lists, one for each of these arrays."""
    lists: Any = pa.ListArray
    offsets = np.cumsum([0, *(len(each) for each in values)], dtype=np.int32)
    return lists.from_arrays(pa.array(offsets), pa.concat_arrays(values))


def _photo(seed: int, size_px: tuple[int, int]) -> Image.Image:
    coarse_HWC = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return Image.fromarray(coarse_HWC).resize(size_px, Image.Resampling.BICUBIC)


def _ids(seed: int, size_px: tuple[int, int], classes: int = CLASSES) -> Image.Image:
    coarse_HW = np.random.default_rng(seed).integers(0, classes, (12, 16), np.uint8)
    return Image.fromarray(coarse_HW).resize(size_px, Image.Resampling.NEAREST)


def _facade(seed: int, size_px: tuple[int, int]) -> Image.Image:
    half_px = (size_px[0] // 2, size_px[1])
    drawn_HWC = np.array(list(FACADES.values()), np.uint8)[np.asarray(_ids(seed, half_px, len(FACADES)))]
    return Image.fromarray(np.concatenate([np.asarray(_photo(seed, half_px)), drawn_HWC], 1))


_LAYOUTS: dict[str, Callable[[int, tuple[int, int]], dict[str, Image.Image]]] = {
    "pictures": lambda n, size: {f"{n:03d}.png": _photo(n, size)},
    "classes": lambda n, size: {f"{'abc'[n % 3]}/{n:03d}.png": _photo(n, size)},
    "masks": lambda n, size: {f"images/{n:03d}.png": _photo(n, size), f"labels/{n:03d}.png": _ids(n, size)},
    "stereo": lambda n, size: {f"left/{n:03d}.png": _photo(n, size), f"right/{n:03d}.png": _photo(n, size)},
    "facades": lambda n, size: {f"{n:03d}.png": _facade(n, size)},
}


# -------------------------------------------------------------------------------------------------------------- assets


def make_assets(folder: Path, case: Case, device: str) -> dict[str, Path]:
    """The files that the recipe reads: random VGG weights, a painting, an encoder that was not trained."""
    folder.mkdir()
    torch.manual_seed(0)
    return {name: make(folder, device) for name, make in _ASSETS.get(case.recipe, {}).items()}


def _vgg(folder: Path, device: str) -> Path:
    state = Vgg(VggConfig(width=64 if device == "cuda" else 8)).convolutions.state_dict()
    save_file({f"block{key[4]}_conv{key[6:]}": tensor for key, tensor in state.items()}, folder / "vgg.safetensors")
    return folder / "vgg.safetensors"


def _painting(folder: Path, device: str) -> Path:
    _photo(1, (512, 512)).save(folder / "style.png")
    return folder / "style.png"


def _encoder(folder: Path, device: str) -> Path:
    network = ConvAutoencoder(AutoencoderConfig(size_px=128, width=64 if device == "cuda" else 16))
    card = Card(
        network="autoencoder", config=asdict(network.config), recipe="autoencoder", settings={}, data="noise",
        data_licence="none", split="none", metrics={}, versions={}, git_revision=None, preprocess=None, trained_on=(),
    )  # fmt: skip
    save_checkpoint(folder / "encoder", network, card)
    return folder / "encoder"


_ASSETS: dict[str, dict[str, Callable[[Path, str], Path]]] = {
    "faststyle": {"vgg": _vgg, "style": _painting},
    "crn": {"vgg": _vgg},
    "finetune": {"checkpoint": _encoder},
    "finetune-dense": {"checkpoint": _encoder},
}
