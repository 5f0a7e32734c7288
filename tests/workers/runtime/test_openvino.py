"""OpenVINO computes what PyTorch does, is chosen where it is worth its start, and tells nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime import openvino, openvino_trial, probing
from pixelmill.workers.runtime.agreement import Cosine
from pixelmill.workers.runtime.execution import Executor, Float32Input, PixelNetwork
from pixelmill.workers.runtime.openvino import OpenVinoNetwork
from pixelmill.workers.runtime.openvino_trial import why_not
from pixelmill.workers.runtime.settings import Choice, Pins, Settings, Trial
from pixelmill.workers.runtime.settings_cache import keep_choice, kept_choice
from pixelmill.workers.stages import StageContext, config_class
from tests.small_networks import network, pictures

pytest.importorskip("openvino")

COSINE = Cosine(0.999)
BY_OPENVINO = Settings(backend="openvino", channels_last=False, microbatch=5)


class Several(nn.Module):
    """Two outputs in a structure."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

    def forward(self, images_BCHW: Tensor) -> dict[str, Any]:
        maps_BCHW = self.first(images_BCHW).relu()
        return {"maps": maps_BCHW, "means": (self.second(maps_BCHW).mean((2, 3)),)}


def test_what_it_computes_is_what_pytorch_computes_whatever_the_batch() -> None:
    truth = Executor(network(), Settings(channels_last=False, fold_batchnorm=False))(pictures())
    made = Executor(network(), BY_OPENVINO)(pictures())
    assert made.shape == truth.shape
    assert torch.allclose(made, truth, atol=1e-4)


def test_the_structure_of_outputs_stays() -> None:
    module, images = Several().eval(), torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        made, truth = OpenVinoNetwork(module, "float32", 1)(images), module(images)
    assert made.keys() == truth.keys()
    assert torch.allclose(made["maps"], truth["maps"], atol=1e-5)
    assert torch.allclose(made["means"][0], truth["means"][0], atol=1e-5)


def test_nothing_is_reported_to_its_vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = pytest.importorskip("openvino_telemetry")

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("usage data would be sent")

    monkeypatch.setattr(telemetry.Telemetry, "__init__", refused)
    OpenVinoNetwork(Several().eval(), "float32", 1)(torch.zeros(1, 3, 8, 8))


class Loud(nn.Module):
    """Can't be traced, as what it does depends on values."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.flatten(1) if float(images_BCHW.sum()) >= 0 else images_BCHW.flatten(1) + 1


def test_a_network_that_cannot_be_converted_is_left_to_pytorch_and_not_tried_again(tmp_path: Path) -> None:
    cache, made = tmp_path / "c.json", network(Loud())
    torch_alone = Choice(Settings(), "probed", 10.0, ())
    keep_choice(cache, torch_alone)
    choice = openvino_trial.with_openvino(torch_alone, made, pictures(), COSINE, cache, 10**6)
    assert choice.settings.backend == "torch"
    kept = kept_choice(cache)
    assert kept is not None
    assert [trial.images_per_s for trial in kept.trials] == [0.0]


def trial_of(rate: float) -> Trial:
    return Trial(BY_OPENVINO, rate, 1.0)


@pytest.mark.parametrize(
    ("rate", "images", "backend"),
    [
        (20.0, 10_000, "openvino"),
        (20.0, 199, "torch"),  # PyTorch is done before it is tried
        (10.2, 10_000, "torch"),  # as fast, within what is measured
        (12.0, 250, "torch"),  # saves 4 of 25 seconds, and took 5 to start
        (20.0, 250, "openvino"),  # saves 12
    ],
)
def test_it_is_chosen_where_it_is_faster_and_repays_its_start(
    monkeypatch: pytest.MonkeyPatch, rate: float, images: int, backend: str
) -> None:
    monkeypatch.setattr(probing, "probe", lambda *_: Choice(Settings(), "probed", 10.0, ()))
    monkeypatch.setattr(openvino_trial, "_tried", lambda *_: replace(trial_of(rate), start_s=5.0))
    monkeypatch.setattr(probing, "PROBE_PAYS_FROM_IMAGES", 1)
    known = {"base": Settings(), "pins": Pins(), "cache": None, "agreement": COSINE}
    assert probing.choose(network(), pictures(), job_images=images, **known).settings.backend == backend


def test_what_a_start_takes_is_measured_and_kept(tmp_path: Path) -> None:
    cache, torch_alone = tmp_path / "c.json", Choice(Settings(), "probed", 1e-3, ())
    keep_choice(cache, torch_alone)
    openvino_trial.with_openvino(torch_alone, network(), pictures(), COSINE, cache, 10**6)
    kept = kept_choice(cache)
    assert kept is not None
    assert 0 < kept.trials[-1].start_s < 600


def test_workers_of_one_machine_try_it_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache, torch_alone = tmp_path / "c.json", Choice(Settings(), "probed", 10.0, ())
    tried: list[Settings] = []

    def trying(_: object, __: object, settings: Settings, *___: object) -> list[Trial]:
        tried.append(settings)
        return [trial_of(30.0)]

    monkeypatch.setattr(openvino_trial, "try_settings", trying)
    for _ in range(3):
        choice = openvino_trial.with_openvino(torch_alone, network(), pictures(), COSINE, cache, 10**6)
        assert (choice.settings, choice.images_per_s) == (BY_OPENVINO, 30.0)
    assert [settings.backend for settings in tried] == ["openvino"]


@pytest.mark.parametrize(
    ("changes", "device", "precision", "message"),
    [
        ({"input_px": None}, "cpu", "auto", "takes pictures of one size"),
        ({"module": Float32Input()}, "cpu", "auto", "must not be rounded"),
        ({}, "cuda", "auto", "runs on CPUs"),
        ({}, "cpu", "float16", "does not compute in float16"),
    ],
)
def test_what_it_does_not_run_is_reported(changes: dict[str, Any], device: str, precision: str, message: str) -> None:
    assert why_not(network(), "cpu", "auto") is None
    assert message in str(why_not(replace(network(), **changes), device, precision))


def test_a_user_who_asks_for_it_without_the_package_is_reported_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    config = config_class("embed").model_validate({"model": "autoencoder-photos", "backend": "openvino"})
    with pytest.raises(ModelError, match=r"embed: backend openvino is not installed: pip install 'pixelmill\[cpu\]'"):
        config.build(StageContext("cpu", 1, 10, None))


def test_vectors_are_those_of_pytorch(tmp_path: Path) -> None:
    vectors: list[Tensor] = []
    shown = torch.randint(0, 256, (6, 3, 90, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for backend in ("torch", "openvino"):
        options = {
            "model": "torchvision:resnet18/random",
            "backend": backend,
            "precision": "float32",
            "batch": 4,
        }
        stage = config_class("embed").model_validate(options).build(StageContext("cpu", 1, 10, None))
        samples = [stage.prepare(Picture(pixels)) for pixels in shown]
        column = stage.run(samples).columns["embedding"]
        vectors.append(torch.tensor(column.to_pylist()))  # pyright: ignore
        assert stage.settings["backend"] == backend
    by_torch, by_openvino = vectors
    assert torch.cosine_similarity(by_torch, by_openvino).min() > 0.99999


def test_a_pixel_network_of_grey_pictures_keeps_its_one_channel() -> None:
    grey = PixelNetwork(nn.Flatten(), (0.0,), (1.0,), 4)
    images = torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    assert torch.allclose(Executor(grey, BY_OPENVINO)(images), images.flatten(1) / 255, atol=1e-5)
