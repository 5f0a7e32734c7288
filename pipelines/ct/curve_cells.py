"""Train the cells of a curve of labels in this process; each that is finished is a file, so that a killed curve goes on.

Samples are decoded once for all cells. The scores of the test part are stored per patient and read only when all is finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixelmill.pipelines.ct.curve_documents import CellResult
from pixelmill.pipelines.ct.curve_plan import FROZEN, SCRATCH, SHUFFLED, Cell, CurvePlan
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.reading import read_each
from pixelmill.pipelines.training.sample_order import SampleOrder
from pixelmill.pipelines.training.splits import Split
from pixelmill.workers.ct.slice_facts import SliceFacts
from pixelmill.workers.errors import DataError, JobError, RowError
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.models.initial_weights import fill_from, start_of
from pixelmill.workers.networks.ct_unet import CtEncoderConfig
from pixelmill.workers.recipes import Recipe, Sample
from pixelmill.workers.recipes.registry import recipe_type

RECIPE = "ct-finetune"
LEFT_OUT = "LeftOut"
Weights = Mapping[str, Tensor]
Say = Callable[[str], None]


@dataclass(frozen=True)
class LabelledSlices:
    """Decoded samples with their patients and classes."""

    samples: Sequence[Sample]
    slices: SliceFacts
    labels: np.ndarray | None


@dataclass(frozen=True)
class CurveData:
    """The parts of the labelled data."""

    train: LabelledSlices
    val: LabelledSlices
    test: LabelledSlices

    @cached_property
    def tested_on(self) -> str:
        """A digest of the values of the test part: of its slices, which nobody can guess, and not of names, which many can."""
        found = hashlib.blake2b(digest_size=16)
        for sample in self.test.samples:
            for name in sorted(sample):
                found.update(np.ascontiguousarray(sample[name]).tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class Encoder:
    """A pretrained network by its tensors."""

    weights: Weights
    card: Card


def open_encoders(plan: CurvePlan, access: Access) -> dict[str, Encoder]:
    """The checkpoints of all arms. JobError where one is no encoder of CT, or two do not see slices in the same way."""
    found: dict[str, Encoder] = {}
    for name, uri in plan.encoders.items():
        with checkpoints.fetched(uri, access) as path:
            module, card = load_checkpoint(path)
        if card.network != "ct-autoencoder":
            raise JobError(f"--encoder {name}: holds the network {card.network}; take what ct-autoencoder trained")
        found[name] = Encoder(module.state_dict(), card)
    if len({json.dumps(seen_by(each.card), sort_keys=True) for each in found.values()}) > 1:
        raise JobError(
            "--encoder: the encoders differ in widths or normalisation, so arms can't be compared; pretrain alike"
        )
    return found


def seen_by(card: Card) -> dict[str, Any]:
    """The settings that an encoder decides: its shape and the normalisation of its input."""
    return {key: value for key, value in card.config.items() if key in CtEncoderConfig.__dataclass_fields__}


def open_data(found: Split, settings: Mapping[str, Any]) -> CurveData:
    """Decode every part once, without slices of air, which training leaves out too. JobError where one is missing."""
    if found.held_out is None or found.test is None:
        raise JobError("a curve needs patients to validate on and to test on; leave --validation and --test above 0")
    recipe = recipe_of(settings)
    return CurveData(*(_part(each, recipe) for each in (found.train, found.held_out, found.test)))


def _part(data: DataSet, recipe: Recipe) -> LabelledSlices:
    assert data.slices is not None
    read = read_each(data, recipe)
    if broken := [each for each in read if isinstance(each, RowError) and each.error_type != LEFT_OUT]:
        raise DataError(str(broken[0])) from broken[0]
    kept = [index for index, each in enumerate(read) if not isinstance(each, RowError)]
    samples = [each for each in read if not isinstance(each, RowError)]
    return LabelledSlices(samples, data.slices.take(kept), None if data.labels is None else data.labels[kept])


def recipe_of(settings: Mapping[str, Any]) -> Any:
    kind = recipe_type(RECIPE)
    return kind(kind.Settings.model_validate(dict(settings)), {})


def finished(cell: Cell, out: Folder) -> CellResult | None:
    stored = out.read(cell.name)
    try:
        return None if stored is None else CellResult.of(stored)
    except ValueError as error:
        raise JobError(
            f"{out.uri}/{cell.name}: is no result of a cell; remove it, and the same command trains it again"
        ) from error


def run_cell(cell: Cell, plan: CurvePlan, data: CurveData, encoders: Mapping[str, Encoder], out: Folder) -> CellResult:
    """The result of a cell, which is trained unless it is finished already. JobError where it was tested on other slices."""
    if (stored := finished(cell, out)) is not None:
        if stored.tested_on not in {None, data.tested_on}:  # cells of before have none
            raise JobError(
                f"{out.uri}: its cells were tested on other slices; the labelled data has changed: choose another out"
            )
        return stored
    settings = settings_of(cell, plan, encoders)
    recipe = recipe_of(settings)
    chosen: list[int] = recipe.chosen(data.train.slices, data.train.labels).tolist()
    samples = [data.train.samples[index] for index in chosen]
    recipe.restore(recipe.prepare(data.train.samples))
    network = trained(recipe, samples, lambda made: begin(made, cell, encoders))
    with torch.inference_mode():
        result = CellResult(
            arm=cell.arm,
            labels=cell.labels,
            seed=cell.seed,
            rate=cell.rate,
            slices=len(samples),
            tested_on=data.tested_on,
            validation=recipe.metrics(recipe.scores(network, data.val.samples)),
            test=by_patient(recipe.scores(network, data.test.samples), data.test.slices.patients),
        )
    out.create(cell.name, result.to_json())
    return result


def settings_of(cell: Cell, plan: CurvePlan, encoders: Mapping[str, Encoder]) -> dict[str, Any]:
    """Equal for every arm but for the encoder's rate and whether it is frozen."""
    adopted = seen_by(next(iter(encoders.values())).card) if encoders else {}
    own = {"seed": cell.seed, "labels_seed": cell.seed, "labels": cell.labels, "encoder_rate": cell.rate}
    return {**plan.settings, **adopted, **own, "frozen": cell.arm.endswith(FROZEN)}


def begin(network: nn.Module, cell: Cell, encoders: Mapping[str, Encoder]) -> None:
    """Fill the encoder with the weights of the cell's arm; the control has those of the first arm, shuffled."""
    if cell.arm == SCRATCH:
        return
    name = next(iter(encoders)) if cell.arm == SHUFFLED else cell.arm.removesuffix(FROZEN)
    weights = encoders[name].weights
    if cell.arm == SHUFFLED:
        weights = shuffled(weights, cell.seed)
    fill_from(network, start_of("ct-finetuned", network, None), weights, encoders[name].card, name)


def shuffled(weights: Weights, seed: int) -> dict[str, Tensor]:
    """The numbers of each tensor in another order: their distribution stays, and what was learned is gone."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].reshape(tensor.shape)
        for name, tensor in weights.items()
    }


def trained(recipe: Any, samples: Sequence[Sample], start: Callable[[nn.Module], None]) -> nn.Module:
    """A network after `settings.steps` steps on the CPU, in eval mode; the last step counts, equally for every arm."""
    settings = recipe.settings
    order, random = SampleOrder(len(samples), settings.seed), np.random.default_rng(settings.seed)
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        torch.manual_seed(settings.seed)  # pyright: ignore[reportUnknownMemberType]
        network = recipe.network().train()
        start(network)
        optimizer = recipe.optimizer(network)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        for step in range(settings.steps):
            chosen = order.indices(step * settings.batch, (step + 1) * settings.batch)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * recipe.rate(step, settings.steps)
            optimizer.zero_grad()
            recipe.losses(network, recipe.batch([samples[index] for index in chosen], random))["loss"].backward()
            optimizer.step()
    return network.eval()


def by_patient(scores: Mapping[str, np.ndarray], patients: Sequence[str]) -> dict[str, dict[str, float]]:
    """The mean of each score over the slices of a patient. Patients have numbers in the order of their names, which stay out of
    what is written: those of labelled files may be anybody's."""
    found: dict[str, dict[str, float]] = {}
    for number, patient in enumerate(sorted(set(patients))):
        rows = [index for index, each in enumerate(patients) if each == patient]
        found[f"{number:06d}"] = {name: float(np.mean(values[rows])) for name, values in scores.items()}
    return found
