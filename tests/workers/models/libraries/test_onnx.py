"""The laws of ONNX as a library: file and card are one identity, facts are those of the card, and it runs in float32 alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import helper

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.depth_facts import DepthFacts
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.runtime.execution import Executor
from pixelmill.workers.runtime.settings import Settings
from tests.workers.onnx_files import CARD, convolution, model_of, saved


def pooled() -> Any:
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["z"]), helper.make_node("Flatten", ["z"], ["y"])]
    return model_of(nodes, ("b", 3, "h", "w"), ("b", 3))


SQUARE = CARD["input"] | {"size_px": 8}


def test_facts_are_those_of_the_card(tmp_path: Path) -> None:
    stated = CARD["input"] | {"multiple_px": 8, "least_px": 16}
    colours = [[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]]
    file = saved(tmp_path, convolution(), input=stated, colours=colours, reach_px=1, tiling="exact", licence="mit")
    model = load_model(resolve(f"onnx:{file}", "segment"), "segment")
    assert (model.size.multiple_px, model.size.least_px, model.size.reach_px, model.size.tiling) == (8, 16, 1, "exact")
    assert model.classes == Classes(("a", "b", "c", "d"), ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)))
    assert (model.licence, model.precisions, model.network.precisions) == ("mit", ("float32",), ("float32",))
    pixels_BCHW = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    made_BKHW = Executor(model.network, Settings(microbatch=1))(pixels_BCHW)
    assert torch.allclose(made_BKHW, model.module((pixels_BCHW / 255 - 0.5) / 0.25), atol=1e-3)


def test_depth_says_its_unit(tmp_path: Path) -> None:
    file = saved(
        tmp_path, convolution(outputs=1), task="depth", output={"meaning": "disparity"}, baseline_m=0.5, classes=None
    )
    assert load_model(resolve(f"onnx:{file}", "depth"), "depth").depth == DepthFacts("disparity", 0.5)


@torch.inference_mode()
def test_a_classifier_and_an_encoder_are_shown_squares(tmp_path: Path) -> None:
    card: dict[str, Any] = {"task": "classify", "input": SQUARE, "classes": ["a", "b", "c"]}
    model = load_model(resolve(f"onnx:{saved(tmp_path, pooled(), **card)}", "classify"), "classify")
    assert model.preprocess is not None
    assert (model.preprocess.size_px, model.preprocess.fit) == ((8, 8), "stretch")
    assert model.module(torch.ones(5, 3, 8, 8)).shape == (5, 3)
    card = {"task": "embed", "input": SQUARE | {"resize_px": 10}, "output": {"meaning": "vectors"}, "classes": None}
    loaded = load_backbone(resolve(f"onnx:{saved(tmp_path, pooled(), **card)}"))
    assert (loaded.dim, loaded.preprocess.resize_px, loaded.preprocess.fit) == (3, 10, "centre crop")
    assert loaded.network.precisions == ("float32",)
    with pytest.raises(ModelError, match="layers of a network in ONNX can't be named"):
        load_backbone(resolve(f"onnx:{tmp_path / 'net.onnx'}"), layer="x")


def test_file_and_card_are_one_identity_wherever_they_lie(tmp_path: Path) -> None:
    file = saved(tmp_path, convolution())
    first = resolve(f"onnx:{file}", "segment")
    file.rename(tmp_path / "other.onnx")
    (tmp_path / "net.json").rename(tmp_path / "other.json")
    assert resolve(f"onnx:{tmp_path / 'other.onnx'}", "segment").identity == first.identity
    changed = saved(tmp_path, convolution(), input=CARD["input"] | {"mean": [0, 0, 0]})
    assert resolve(f"onnx:{changed}", "segment").identity != first.identity


@pytest.mark.parametrize(
    ("task", "words"),
    [("depth", "its card has the task segment, and the stage needs depth"), ("embed", "the stage needs embed")],
)
def test_another_task_is_refused_before_anything_is_loaded(task: Task, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        resolve(f"onnx:{saved(tmp_path, convolution())}", task)


def test_a_network_that_is_cut_or_keeps_weights_elsewhere_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    file = saved(tmp_path, convolution())
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    with pytest.raises(ModelError, match="is no ONNX file, or not a whole one"):
        resolve(f"onnx:{file}", "segment")
    onnx.save(convolution(), file, save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(ModelError, match="keeps weights in another file"):
        resolve(f"onnx:{file}", "segment")


def test_a_missing_file_and_a_missing_card_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such file; write onnx:FILE\.onnx, with FILE\.json beside it"):
        resolve("onnx:gone.onnx", "segment")
    with pytest.raises(ModelError, match=r"test_onnx\.py does not end with \.onnx; write onnx:FILE\.onnx"):
        resolve(f"onnx:{__file__}", "segment")
    file = saved(tmp_path, convolution())
    (tmp_path / "net.json").unlink()
    with pytest.raises(ModelError, match=r"its card net\.json is missing"):
        resolve(f"onnx:{file}", "segment")
    (tmp_path / "net.json").write_text(json.dumps(CARD))
    assert resolve(f"onnx:{file}", "segment").sha256
