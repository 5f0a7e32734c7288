"""The marks of the samples that a checkpoint was trained on and selected with, in a file beside its weights.

The card of a million samples would have 14 MB of them, and everything that reads a card would read them too. In memory they
are part of the card (`Card.trained_on`, `Card.selected_on`); on disk the card has the file's hash. Only an evaluation needs
them, so a checkpoint without the file can be used for all else. Cards of earlier versions hold their marks themselves.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as unpack_arrays
from safetensors.numpy import save as pack_arrays

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import Card

SUFFIX = ".marks"
_MARK = re.compile(r"[0-9a-f]{8}")
_TRAINED, _SELECTED = "trained_on", "selected_on"


def marks_file(weights: Path) -> Path:
    """Where the marks of the checkpoint with these weights lie."""
    return weights.with_suffix(SUFFIX)


def apart(card: Card) -> tuple[Card, bytes | None]:
    """The card without its marks, and the bytes of their file; None where there are none."""
    marks = (*card.trained_on, *(card.selected_on or ()))
    if not marks or not all(map(_MARK.fullmatch, marks)):
        return card, None
    arrays = {_TRAINED: _numbers(card.trained_on)}
    if card.selected_on is not None:
        arrays[_SELECTED] = _numbers(card.selected_on)
    data = pack_arrays(arrays)
    selected = None if card.selected_on is None else ()
    without = {"trained_on": (), "selected_on": selected, "marks_sha256": hashlib.sha256(data).hexdigest()}
    return card.model_copy(update=without), data


def joined(card: Card, weights: Path) -> Card:
    """The card with the marks of its file. Without the file, or with another's, the card as it is: see `require_marks`."""
    if card.marks_sha256 is None:
        return card
    with suppress(OSError, SafetensorError, KeyError):
        data = marks_file(weights).read_bytes()
        if hashlib.sha256(data).hexdigest() == card.marks_sha256:
            arrays = unpack_arrays(data)
            selected = None if card.selected_on is None else _texts(arrays[_SELECTED])
            marks = {"trained_on": _texts(arrays[_TRAINED]), "selected_on": selected, "marks_sha256": None}
            return card.model_copy(update=marks)
    return card


def require_marks(name: str, card: Card) -> None:
    """Raises ModelError where a card has marks, and their file was not there or did not fit."""
    if card.marks_sha256 is not None:
        raise ModelError(
            f"{name}: the *{SUFFIX} file beside its weights, which says what it was trained on, is missing or another's; copy it "
            "from where the checkpoint came from, or give --split all to judge it on everything"
        )


def _numbers(marks: Iterable[str]) -> np.ndarray:
    return np.array([int(mark, 16) for mark in marks], np.uint32)


def _texts(numbers: np.ndarray) -> tuple[str, ...]:
    return tuple(f"{number:08x}" for number in numbers.tolist())
