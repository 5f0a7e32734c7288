"""Complete names of models, and the locations of a checkpoint's files. Imports no torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.depth_facts import DepthFacts
from pixelmill.workers.models.stated_classes import StatedClasses

DEFAULT_MODEL = "autoencoder-photos"


@dataclass(frozen=True)
class ModelName:
    """A complete name from `libraries.resolve`: no part depends on a default, which could differ between versions.

    `library` is a key of LIBRARIES. `weights` is the name of published weights, "random" for an untrained network, or None: for a
    file or a folder, which has a `sha256` instead, and for a name that contains a commit.
    """

    library: str
    name: str
    weights: str | None = None
    path: Path | None = None
    sha256: str | None = None
    network: str | None = None
    """The network's name in the card; None without a card."""
    depth: DepthFacts | None = None
    """The unit of a depth network's output; None for other networks, and if it is known only once the network is loaded."""
    classes: StatedClasses | None = None
    """The classes of a network that predicts or takes classes; None for others, and if they are known only once it is loaded."""

    @property
    def identity(self) -> dict[str, object]:
        """The facts that must be equal for equal outputs: the content of a file, for example, but not its path.

        The hash of one of our checkpoints is that of its weights, so that the classes of its card stand beside it; the hashes of
        other libraries' models cover every file that is read.
        """
        if self.sha256 is not None:
            named = self.classes.identity if self.library == "file" and self.classes is not None else {}
            return {"model": self.name, "weights_sha256": self.sha256, **named}
        return {"model": f"{self.library}:{self.name}" + (f"/{self.weights}" if self.weights is not None else "")}


def checkpoint_files(path: Path) -> tuple[Path, Path]:
    """The paths of the weights and the card of a checkpoint, whether they exist or not.

    NAME.safetensors has NAME.json, or card.json beside it. A folder has model.safetensors and card.json, or one
    NAME.safetensors with NAME.json.
    """
    if path.suffix == ".safetensors" and not path.is_dir():
        card = path.with_suffix(".json")
        return path, card if card.is_file() or not path.with_name("card.json").is_file() else path.with_name(
            "card.json"
        )
    weights = path / "model.safetensors"
    named = [] if weights.is_file() else sorted(path.glob("*.safetensors"))
    return checkpoint_files(named[0]) if len(named) == 1 else (weights, path / "card.json")


LISTED = 12
"""How many names a message lists."""


def no_such_layer(model: str, layer: str, layers: Iterable[str]) -> ModelError:
    """The error for a layer that a network lacks: with the nearest names, or the last ones, which embeddings are taken from."""
    known = list(layers)
    blocks = {".".join(path[:depth]) for path in (name.split(".") for name in known) for depth in range(1, len(path))}
    near = did_you_mean(layer, [*sorted(blocks), *known])
    few = known if len(known) <= LISTED else known[-LISTED:]
    shown = near or f"; {'it has' if len(few) == len(known) else f'the last of its {len(known)} are'} {', '.join(few)}"
    return ModelError(f"{model} has no layer {layer}{shown}")


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """` (did you mean A or B?)` with the nearest words; empty if none is near."""
    near = difflib.get_close_matches(word, list(words), n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
