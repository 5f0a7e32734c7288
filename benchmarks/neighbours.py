"""Measure how often nearest neighbours have the same category, in the codes of the autoencoder that ships, in PCA and in pixels.

    python -m benchmarks.neighbours CHECKPOINT PHOTOS

CHECKPOINT is NAME.safetensors or the folder of a training. The folder of a photograph is its category. Queries are
photographs that the checkpoint was not trained on; neighbours are searched among its training photographs.

Legend: N photographs, B batch, C channels, H height, W width, S side of the network's input, D code size, P numbers of
a flattened image, M crops.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import skimage.data
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import functional as transforms

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.marks import are_marked
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.models.features import FeaturePooling
from pixelmill.workers.networks.autoencoder import ConvAutoencoder
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.autoencoder import AutoencoderRecipe
from pixelmill.workers.recipes.registry import recipe_of
from pixelmill.workers.recipes.squares import stack

PCA_EPOCHS = 6
UNSEEN = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
CROPS_PER_PHOTO = 20
CROP_PX = 160

Codes = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="NAME.safetensors or a folder, of an autoencoder")
    parser.add_argument("photos", help="folder of photographs, one folder a category")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, card = load_checkpoint(arguments.checkpoint)
    recipe = recipe_of(card)
    assert isinstance(model, ConvAutoencoder)
    assert isinstance(recipe, AutoencoderRecipe)
    found = find(layout_of("pictures").ROLES, [arguments.photos], Access())
    is_known_N = np.array(are_marked(found, frozenset(card.trained_on)))
    known, unseen = (found.take(np.flatnonzero(chosen_N)) for chosen_N in (is_known_N, ~is_known_N))
    training, held_out = (read_samples(data, recipe) for data in (known, unseen))
    axes = fit_pca(training, recipe, model.config.code_size)
    table = Table("space", "squared error", "nearest is of the same category", "nearest crop is of the same photograph")
    crops_MCSS, photo_M = unseen_crops(recipe.settings.seed, model.config.size_px)
    known_NCSS, unseen_NCSS = (stack(samples, model.config.size_px) for samples in (training, held_out))
    errors = {
        "code": functional.mse_loss(reconstruct_all(model, unseen_NCSS), unseen_NCSS).item(),
        "PCA": pca_mse(unseen_NCSS, *axes),
    }
    for name, codes in spaces(model, *axes).items():
        nearest_N = cosines(codes(unseen_NCSS), codes(known_NCSS)).argmax(1).numpy()
        same_N = categories(known.names())[nearest_N] == categories(unseen.names())
        between_MM = cosines(codes(crops_MCSS), codes(crops_MCSS)).fill_diagonal_(-1)
        of_photo_M = photo_M[between_MM.argmax(1)] == photo_M
        error = f"{errors[name]:.5f}" if name in errors else ""
        table.add_row(name, error, f"{same_N.mean():.0%}", f"{of_photo_M.float().mean():.0%}")
    Console().print(table)
    print(f"{len(held_out)} photographs that were not trained on, {len(photo_M)} crops of {len(UNSEEN)} photographs")


def categories(names: Sequence[str]) -> np.ndarray:
    """The folder of each photograph."""
    return np.array([PurePosixPath(name).parent.name for name in names])


def spaces(model: ConvAutoencoder, mean_P: Tensor, axes_PD: Tensor) -> dict[str, Codes]:
    return {
        "code": lambda images_BCSS: encode_all(model, images_BCSS),
        "PCA": lambda images_BCSS: (images_BCSS.flatten(1) - mean_P) @ axes_PD,
        "pixels, 32 x 32 x 3": lambda images_BCSS: transforms.resize(images_BCSS, [32], antialias=True).flatten(1),
        "mean and deviation of the feature map": lambda images_BCSS: feature_statistics(model, images_BCSS),
    }


@torch.inference_mode()
def encode_all(model: ConvAutoencoder, images_NCSS: Tensor) -> Tensor:
    return torch.cat([model.encode(chunk_BCSS) for chunk_BCSS in images_NCSS.split(64)])


@torch.inference_mode()
def reconstruct_all(model: ConvAutoencoder, images_NCSS: Tensor) -> Tensor:
    return torch.cat([model(chunk_BCSS).clamp(0, 1) for chunk_BCSS in images_NCSS.split(64)])


@torch.inference_mode()
def feature_statistics(model: ConvAutoencoder, images_NCSS: Tensor) -> Tensor:
    """The default of `pixelmill embed`: mean and standard deviation of the last feature map before the code."""
    encoder = nn.Sequential(*model.encoder[:-1], FeaturePooling("stats"))
    return torch.cat([encoder(chunk_BCSS - 0.5) for chunk_BCSS in images_NCSS.split(64)])


def cosines(left_ND: Tensor, right_MD: Tensor) -> Tensor:
    return functional.normalize(left_ND, dim=1) @ functional.normalize(right_MD, dim=1).T


def fit_pca(samples: Sequence[Sample], recipe: AutoencoderRecipe, components: int) -> tuple[Tensor, Tensor]:
    """Mean P and axes PD of as many components as the code has numbers, fitted to crops like those of the training."""
    random = np.random.default_rng(recipe.settings.seed)
    samples_NP = torch.cat([recipe.batch(samples, random)["images"].flatten(1) for _ in range(PCA_EPOCHS)])
    mean_P = samples_NP.mean(0)
    samples_NP -= mean_P
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.settings.seed)
        _, _, axes_PD = torch.svd_lowrank(samples_NP, q=components + 32, niter=3)
    return mean_P, axes_PD[:, :components].contiguous()


def pca_mse(images_NCSS: Tensor, mean_P: Tensor, axes_PD: Tensor) -> float:
    codes_ND = (images_NCSS.flatten(1) - mean_P) @ axes_PD
    reconstructions_NP = (codes_ND @ axes_PD.T + mean_P).clamp(0, 1)
    return functional.mse_loss(reconstructions_NP, images_NCSS.flatten(1)).item()


def unseen_crops(seed: int, size_px: int) -> tuple[Tensor, Tensor]:
    """Random squares, a quarter to a half of the shorter side, of scikit-image's photographs, and the photograph of each."""
    random, crops = np.random.default_rng(seed), []
    for name in UNSEEN:
        pixels_CHW = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)
        _, height, width = pixels_CHW.shape
        for _ in range(CROPS_PER_PHOTO):
            side = int(random.uniform(0.25, 0.5) * min(height, width))
            top, left = random.integers(height - side + 1), random.integers(width - side + 1)
            crop_CHW = pixels_CHW[:, top : top + side, left : left + side]
            crops.append(transforms.resize(crop_CHW, [CROP_PX, CROP_PX], antialias=True))
    samples = [{"pixels": crop_CHW.permute(1, 2, 0).numpy()} for crop_CHW in crops]
    return stack(samples, size_px), torch.arange(len(UNSEEN)).repeat_interleave(CROPS_PER_PHOTO)


if __name__ == "__main__":
    main()
