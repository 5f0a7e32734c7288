"""Keep checkpoints on any store: weights and card for users, and everything that a training needs to be resumed.

    OUT/model.safetensors, OUT/card.json       the best weights so far: OUT itself is a checkpoint
    OUT/model.marks                            what they were trained on and selected with (workers/models/marks.py)
    OUT/_run/last.json                         names the newest folder below, and earlier ones; written after it is whole
    OUT/_run/step-00001200-0001-5f1c0e9a/      model.safetensors, training.safetensors, training.json, and average.safetensors
                                               where the weights are averaged

Nothing is pickled: an optimiser's state is tensors by parameter and name, and numbers as JSON.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from pixelmill.pipelines.stores.access import Access, scheme_of
from pixelmill.pipelines.stores.assets import checkpoint_at, file_at
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.whole_files import ANY_SIZE
from pixelmill.pipelines.training.averaging import WeightAverage
from pixelmill.workers.errors import RunRefused
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.checkpoint import load_checkpoint, save_checkpoint
from pixelmill.workers.models.marks import marks_file
from pixelmill.workers.models.weight_files import CARD, WEIGHTS, refuse_pickle
from pixelmill.workers.models.zoo import zoo_path
from pixelmill.workers.recipes import Recipe, RecipeSettings
from pixelmill.workers.stages.assets import as_path

LAST, AVERAGE = "_run/last.json", "average.safetensors"


@dataclass
class TrainingProgress:
    """The state of a training besides its tensors: `step` is the next one."""

    step: int = 0
    best: float | None = None
    best_step: int | None = None
    since_best: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    prepared: dict[str, Any] | None = None
    unlogged: dict[str, list[float]] = field(default_factory=dict)
    """Losses of the steps since the last row of the log."""
    trained_s: float = 0.0
    is_complete: bool = False
    is_norm_synchronized: bool = False
    """Whether several workers share their statistics of batch normalisation, as decided at the first step; older checkpoints
    lack it, and each of their workers had its own."""
    initialised_from: dict[str, Any] | None = None
    """The facts about the weights that it began with, for the card."""
    in_blocks: bool | None = None
    """Whether the order of samples is shuffled in blocks; None before the first step, and in older checkpoints."""
    failed: int = 0
    """Samples that were skipped, since they are broken."""
    is_compiled: bool | None = None
    """Whether the network is compiled, as was measured before the first step; None where nobody asked."""
    steps: int | None = None
    """The steps of the whole training when this was saved; older checkpoints lack it."""

    def extend(self, steps: int) -> None:
        """Begin a training that was complete again, where it now has more steps; its patience starts anew."""
        if self.is_complete and self.step < steps:
            self.is_complete, self.since_best = False, 0
        self.steps = steps


# --------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Snapshot:
    """Everything that is needed to resume, copied to the CPU: the training may go on while it is written."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    """By the names of their files."""
    training: bytes


def snapshot_of(
    network: nn.Module, optimizer: Optimizer, progress: TrainingProgress, average: WeightAverage | None = None
) -> Snapshot:
    """Copy the state of a training."""
    state, groups = optimizer_state(optimizer)
    tensors = {WEIGHTS: _tensors(network)}
    if average is not None:
        tensors[AVERAGE] = _tensors(average.network)
    training = json.dumps({"progress": vars(progress), "groups": groups}).encode()
    return Snapshot(progress.step, tensors | {"training.safetensors": state}, training)


def save_training(folder: Folder, snapshot: Snapshot, writer: str = "", keep: int = 1) -> bool:
    """Publish a snapshot; the marker comes last, then those before the newest `keep` are removed. `writer` distinguishes
    attempts that save the same step. Returns False, and nothing counts, where another attempt moved the marker.
    """
    name = f"_run/step-{snapshot.step:08d}{writer and f'-{writer}'}"
    before = folder.read_tagged(LAST)  # read first: a claimed folder checks its claim before each file that follows
    for file, tensors in snapshot.tensors.items():
        folder.publish(f"{name}/{file}", save_tensors(tensors))
    folder.publish(f"{name}/training.json", snapshot.training)
    older = [] if before is None else [each for each in _names_in(before[0]) if each != name]
    marker = json.dumps({"folder": name, "step": snapshot.step, "earlier": older[: keep - 1]}).encode()
    if not (folder.create(LAST, marker) if before is None else folder.replace(LAST, marker, before[1])):
        return False
    for each in older[keep - 1 :]:
        _remove_checkpoint(folder, each)
    return True


def _names_in(marker: bytes) -> list[str]:
    """The checkpoints that a marker names, newest first."""
    named = json.loads(marker)
    return [named["folder"], *named.get("earlier", [])]


def _remove_checkpoint(folder: Folder, name: str) -> None:
    """Remove a checkpoint by its name, which was read from a file that anybody may have written."""
    if not re.fullmatch(r"_run/step-\d{8}(-\d{4}-[0-9a-f]{8})?", name):
        return
    for file in (WEIGHTS, AVERAGE, "training.safetensors", "training.json"):
        with suppress(OSError):
            folder.remove(f"{name}/{file}")
    if folder.is_local:
        with suppress(OSError):
            (Path(folder.path) / name).rmdir()


def read_progress(folder: Folder) -> TrainingProgress | None:
    """The progress of the training in this folder; None where none has begun."""
    marker = folder.read(LAST)
    if marker is None:
        return None
    text = folder.read(f"{json.loads(marker)['folder']}/training.json")
    if text is None:
        raise RunRefused(f"{folder.uri}/{LAST}: names a checkpoint that is gone; choose another output folder")
    return TrainingProgress(**json.loads(text)["progress"])


def load_training(
    folder: Folder, network: nn.Module, optimizer: Optimizer, average: WeightAverage | None = None
) -> None:
    """Restore the newest checkpoint's weights, their average and the optimiser's state, bit for bit."""
    name = json.loads(folder.read(LAST) or b"{}")["folder"]
    files = (WEIGHTS, "training.safetensors", "training.json", *((AVERAGE,) if average else ()))
    parts = [folder.read(f"{name}/{file}", ANY_SIZE) for file in files]
    if None in parts:
        raise RunRefused(f"{folder.uri}/{name}: the checkpoint is not whole; choose another output folder")
    weights, state, text, *averaged = (part or b"" for part in parts)
    network.load_state_dict(load_tensors(weights))
    restore_optimizer(optimizer, load_tensors(state), json.loads(text)["groups"])
    if average is not None:
        average.network.load_state_dict(load_tensors(averaged[0]))


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The state as tensors named PARAMETER.KEY, and the numbers of each group of parameters."""
    raw = optimizer.state_dict()
    tensors = {
        f"{number}.{key}": (value if isinstance(value, Tensor) else torch.tensor(value))
        .detach()
        .cpu()
        .clone(memory_format=torch.contiguous_format)
        for number, state in raw["state"].items()
        for key, value in state.items()
        if value is not None
    }
    return tensors, raw["param_groups"]


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
    """The inverse of `optimizer_state`."""
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    state: dict[str, Tensor] = network.state_dict()
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }


# -------------------------------------------------------------------------------------------------- weights and card


def packed(network: nn.Module, card: Card) -> dict[str, bytes]:
    """The files of a checkpoint of these weights, by name and in the order in which they are published."""
    with tempfile.TemporaryDirectory(prefix="pixelmill-checkpoint-") as local:
        save_checkpoint(Path(local), network, card)
        names = (WEIGHTS, marks_file(Path(WEIGHTS)).name, CARD)
        return {name: (Path(local) / name).read_bytes() for name in names if (Path(local) / name).exists()}


def publish(folder: Folder, files: Mapping[str, bytes]) -> None:
    """Make the folder the checkpoint whose files these are: the weights, the marks of their samples, then their card."""
    for name, data in files.items():
        folder.publish(name, data)


def load_from_store(uri: str, access: Access) -> tuple[nn.Module, Card]:
    """The network and the card of a checkpoint: a folder or NAME.safetensors on any store, or a name of the zoo."""
    with fetched(uri, access) as path:
        return load_checkpoint(path)


@contextmanager
def fetched(uri: str, access: Access) -> Generator[Path]:
    """A checkpoint as a local path for as long as the block runs."""
    shipped = zoo_path(uri)
    if shipped is not None:
        yield shipped
        return
    if scheme_of(uri) == "file":
        yield Path(uri.removeprefix("file://"))
        return
    refuse_pickle(uri)
    with as_path(checkpoint_at(uri, access, with_marks=True)) as path:
        yield path


@contextmanager
def assets(recipe: type[Recipe], settings: RecipeSettings, access: Access) -> Generator[dict[str, Path]]:
    """The files that a recipe's settings name as local paths, by the name of the setting, for as long as the block runs."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context((fetched if name == "checkpoint" else asset)(uri, access))
            for name in recipe.ASSETS
            if (uri := getattr(settings, name)) and "torchvision:" not in uri
        }


@contextmanager
def asset(uri: str, access: Access) -> Generator[Path]:
    """One file as a local path for as long as the block runs."""
    if scheme_of(uri) == "file":
        yield Path(uri.removeprefix("file://"))
        return
    with as_path(file_at(uri, access)) as path:
        yield path
