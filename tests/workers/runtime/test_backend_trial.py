"""What takes seconds to start is measured once, agrees, and is chosen where it is faster and repays its start."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.runtime import backend_trial, openvino, probing
from pixelmill.workers.runtime.agreement import Cosine
from pixelmill.workers.runtime.backend_trial import why_not
from pixelmill.workers.runtime.converted_models import ConvertedModels
from pixelmill.workers.runtime.execution import Float32Input
from pixelmill.workers.runtime.openvino_sizes import SizeRules
from pixelmill.workers.runtime.settings import Choice, Pins, Settings, Trial
from pixelmill.workers.runtime.settings_cache import keep_choice, kept_choice
from pixelmill.workers.stages import StageContext, config_class
from tests.small_networks import network, pictures

pytest.importorskip("openvino")

COSINE = Cosine(0.999)
BY_OPENVINO = Settings(backend="openvino", channels_last=False, microbatch=5)


class Loud(nn.Module):
    """Can't be traced, as what it does depends on values."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.flatten(1) if float(images_BCHW.sum()) >= 0 else images_BCHW.flatten(1) + 1


def test_a_network_that_cannot_be_converted_is_left_to_pytorch_and_not_tried_again(tmp_path: Path) -> None:
    cache, made = tmp_path / "c.json", network(Loud())
    torch_alone = Choice(Settings(), "probed", 10.0, ())
    keep_choice(cache, torch_alone)
    choice = backend_trial.with_candidate(torch_alone, BY_OPENVINO, made, pictures(), COSINE, cache, 10**6)
    assert choice.settings.backend == "torch"
    kept = kept_choice(cache)
    assert kept is not None
    assert [trial.images_per_s for trial in kept.trials] == [0.0]


def trial_of(rate: float) -> Trial:
    return Trial(BY_OPENVINO, rate, 1.0)


@pytest.mark.parametrize(
    ("rate", "images", "has_amx", "backend"),
    [
        (20.0, 10_000, False, "openvino"),
        (20.0, 199, False, "torch"),  # PyTorch is done before it is tried
        (40.0, 100, True, "openvino"),
        (40.0, 79, True, "torch"),
        (10.2, 10_000, True, "torch"),  # as fast, within what is measured
        (12.0, 250, True, "torch"),  # saves 4 of 25 seconds, and took 5 to start
        (20.0, 250, False, "openvino"),  # saves 12
    ],
)
def test_it_is_chosen_where_it_is_faster_and_repays_its_start(
    monkeypatch: pytest.MonkeyPatch, rate: float, images: int, has_amx: bool, backend: str
) -> None:
    monkeypatch.setattr(backend_trial, "has_amx", lambda: has_amx)
    monkeypatch.setattr(probing, "probe", lambda *_: Choice(Settings(), "probed", 10.0, ()))
    monkeypatch.setattr(backend_trial, "_tried", lambda *_: replace(trial_of(rate), start_s=5.0))
    monkeypatch.setattr(probing, "PROBE_PAYS_FROM_IMAGES", 1)
    known = {"base": Settings(), "pins": Pins(), "cache": None, "agreement": COSINE}
    assert probing.choose(network(), pictures(), job_images=images, **known).settings.backend == backend


@pytest.mark.parametrize(("linear", "backend"), [(8, "openvino"), (1000, "torch")])
def test_amx_lets_a_network_of_convolutions_be_tried_sooner_and_no_other(
    monkeypatch: pytest.MonkeyPatch, linear: int, backend: str
) -> None:
    monkeypatch.setattr(backend_trial, "has_amx", lambda: True)
    monkeypatch.setattr(probing, "probe", lambda *_: Choice(Settings(), "probed", 10.0, ()))
    monkeypatch.setattr(backend_trial, "_tried", lambda *_: replace(trial_of(40.0), start_s=5.0))
    monkeypatch.setattr(probing, "PROBE_PAYS_FROM_IMAGES", 1)
    pools = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, linear))
    known = {"base": Settings(), "pins": Pins(), "cache": None, "agreement": COSINE}
    assert probing.choose(network(pools), pictures(), job_images=100, **known).settings.backend == backend


@pytest.mark.parametrize(("rate", "backend"), [(100.0, "openvino"), (12.0, "torch"), (0.0, "torch")])
def test_what_was_tried_before_is_taken_in_a_short_job_too_where_it_repays_its_start(
    monkeypatch: pytest.MonkeyPatch, rate: float, backend: str
) -> None:
    known = replace(trial_of(rate), start_s=5.0, again_s=1.0)  # 50 pictures take 5 s, and by 100 a second half of one
    monkeypatch.setattr(probing, "kept_choice", lambda _: Choice(Settings(), "cached", 10.0, (known,)))
    job = {"base": Settings(), "pins": Pins(), "cache": Path("c.json"), "agreement": COSINE}
    assert probing.choose(network(), pictures(), job_images=50, **job).settings.backend == backend


@pytest.mark.parametrize(("again_s", "backend"), [(1.0, "openvino"), (None, "torch")])
def test_what_is_kept_repays_its_start_sooner(
    monkeypatch: pytest.MonkeyPatch, again_s: float | None, backend: str
) -> None:
    measured = replace(trial_of(12.0), start_s=5.0, again_s=again_s)  # 250 pictures save 4 of 25 seconds
    monkeypatch.setattr(backend_trial, "_tried", lambda *_: measured)
    eager = Choice(Settings(), "probed", 10.0, ())
    choice = backend_trial.with_candidate(eager, BY_OPENVINO, network(), pictures(), COSINE, None, 250)
    assert choice.settings.backend == backend


def test_the_next_start_is_measured_where_a_conversion_is_kept(tmp_path: Path) -> None:
    eager = Choice(Settings(), "probed", 1e-3, ())
    converted = ConvertedModels(tmp_path / "models", "key", COSINE)
    for made, is_measured in ((network(), False), (replace(network(), converted=converted), True)):
        choice = backend_trial.with_candidate(eager, BY_OPENVINO, made, pictures(), COSINE, None, 10**6)
        (trial,) = choice.trials
        assert (trial.again_s is not None) is is_measured
        assert trial.again_s is None or trial.again_s < trial.start_s
        assert Choice.from_json(choice.to_json(), "cached").trials == choice.trials


def test_what_a_start_takes_is_measured_and_kept(tmp_path: Path) -> None:
    cache, torch_alone = tmp_path / "c.json", Choice(Settings(), "probed", 1e-3, ())
    keep_choice(cache, torch_alone)
    backend_trial.with_candidate(torch_alone, BY_OPENVINO, network(), pictures(), COSINE, cache, 10**6)
    kept = kept_choice(cache)
    assert kept is not None
    assert 0 < kept.trials[-1].start_s < 600


def test_workers_of_one_machine_try_it_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache, torch_alone = tmp_path / "c.json", Choice(Settings(), "probed", 10.0, ())
    tried: list[Settings] = []

    def trying(_: object, __: object, settings: Settings, *___: object) -> list[Trial]:
        tried.append(settings)
        return [trial_of(30.0)]

    monkeypatch.setattr(backend_trial, "try_settings", trying)
    for _ in range(3):
        choice = backend_trial.with_candidate(torch_alone, BY_OPENVINO, network(), pictures(), COSINE, cache, 10**6)
        assert (choice.settings, choice.images_per_s) == (BY_OPENVINO, 30.0)
    assert [settings.backend for settings in tried] == ["openvino"]


@pytest.mark.parametrize(
    ("changes", "device", "precision", "message"),
    [
        ({"module": Float32Input()}, "cpu", "auto", "must not be rounded"),
        ({"module": nn.Conv3d(1, 1, 1)}, "cpu", "auto", "networks of volumes"),
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


COMPILED = backend_trial.compiled(Settings(microbatch=5))


@pytest.mark.slow  # the compiler takes half a minute
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_network_with_constant_weights_agrees_with_eager_float32(tmp_path: Path) -> None:
    cache, eager = tmp_path / "c.json", Choice(Settings(), "probed", 1e-3, ())
    keep_choice(cache, eager)
    choice = backend_trial.with_candidate(eager, COMPILED, network(), pictures(), COSINE, cache, 10**6)
    assert choice.settings == COMPILED
    kept = kept_choice(cache)
    assert kept is not None
    assert kept.trials[-1].figure >= COSINE.bound


def test_a_candidate_whose_compiler_fails_in_any_way_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache, eager = tmp_path / "c.json", Choice(Settings(), "probed", 10.0, ())
    keep_choice(cache, eager)
    tried: list[Settings] = []

    def failing(_: object, __: object, settings: Settings, *___: object) -> list[Trial]:
        tried.append(settings)
        raise OSError("no compiler")

    monkeypatch.setattr(backend_trial, "try_settings", failing)
    for _ in range(2):
        choice = backend_trial.with_candidate(eager, COMPILED, network(), pictures(), COSINE, cache, 10**6)
        assert choice.settings == eager.settings
    assert tried == [COMPILED]


@pytest.mark.parametrize(("images", "compiles"), [(2_999, False), (3_000, True)])
def test_only_a_job_of_minutes_tries_to_compile(monkeypatch: pytest.MonkeyPatch, images: int, compiles: bool) -> None:
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    monkeypatch.setattr(probing, "probe", lambda *_: Choice(Settings(), "probed", 10.0, ()))
    monkeypatch.setattr(backend_trial, "_tried", lambda candidate, *_: Trial(candidate, 20.0, 1.0, 5.0))
    monkeypatch.setattr(probing, "PROBE_PAYS_FROM_IMAGES", 1)
    known = {"base": Settings(), "pins": Pins(), "cache": None, "agreement": COSINE}
    assert probing.choose(network(), pictures(), job_images=images, **known).settings.compile is compiles


def test_another_size_is_converted_once_that_repays_what_was_measured() -> None:
    eager, ours = Trial(Settings(), 10.0, 1.0), replace(trial_of(40.0), start_s=6.0)
    measured = Choice(BY_OPENVINO, "probed", 40.0, (eager, ours))
    assert backend_trial.size_rules(measured, COSINE) == SizeRules(8.0, COSINE)  # 8 s become 2, which saves the 6
    assert backend_trial.size_rules(Choice(BY_OPENVINO, "pinned"), COSINE) == SizeRules(0.0, COSINE)
