"""Paint photographs in a style: with a network that knows one style, or by optimising the picture itself.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor

from pixelmill.jobs import checks
from pixelmill.jobs.documents.credentials import refuse_credentials
from pixelmill.jobs.documents.faults import faults
from pixelmill.jobs.documents.overrides import override_key
from pixelmill.jobs.documents.parsing import Document
from pixelmill.jobs.generate import write
from pixelmill.jobs.places import absolute
from pixelmill.jobs.training_job import known_settings
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.reading import ObjectReader
from pixelmill.pipelines.training import checkpoints
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import DataError, JobError, ModelError, RowError
from pixelmill.workers.geometry.resize import resize_shorter_side
from pixelmill.workers.models import vision

SIZE_PX = 256
"""The shorter side where a picture is optimised and nobody said otherwise."""


@dataclass(frozen=True)
class Wish:
    """Photographs and the style that they shall have: of a network, or of a painting with a loss network's weights."""

    content: Sequence[str]
    out: str
    checkpoint: str | None = None
    style: str | None = None
    vgg: str | None = None
    size_px: int | None = None
    overrides: Sequence[str] = ()


def stylize(wish: Wish, say: Callable[[str], None]) -> list[str]:
    """Write a PNG for each photograph and give their paths; JobError for a wish that can't be met."""
    if (wish.checkpoint is None) == (wish.style is None):
        raise JobError("stylize: give --checkpoint for a trained style, or --style and --vgg to optimise")
    places = _places(wish)
    for path, shown_CHW in zip(places, _painted(wish, say), strict=True):
        write(shown_CHW, path)
    return places


def _places(wish: Wish) -> list[str]:
    """Where the pictures go; nothing is written yet."""
    stems = [PurePosixPath(each).stem for each in wish.content]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise JobError(f"stylize: two photographs would become {twice[0]}.png; stylize them one after another")
    absolute(wish.out)  # an empty one would be the root
    places = [f"{wish.out}/{stem}.png" for stem in stems]
    for path in places:
        checks.check_file(path)
    return places


def _painted(wish: Wish, say: Callable[[str], None]) -> Sequence[Tensor]:
    if wish.checkpoint is not None:
        if wish.vgg is not None or wish.overrides:
            raise JobError(
                "stylize: --vgg and --set are of the optimisation; a network of --checkpoint knows its style"
            )
        return [stylized(wish.checkpoint, each, wish.size_px) for each in wish.content]
    if wish.vgg is None:
        raise JobError(
            "stylize: --style needs --vgg, VGG weights as safetensors or torchvision:VGG19_Weights.IMAGENET1K_V1"
        )
    settings: Document = {}
    for override in wish.overrides:
        override_key(settings, override)
    size_px = wish.size_px or SIZE_PX
    return list(optimized(list(wish.content), wish.style or "", wish.vgg, settings, size_px, say))


def read_picture(uri: str, shorter_px: int | None = None) -> Tensor:
    """One picture as floats in [0, 1], 3HW; its shorter side resized where `shorter_px` says so."""
    refuse_credentials(uri)
    try:
        pixels_CHW = decode_picture(ObjectReader(Access()).read(absolute(uri), max_bytes=1 << 30))
    except RowError as error:
        raise DataError(f"{uri}: {error}") from error
    except Exception as error:
        raise explain(error, uri, "reading the picture") from error
    if shorter_px is not None:
        pixels_CHW = resize_shorter_side(pixels_CHW, shorter_px, "bilinear", exact=True)
    return pixels_CHW[:3].expand(3, -1, -1).float() / 255


def to_bytes(image_CHW: Tensor) -> Tensor:
    """Floats around [0, 1] as uint8."""
    return (image_CHW.detach().clamp(0, 1) * 255).round().byte().cpu()


def stylized(checkpoint: str, content: str, shorter_px: int | None) -> Tensor:
    """A picture through a network that knows one style, uint8 CHW."""
    refuse_credentials(checkpoint)
    network, card = checkpoints.load_from_store(checkpoint, Access())
    if card.network != "faststyle":
        raise ModelError(
            f"{checkpoint}: holds a {card.network}, and no style; train one with `pixelmill train faststyle`"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.inference_mode():
        return to_bytes(network.to(device)(read_picture(content, shorter_px)[None].to(device))[0])


def optimized(
    content: list[str], style: str, vgg: str, settings: Document, size_px: int, say: Callable[[str], None]
) -> Tensor:
    """Photographs in a painting's manner by Gatys' optimisation, uint8 BCHW.

    They are optimised at once, so all are cut at their centre to the least height and width among them.
    """
    from pydantic import ValidationError

    from pixelmill.workers.losses.gatys import GatysSettings
    from pixelmill.workers.losses.gatys import stylize as optimize
    from pixelmill.workers.networks.vgg import load_vgg

    try:
        chosen = GatysSettings.model_validate(settings)
    except ValidationError as error:
        lines = faults(error, known_settings(GatysSettings))
        raise JobError("stylize: its settings\n" + "\n".join(lines)) from error
    refuse_credentials(vgg)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vision.lighten()
    center_crop: Callable[[Tensor, list[int]], Tensor] = import_module("torchvision.transforms.functional").center_crop
    photos = [read_picture(each, size_px) for each in content]
    height, width = (min(photo.shape[side] for photo in photos) for side in (1, 2))
    photos_BCHW = torch.stack([center_crop(photo, [height, width]) for photo in photos]).to(device)
    painting_1CHW = read_picture(style, size_px)[None].to(device)
    first_loss: list[float] = []

    def on_step(step: int, terms: Any) -> None:
        total = float(terms["total"].mean())
        if not first_loss:
            first_loss.append(total)
        if step % 10 == 0 or step == chosen.steps - 1:
            say(f"step {step:,} / {chosen.steps:,}, loss {total:.4g}, {total / first_loss[0]:.1%} of the first")

    if vgg.startswith("torchvision:"):
        loss_network = load_vgg(vgg)
    else:
        with checkpoints.asset(absolute(vgg), Access()) as path:
            loss_network = load_vgg(path)
    return torch.stack([to_bytes(each) for each in optimize(photos_BCHW, painting_1CHW, loss_network, chosen, on_step)])
