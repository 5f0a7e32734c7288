"""Judge synthesized photographs by a network that had no part in making them: can it find the classes of the layout again?

    python -m benchmarks.synthesis_judge FACADES [CHECKPOINT ...] --steps 600

A small U-Net is trained on the photographs and layouts of FACADES/train alone, then segments what is made of the layouts of
FACADES/val. Its mIoU on the real photographs is the bound; on every class in its mean colour, and on the photographs blurred,
what needs no synthesis. It knows nothing of VGG, whose features the networks are trained and measured with.

Legend: B batch, C = 3 colours, H height, W width, K classes, O = 1 output.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.workers.drawn_classes import FACADES
from pixelmill.workers.networks.crn import one_hot
from pixelmill.workers.recipes import Recipe, Sample
from pixelmill.workers.recipes.layout_baselines import BLUR_PX, blurred, mean_colours, painted
from pixelmill.workers.recipes.layout_samples import stacked
from pixelmill.workers.recipes.registry import recipe_type
from pixelmill.workers.recipes.scoring import evaluate
from pixelmill.workers.recipes.squares import chunks, scaled
from tests.in_process_training import training_of

SETTINGS = {
    "batch": 8,
    "base": 16,
    "padding": "same",
    "batch_norm": True,
    "dropout": 0.1,
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "weight_decay": 1e-4,
    "schedule": "poly",
    "crop_px": (112, 112),
    "scales": (0.9, 1.3),
    "brightness": 0.2,
    "precision": "bfloat16",
}
Make = Callable[[dict[str, Tensor]], Tensor]
"""Pictures BOCHW in [0, 1] of a batch of photographs and layouts."""


def main() -> None:
    arguments = parse_arguments()
    crn = reader()
    train, val = (read_facades(arguments.facades / part, crn) for part in ("train", "val"))
    with tempfile.TemporaryDirectory(prefix="pmj-") as folder:
        write_masks(train, Path(folder))
        judge, recipe = trained_judge(Path(folder), arguments)
    print(f"judge: U-Net, {arguments.steps} steps on {len(train)} photographs of train; {len(val)} layouts of val\n")
    print("| pictures | mIoU | pixel accuracy |\n|---|---|---|")
    for name, make in contenders(train, arguments.checkpoints).items():
        with torch.inference_mode():
            metrics = evaluate(recipe, judge, remade(val, make))
        print(f"| {name} | {metrics['miou']:.3f} | {metrics['pixel_accuracy']:.3f} |", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An independent judge of synthesized photographs.")
    parser.add_argument("facades", type=Path, help="folder with train and val, photograph left and layout right")
    parser.add_argument("checkpoints", nargs="*", default=["crn-facades", "crn-facades-l2"])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def reader() -> Recipe:
    """What reads photographs and layouts at the size of the networks that ship; its network is never built."""
    kind = recipe_type("crn")
    return kind(kind.Settings.model_validate({"vgg": "", "start_px": (4, 4), "widths": (1,) * 6}), {})


def read_facades(folder: Path, recipe: Recipe) -> list[Sample]:
    return read_samples(find(layout_of("pictures").ROLES, [str(folder)], Access()), recipe)


def write_masks(samples: Sequence[Sample], folder: Path) -> None:
    """The samples as the recipes of segmentation read them."""
    (folder / "classes.json").write_text(json.dumps({"classes": list(FACADES)}))
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number, sample in enumerate(samples):
        Image.fromarray(sample["photo"]).save(folder / f"images/{number:04d}.png")
        Image.fromarray(sample["layout"]).save(folder / f"labels/{number:04d}.png")


def trained_judge(folder: Path, arguments: argparse.Namespace) -> tuple[nn.Module, Any]:
    data = find(layout_of("masks").ROLES, [str(folder)], Access())
    settings = SETTINGS | {"steps": arguments.steps, "evaluate_every_steps": arguments.steps}
    training = training_of("unet", settings, data, None, folder / "out", arguments.threads)
    training.run()
    return training.network.eval(), training.recipe


def contenders(train: Sequence[Sample], names: Sequence[str]) -> dict[str, Make]:
    colours_KC = mean_colours(train, len(FACADES))
    made: dict[str, Make] = {
        "the photographs themselves": lambda batch: scaled(batch["photos"])[:, None],
        f"the photographs, blurred by {BLUR_PX:g} px": lambda batch: blurred(scaled(batch["photos"])),
        "every class in its mean colour": lambda batch: painted(batch["layouts"], colours_KC),
    }
    return made | {name: synthesized_by(name) for name in names}


def synthesized_by(checkpoint: str) -> Make:
    network, _ = checkpoints.load_from_store(checkpoint, Access())
    return lambda batch: network(one_hot(batch["layouts"], len(FACADES))).clamp(0, 1)


def remade(samples: Sequence[Sample], make: Make) -> Iterator[Sample]:
    """The layouts with the pictures that are made of them, as samples of segmentation."""
    for chunk in chunks(samples, 8):
        made_BCHW = make(stacked(chunk))[:, 0].float()
        pictures_BHWC = (made_BCHW * 255).round().byte().permute(0, 2, 3, 1).numpy()
        for picture_HWC, sample in zip(pictures_BHWC, chunk, strict=True):
            yield {"image": np.ascontiguousarray(picture_HWC), "label": sample["layout"], "classes": NAMES_U8}


NAMES_U8 = np.frombuffer(json.dumps(list(FACADES)).encode(), np.uint8)


if __name__ == "__main__":
    main()
