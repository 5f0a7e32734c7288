"""Save and load a network as safetensors with a JSON card that says how to build it and what to feed it; never pickle.

A checkpoint is NAME.safetensors with NAME.json beside it, or a folder with model.safetensors and card.json.

A card may come from anybody. Its network is first built without memory, on torch's meta device, and with few more
parameters than the weights file has tensors; only when all shapes are those in the file's header is anything allocated, so that a
checkpoint takes no more memory than its file accounts for.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, JsonValue, PositiveInt, ValidationError, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.model_names import checkpoint_files
from pixelmill.workers.models.zoo import zoo_names

NETWORKS: dict[str, tuple[str, str, str]] = {
    "autoencoder": ("pixelmill.workers.networks.autoencoder", "AutoencoderConfig", "ConvAutoencoder"),
    "vae": ("pixelmill.workers.networks.vae", "VaeConfig", "Vae"),
    "fcn": ("pixelmill.workers.networks.fcn", "FcnConfig", "Fcn"),
    "segnet": ("pixelmill.workers.networks.segnet", "SegNetConfig", "SegNet"),
    "unet": ("pixelmill.workers.networks.unet", "UNetConfig", "UNet"),
    "monodepth": ("pixelmill.workers.networks.monodepth", "MonodepthConfig", "Monodepth"),
    "vdsr": ("pixelmill.workers.networks.vdsr", "VdsrConfig", "Vdsr"),
    "faststyle": ("pixelmill.workers.networks.faststyle", "FastStyleConfig", "TransformNetwork"),
    "crn": ("pixelmill.workers.networks.crn", "CrnConfig", "CascadedRefinement"),
    "finetuned": ("pixelmill.workers.networks.finetuned", "FinetunedConfig", "Finetuned"),
}
"""Every network that a card can name: its module, its frozen config in it, and the class built from one."""

MOST_HEADER_BYTES, MOST_CARD_BYTES = 16 << 20, 64 << 20
SPARE_TENSORS = 16
MOST_NUMBER, MOST_ENTRIES = 1 << 20, 1024
"""The largest number and the longest list in a card's config; sizes, widths and depths stay far below."""
MOST_BUFFER_BYTES = 1 << 28
"""What a network may compute for itself when it is built, such as kernels that no file holds."""

WEIGHTS, CARD = "model.safetensors", "card.json"
PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".tar"})
_ABSOLUTE_PATH = re.compile(r"(file:)?[/~\\]|[A-Za-z]:[/\\]")

Shapes = dict[str, tuple[int, ...]]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Preprocess(_Strict):
    """What the network was trained to see: resize, crop to a square of `size_px`, then (pixels / 255 - mean) / std."""

    size_px: PositiveInt
    resize: Literal["shorter side, centre crop"] = "shorter side, centre crop"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Card(_Strict):
    """All that is known of a checkpoint: how to build the network, where it comes from and how good it is.

    `config` rebuilds the network, `settings` are the recipe's; `metrics` are those of the weights as they are stored.
    """

    network: str
    config: dict[str, JsonValue]
    recipe: str
    settings: dict[str, JsonValue]
    data: str
    data_licence: str
    split: str
    metrics: dict[str, float]
    preprocess: Preprocess | None
    """None where the recipe alone knows how its data is read."""
    trained_on: tuple[str, ...]
    """Marks of the samples that were trained on, where the data has no split of its own (pipelines/training/datasets.py)."""
    versions: dict[str, str]
    git_revision: str | None

    @field_validator("config", "settings", "data", "split", "git_revision")
    @classmethod
    def _no_local_path(cls, value: JsonValue) -> JsonValue:
        for text in _texts(value):
            if _ABSOLUTE_PATH.match(text):
                raise ValueError(f"{text} is a path of one machine; name the data, not where it lay")
        return value


def save(folder_or_file: Path, module: nn.Module, card: Card) -> None:
    """Write weights, then card, each in one step; NAME.safetensors is taken as a file, every other path as a folder.

    The weights are stored with the dtype that they have. ModelError when the card does not describe `module`.
    """
    weights, card_file = _files(folder_or_file)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    described = _skeleton(folder_or_file, card, most_tensors=len(state)).state_dict()
    _refuse_misfit(folder_or_file, expected=_shapes(described), found=_shapes(state))
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, _part(weights))
    _part(weights).replace(weights)
    _part(card_file).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _part(card_file).replace(card_file)


def load(path: Path) -> tuple[nn.Module, Card]:
    """The network in eval mode, float32 on the CPU, with the stored weights, and its card.

    Strict: ModelError when a tensor is missing, left over, of another shape or not finite, and for every kind of pickle.
    """
    weights, _ = _found(path)
    card = read_card(path)
    found = _stored_shapes(weights)
    skeleton = _skeleton(path, card, most_tensors=len(found))
    _refuse_misfit(weights, expected=_shapes(skeleton.state_dict()), found=found)
    state = load_file(weights)
    module = _build(path, card)
    if broken := sorted(name for name, tensor in state.items() if not tensor.isfinite().all()):
        several = ", ".join(broken[:6]) + (" ..." if len(broken) > 6 else "")
        raise ModelError(f"{weights}: {several} hold values that are no numbers; take another checkpoint")
    module.load_state_dict(state)
    return module.eval(), card


def read_card(path: Path) -> Card:
    """The card of the checkpoint at `path`, without its weights; ModelError when there is none, or a bad one."""
    weights, card_file = _found(path)
    try:
        with card_file.open("rb") as file:
            text = file.read(MOST_CARD_BYTES + 1)
        if len(text) > MOST_CARD_BYTES:
            raise ModelError(
                f"{card_file}: has more than {MOST_CARD_BYTES >> 20} MB; take the card that came with the weights"
            )
        return Card.model_validate_json(text)
    except FileNotFoundError as error:
        if not weights.exists():
            raise ModelError(
                f"{path}: no such checkpoint; give a folder with {WEIGHTS} and {CARD}, a NAME.safetensors with "
                f"NAME.json beside it, or one that ships: {', '.join(zoo_names())}"
            ) from error
        raise ModelError(f"{path}: its card {card_file.name} is missing; copy it to where the weights are") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "JSON"
        raise ModelError(f"{card_file}: {field}: {first['msg']}; take the card that came with the weights") from error


def sha256_of(path: Path) -> str:
    """SHA-256 of the weights file as hex; equal weights in another place have the same one."""
    weights, _ = _found(path)
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_pickle(name: str) -> None:
    """ModelError when the name is one of a pickle."""
    if Path(name).suffix.lower() in PICKLE_SUFFIXES:
        raise ModelError(
            f"{name}: a pickle can run code when it is loaded, so none is; convert it once with "
            "safetensors.torch.save_file(state_dict, 'model.safetensors') and write a card beside it"
        )


def _files(path: Path) -> tuple[Path, Path]:
    if path.suffix == ".safetensors":
        return path, path.with_suffix(".json")
    refuse_pickle(str(path))
    return path / WEIGHTS, path / CARD


def _found(path: Path) -> tuple[Path, Path]:
    """The files of a checkpoint that is there."""
    if path.suffix != ".safetensors":
        refuse_pickle(str(path))
    return checkpoint_files(path)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def network_types(name: str) -> tuple[type[Any], type[nn.Module]]:
    """The config and the module of a network; KeyError when there is none of this name."""
    module, config, network = NETWORKS[name]
    imported = import_module(module)
    return getattr(imported, config), getattr(imported, network)


def config_of(path: Path, card: Card) -> Any:
    """The config that a card describes; ModelError where its network can't be had like that."""
    if card.network not in NETWORKS:
        raise ModelError(f"{path}: its card names the network {card.network}; there are {', '.join(sorted(NETWORKS))}")
    config_type, _ = network_types(card.network)
    known = {field.name for field in fields(config_type)}
    if unknown := sorted(card.config.keys() - known):
        raise ModelError(
            f"{path}: {card.network} has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}; "
            "take the pixelmill that wrote the card"
        )
    try:
        _refuse_absurd(card.config)
        return config_type(**card.config)
    except (ModelError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: config of its card: {error}; take the card that came with the weights") from error


def _build(path: Path, card: Card, device: str = "cpu") -> nn.Module:
    config = config_of(path, card)
    with torch.device(device), torch.random.fork_rng(devices=[]):
        return network_types(card.network)[1](config)


def _skeleton(path: Path, card: Card, *, most_tensors: int) -> nn.Module:
    """The network on the meta device: shapes without memory. ModelError where it is far larger than the file."""
    count, thread = 0, threading.get_ident()

    def refuse_more(*_: object) -> None:
        nonlocal count
        count += threading.get_ident() == thread
        if count > 2 * most_tensors + SPARE_TENSORS:  # a misfit of a few is reported by name
            raise ModelError(
                f"{path}: the network of its card has more than twice the {most_tensors} tensors of the file; "
                "take weights and card from the same checkpoint"
            )

    hook = register_module_parameter_registration_hook(refuse_more)
    try:
        skeleton = _build(path, card, "meta")
    except ModelError:
        raise
    except Exception as error:  # sizes beyond what torch can count, arguments that an inner network does not have, ...
        raise ModelError(f"{path}: config of its card: {error}; take the card that came with the weights") from error
    finally:
        hook.remove()
    _refuse_large_buffers(path, skeleton)
    return skeleton


def _refuse_large_buffers(path: Path, skeleton: nn.Module) -> None:
    stored = skeleton.state_dict().keys()
    computed_bytes = sum(buffer.nbytes for name, buffer in skeleton.named_buffers() if name not in stored)
    if computed_bytes > MOST_BUFFER_BYTES:
        raise ModelError(
            f"{path}: the network of its card would compute {computed_bytes >> 20:,} MB of buffers; take another checkpoint"
        )


def _refuse_absurd(value: JsonValue) -> None:
    """ValueError for numbers and lists that no network has, before anything is computed from them."""
    if isinstance(value, int | float) and abs(value) > MOST_NUMBER:
        raise ValueError(f"{value} is larger than any size of a network")
    if isinstance(value, list | dict) and len(value) > MOST_ENTRIES:
        raise ValueError(f"a list of {len(value):,} entries is longer than any of a network")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_absurd(inner)


def _stored_shapes(weights: Path) -> Shapes:
    """The shapes that a safetensors file states in its header; no tensor is read."""
    try:
        with weights.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > MOST_HEADER_BYTES:
            raise ModelError(f"{weights}: not a whole safetensors file (its header would have {header_bytes:,} bytes)")
        with safe_open(weights, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelError(f"{weights}: no such file; copy the weights to where their card is") from error
    except SafetensorError as error:
        raise ModelError(f"{weights}: not a whole safetensors file ({error}); fetch or convert it again") from error


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _refuse_misfit(path: Path, *, expected: Shapes, found: Shapes) -> None:
    reports = [f"missing {name}" for name in sorted(expected.keys() - found.keys())]
    reports += [f"unexpected {name}" for name in sorted(found.keys() - expected.keys())]
    reports += [
        f"{name} is {found[name]}, not {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if found[name] != expected[name]
    ]
    if reports:
        raise ModelError(
            f"{path}: {len(reports)} of {len(expected)} tensors do not fit the network of its card: "
            f"{'; '.join(reports)}; take weights and card from the same checkpoint"
        )


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in _texts(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _texts(item))
