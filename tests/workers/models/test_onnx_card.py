"""The laws of cards of networks in ONNX: a card has the facts of its task, and an error names the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.onnx_card import MEANINGS, read_onnx_card

INPUT = {"mean": [0, 0, 0], "std": [1, 1, 1]}
CARD: dict[str, Any] = {"task": "segment", "input": INPUT, "output": {"meaning": "logits"}}


def read(folder: Path, card: Any) -> Any:
    (folder / "net.json").write_text(card if isinstance(card, str) else json.dumps(card))
    return read_onnx_card("onnx:net.onnx", folder / "net.json")


@pytest.mark.parametrize("task", MEANINGS)
def test_each_task_has_a_card_for_each_meaning(task: str, tmp_path: Path) -> None:
    for meaning in MEANINGS[task]:  # type: ignore[index]
        card = read(tmp_path, {"task": task, "input": INPUT | {"size_px": 32}, "output": {"meaning": meaning}})
        assert (card.task, card.output.meaning) == (task, meaning)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("{", "it: Invalid JSON"),
        (CARD | {"task": "encode"}, "a network in ONNX can't encode here; it can embed"),
        (
            CARD | {"output": {"meaning": "metres"}},
            "output.meaning of a network to segment is logits or probabilities, not metres",
        ),
        (CARD | {"task": "classify"}, "input.size_px is missing: to classify, pictures are resized to one size"),
        (CARD | {"tiling": "exact"}, "state reach_px"),
        (CARD | {"colours": [[0, 0, 256]]}, "colours.0.2: Input should be less than or equal to 255"),
        (CARD | {"classes": ["a", "b"], "colours": [[0, 0, 0]]}, "1 colours are stated for 2 classes"),
        (CARD | {"classes": None, "colours": [[0, 0, 0]]}, "1 colours are stated for 0 classes"),
        (CARD | {"colour": 1}, "colour: Extra inputs are not permitted"),
        (CARD | {"input": INPUT | {"std": [1, 1]}}, "mean has 3 numbers and std 2; both have one, or three"),
        (CARD | {"input": INPUT | {"std": [1, 1, 0]}}, "std is 0; a deviation of pixels"),
        (CARD | {"input": INPUT | {"size_px": 4097}}, "input.size_px"),
        (CARD | {"input": INPUT | {"least_px": 4097}}, "input.least_px: Input should be less than or equal to 4096"),
        (
            CARD | {"input": INPUT | {"multiple_px": 4097}},
            "input.multiple_px: Input should be less than or equal to 4096",
        ),
        (CARD | {"input": INPUT | {"size_px": [32, 64], "resize_px": 40}}, "resize_px is for a centre crop"),
        (CARD | {"input": INPUT | {"std": [1, 1, float("nan")]}}, "input.std.2: Input should be a finite number"),
        (CARD | {"input": INPUT | {"mean": [0, 0, float("inf")]}}, "input.mean.2: Input should be a finite number"),
        (CARD | {"input": {"mean": [0]}}, "input.std: Field required"),
    ],
)
def test_an_error_of_a_card_names_its_field(card: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as raised:
        read(tmp_path, card)
    assert words in str(raised.value)
    assert "onnx:net.onnx: its card net.json" in str(raised.value)


def test_a_missing_card_and_one_of_many_megabytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"its card net\.json is missing; write it beside the network"):
        read_onnx_card("m", tmp_path / "net.json")
    with (tmp_path / "net.json").open("wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(ModelError, match="has more than 1 MB"):
        read_onnx_card("m", tmp_path / "net.json")
