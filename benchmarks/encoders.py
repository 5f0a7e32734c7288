"""Compare the checkpoints that ship as encoders, by nearest neighbours among photographs and their crops.

    python -m benchmarks.encoders PHOTOS [--only NAME ...]

PHOTOS has a folder for each category: the first ten photographs by name of the first 25 folders that have ten. A crop leaves out
an eighth of the rows above and of the columns on the left. Each vector is that of `pixelmill embed --model NAME`; the nearest
by cosine to a photograph is searched among the others, the nearest to a crop among all.

Legend: N photographs, D numbers of a vector.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import pixelmill
from pixelmill.workers.models import zoo
from pixelmill.workers.models.card import read_card
from pixelmill.workers.networks.finetuned import ENCODERS

CATEGORIES, OF_EACH = 25, 10
CROPPED = 8

Encoder = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--only", nargs="+", default=encoders())
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    paths = chosen(options.photos)
    pictures_N = [np.array(Image.open(path).convert("RGB")) for path in paths]
    category_N = np.array([path.parent.name for path in paths])
    print("| encoder | nearest is of the same category | nearest to a crop is its photograph |\n|---|---|---|")
    for name in options.only:
        same, found = compared(pixelmill.load(name, task="embed"), pictures_N, category_N)
        print(f"| {name} | {same * 100:.0f} % | {found * 100:.0f} % |")
    print(f"{len(paths)} photographs of {len(set(category_N))} categories")


def encoders() -> list[str]:
    """The names of the networks that ship which `embed` takes."""
    cards = {name: read_card(zoo.ZOO / f"{name}.safetensors") for name in zoo.zoo_names()}
    return [name for name, card in cards.items() if card.network in {"autoencoder", "vae", *ENCODERS}]


def chosen(photos: Path) -> list[Path]:
    folders = [sorted(folder.iterdir()) for folder in sorted(photos.iterdir()) if folder.is_dir()]
    return [path for files in folders if len(files) >= OF_EACH for path in files[:OF_EACH]][: CATEGORIES * OF_EACH]


def compared(encoder: Encoder, pictures_N: Sequence[np.ndarray], category_N: np.ndarray) -> tuple[float, float]:
    """The share of photographs whose nearest is of their category, and of crops whose nearest is their photograph."""
    whole_ND, crops_ND = (
        directions(encoder, pictures) for pictures in (pictures_N, [cropped(picture) for picture in pictures_N])
    )
    others_NN = whole_ND @ whole_ND.T
    np.fill_diagonal(others_NN, -1)
    same = (category_N[others_NN.argmax(1)] == category_N).mean()
    found = ((crops_ND @ whole_ND.T).argmax(1) == np.arange(len(pictures_N))).mean()
    return float(same), float(found)


def cropped(picture_HWC: np.ndarray) -> np.ndarray:
    height, width = picture_HWC.shape[:2]
    return picture_HWC[height // CROPPED :, width // CROPPED :]


def directions(encoder: Encoder, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Vectors ND of length 1."""
    vectors_ND = np.stack([encoder(picture) for picture in pictures])
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
