"""Train a transform network for one painting: perceptual losses on its output for photographs, without targets.

Johnson, Alahi & Fei-Fei 2016: style at relu1_2, relu2_2, relu3_3, relu4_3 and content at relu3_3 of VGG-16, a little
total variation; Adam at 1e-3, 40,000 steps of 4 crops of 256 pixels.

Tried on one CPU core with the authors' VGG-16 weights, width 16, crops of 128 pixels, bfloat16 and schedule cosine, for
under 4 minutes each, evaluated on 12 held-out photographs (jobs/recipes has longer trainings). starry_night, batch 4: loss_ratio
0.113 after 358 steps. mosaic (style_size_px 160, tv_weight 1e5): 0.166 after 404 steps of 4, 0.150 after 797 steps of 2,
in the same time. These outputs show a fine grid; a 78 times larger weight of total variation did not remove it.

Legend: B batch, C channels, H height, W width, S side of a crop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import DataError, RowError
from pixelmill.workers.geometry.mirroring import mirrored
from pixelmill.workers.geometry.resize import center_crop, resize_shorter_side
from pixelmill.workers.losses.perceptual import StyleTransferLoss, moved
from pixelmill.workers.losses.style_choice import LossScale, StyleChoice
from pixelmill.workers.models.vgg_names import is_published
from pixelmill.workers.models.vgg_weights import find_published, load_vgg
from pixelmill.workers.networks.faststyle import SMALLEST_PX, FastStyleConfig, FastStyleUpsampling, TransformNetwork
from pixelmill.workers.recipes import PICTURES, Batch, RecipeSettings, Role, Sample, Scores, config_from
from pixelmill.workers.recipes.optimizers import optimizer_of
from pixelmill.workers.recipes.schedules import rate_at
from pixelmill.workers.recipes.scoring import joined, means, rows_of
from pixelmill.workers.recipes.squares import chunks, cut, decode, in_rows, roomy, scaled
from pixelmill.workers.typed_torch import from_numpy

METRICS = {"total": "total_loss", "content": "content_loss", "style": "style_loss", "total_variation": "tv_loss"}


class FastStyleSettings(RecipeSettings, StyleChoice):
    """`vgg` are the weights of the loss network, `style` is the painting; its shorter side is set to `style_size_px`.

    `schedule` cosine ends at a rate of 0, which gives the best result in a short training; the paper's is constant.
    """

    vgg: str
    style: str
    epochs: PositiveFloat = 2
    batch: PositiveInt = 4
    learning_rate: PositiveFloat = 1e-3
    size_px: int = Field(default=256, ge=SMALLEST_PX)
    style_size_px: PositiveInt = 256
    width: PositiveInt = 32
    blocks: int = Field(default=5, ge=0)
    upsampling: FastStyleUpsampling = "nearest"
    content_layers: tuple[str, ...] = ("relu3_3",)
    style_layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    content_weight: NonNegativeFloat = 1.0
    style_weight: NonNegativeFloat = 5.0
    tv_weight: NonNegativeFloat = 6400.0
    scale: LossScale = "johnson"

    @property
    def network(self) -> FastStyleConfig:
        return config_from(FastStyleConfig, self)


class FastStyleRecipe:
    """From photographs to the same photographs in the style of the painting; one network for each painting."""

    NAME: ClassVar[str] = "faststyle"
    NETWORK: ClassVar[str] = "faststyle"
    ROLES: ClassVar[tuple[Role, ...]] = PICTURES
    ASSETS: ClassVar[tuple[str, ...]] = ("vgg", "style")
    JUDGED_WITH: ClassVar[tuple[str, ...]] = ("vgg", "style")
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]] = ("total_loss", "min")
    Settings: ClassVar[type[RecipeSettings]] = FastStyleSettings

    def __init__(self, settings: FastStyleSettings, assets: Mapping[str, Path]) -> None:
        self.settings = settings
        self.assets = assets
        self._loss: StyleTransferLoss | None = None
        self._painting: Tensor | None = None

    def network(self) -> TransformNetwork:
        return TransformNetwork(self.settings.network).to(memory_format=torch.channels_last)

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        """{"pixels": uint8 HWC}, a quarter larger than the crops."""
        return decode({"image": files["image"]}, 3, roomy(self.settings.size_px))

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """Random crops, half of them mirrored: {"images": uint8 BCSS}."""
        crops_SSC = [random_crop(sample["pixels"], self.settings.size_px, random) for sample in samples]
        return {"images": from_numpy(np.stack(crops_SSC)).permute(0, 3, 1, 2)}

    def check(self, samples: Sequence[Sample], together: int) -> None:
        """Check before a training that the painting is a picture and that the loss network has the requested layers."""
        self.network()
        with torch.device("cpu"):
            if is_published(self.settings.vgg):
                find_published(self.settings.vgg)
                self.painting()
            else:
                self.loss().content_targets(self.painting())

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return optimizer_of(self.settings, network)

    def rate(self, step: int, steps: int) -> float:
        return rate_at(self.settings, step, steps)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Weighted terms: loss, content, style, total_variation."""
        photos_BCSS = scaled(batch["images"])
        terms = self._terms(photos_BCSS, network(photos_BCSS))
        means = {name: term_B.mean() for name, term_B in terms.items()}
        return {"loss": means.pop("total"), **means}

    def scores(self, network: nn.Module, samples: Iterable[Sample]) -> Scores:
        """The losses of central squares, weighted as in training, and the total of the unchanged photographs: N each."""
        device = next(network.parameters()).device

        def scored(chunk: list[Sample]) -> Scores:
            photos_BCSS = self._central(chunk).to(device)
            terms = self._terms(photos_BCSS, network(photos_BCSS).clamp(0, 1))
            found = {metric: terms[term] for term, metric in METRICS.items()}
            found["total_loss_untouched"] = self._terms(photos_BCSS, photos_BCSS)["total"]
            return {metric: rows_of(loss_B) for metric, loss_B in found.items()}

        return joined(map(scored, chunks(samples, self.settings.batch)))

    def metrics(self, scores: Scores) -> dict[str, float]:
        """The mean losses, and those of the unchanged photographs.

        `loss_ratio` is the mean of the first divided by the mean of the second: 1 for a network that changes nothing.
        """
        found = means(scores)
        return found | {"loss_ratio": found["total_loss"] / found["total_loss_untouched"]}

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """A row of photographs above their stylized versions, with the painting on the left."""
        photos_BCSS = self._central(samples).to(next(network.parameters()).device)
        painting_1CSS = self._painting_square()
        painted_BCSS = network(photos_BCSS).float().cpu()
        return in_rows(
            torch.cat([painting_1CSS, photos_BCSS.cpu()]), torch.cat([torch.ones_like(painting_1CSS), painted_BCSS])
        )

    def _terms(self, photos_BCSS: Tensor, images_BCSS: Tensor) -> dict[str, Tensor]:
        loss = moved(self.loss(), photos_BCSS.device)
        return loss(images_BCSS, loss.content_targets(photos_BCSS))

    def loss(self) -> StyleTransferLoss:
        """The loss of this painting, built on first use: decoding does not need the loss network."""
        if self._loss is None:
            with torch.inference_mode(False):
                network = load_vgg(self.assets.get("vgg", self.settings.vgg)).to(memory_format=torch.channels_last)
                self._loss = StyleTransferLoss(network, self.painting(), self.settings.weights)
        return self._loss

    def painting(self) -> Tensor:
        """The painting in [0, 1], with the shorter side `style_size_px`; DataError if it is not a picture."""
        if self._painting is None:
            pixels_CHW = read_painting(Path(self.assets.get("style", self.settings.style)))
            self._painting = resize_shorter_side(pixels_CHW, self.settings.style_size_px)[None].float() / 255
        return self._painting

    def _painting_square(self) -> Tensor:
        side_px = min(self.painting().shape[2:])
        square_CHW = center_crop(self.painting()[0], side_px)
        size_px = self.settings.size_px
        return F.interpolate(square_CHW[None], (size_px, size_px), mode="bilinear", antialias=True)

    def _central(self, samples: Sequence[Sample]) -> Tensor:
        """Central squares BCSS in [0, 1], at the scale of the crops."""
        size_px = self.settings.size_px
        squares_SSC: list[np.ndarray] = []
        for sample in samples:
            height, width, _ = sample["pixels"].shape
            squares_SSC.append(cut(sample["pixels"], (height - size_px) // 2, (width - size_px) // 2, size_px, size_px))
        return scaled(from_numpy(np.stack(squares_SSC)).permute(0, 3, 1, 2))


def read_painting(path: Path) -> Tensor:
    """uint8 pixels_CHW; DataError if the file is not a picture."""
    try:
        return decode_picture(path.read_bytes())
    except (OSError, RowError) as error:
        fact = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: the painting can't be read ({fact}); give a picture as style") from error


def random_crop(pixels_HWC: np.ndarray, size_px: int, random: np.random.Generator) -> np.ndarray:
    """A square SSC at a random place, randomly mirrored; draws three numbers for any picture."""
    down, right, mirror = random.random(3)
    top = int(down * (pixels_HWC.shape[0] - size_px + 1))
    left = int(right * (pixels_HWC.shape[1] - size_px + 1))
    crop_SSC = cut(pixels_HWC, top, left, size_px, size_px)
    return mirrored(crop_SSC) if mirror < 0.5 else crop_SSC
