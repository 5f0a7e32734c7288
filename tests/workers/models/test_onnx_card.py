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


QUANTIZED: dict[str, Any] = {
    "numbers": "int8",
    "source": "torchvision:resnet18/random",
    "source_sha256": "0" * 64,
    "calibration_pictures": 256,
    "calibration_sha256": "1" * 64,
    "agreement": [
        {"measure": "cosine", "median": 0.9987, "worst": 0.995, "pictures": 1200},
        {"measure": "equal classes", "median": 1.0, "worst": 1.0, "pictures": 1200},
    ],
}


def test_a_card_says_how_its_network_was_quantized(tmp_path: Path) -> None:
    card = read(tmp_path, CARD | {"quantized": QUANTIZED})
    assert card.quantized is not None
    assert card.quantized.described() == (
        "int8, cosine to float32 0.99870 (worst 0.99500), equal classes to float32 1.00000 on 1,200 pictures"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"numbers": "int4"}, "quantized.numbers"),
        ({"source_sha256": "abc"}, "quantized.source_sha256"),
        ({"agreement": []}, "quantized.agreement"),
        ({"calibration_pictures": 0}, "quantized.calibration_pictures"),
        ({"scheme": "mine"}, "quantized.scheme: Extra inputs are not permitted"),
    ],
)
def test_an_error_of_the_quantization_names_its_field(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read(tmp_path, CARD | {"quantized": QUANTIZED | change})


def test_a_missing_card_and_one_of_many_megabytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"its card net\.json is missing; write it beside the network"):
        read_onnx_card("m", tmp_path / "net.json")
    with (tmp_path / "net.json").open("wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(ModelError, match="has more than 1 MB"):
        read_onnx_card("m", tmp_path / "net.json")
