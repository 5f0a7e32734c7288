"""Train the autoencoder that ships in workers/zoo on a folder of photographs, and measure it beside PCA and pixels.

    python -m benchmarks.train_zoo PHOTOS --data NAME --licence LICENCE --out NAME.safetensors --grid GRID.png

The folder that a photograph lies in is its category. Nothing of the photographs but the weights goes into --out.

Legend: N photographs, B batch, C channels, H height, W width, S side of the network's input, D code size, P numbers of
a flattened image, M crops.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torchvision.transforms import functional as transforms
from torchvision.utils import save_image

from workers import checkpoint
from workers.backbones import Pool
from workers.checkpoint import Card
from workers.networks.autoencoder import ConvAutoencoder
from workers.recipes import Recipe, Sample
from workers.recipes.autoencoder import AutoencoderRecipe, AutoencoderSettings
from workers.recipes.squares import stack

PCA_BATCHES = 500
UNSEEN = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
CROPS_PER_PHOTO = 20
CROP_PX = 160

Codes = Callable[[Tensor], Tensor]
OnStep = Callable[[int, dict[str, float]], None]


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    recipe = AutoencoderRecipe(AutoencoderSettings(steps=arguments.steps, seed=arguments.seed), {})
    files = sorted(arguments.photos.rglob("*.jpg"))
    samples = [recipe.decode({"image": file.read_bytes()}) for file in files]
    held_out_N = hold_out(len(samples), arguments.seed)
    training = [sample for sample, is_out in zip(samples, held_out_N.tolist(), strict=True) if not is_out]
    model = learn(recipe, training, report)
    assert isinstance(model, ConvAutoencoder)
    recipe.finish(model, training)
    model = model.half().float()  # as it will be stored
    metrics = measure(model, recipe, training, stack(samples, model.config.size_px), categories(files), held_out_N)
    counts = f"{len(training)} photographs to train on, {int(held_out_N.sum())} held out"
    card = make_card(model, recipe, metrics, arguments, f"{counts}, drawn with seed {arguments.seed}")
    checkpoint.save(arguments.out, model.half(), card)
    held_out = [sample for sample, is_out in zip(samples, held_out_N.tolist(), strict=True) if is_out]
    save_grid(checkpoint.load(arguments.out)[0], stack(held_out[:16], model.config.size_px), arguments.grid)
    print(card.model_dump_json(indent=2))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the autoencoder that ships, and measure it beside PCA.")
    parser.add_argument("photos", type=Path, help="folder of JPEG photographs, searched in depth")
    parser.add_argument("--data", required=True, help="name of the data, for the card")
    parser.add_argument("--licence", required=True, help="licence of the data, for the card")
    parser.add_argument("--out", type=Path, required=True, help="NAME.safetensors; the card goes beside it")
    parser.add_argument("--grid", type=Path, required=True, help="PNG of held-out photographs over reconstructions")
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def categories(files: list[Path]) -> Tensor:
    """The number of the folder of each photograph."""
    folders = sorted({file.parent for file in files})
    return torch.tensor([folders.index(file.parent) for file in files])


def hold_out(count: int, seed: int) -> Tensor:
    """True for a tenth of the photographs."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return torch.zeros(count, dtype=torch.bool).index_fill(0, order[: count // 10], True)


def learn(recipe: Recipe, samples: Sequence[Sample], on_step: OnStep | None = None) -> nn.Module:
    """A network trained by the recipe on samples in memory, on the CPU, in eval mode; the caller's seeds stay."""
    settings, random = recipe.settings, np.random.default_rng(recipe.settings.seed)
    steps = settings.steps or round(settings.epochs * len(samples) / settings.batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = recipe.network().train()
    optimizer = recipe.optimizer(network)
    scheduler = LambdaLR(optimizer, lambda step: recipe.rate(step, steps))
    for step, chosen in zip(range(steps), draw_orders(len(samples), settings.batch, random), strict=False):
        losses = train_step(recipe, network, optimizer, recipe.batch([samples[index] for index in chosen], random))
        scheduler.step()
        if on_step is not None:
            on_step(step, losses)
    return network.eval()


def draw_orders(count: int, batch: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Which samples each step sees: every one once before any is seen again."""
    while True:
        order = random.permutation(count)
        yield from (order[start : start + batch] for start in range(0, max(1, count - batch + 1), batch))


def train_step(
    recipe: Recipe, network: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor]
) -> dict[str, float]:
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.settings.precision == "bfloat16"):
        losses = recipe.losses(network, batch)
    optimizer.zero_grad()
    losses["loss"].backward()
    if recipe.settings.max_gradient_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), recipe.settings.max_gradient_norm)
    optimizer.step()
    return {name: loss.item() for name, loss in losses.items()}


def report(step: int, losses: dict[str, float]) -> None:
    if step % 200 == 0:
        print(f"step {step}: loss {losses['loss']:.5f}", flush=True)


def measure(
    model: ConvAutoencoder,
    recipe: AutoencoderRecipe,
    training: Sequence[Sample],
    images_NCSS: Tensor,
    categories_N: Tensor,
    held_out_N: Tensor,
) -> dict[str, float]:
    """Error on held-out photographs and how often a nearest neighbour is right, beside PCA and 32 px pixels."""
    mean_P, axes_PD = fit_pca(training, recipe, model.config.code_size)
    spaces: dict[str, Codes] = {
        "code": lambda images_BCSS: encode_all(model, images_BCSS),
        "feature_statistics": lambda images_BCSS: feature_statistics(model, images_BCSS),
        "pca": lambda images_BCSS: (images_BCSS.flatten(1) - mean_P) @ axes_PD,
        "pixels_32px": lambda images_BCSS: transforms.resize(images_BCSS, [32], antialias=True).flatten(1),
    }
    held_out_NCSS = images_NCSS[held_out_N]
    metrics = {
        "mse": functional.mse_loss(reconstruct_all(model, held_out_NCSS), held_out_NCSS).item(),
        "mse_pca": pca_mse(spaces["pca"](held_out_NCSS), held_out_NCSS, mean_P, axes_PD),
    }
    crops_MCSS, photo_M = unseen_crops(recipe.settings.seed, model.config.size_px)
    for name, codes in spaces.items():
        nearest_N = cosines(codes(held_out_NCSS), codes(images_NCSS[~held_out_N])).argmax(1)
        same_N = categories_N[~held_out_N][nearest_N] == categories_N[held_out_N]
        metrics[f"nearest_same_category_{name}"] = same_N.float().mean().item()
        between_MM = cosines(codes(crops_MCSS), codes(crops_MCSS)).fill_diagonal_(-1)
        metrics[f"nearest_same_photo_{name}"] = (photo_M[between_MM.argmax(1)] == photo_M).float().mean().item()
    return {name: round(value, 5) for name, value in metrics.items()}


@torch.inference_mode()
def encode_all(model: ConvAutoencoder, images_NCSS: Tensor) -> Tensor:
    return torch.cat([model.encode(chunk_BCSS) for chunk_BCSS in images_NCSS.split(64)])


@torch.inference_mode()
def reconstruct_all(model: ConvAutoencoder, images_NCSS: Tensor) -> Tensor:
    return torch.cat([model(chunk_BCSS).clamp(0, 1) for chunk_BCSS in images_NCSS.split(64)])


@torch.inference_mode()
def feature_statistics(model: ConvAutoencoder, images_NCSS: Tensor) -> Tensor:
    """What `pixelmill embed` takes by default: mean and deviation of the last feature map before the code."""
    encoder = nn.Sequential(*model.encoder[:-1], Pool("stats"))
    return torch.cat([encoder(chunk_BCSS - 0.5) for chunk_BCSS in images_NCSS.split(64)])


def cosines(left_ND: Tensor, right_MD: Tensor) -> Tensor:
    return functional.normalize(left_ND, dim=1) @ functional.normalize(right_MD, dim=1).T


def fit_pca(samples: Sequence[Sample], recipe: AutoencoderRecipe, components: int) -> tuple[Tensor, Tensor]:
    """Mean P and axes PD of as many components as the code has numbers, from crops like those of the training."""
    random, batch = np.random.default_rng(recipe.settings.seed), recipe.settings.batch
    orders = zip(range(PCA_BATCHES), draw_orders(len(samples), batch, random), strict=False)
    batches = [recipe.batch([samples[index] for index in chosen], random)["images"] for _, chosen in orders]
    samples_NP = torch.cat([batch_BCSS.flatten(1) for batch_BCSS in batches])
    mean_P = samples_NP.mean(0)
    samples_NP -= mean_P
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.settings.seed)
        _, _, axes_PD = torch.svd_lowrank(samples_NP, q=components + 32, niter=3)
    return mean_P, axes_PD[:, :components].contiguous()


def pca_mse(codes_ND: Tensor, images_NCSS: Tensor, mean_P: Tensor, axes_PD: Tensor) -> float:
    reconstructions_NP = (codes_ND @ axes_PD.T + mean_P).clamp(0, 1)
    return functional.mse_loss(reconstructions_NP, images_NCSS.flatten(1)).item()


def unseen_crops(seed: int, size_px: int) -> tuple[Tensor, Tensor]:
    """Random squares, a quarter to a half of the shorter side, from photographs of scikit-image, and whose they are."""
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


def make_card(
    model: ConvAutoencoder,
    recipe: AutoencoderRecipe,
    metrics: dict[str, float],
    arguments: argparse.Namespace,
    split: str,
) -> Card:
    settings: dict[str, Any] = recipe.settings.model_dump(mode="json")
    return Card(
        network=recipe.NETWORK,
        config=asdict(model.config),
        recipe=recipe.NAME,
        settings=settings,
        data=arguments.data,
        data_licence=arguments.licence,
        split=split,
        metrics=metrics,
        preprocess=recipe.preprocess(),
        versions={"python": platform.python_version(), "torch": torch.__version__, "pixelmill": version("pixelmill")},
        git_revision=git_revision(),
    )


def git_revision() -> str | None:
    asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() if asked.returncode == 0 else None


@torch.inference_mode()
def save_grid(model: nn.Module, images_NCSS: Tensor, path: Path) -> None:
    """Pairs of rows: photographs over what the code keeps of them."""
    pairs = zip(images_NCSS.split(8), model(images_NCSS).clamp(0, 1).split(8), strict=True)
    save_image(torch.cat([row for pair in pairs for row in pair]), path, nrow=8)


if __name__ == "__main__":
    main()
