"""Settings change the speed of a network, and its output by no more than its stage allows."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.runtime import probing, trying
from pixelmill.workers.runtime.agreement import Agreement, Cosine, MaskAgreement, RelativeError
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.settings import Choice, Pins, Settings
from tests.small_networks import network, pictures

LARGE_JOB = 1000
COSINE = Cosine(0.999)


def take_at_most(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    for module in (probing, trying):
        monkeypatch.setattr(module, "PROBE_SECONDS", seconds)


def choose(network: PixelNetwork, agreement: Agreement = COSINE, **options: Any) -> Choice:
    known = {"base": Settings(), "pins": Pins(), "cache": None, "job_images": LARGE_JOB}
    return probing.choose(network, pictures(), agreement=agreement, **(known | options))


def test_what_is_chosen_keeps_the_cosine_to_fp32(tmp_path: Path) -> None:
    choice = choose(network(), cache=tmp_path / "c.json")
    assert choice.source == "probed"
    assert choice.trials
    truth = Executor(network(), Settings(channels_last=False, fold_batchnorm=False))(pictures())
    made = Executor(network(), choice.settings)(pictures())
    assert COSINE.measure(made, truth) >= COSINE.bound


class Fragile(nn.Module):
    """Right in float32, far off in anything shorter."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features_BD = images_BCHW.flatten(1)[:, :64]
        return features_BD if features_BD.dtype == torch.float32 else features_BD.flip(1) * -1


def test_a_precision_that_strays_is_never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "cpu_has_bfloat16", lambda: True)
    choice = choose(network(Fragile()))
    assert choice.settings.precision == "float32"
    assert {trial.settings.precision for trial in choice.trials} == {"float32"}


def test_a_precision_that_a_network_does_not_compute_right_in_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "cpu_has_bfloat16", lambda: True)
    assert {trial.settings.precision for trial in choose(network()).trials} == {"float32", "bfloat16"}
    choice = choose(replace(network(), precisions=("float32", "float16")))
    assert {trial.settings.precision for trial in choice.trials} == {"float32"}


def test_a_choice_is_made_once_and_kept(tmp_path: Path) -> None:
    cache = tmp_path / "settings" / "c.json"
    first = choose(network(), cache=cache)
    second = choose(network(), cache=cache)
    assert (first.source, second.source) == ("probed", "cached")
    assert first.settings == second.settings
    assert Choice.from_json(first.to_json(), "cached") == second


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": {"unknown": 1}, "trials": []}', "\0"])
def test_a_cache_that_cant_be_read_is_probed_anew_and_replaced(tmp_path: Path, text: str) -> None:
    cache = tmp_path / "c.json"
    cache.write_text(text)
    for source in ("probed", "cached"):
        choice = choose(network(), cache=cache)
        assert choice.source == source


def test_a_job_of_seconds_is_not_probed(tmp_path: Path) -> None:
    cache = tmp_path / "c.json"
    choice = choose(network(), cache=cache, job_images=64)
    assert (choice.source, choice.settings.precision) == ("default", "float32")
    assert not cache.exists()


@pytest.mark.parametrize(
    "pins", [Pins(precision="float32"), Pins(channels_last=False), Pins(microbatch=7), Pins(precision="bfloat16")]
)
def test_what_is_pinned_is_used(pins: Pins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "cpu_has_bfloat16", lambda: True)
    for images in (64, LARGE_JOB):
        choice = choose(network(), pins=pins, job_images=images)
        wanted = {name: value for name, value in vars(pins).items() if value is not None}
        assert {name: getattr(choice.settings, name) for name in wanted} == wanted


def test_what_is_pinned_is_used_even_where_it_strays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "cpu_has_bfloat16", lambda: True)
    pins = Pins(precision="bfloat16", microbatch=7)
    choice = choose(network(Fragile()), pins=pins)
    assert (choice.settings.precision, choice.settings.microbatch) == ("bfloat16", 7)


class Overflows(nn.Module):
    """Finite in float32 and bfloat16; beyond 65,504 in float16."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return (images_BCHW.flatten(1)[:, :64] + 3) * 1e5 / 1e5


def test_a_candidate_that_overflows_is_no_trial() -> None:
    truth_BD = Executor(network(Overflows()), Settings())(pictures())
    for precision, trials in (("float32", 1), ("bfloat16", 1), ("float16", 0)):
        settings = Settings(precision=precision)  # type: ignore[arg-type]
        assert len(trying.try_settings(network(Overflows()), pictures(), settings, truth_BD, COSINE)) == trials


def test_a_candidate_without_a_kernel_is_no_trial() -> None:
    class NoKernel(nn.Module):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            raise NotImplementedError("no kernel for it")

    assert trying.try_settings(network(NoKernel()), pictures(), Settings(), torch.zeros(16, 1), COSINE) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_32", "shufflenet_v2_x0_5"])
def test_shorter_numbers_and_another_layout_keep_the_cosine_of_real_networks(name: str) -> None:
    from pixelmill.workers.models.backbones import load_backbone
    from pixelmill.workers.models.libraries import resolve

    encoder = load_backbone(resolve(f"torchvision:{name}/random")).network
    coarse_BCHW = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255
    images_BCHW = nn.functional.interpolate(coarse_BCHW, (224, 224), mode="bicubic").clamp(0, 255).byte()
    truth_BD = Executor(encoder, Settings(channels_last=False, fold_batchnorm=False))(images_BCHW)
    for settings in (Settings(), Settings(precision="bfloat16"), Settings(precision="bfloat16", channels_last=False)):
        assert COSINE.measure(Executor(encoder, settings)(images_BCHW), truth_BD) >= COSINE.bound


def test_a_cache_that_cant_be_written_costs_a_probe_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = tmp_path / "file" / "c.json"
    assert choose(network(), cache=cache).source == "probed"


def test_a_network_that_fits_no_candidate_runs_in_eager_fp32() -> None:
    choice = probing.probe(network(), pictures(), Settings(), Pins(), Cosine(2.0))
    assert choice.settings == replace(Settings(), channels_last=False, fold_batchnorm=False)


class Segmenter(nn.Module):
    """Ids of classes in float32; in anything shorter, of every second picture another class."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        ids_BHW = images_BCHW.argmax(dim=1).to(torch.uint8)
        if images_BCHW.dtype != torch.float32:
            ids_BHW[::2] += 1
        return ids_BHW


class Scaled(nn.Module):
    """A depth map that is a hundredth too large in anything shorter than float32: the cosine does not see that."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        depth_B1HW = images_BCHW.abs().mean(dim=1, keepdim=True)
        return depth_B1HW if depth_B1HW.dtype == torch.float32 else depth_B1HW * 1.05


@pytest.mark.parametrize(
    ("module", "agreement", "precisions"),
    [
        (Segmenter(), MaskAgreement(0.99), {"float32"}),
        (Scaled(), RelativeError(0.01), {"float32"}),
        (Scaled(), RelativeError(0.1), {"float32", "bfloat16"}),
        (Scaled(), Cosine(0.999), {"float32", "bfloat16"}),
    ],
    ids=lambda value: repr(value) if isinstance(value, MaskAgreement | RelativeError | Cosine) else None,
)
def test_a_stage_states_by_what_measure_its_settings_have_to_agree(
    module: nn.Module, agreement: Agreement, precisions: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "cpu_has_bfloat16", lambda: True)
    take_at_most(monkeypatch, 600.0)
    choice = choose(network(module), agreement)
    assert {trial.settings.precision for trial in choice.trials} == precisions
    assert all(agreement.accepts(trial.figure) for trial in choice.trials)


class Slow(nn.Module):
    """Takes a while for each picture, in any precision; counts them."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.seen = seconds, 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Slow:
        return self

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.seen += len(images_BCHW)
        time.sleep(self.seconds * len(images_BCHW))
        return images_BCHW


def of_any_size(module: nn.Module) -> PixelNetwork:
    return replace(network(module), input_px=None)


def test_a_slow_network_of_any_size_is_tried_on_few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    take_at_most(monkeypatch, 0.5)
    monkeypatch.setattr(probing, "cpu_has_bfloat16", lambda: False)
    slow, fast = Slow(0.2), Slow(0.001)
    choice = choose(of_any_size(slow), base=Settings(microbatch=4))
    assert (choice.source, choice.settings.microbatch) == ("probed", 1)
    assert slow.seen <= 6  # a second, and not the 36 pictures of three candidates
    assert choose(of_any_size(fast), base=Settings(microbatch=4)).settings.microbatch > 1
    assert fast.seen > 36


def test_what_a_slow_network_takes_as_it_is_counts_as_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowerElsewhere(Slow):
        """Five times as slow in channels_last."""

        def forward(self, images_BCHW: Tensor) -> Tensor:
            if images_BCHW.is_contiguous(memory_format=torch.channels_last):
                time.sleep(4 * self.seconds * len(images_BCHW))
            return super().forward(images_BCHW)

    take_at_most(monkeypatch, 0.3)
    monkeypatch.setattr(probing, "cpu_has_bfloat16", lambda: False)
    assert choose(of_any_size(SlowerElsewhere(0.1))).settings.channels_last is False


def test_a_microbatch_that_is_pinned_is_kept_however_slow_the_network_is(monkeypatch: pytest.MonkeyPatch) -> None:
    take_at_most(monkeypatch, 0.3)
    assert choose(of_any_size(Slow(0.05)), pins=Pins(microbatch=3)).settings.microbatch == 3


def test_a_microbatch_that_would_take_longer_than_is_left_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    take_at_most(monkeypatch, 1.2)
    monkeypatch.setattr(probing, "cpu_has_bfloat16", lambda: False)
    choice = choose(of_any_size(Slow(0.08)), base=Settings(microbatch=4))
    assert {trial.settings.microbatch for trial in choice.trials} <= {1, 2}
