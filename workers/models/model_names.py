"""Complete names of models, and where the files of a checkpoint lie. Imports no torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pixelmill.workers.models.depth_facts import DepthFacts

DEFAULT_MODEL = "autoencoder-photos"


@dataclass(frozen=True)
class ModelName:
    """A model named completely by `libraries.resolve`: nothing is left to a default that another version would read differently.

    `library` is a key of LIBRARIES. `weights` is the name of published weights, "random" for a network that was never trained, or
    None: for a file or a folder, whose `sha256` is then given, and for a name that holds a commit.
    """

    library: str
    name: str
    weights: str | None = None
    path: Path | None = None
    sha256: str | None = None
    network: str | None = None
    """What its card calls the network; None where it has no card."""
    depth: DepthFacts | None = None
    """What the numbers are of a network for depth; None where that is known only when it is loaded, and of others."""

    @property
    def identity(self) -> dict[str, str]:
        """What must be equal for two outputs to be one: the path of a file is not part of it, its content is."""
        if self.sha256 is not None:
            return {"model": self.name, "weights_sha256": self.sha256}
        return {"model": f"{self.library}:{self.name}" + (f"/{self.weights}" if self.weights is not None else "")}


def checkpoint_files(path: Path) -> tuple[Path, Path]:
    """Where the weights and the card of a checkpoint are, or should be.

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


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """` (did you mean A or B?)` with the words that are near; empty where none is."""
    near = difflib.get_close_matches(word, list(words), n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
