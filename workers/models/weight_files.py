"""Read the files of a checkpoint safely: never a pickle, and shapes before any tensor. Independent of networks.

A checkpoint is NAME.safetensors with NAME.json beside it, or a folder with model.safetensors and card.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, cast

from safetensors import SafetensorError, safe_open
from torch import Tensor

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.model_names import checkpoint_files

WEIGHTS, CARD = "model.safetensors", "card.json"
PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".tar"})
MOST_HEADER_BYTES = 16 << 20

Shapes = dict[str, tuple[int, ...]]


def refuse_pickle(name: str) -> None:
    """ModelError if the name has the suffix of a pickle."""
    if Path(name).suffix.lower() in PICKLE_SUFFIXES:
        raise ModelError(
            f"{name}: a pickle can run code when it is loaded, so none is; convert it once with "
            "safetensors.torch.save_file(state_dict, 'model.safetensors') and write a card beside it"
        )


def files_of(path: Path) -> tuple[Path, Path]:
    if path.suffix == ".safetensors":
        return path, path.with_suffix(".json")
    refuse_pickle(str(path))
    return path / WEIGHTS, path / CARD


def found_files(path: Path) -> tuple[Path, Path]:
    """The files of an existing checkpoint."""
    if path.suffix != ".safetensors":
        refuse_pickle(str(path))
    return checkpoint_files(path)


def unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


class _Slice(Protocol):
    def get_shape(self) -> list[int]: ...


class SafeFile(Protocol):
    """An open safetensors file; its own stubs do not type these methods."""

    def keys(self) -> list[str]: ...

    def get_tensor(self, name: str) -> Tensor: ...

    def get_slice(self, name: str) -> _Slice: ...


def open_weights(path: Path) -> AbstractContextManager[SafeFile]:
    """The file with its header read; SafetensorError, FileNotFoundError or another OSError if that fails."""
    return cast("AbstractContextManager[SafeFile]", safe_open(path, framework="pt"))


def stored_shapes(weights: Path) -> Shapes:
    """The shapes in the header of a safetensors file; no tensor is read."""
    try:
        with weights.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > MOST_HEADER_BYTES:
            raise ModelError(f"{weights}: not a whole safetensors file (its header would have {header_bytes:,} bytes)")
        with open_weights(weights) as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelError(f"{weights}: no such file; copy the weights to where their card is") from error
    except SafetensorError as error:
        raise ModelError(f"{weights}: not a whole safetensors file ({error}); fetch or convert it again") from error


def sha256_of(path: Path) -> str:
    """The hash of the weights of an existing checkpoint."""
    with found_files(path)[0].open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
