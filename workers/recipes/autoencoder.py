"""Train the convolutional autoencoder: random crops and flips, L1 or L2 reconstruction, AdamW with a cosine schedule.

Result on 1,350 photographs is in the card of workers/zoo/autoencoder-photos.json, beside PCA with a code of equal size.

Legend: N images of the data set, B batch, C channels, H height, W width, S side of the network's input, D code size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from workers.errors import ModelError
from workers.networks.autoencoder import AutoencoderConfig, ConvAutoencoder

LOSSES = {"l1": F.l1_loss, "l2": F.mse_loss}


@dataclass(frozen=True)
class TrainingConfig:
    """How long and on what; the same config, images and machine give the same weights.

    `smallest_crop` is the least side of a crop as a share of the image's, `whole_share` the share of batches that see
    whole images, as the encoder will. The learning rate rises over `warmup_steps` and falls to 0 on half a cosine.
    """

    steps: int = 8000
    batch: int = 16
    loss: Literal["l1", "l2"] = "l2"
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    weight_decay: float = 0.0
    max_gradient_norm: float = 1.0
    smallest_crop: float = 0.65
    whole_share: float = 0.3
    bfloat16: bool = True
    seed: int = 0


def train(
    images_NCHW: Tensor,
    network: AutoencoderConfig,
    config: TrainingConfig,
    on_step: Callable[[int, float, ConvAutoencoder], None] | None = None,
) -> ConvAutoencoder:
    """A ConvAutoencoder trained on square uint8 images of any one size, its codes centred on them, in eval mode.

    `on_step(step, loss, model)` is called after each step. ModelError when the images are not square uint8.
    """
    if images_NCHW.dtype != torch.uint8 or images_NCHW.shape[2] != images_NCHW.shape[3]:
        raise ModelError(f"train: images are {images_NCHW.dtype} {tuple(images_NCHW.shape)}; give square uint8 NCHW")
    model = _initialized(network, config.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    generator = torch.Generator().manual_seed(config.seed)
    for step in range(config.steps):
        optimizer.param_groups[0]["lr"] = learning_rate(step, config)
        loss = train_step(model, optimizer, sample_batch(images_NCHW, network.size_px, config, generator), config)
        if on_step is not None:
            on_step(step, loss, model)
    model.eval()
    model.center(encode_all(model, images_NCHW))
    return model


def _initialized(network: AutoencoderConfig, seed: int) -> ConvAutoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvAutoencoder(network).to(memory_format=torch.channels_last)


def train_step(
    model: ConvAutoencoder, optimizer: torch.optim.Optimizer, images_BCSS: Tensor, config: TrainingConfig
) -> float:
    """One step down the loss of reconstructing `images_BCSS` in [0, 1]; returns the loss."""
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
        reconstructions_BCSS = model(images_BCSS)
    loss = LOSSES[config.loss](reconstructions_BCSS.float(), images_BCSS)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), config.max_gradient_norm)
    optimizer.step()
    return loss.item()


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then half a cosine down to 0 at the last step."""
    warmup = min(1.0, (step + 1) / config.warmup_steps)
    return config.learning_rate * warmup * (0.5 + 0.5 * math.cos(math.pi * step / config.steps))


def sample_batch(images_NCHW: Tensor, size_px: int, config: TrainingConfig, generator: torch.Generator) -> Tensor:
    """A batch of random square crops at random places, half of them mirrored: float in [0, 1], BCSS."""

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=generator)

    full_px = images_NCHW.shape[2]
    whole = torch.rand((), generator=generator) < config.whole_share
    side_px = full_px if whole else int(integers(round(full_px * config.smallest_crop), full_px + 1))
    corners_B2 = integers(0, full_px - side_px + 1, config.batch, 2).tolist()
    crops_BCHW = torch.stack(
        [
            images_NCHW[index, :, top : top + side_px, left : left + side_px]
            for index, (top, left) in zip(integers(0, len(images_NCHW), config.batch).tolist(), corners_B2, strict=True)
        ]
    )
    mirrored_B111 = integers(0, 2, config.batch, 1, 1, 1).bool()
    images_BCSS = to_input(crops_BCHW, size_px)
    return torch.where(mirrored_B111, images_BCSS.flip(3), images_BCSS)


def to_input(images_BCHW: Tensor, size_px: int) -> Tensor:
    """Square uint8 images as the network takes them: antialiased bilinear to `size_px`, float in [0, 1]."""
    floats_BCHW = images_BCHW.float() / 255
    resized_BCSS = F.interpolate(floats_BCHW, (size_px, size_px), mode="bilinear", antialias=True)
    return resized_BCSS.contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def encode_all(model: ConvAutoencoder, images_NCHW: Tensor, batch: int = 64) -> Tensor:
    """Codes ND of square uint8 images."""
    chunks = images_NCHW.split(batch)
    return torch.cat([model.encode(to_input(chunk_BCHW, model.config.size_px)) for chunk_BCHW in chunks])


@torch.inference_mode()
def reconstruction_mse(model: ConvAutoencoder, images_NCHW: Tensor, batch: int = 64) -> float:
    """Mean squared error of the clamped reconstruction over square uint8 images, on the scale [0, 1]."""
    total = 0.0
    for chunk_BCHW in images_NCHW.split(batch):
        images_BCSS = to_input(chunk_BCHW, model.config.size_px)
        total += F.mse_loss(model(images_BCSS).clamp(0, 1), images_BCSS).item() * len(chunk_BCHW)
    return total / len(images_NCHW)
