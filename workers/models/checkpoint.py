"""Save and load a network as safetensors with a JSON card that describes how to build it and what to feed it; never pickle.

A card is untrusted. Its network is first built without memory, on torch's meta device, with a limit on the number of parameters
that follows from the weights file. Memory is allocated only once all shapes match the file's header, so that a checkpoint takes
no more memory than its file accounts for.
"""

from __future__ import annotations

import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import Card, read_card
from pixelmill.workers.models.folders import MOST_NUMBER
from pixelmill.workers.models.marks import apart, joined, marks_file
from pixelmill.workers.models.weight_files import Shapes, files_of, found_files, shapes_of, stored_shapes, unfinished
from pixelmill.workers.networks.registry import NETWORKS, network_types

SPARE_TENSORS = 16
MOST_ENTRIES = 1024
"""The longest list in a card's config; real depths are far below."""
MOST_BUFFER_BYTES = 1 << 28
"""Most bytes of buffers that a network computes itself when it is built, such as kernels that are not in the file."""


def save_checkpoint(folder_or_file: Path, module: nn.Module, card: Card) -> None:
    """Write the weights, the marks of its samples, then the card, each atomically; NAME.safetensors is a file, every other
    path a folder.

    The weights keep their dtype. ModelError if the card does not describe `module`.
    """
    weights, card_file = files_of(folder_or_file)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    described = _skeleton(folder_or_file, card, most_tensors=len(state)).state_dict()
    _refuse_misfit(folder_or_file, expected=shapes_of(described), found=shapes_of(state))
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, unfinished(weights))
    unfinished(weights).replace(weights)
    card, marks = apart(card)
    if marks is not None:
        unfinished(marks_file(weights)).write_bytes(marks)
        unfinished(marks_file(weights)).replace(marks_file(weights))
    unfinished(card_file).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    unfinished(card_file).replace(card_file)


def load_checkpoint(path: Path) -> tuple[nn.Module, Card]:
    """The network in eval mode, float32 on the CPU, with the stored weights, and its card.

    Strict: ModelError when a tensor is missing, left over, of another shape or not finite, and for every kind of pickle.
    """
    weights, _ = found_files(path)
    card = read_card(path)
    found = stored_shapes(weights)
    skeleton = _skeleton(path, card, most_tensors=len(found))
    _refuse_misfit(weights, expected=shapes_of(skeleton.state_dict()), found=found)
    state = load_file(weights)
    module = build(path, card)
    if broken := sorted(name for name, tensor in state.items() if not tensor.isfinite().all()):
        several = ", ".join(broken[:6]) + (" ..." if len(broken) > 6 else "")
        raise ModelError(f"{weights}: {several} hold values that are no numbers; take another checkpoint")
    module.load_state_dict(state)
    return module.eval(), joined(card, weights)


def config_of(path: Path, card: Card) -> Any:
    """The config that a card describes; ModelError if its network can't be built with it."""
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


def build(path: Path, card: Card, device: str = "cpu") -> nn.Module:
    config = config_of(path, card)
    with torch.device(device), torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        return network_types(card.network)[1](config)


def _skeleton(path: Path, card: Card, *, most_tensors: int) -> nn.Module:
    """The network on the meta device: shapes without memory. ModelError if it is far larger than the file."""
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
        skeleton = build(path, card, "meta")
    except ModelError:
        raise
    except Exception as error:  # sizes that overflow in torch, arguments that an inner network does not have, ...
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
    """ValueError for impossible numbers and lists, before anything is computed from them."""
    if isinstance(value, int | float) and abs(value) > MOST_NUMBER:
        raise ValueError(f"{value} is larger than any size of a network")
    if isinstance(value, list | dict) and len(value) > MOST_ENTRIES:
        raise ValueError(f"a list of {len(value):,} entries is longer than any of a network")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            _refuse_absurd(inner)


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
