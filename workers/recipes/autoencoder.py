"""Train the convolutional autoencoder: random crops and flips, L1 or L2 reconstruction, AdamW with a cosine schedule.

The result on 1,350 photographs is in workers/zoo/README.md, beside PCA with a code of equal size.
On MNIST (size_px 32, channels 1, code_channels 32, width 32, pad, no crop, no flip, batch 128, rate 4e-3, bfloat16) the test
error is 0.0082 / 0.0058 / 0.0046 after 1,500 / 3,000 / 6,000 steps at 0.035 s on one core; 32 principal components, fitted on
one half of the test digits, evaluated on the other and clamped, have 0.0153. Tried: width 64 at 2e-3 is as good after 600
steps, at 3.5 times the work; a stem of stride 2 is worse for equal work (0.0097 in the time in which the default reaches 0.0082).

Legend: B batch, N held-out samples, C channels, H height, W width, S side of the network's input, D code size,
P numbers of a flattened picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.evaluation.clustering import cluster
from pixelmill.workers.evaluation.principal_components import through_components
from pixelmill.workers.geometry.mirroring import mirrored
from pixelmill.workers.models.card import SquareInput
from pixelmill.workers.networks.autoencoder import AutoencoderConfig, ConvAutoencoder
from pixelmill.workers.recipes import (
    PICTURES,
    Batch,
    RecipeSettings,
    Role,
    Sample,
    Scores,
    config_from,
    squares,
)
from pixelmill.workers.recipes.optimizers import OptimizerName, optimizer_of
from pixelmill.workers.recipes.schedules import Fraction, ScheduleName, rate_at
from pixelmill.workers.recipes.scoring import joined, means, rows_of
from pixelmill.workers.typed_torch import from_numpy, numbers

LOSSES = {"l1": F.l1_loss, "l2": F.mse_loss}
EVALUATION_BATCH = 64
PCA_VALUES = 2**25  # pixels that are stored for the baseline: 134 MB as float32
CODE_VALUES = 2**27  # numbers of codes that are kept for clustering: 537 MB as float32
PCA_SAMPLES = 4  # for each component, or its axes fit noise
CLUSTER_SAMPLES = 10  # for each label
CLUSTER_SEEDS = range(3)


class AutoencoderSettings(RecipeSettings):
    """The defaults are for photographs; for small digits turn `crop` and `flip` off and `pad` on.

    `smallest_crop` is the smallest side of a crop as a share of the picture's shorter side, `whole_share` the share of
    pictures that are cropped to their largest square, as for the trained encoder. `pad` pads a picture that is smaller than
    `size_px` with black; otherwise it is enlarged.
    """

    epochs: PositiveFloat = 50
    learning_rate: PositiveFloat = 2e-3
    max_gradient_norm: PositiveFloat | None = 1.0
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    optimizer: OptimizerName = "adamw"
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    schedule: ScheduleName = "cosine"
    warmup_steps: NonNegativeInt = 50
    loss: Literal["l1", "l2"] = "l2"

    size_px: PositiveInt = 128
    channels: Literal[1, 3] = 3
    width: PositiveInt = 64
    code_channels: PositiveInt = 16

    crop: bool = True
    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 0.65
    whole_share: Annotated[float, Field(ge=0, le=1)] = 0.3
    flip: bool = True
    pad: bool = False

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.crop and self.pad:
            raise ValueError("crop and pad exclude each other; turn crop off to lay small pictures on black")
        try:
            self.network_config()
        except ModelError as error:
            raise ValueError(str(error)) from error
        return self

    def network_config(self) -> AutoencoderConfig:
        return config_from(AutoencoderConfig, self)


class AutoencoderRecipe:
    """Pictures to a small code and back; evaluated by squared error against PCA, and by k-means if there are labels.

    A sample is {"pixels", optionally "label"}, a batch {"images": floats BCSS in [0, 1]}.
    """

    NAME: ClassVar[str] = "autoencoder"
    NETWORK: ClassVar[str] = "autoencoder"
    ROLES: ClassVar[tuple[Role, ...]] = PICTURES
    ASSETS: ClassVar[tuple[str, ...]] = ()
    JUDGED_WITH: ClassVar[tuple[str, ...]] = ()
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]] = ("mse", "min")
    Settings: ClassVar[type[RecipeSettings]] = AutoencoderSettings

    def __init__(self, settings: AutoencoderSettings, assets: Mapping[str, Path]) -> None:
        self.settings = settings

    def network(self) -> ConvAutoencoder:
        return ConvAutoencoder(self.settings.network_config()).to(memory_format=torch.channels_last)

    # ---------------------------------------------------------------------------------------------------------- data

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        settings = self.settings
        uncropped = squares.whole if settings.pad else squares.central
        fit = squares.roomy if settings.crop else uncropped
        return squares.decode(files, settings.channels, fit(settings.size_px))

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """{"images": floats BCSS in [0, 1]}; draws five random numbers for each sample, whether the settings use them or not."""
        settings, chances_B5 = self.settings, random.random((len(samples), 5))
        pixels = [sample["pixels"] for sample in samples]
        if settings.crop:
            images_BSSC = np.stack([self._cropped(*each) for each in zip(pixels, chances_B5, strict=True)])
        else:
            images_BSSC = squares.centers(pixels, settings.size_px)
        if settings.flip:
            mirrored_B = chances_B5[:, 4] < 0.5
            images_BSSC[mirrored_B] = mirrored(images_BSSC[mirrored_B])
        return {"images": squares.to_floats(images_BSSC)}

    def _cropped(self, pixels_HWC: np.ndarray, chances_5: np.ndarray) -> np.ndarray:
        settings, (whole, size, down, right, _) = self.settings, chances_5
        height, width, _ = pixels_HWC.shape
        full = min(height, width)
        smallest = full if whole < settings.whole_share else max(1, round(full * settings.smallest_crop))
        side = smallest + int(size * (full - smallest + 1))
        top, left = int(down * (height - side + 1)), int(right * (width - side + 1))
        return squares.cut(pixels_HWC, top, left, side, settings.size_px)

    # ------------------------------------------------------------------------------------------------------ training

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return optimizer_of(self.settings, network)

    def rate(self, step: int, steps: int) -> float:
        return rate_at(self.settings, step, steps)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """{"loss": L1 or L2 distance of the reconstruction, a mean over pixels}."""
        return {"loss": LOSSES[self.settings.loss](network(batch["images"]).float(), batch["images"])}

    @torch.no_grad()
    def finish(self, network: nn.Module, samples: Iterable[Sample]) -> None:
        """Codes get mean 0 over these training samples; reconstructions stay as they are."""
        autoencoder = cast("ConvAutoencoder", network)
        batches = (squares.stack(chunk, self.settings.size_px) for chunk in squares.chunks(samples, EVALUATION_BATCH))
        device = autoencoder.code_mean_D.device
        autoencoder.center(torch.cat([autoencoder.encode(images_BCSS.to(device)) for images_BCSS in batches]))

    def preprocess(self) -> SquareInput | None:
        """None for padded pictures, because an embedding job resizes and crops."""
        settings = self.settings
        means, deviations = (0.0,) * settings.channels, (1.0,) * settings.channels
        return None if settings.pad else SquareInput(size_px=settings.size_px, mean=means, std=deviations)

    # ---------------------------------------------------------------------------------------------------- evaluation

    def scores(self, network: nn.Module, samples: Iterable[Sample]) -> Scores:
        """`errors` N: `mse` of each picture on its own pixels, in [0, 1]. For the baselines also

        codes, labels          of labelled samples, CODE_VALUES numbers at most; `unlabelled` counts the others
        squares, areas         NSSC in 8 bits and N1SS, PCA_VALUES at most, where that many suffice for the `components`
        """
        autoencoder, size_px = cast("ConvAutoencoder", network), self.settings.size_px
        rooms = {"codes": CODE_VALUES // autoencoder.config.code_size, "squares": self._pca_room(autoencoder)}

        def scored(chunk: list[Sample]) -> Scores:
            images_BCSS = squares.stack(chunk, size_px).to(autoencoder.code_mean_D.device)
            areas_B1SS = squares.areas(chunk, size_px)
            codes_BD = autoencoder.encode(images_BCSS)
            made_BCSS, areas_there_B1SS = autoencoder.decode(codes_BD), areas_B1SS.to(images_BCSS.device)
            errors_B = numbers(squares.squared_errors(made_BCSS, images_BCSS, areas_there_B1SS))
            labelled = [place for place, sample in enumerate(chunk) if "label" in sample]
            coded, drawn = labelled[: rooms["codes"]], chunk[: rooms["squares"]]
            rooms["codes"] -= len(coded)
            rooms["squares"] -= len(drawn)
            found: Scores = {"errors": np.array(errors_B), "unlabelled": np.array([len(chunk) - len(labelled)])}
            if coded:
                found["codes"] = rows_of(codes_BD[coded])
                found["labels"] = np.array([int(chunk[place]["label"]) for place in coded])
            if drawn:
                found["squares"] = squares.centers([sample["pixels"] for sample in drawn], size_px)
                found["areas"] = areas_B1SS[: len(drawn)].numpy()
                found["components"] = np.array([autoencoder.config.code_size])
            return found

        return joined(map(scored, squares.chunks(samples, EVALUATION_BATCH)))

    def _pca_room(self, network: ConvAutoencoder) -> int:
        """The number of pictures to keep for the baseline; 0 if they could never be enough for its components."""
        room = PCA_VALUES // (self.settings.channels * self.settings.size_px**2)
        return room if room >= 2 * PCA_SAMPLES * network.config.code_size else 0

    def metrics(self, scores: Scores) -> dict[str, float]:
        """`mse` on the pictures' own pixels, in [0, 1]; with enough samples also

        mse_pca            `mse` of PCA with as many components as the code has numbers
        nmi, cluster_accuracy   of k-means on the codes, see workers/evaluation/clustering.py; only if samples have labels

        PCA is fitted on one half of the samples and evaluated on the other, both ways. k-means is fitted on every second sample
        and evaluated on the others.
        """
        metrics = {"mse": means({"mse": scores["errors"]} if scores else {})["mse"]}
        if "squares" in scores:
            metrics |= _pca_metrics(scores["squares"], scores["areas"], int(scores["components"][0]))
        if "codes" in scores and not scores["unlabelled"].any():
            metrics |= _cluster_metrics(scores["codes"], scores["labels"])
        return metrics

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """Inputs over reconstructions."""
        images_BCSS = squares.stack(samples, self.settings.size_px)
        device = next(network.parameters()).device
        return squares.in_rows(images_BCSS, network(images_BCSS.to(device)))


def _pca_metrics(squares_NSSC: np.ndarray, areas_N1SS: np.ndarray, components: int) -> dict[str, float]:
    """{"mse_pca"} over all samples, each reconstructed with axes that were fitted on the half without it."""
    keep = PCA_VALUES // squares_NSSC[0].size  # each part of the samples kept so many
    squares_NSSC, areas_N1SS = squares_NSSC[:keep], areas_N1SS[:keep]
    if len(squares_NSSC) < 2 * PCA_SAMPLES * components:
        return {}
    images_NCSS = squares.to_floats(squares_NSSC)
    pixels_NP = images_NCSS.flatten(1).numpy()
    made_NP = np.empty_like(pixels_NP)
    for fitted, judged in ((0, 1), (1, 0)):
        made_NP[judged::2] = through_components(pixels_NP[fitted::2], pixels_NP[judged::2], components)
    made_NCSS = from_numpy(made_NP).view_as(images_NCSS)
    return {"mse_pca": squares.squared_errors(made_NCSS, images_NCSS, from_numpy(areas_N1SS)).mean().item()}


def _cluster_metrics(codes_ND: np.ndarray, labels_N: np.ndarray) -> dict[str, float]:
    """{"nmi", "cluster_accuracy"}: means over seeds; empty if labels are few, or codes are not finite."""
    fitted_MD, judged_MD, labels_M = codes_ND[::2], codes_ND[1::2], labels_N[1::2]
    classes = len(np.unique(labels_M))
    if classes < 2 or len(fitted_MD) < CLUSTER_SAMPLES * classes:
        return {}
    if not np.isfinite(codes_ND).all():
        return {}
    clustering = cluster(fitted_MD, judged_MD, labels_M, CLUSTER_SEEDS)
    return {"nmi": clustering.mean_nmi, "cluster_accuracy": clustering.mean_accuracy}
