"""Train the autoencoder that ships in workers/zoo on a folder of photographs, and measure it beside PCA and pixels.

    python -m benchmarks.train_zoo PHOTOS --data NAME --licence LICENCE --out NAME.safetensors --grid GRID.png

The folder that a photograph lies in is its category. Nothing of the photographs but the weights goes into --out.

Legend: N photographs, K squares cut from each, C channels, H height, W width, S side of the network's input, D code
size, P numbers of a flattened image, M crops.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import functional as transforms
from torchvision.utils import save_image

from workers import checkpoint
from workers.backbones import Pool
from workers.checkpoint import Card, Preprocess
from workers.networks.autoencoder import AutoencoderConfig, ConvAutoencoder
from workers.recipes.autoencoder import TrainingConfig, encode_all, reconstruction_mse, sample_batch, to_input, train

SIDE_PX = 160  # of the squares that are kept in memory; training crops from them
PCA_BATCHES = 500
UNSEEN = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
CROPS_PER_PHOTO = 20

Codes = Callable[[Tensor], Tensor]


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    squares_NKCHW, categories_N = read_photographs(sorted(arguments.photos.rglob("*.jpg")))
    held_out_N = hold_out(len(squares_NKCHW), arguments.seed)
    train_NCHW = squares_NKCHW[~held_out_N].flatten(0, 1)
    config = TrainingConfig(steps=arguments.steps, seed=arguments.seed)
    model = train(train_NCHW, AutoencoderConfig(), config, on_step=report).half().float()  # as it will be stored
    metrics = measure(model, train_NCHW, squares_NKCHW[:, 0], categories_N, held_out_N, config)
    counts = f"{int((~held_out_N).sum())} photographs to train on, {int(held_out_N.sum())} held out"
    card = make_card(model, config, metrics, arguments, f"{counts}, drawn with seed {arguments.seed}")
    checkpoint.save(arguments.out, model.half(), card)
    save_grid(checkpoint.load(arguments.out)[0], squares_NKCHW[held_out_N, 0][:16], arguments.grid)
    print(card.model_dump_json(indent=2))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the autoencoder that ships, and measure it beside PCA.")
    parser.add_argument("photos", type=Path, help="folder of JPEG photographs, searched in depth")
    parser.add_argument("--data", required=True, help="name of the data, for the card")
    parser.add_argument("--licence", required=True, help="licence of the data, for the card")
    parser.add_argument("--out", type=Path, required=True, help="NAME.safetensors; the card goes beside it")
    parser.add_argument("--grid", type=Path, required=True, help="PNG of held-out photographs over reconstructions")
    parser.add_argument("--steps", type=int, default=TrainingConfig.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def read_photographs(files: list[Path]) -> tuple[Tensor, Tensor]:
    """Squares NKCHW (the centre, the start and the end of the longer side) and the category of each photograph."""
    folders = sorted({file.parent for file in files})
    squares = [torch.stack(cut_squares(Image.open(file).convert("RGB"))) for file in files]
    return torch.stack(squares), torch.tensor([folders.index(file.parent) for file in files])


def cut_squares(photograph: Image.Image) -> list[Tensor]:
    pixels_CHW = torch.from_numpy(np.array(photograph)).permute(2, 0, 1)
    resized_CHW = transforms.resize(pixels_CHW, [SIDE_PX], antialias=True)
    _, height, width = resized_CHW.shape
    starts = [((height - SIDE_PX) * part // 2, (width - SIDE_PX) * part // 2) for part in (1, 0, 2)]
    return [resized_CHW[:, top : top + SIDE_PX, left : left + SIDE_PX] for top, left in starts]


def hold_out(count: int, seed: int) -> Tensor:
    """True for a tenth of the photographs."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return torch.zeros(count, dtype=torch.bool).index_fill(0, order[: count // 10], True)


def report(step: int, loss: float, model: ConvAutoencoder) -> None:
    if step % 200 == 0:
        print(f"step {step}: loss {loss:.5f}", flush=True)


def measure(
    model: ConvAutoencoder,
    train_NCHW: Tensor,
    centres_NCHW: Tensor,
    categories_N: Tensor,
    held_out_N: Tensor,
    config: TrainingConfig,
) -> dict[str, float]:
    """Error on held-out photographs and how often a nearest neighbour is right, beside PCA and 32 px pixels."""
    mean_P, axes_PD = fit_pca(train_NCHW, model.config, config)
    size_px = model.config.size_px
    spaces: dict[str, Codes] = {
        "code": lambda images_NCHW: encode_all(model, images_NCHW),
        "feature_statistics": lambda images_NCHW: feature_statistics(model, images_NCHW),
        "pca": lambda images_NCHW: (to_input(images_NCHW, size_px).flatten(1) - mean_P) @ axes_PD,
        "pixels_32px": lambda images_NCHW: to_input(images_NCHW, 32).flatten(1),
    }
    metrics = {
        "mse": reconstruction_mse(model, centres_NCHW[held_out_N]),
        "mse_pca": pca_mse(spaces["pca"](centres_NCHW[held_out_N]), centres_NCHW[held_out_N], mean_P, axes_PD, size_px),
    }
    crops_MCHW, photo_M = unseen_crops(config.seed)
    for name, codes in spaces.items():
        found_ND, query_ND = codes(centres_NCHW[~held_out_N]), codes(centres_NCHW[held_out_N])
        nearest_N = cosines(query_ND, found_ND).argmax(1)
        same_N = categories_N[~held_out_N][nearest_N] == categories_N[held_out_N]
        metrics[f"nearest_same_category_{name}"] = same_N.float().mean().item()
        between_MM = cosines(codes(crops_MCHW), codes(crops_MCHW)).fill_diagonal_(-1)
        metrics[f"nearest_same_photo_{name}"] = (photo_M[between_MM.argmax(1)] == photo_M).float().mean().item()
    return {name: round(value, 5) for name, value in metrics.items()}


@torch.inference_mode()
def feature_statistics(model: ConvAutoencoder, images_NCHW: Tensor) -> Tensor:
    """What `pixelmill embed` takes by default: mean and deviation of the last feature map before the code."""
    encoder = torch.nn.Sequential(*model.encoder[:-1], Pool("stats"))
    return torch.cat([encoder(to_input(chunk, model.config.size_px) - 0.5) for chunk in images_NCHW.split(64)])


def cosines(left_ND: Tensor, right_MD: Tensor) -> Tensor:
    return functional.normalize(left_ND, dim=1) @ functional.normalize(right_MD, dim=1).T


def fit_pca(images_NCHW: Tensor, network: AutoencoderConfig, config: TrainingConfig) -> tuple[Tensor, Tensor]:
    """Mean P and axes PD of as many components as the code has numbers, from crops like those of the training."""
    generator = torch.Generator().manual_seed(config.seed)
    batches = [sample_batch(images_NCHW, network.size_px, config, generator) for _ in range(PCA_BATCHES)]
    samples_NP = torch.cat([batch_BCSS.flatten(1) for batch_BCSS in batches])
    mean_P = samples_NP.mean(0)
    samples_NP -= mean_P
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        _, _, axes_PD = torch.svd_lowrank(samples_NP, q=network.code_size + 32, niter=3)
    return mean_P, axes_PD[:, : network.code_size].contiguous()


def pca_mse(codes_ND: Tensor, images_NCHW: Tensor, mean_P: Tensor, axes_PD: Tensor, size_px: int) -> float:
    reconstructions_NP = (codes_ND @ axes_PD.T + mean_P).clamp(0, 1)
    return functional.mse_loss(reconstructions_NP, to_input(images_NCHW, size_px).flatten(1)).item()


def unseen_crops(seed: int) -> tuple[Tensor, Tensor]:
    """Random squares, a quarter to a half of the shorter side, from photographs of scikit-image, and whose they are."""
    random, crops = np.random.default_rng(seed), []
    for name in UNSEEN:
        pixels_CHW = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)
        _, height, width = pixels_CHW.shape
        for _ in range(CROPS_PER_PHOTO):
            side = int(random.uniform(0.25, 0.5) * min(height, width))
            top, left = random.integers(height - side + 1), random.integers(width - side + 1)
            crop_CHW = pixels_CHW[:, top : top + side, left : left + side]
            crops.append(transforms.resize(crop_CHW, [SIDE_PX, SIDE_PX], antialias=True))
    return torch.stack(crops), torch.arange(len(UNSEEN)).repeat_interleave(CROPS_PER_PHOTO)


def make_card(
    model: ConvAutoencoder,
    config: TrainingConfig,
    metrics: dict[str, float],
    arguments: argparse.Namespace,
    split: str,
) -> Card:
    return Card(
        network="autoencoder",
        config=asdict(model.config),
        recipe="autoencoder",
        settings=asdict(config) | {"squares_per_photograph": 3, "square_px": SIDE_PX},
        data=arguments.data,
        data_licence=arguments.licence,
        split=split,
        metrics=metrics,
        preprocess=Preprocess(size_px=model.config.size_px, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        versions={"python": platform.python_version(), "torch": torch.__version__, "pixelmill": version("pixelmill")},
        git_revision=git_revision(),
    )


def git_revision() -> str | None:
    asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() if asked.returncode == 0 else None


@torch.inference_mode()
def save_grid(model: torch.nn.Module, images_NCHW: Tensor, path: Path) -> None:
    """Pairs of rows: photographs over what the code keeps of them."""
    images_NCSS = to_input(images_NCHW, 128)
    pairs = zip(images_NCSS.split(8), model(images_NCSS).clamp(0, 1).split(8), strict=True)
    save_image(torch.cat([row for pair in pairs for row in pair]), path, nrow=8)


if __name__ == "__main__":
    main()
