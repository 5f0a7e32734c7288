"""Pictures that networks make, as grids: samples, reconstructions, walks through a latent space, predictions.

Legend: B batch, C channels, H height, W width, D numbers in a code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from pixelmill.jobs import extras
from pixelmill.jobs.documents.credentials import refuse_credentials
from pixelmill.jobs.evaluation import data_to_judge, judging
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.pipelines.training.sample_order import spread
from pixelmill.workers.codecs.encode import encode_png_tensor
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError, JobError
from pixelmill.workers.evaluation import latent
from pixelmill.workers.models.card import Card
from pixelmill.workers.recipes import Recipe, Sample, squares

Kind = Literal["samples", "reconstructions", "interpolation", "traversal", "predictions"]
NEEDS_DATA = ("reconstructions", "interpolation", "traversal", "predictions")
FITTED_ON = 2000
REACH = 3.0


@dataclass(frozen=True)
class Asked:
    """What a person wants to see: `count` columns, and rows where they are free."""

    kind: Kind
    checkpoint: str
    data: tuple[str, ...] = ()
    part: str = "auto"
    count: int = 8
    rows: int = 8
    dimensions: tuple[int, ...] = ()
    seed: int = 0
    overrides: tuple[str, ...] = ()


def picture(asked: Asked) -> Tensor:
    """The grid, uint8 CHW. JobError where the network has no such pictures, or needs data that was not given."""
    extras.require("train", f"generate {asked.kind}")
    if asked.kind in NEEDS_DATA and not asked.data:
        raise JobError(f"generate {asked.kind}: needs pictures to start from; give --data")
    refuse_credentials(asked.checkpoint, *asked.data)
    network, card = checkpoints.load_from_store(asked.checkpoint, Access())
    makers: dict[Kind, Callable[[Any, Recipe, Card, Asked], Tensor]] = {
        "samples": _samples,
        "reconstructions": _reconstructions,
        "interpolation": _interpolation,
        "traversal": _traversal,
        "predictions": _predictions,
    }
    if asked.kind != "predictions" and not (hasattr(network, "decode") and hasattr(network, "encode")):
        raise JobError(
            f"generate {asked.kind}: {asked.checkpoint} holds the network {card.network}, which has no latent codes; "
            "an autoencoder or a vae has; for this one ask for predictions"
        )
    is_judging = asked.kind == "predictions"
    with (
        judging(card, asked.checkpoint, asked.overrides, Access(), needs_assets=is_judging) as recipe,
        torch.inference_mode(),
    ):
        return makers[asked.kind](network, recipe, card, asked)


def write(shown_CHW: Tensor, path: str) -> None:
    """A picture as PNG."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(encode_png_tensor(shown_CHW))


def _read(recipe: Recipe, card: Card, asked: Asked, count: int) -> list[Sample]:
    """Samples that were not trained on, from all over the data."""
    found = data_to_judge(recipe, card, asked.data, asked.part).data
    return read_samples(found.take(spread(len(found), count)), recipe)


def _codes(network: Any, recipe: Recipe, card: Card, asked: Asked, count: int) -> tuple[Tensor, Tensor]:
    """Images BCSS and their codes BD."""
    images_BCSS = squares.stack(_read(recipe, card, asked, count), network.config.size_px)
    return images_BCSS, torch.cat([network.encode(chunk) for chunk in _split(images_BCSS, 256)])


def _split(values_BX: Tensor, count: int) -> tuple[Tensor, ...]:
    """Chunks of so many along the batch; the last one may be shorter."""
    return torch.split(values_BX, count)


def _require(asked: Asked, found: int, needed: int) -> None:
    if found < needed:
        few = (
            f"needs {needed} pictures, and {found} that were not trained on are in {', '.join(map(scrub, asked.data))}"
        )
        raise DataError(f"generate {asked.kind}: {few}; give more, a lower --count or --rows, or --split all")


def _samples(network: Any, recipe: Recipe, card: Card, asked: Asked) -> Tensor:
    """Draws from the prior; an autoencoder has none, so a Gaussian is fitted to the codes of --data."""
    generator = torch.Generator().manual_seed(asked.seed)
    if card.network == "vae":
        codes = latent.standard_normal(network.config.latent_size)
    elif asked.data:
        codes = latent.fit_gaussian(_codes(network, recipe, card, asked, FITTED_ON)[1])
    else:
        raise JobError(
            "generate samples: an autoencoder has no prior; give --data, whose codes a Gaussian is fitted to"
        )
    drawn_BCHW = latent.sample(network, codes, asked.count * asked.rows, generator)
    return squares.in_rows(*_split(drawn_BCHW, asked.count))


def _reconstructions(network: Any, recipe: Recipe, card: Card, asked: Asked) -> Tensor:
    """Rows of pictures over what became of them: as many whole ones as there are pictures for."""
    images_BCSS, codes_BD = _codes(network, recipe, card, asked, asked.count * max(1, asked.rows // 2))
    count = min(asked.count, len(images_BCSS))
    made_BCSS = network.decode(codes_BD).clamp(0, 1)
    pairs = zip(_split(images_BCSS, count), _split(made_BCSS, count), strict=True)
    return squares.in_rows(*(row for pair in pairs if len(pair[0]) == count for row in pair))


def _interpolation(network: Any, recipe: Recipe, card: Card, asked: Asked) -> Tensor:
    """Each row walks from one picture's code to another's: as many rows as there are pairs."""
    _, codes_BD = _codes(network, recipe, card, asked, 2 * asked.rows)
    _require(asked, len(codes_BD), 2)
    pairs = zip(codes_BD[0::2], codes_BD[1::2], strict=False)
    rows = [latent.interpolate(network, start, end, asked.count) for start, end in pairs]
    return squares.in_rows(*rows)


def _traversal(network: Any, recipe: Recipe, card: Card, asked: Asked) -> Tensor:
    """Each row moves one number of the first picture's code; those that vary most where none are named."""
    _, codes_BD = _codes(network, recipe, card, asked, FITTED_ON)
    _require(asked, len(codes_BD), 2)
    spread_D = codes_BD.std(0)
    if strangers := [each for each in asked.dimensions if not 0 <= each < len(spread_D)]:
        raise JobError(
            f"generate traversal: --dimension {strangers[0]}: a code has the numbers 0 to {len(spread_D) - 1}"
        )
    widest: list[int] = cast("Any", spread_D).argsort(descending=True)[: asked.rows].tolist()
    chosen, rows = asked.dimensions or tuple(widest), list[Tensor]()
    for dimension in chosen:
        reach = float(REACH * (1.0 if card.network == "vae" else spread_D[dimension]))
        middle = 0.0 if card.network == "vae" else float(codes_BD[:, dimension].mean())
        values = [middle + reach * (2 * step / (asked.count - 1) - 1) for step in range(asked.count)]
        rows.append(latent.traverse(network, codes_BD[0], dimension, values))
    return squares.in_rows(*rows)


def _predictions(network: nn.Module, recipe: Recipe, card: Card, asked: Asked) -> Tensor:
    return recipe.pictures(network, _read(recipe, card, asked, asked.count))
