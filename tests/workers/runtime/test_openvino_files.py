"""Networks in ONNX by OpenVINO: what onnxruntime gives, within the stage's agreement, and no worker dies of a file.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from pixelmill.workers.models.onnx_card import OnnxCard
from pixelmill.workers.models.onnx_network import OnnxNetwork
from pixelmill.workers.models.onnx_quantize import quantized
from pixelmill.workers.pictures import Picture
from pixelmill.workers.prediction.labels import Labels
from pixelmill.workers.runtime import backend_trial, openvino_files, probing
from pixelmill.workers.runtime.agreement import Cosine
from pixelmill.workers.runtime.converted_models import ConvertedModels
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.openvino import OpenVinoNetwork
from pixelmill.workers.runtime.openvino_files import OpenVinoFileNetwork
from pixelmill.workers.runtime.settings import Choice, Pins, Settings
from pixelmill.workers.stages import StageContext, config_class
from tests.workers.onnx_files import CARD, convolution, model_of, saved, weights

pytest.importorskip("openvino")

BY_OPENVINO = Settings(backend="openvino", channels_last=False, microbatch=3)
BY_ONNXRUNTIME = replace(BY_OPENVINO, backend="torch")
COSINE = Cosine(0.999)


def file(model: Any, **changes: Any) -> OnnxNetwork:
    return OnnxNetwork("onnx:net.onnx", model.SerializeToString(), OnnxCard.model_validate({**CARD, **changes}))


def of_one_size(model: Any, side_px: int = 8, **changes: Any) -> PixelNetwork:
    found = file(model, input=CARD["input"] | {"size_px": side_px}, **changes)
    return PixelNetwork(found, (0.5,) * 3, (0.25,) * 3, side_px, found.precisions)


def pictures(count: int = 5, height: int = 8, width: int = 8) -> Tensor:
    shape = (count, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def made(network: PixelNetwork, settings: Settings, images_BCHW: Tensor) -> Tensor:
    return Executor(network, settings)(images_BCHW)


def test_what_it_gives_is_what_onnxruntime_gives_whatever_the_batch() -> None:
    network = of_one_size(convolution())
    truth = made(network, BY_ONNXRUNTIME, pictures())
    torch.testing.assert_close(made(network, BY_OPENVINO, pictures()), truth, atol=1e-4, rtol=1e-4)


def test_a_file_that_was_exported_for_a_batch_of_two_takes_five() -> None:
    network = of_one_size(convolution((2, 3, 8, 8)))
    truth = made(network, BY_ONNXRUNTIME, pictures())
    torch.testing.assert_close(made(network, BY_OPENVINO, pictures()), truth, atol=1e-4, rtol=1e-4)


def test_what_surrounds_it_and_its_meaning_stay_those_of_torch() -> None:
    found = file(convolution(), output={"meaning": "probabilities"})
    network = PixelNetwork(Labels(found), (0.5,) * 3, (0.25,) * 3, None)
    for size in ((8, 8), (6, 10)):
        images = pictures(2, *size)
        by_torch, by_openvino = (made(network, each, images) for each in (BY_ONNXRUNTIME, BY_OPENVINO))
        assert torch.equal(by_torch[:, 0], by_openvino[:, 0])
        assert (by_torch[:, 1].float() - by_openvino[:, 1].float()).abs().max() <= 2  # of 32,767


def test_a_network_of_any_size_is_compiled_for_each() -> None:
    network = PixelNetwork(file(convolution()), (0.5,) * 3, (0.25,) * 3, None)
    ours = Executor(network, BY_OPENVINO)
    for size in ((8, 8), (6, 10), (8, 8)):
        truth = made(network, BY_ONNXRUNTIME, pictures(2, *size))
        torch.testing.assert_close(ours(pictures(2, *size)), truth, atol=1e-4, rtol=1e-4)


def test_of_several_outputs_the_named_one_is_taken() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    model = model_of(nodes, ("b", 3, "h", "w"), ("b", 3, "h", "w"))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["b", 3, "h", "w"]))
    found = file(model, output={"meaning": "logits", "name": "z"}, classes=None)
    with torch.inference_mode():
        ours = OpenVinoNetwork(found, "float32", 1)(torch.ones(2, 3, 4, 4))
    assert torch.equal(ours, -torch.ones(2, 3, 4, 4))


def int8(width: int = 8) -> bytes:
    """A network of two convolutions, quantized on noise."""
    first = numpy_helper.from_array(weights(width), "w")
    second = numpy_helper.from_array(weights(4, width), "v")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "v"], ["y"], pads=[1, 1, 1, 1]),
    ]
    model = model_of(nodes, ("b", 3, "h", "w"), ("b", 4, "h", "w"), [first, second])
    noise = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    return quantized("m", model.SerializeToString(), [noise])


def test_an_int8_file_agrees_with_onnxruntime_within_what_a_stage_asks() -> None:
    found = OnnxNetwork(
        "onnx:net.onnx", int8(), OnnxCard.model_validate(CARD | {"input": CARD["input"] | {"size_px": 8}})
    )
    network = PixelNetwork(found, (0.5,) * 3, (0.25,) * 3, 8)
    truth, ours = (made(network, each, pictures()) for each in (BY_ONNXRUNTIME, BY_OPENVINO))
    assert COSINE.measure(ours, truth) > COSINE.bound


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """The shapes that files are compiled for, and not taken from what was kept."""
    shapes: list[tuple[int, ...]] = []
    real = openvino_files.require_survival

    def counted(network: Any, shape: tuple[int, ...], options: Any, *, interleaved: bool) -> None:
        shapes.append(shape)
        real(network, shape, options, interleaved=interleaved)

    monkeypatch.setattr(openvino_files, "require_survival", counted)
    return iter([shapes])


@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format], ids=str)
def test_what_is_tried_apart_is_what_is_compiled(monkeypatch: pytest.MonkeyPatch, order: torch.memory_format) -> None:
    """A file is tried in the memory order of its pictures: OpenVINO could die of one and not of the other."""
    shapes = {torch.channels_last: [1, 8, 6, 3], torch.contiguous_format: [1, 3, 8, 6]}
    check = f"\nassert list(compiled.inputs[0].shape) == {shapes[order]}, compiled.inputs[0].shape\n"
    monkeypatch.setattr(openvino_files, "_TRIAL", openvino_files._TRIAL + check)
    with torch.inference_mode():
        OpenVinoNetwork(file(convolution()), "float32", 1)(torch.zeros(1, 3, 8, 6).contiguous(memory_format=order))


def test_what_was_compiled_is_kept_and_another_file_is_compiled_anew(
    tmp_path: Path, compiled: Iterator[list[tuple[int, ...]]]
) -> None:
    (shapes,) = compiled
    models = ConvertedModels(tmp_path / "models", "key", COSINE)
    network = replace(of_one_size(convolution()), converted=models)
    first, second = (made(network, BY_OPENVINO, pictures()) for _ in range(2))
    assert torch.equal(first, second)
    assert shapes == [(3, 3, 8, 8)]
    other = replace(of_one_size(convolution(outputs=2), classes=None), converted=models)
    assert made(other, BY_OPENVINO, pictures()).shape[1] == 2
    assert len(shapes) == 2


def test_what_was_kept_and_no_longer_agrees_is_compiled_again(
    tmp_path: Path, compiled: Iterator[list[tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (shapes,) = compiled
    network = replace(of_one_size(convolution()), converted=ConvertedModels(tmp_path / "models", "key", COSINE))
    truth = made(network, BY_OPENVINO, pictures())
    monkeypatch.setattr(OpenVinoFileNetwork, "_truth", lambda *_: -truth[:1])
    torch.testing.assert_close(made(network, BY_OPENVINO, pictures()), truth)
    assert len(shapes) == 2


def test_its_own_library_is_closed_once_it_is_compared(tmp_path: Path) -> None:
    found = copy.deepcopy(file(convolution()))
    kept = ConvertedModels(tmp_path / "models", "key", COSINE).of(found, "float32")
    with torch.inference_mode():
        OpenVinoNetwork(found, "float32", 1, kept)(torch.zeros(1, 3, 8, 8))
    assert found.sessions == {}
    assert found.engine is None


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import os; os.kill(os.getpid(), 11)", "ended with code -11"),
        ("raise SystemExit('no kernel')", "no kernel"),
        ("import time; time.sleep(60)", "took more than"),
    ],
)
def test_a_file_that_it_dies_of_is_left_to_onnxruntime_and_the_worker_lives(
    monkeypatch: pytest.MonkeyPatch, program: str, words: str
) -> None:
    monkeypatch.setattr(openvino_files, "_TRIAL", program)
    monkeypatch.setattr(openvino_files, "TRIED_S", 5.0 if "sleep" not in program else 0.5)
    network = of_one_size(convolution())
    with pytest.raises(RuntimeError, match=f"OpenVINO can't run this network: .*{words}"):
        made(network, BY_OPENVINO, pictures())
    slow = Choice(BY_ONNXRUNTIME, "probed", 1e-3, ())
    choice = backend_trial.with_candidate(slow, BY_OPENVINO, network, pictures(), COSINE, None, 10**6)
    assert choice.settings == BY_ONNXRUNTIME
    assert [trial.images_per_s for trial in choice.trials] == [0.0]


def test_what_it_can_not_read_is_an_error_that_says_so() -> None:
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain="com.microsoft")
    broken = copy.deepcopy(file(convolution()))
    broken.data = model_of([node], ("b", 3, "h", "w"), ("b", 3, "h", "w")).SerializeToString()
    with pytest.raises(RuntimeError, match="OpenVINO can't run this network"):
        OpenVinoNetwork(broken, "float32", 1)(torch.zeros(1, 3, 8, 8))


def test_nothing_is_reported_to_its_vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = pytest.importorskip("openvino_telemetry")

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("usage data would be sent")

    monkeypatch.setattr(telemetry.Telemetry, "__init__", refused)
    OpenVinoNetwork(file(convolution()), "float32", 1)(torch.zeros(1, 3, 8, 8))


def test_a_job_of_hours_does_not_have_torch_compile_what_it_can_not_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "probe", lambda *_: Choice(BY_ONNXRUNTIME, "probed", 1.0, ()))
    tried: list[Settings] = []

    def trying(candidate: Settings, *_: object) -> Any:
        tried.append(candidate)
        return backend_trial.Trial(candidate, 0.0, 0.0)

    monkeypatch.setattr(backend_trial, "_tried", trying)
    for module, count in ((of_one_size(convolution()).module, 1), (nn.Flatten(), 2)):
        tried.clear()
        network = replace(of_one_size(convolution()), module=module)
        known = {"base": BY_ONNXRUNTIME, "pins": Pins(), "cache": None, "agreement": COSINE}
        probing.choose(network, pictures(), job_images=10**6, **known)
        assert len(tried) == count


@pytest.mark.parametrize("backend", ["openvino", "auto"])
def test_a_stage_runs_it_and_gives_the_vectors_of_onnxruntime(tmp_path: Path, backend: str) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["a"], ["z"]),
        helper.make_node("Flatten", ["z"], ["y"]),
    ]
    model = model_of(nodes, ("b", 3, 8, 8), ("b", 4), [numpy_helper.from_array(weights(), "w")])
    card: dict[str, Any] = {"task": "embed", "output": {"meaning": "vectors"}, "classes": None}
    place = saved(tmp_path, model, input=CARD["input"] | {"size_px": 8}, **card)
    vectors: list[Tensor] = []
    for each in ("torch", backend):
        options = {"model": f"onnx:{place}", "backend": each, "batch": 4}
        stage = config_class("embed").model_validate(options).build(StageContext("cpu", 1, 10, None))
        samples = [stage.prepare(Picture(pixels)) for pixels in pictures(6, 20, 30)]
        vectors.append(torch.tensor(stage.run(samples).columns["embedding"].to_pylist()))  # pyright: ignore
    assert torch.cosine_similarity(*vectors).min() > COSINE.bound
