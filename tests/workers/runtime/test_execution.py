"""Settings change how fast a network runs, and never what it computes by more than is stated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.runtime import execution
from pixelmill.workers.runtime.execution import MIN_COSINE, Choice, Executor, Pins, PixelNetwork, Settings, choose

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LARGE_JOB = 1000
NO_PINS = Pins()


def network(module: nn.Module | None = None) -> PixelNetwork:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    layers[1].running_mean.uniform_(-1, 1)  # type: ignore[union-attr,operator]
    layers[1].running_var.uniform_(0.5, 2)  # type: ignore[union-attr,operator]
    return PixelNetwork((module or layers).eval(), MEAN, STD, 32)


def pictures(count: int = 16) -> Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


class Identity(nn.Module):
    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.flatten(1)


def test_pixels_are_normalized_as_torchvision_does() -> None:
    from torchvision.transforms.functional import convert_image_dtype, normalize

    expected = normalize(convert_image_dtype(pictures(), torch.float32), list(MEAN), list(STD))
    made = Executor(network(Identity()), Settings())(pictures())
    assert torch.allclose(made, expected.flatten(1), atol=1e-5)


def test_folding_batchnorm_changes_nothing_but_rounding() -> None:
    plain = Executor(network(), Settings(fold_batchnorm=False))(pictures())
    folded = Executor(network(), Settings(fold_batchnorm=True))(pictures())
    assert torch.allclose(plain, folded, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in execution.folded(network().module).modules())


class Folding(nn.Module):
    """Two convolutions and two BatchNorms, put together in the ways that folding can get wrong."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1, bias=False)
        self.a, self.b = nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=kind != "no affine")
        for norm in (self.a, self.b):
            norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        convolved_BCHW = self.first(images_BCHW)
        normal_BCHW = self.a(convolved_BCHW)
        if self.kind == "shared convolution":
            return self.b(self.first(normal_BCHW)).flatten(1)
        if self.kind == "shared norm":
            return self.a(self.second(normal_BCHW)).flatten(1)
        if self.kind == "branch":
            return (normal_BCHW + convolved_BCHW).flatten(1)
        if self.kind == "not traceable" and bool(normal_BCHW.sum() > 0):
            return normal_BCHW.flatten(1)
        return self.b(self.second(normal_BCHW)).flatten(1)


@pytest.mark.parametrize("kind", ["chain", "shared convolution", "shared norm", "branch", "not traceable", "no affine"])
def test_folding_is_right_or_left_undone_however_a_network_is_put_together(kind: str) -> None:
    torch.manual_seed(0)
    module = Folding(kind)
    plain = Executor(network(module), Settings(fold_batchnorm=False))(pictures())
    folded = Executor(network(module), Settings(fold_batchnorm=True))(pictures())
    assert torch.allclose(plain, folded, atol=1e-4)
    is_left = any(isinstance(m, nn.BatchNorm2d) for m in execution.folded(module.eval()).modules())
    assert is_left == (kind in {"shared convolution", "branch", "not traceable"})


def test_a_network_that_is_run_is_not_changed() -> None:
    kept = network()
    before = {name: tensor.clone() for name, tensor in kept.module.state_dict().items()}
    Executor(kept, Settings(precision="bfloat16"))(pictures())
    after = kept.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_microbatch_of_any_size_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Executor(network(), Settings(microbatch=16))(pictures())
    parts = Executor(network(), Settings(microbatch=5))(pictures())
    assert torch.allclose(whole, parts, atol=1e-5)


class Greedy(nn.Module):
    """Runs out of memory above four pictures."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        if len(images_BCHW) > 4:
            raise torch.OutOfMemoryError("too many")
        return images_BCHW.mean(dim=(2, 3))


def test_out_of_memory_halves_the_microbatch_for_good_and_loses_nothing() -> None:
    executor = Executor(network(Greedy()), Settings(microbatch=16))
    made = executor(pictures())
    assert made.shape == (16, 3)
    assert executor.settings.microbatch == 4
    assert torch.allclose(made, Executor(network(Greedy()), Settings(microbatch=1))(pictures()), atol=1e-6)


def test_out_of_memory_with_one_picture_is_an_error() -> None:
    class Full(nn.Module):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("one is too many")

    with pytest.raises(torch.OutOfMemoryError):
        Executor(network(Full()), Settings())(pictures(1))


def test_what_is_chosen_keeps_the_cosine_to_fp32(tmp_path: Path) -> None:
    choice = choose(
        network(), pictures(), base=Settings(), pins=Pins(), cache=tmp_path / "c.json", job_images=LARGE_JOB
    )
    assert choice.source == "probed"
    assert choice.trials
    truth = Executor(network(), Settings(channels_last=False, fold_batchnorm=False))(pictures())
    made = Executor(network(), choice.settings)(pictures())
    assert execution.least_cosine(made, truth) >= MIN_COSINE


class Fragile(nn.Module):
    """Right in float32, far off in anything shorter."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features_BD = images_BCHW.flatten(1)[:, :64]
        return features_BD if features_BD.dtype == torch.float32 else features_BD.flip(1) * -1


def test_a_precision_that_strays_is_never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_cpu_has_bfloat16", lambda: True)
    choice = choose(network(Fragile()), pictures(), base=Settings(), pins=Pins(), cache=None, job_images=LARGE_JOB)
    assert choice.settings.precision == "float32"
    assert {trial.settings.precision for trial in choice.trials} == {"float32"}


def test_a_choice_is_made_once_and_kept(tmp_path: Path) -> None:
    cache = tmp_path / "settings" / "c.json"
    first = choose(network(), pictures(), base=Settings(), pins=Pins(), cache=cache, job_images=LARGE_JOB)
    second = choose(network(), pictures(), base=Settings(), pins=Pins(), cache=cache, job_images=LARGE_JOB)
    assert (first.source, second.source) == ("probed", "cached")
    assert first.settings == second.settings
    assert Choice.from_json(first.to_json(), "cached") == second


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": {"unknown": 1}, "trials": []}', "\0"])
def test_a_cache_that_cant_be_read_is_probed_anew_and_replaced(tmp_path: Path, text: str) -> None:
    cache = tmp_path / "c.json"
    cache.write_text(text)
    for source in ("probed", "cached"):
        choice = choose(network(), pictures(), base=Settings(), pins=Pins(), cache=cache, job_images=LARGE_JOB)
        assert choice.source == source


def test_a_job_of_seconds_is_not_probed(tmp_path: Path) -> None:
    cache = tmp_path / "c.json"
    choice = choose(network(), pictures(), base=Settings(), pins=Pins(), cache=cache, job_images=64)
    assert (choice.source, choice.settings.precision) == ("default", "float32")
    assert not cache.exists()


@pytest.mark.parametrize(
    "pins", [Pins(precision="float32"), Pins(channels_last=False), Pins(microbatch=7), Pins(precision="bfloat16")]
)
def test_what_is_pinned_is_used(pins: Pins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_cpu_has_bfloat16", lambda: True)
    for images in (64, LARGE_JOB):
        choice = choose(network(), pictures(), base=Settings(), pins=pins, cache=None, job_images=images)
        wanted = {name: value for name, value in vars(pins).items() if value is not None}
        assert {name: getattr(choice.settings, name) for name in wanted} == wanted


def test_what_is_pinned_is_used_even_where_it_strays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_cpu_has_bfloat16", lambda: True)
    pins = Pins(precision="bfloat16", microbatch=7)
    choice = choose(network(Fragile()), pictures(), base=Settings(), pins=pins, cache=None, job_images=LARGE_JOB)
    assert (choice.settings.precision, choice.settings.microbatch) == ("bfloat16", 7)


class Overflows(nn.Module):
    """Finite in float32 and bfloat16; beyond 65,504 in float16."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return (images_BCHW.flatten(1)[:, :64] + 3) * 1e5 / 1e5


def test_a_candidate_that_overflows_is_no_trial() -> None:
    truth_BD = Executor(network(Overflows()), Settings())(pictures())
    for precision, trials in (("float32", 1), ("bfloat16", 1), ("float16", 0)):
        settings = Settings(precision=precision)  # type: ignore[arg-type]
        assert len(execution._trial(network(Overflows()), pictures(), settings, truth_BD)) == trials


def test_a_candidate_without_a_kernel_is_no_trial() -> None:
    class NoKernel(nn.Module):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            raise NotImplementedError("no kernel for it")

    assert execution._trial(network(NoKernel()), pictures(), Settings(), torch.zeros(16, 1)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_32", "shufflenet_v2_x0_5"])
def test_shorter_numbers_and_another_layout_keep_the_cosine_of_real_networks(name: str) -> None:
    from pixelmill.workers.models.backbones import load_backbone
    from pixelmill.workers.models.model_names import resolve

    encoder = load_backbone(resolve(f"torchvision:{name}/random")).network
    coarse_BCHW = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255
    images_BCHW = nn.functional.interpolate(coarse_BCHW, (224, 224), mode="bicubic").clamp(0, 255).byte()
    truth_BD = Executor(encoder, Settings(channels_last=False, fold_batchnorm=False))(images_BCHW)
    for settings in (Settings(), Settings(precision="bfloat16"), Settings(precision="bfloat16", channels_last=False)):
        assert execution.least_cosine(Executor(encoder, settings)(images_BCHW), truth_BD) >= MIN_COSINE


def test_a_cache_is_for_one_network_one_device_and_the_same_pins(tmp_path: Path) -> None:
    def file(key: str = "a", threads: int = 1, pins: Pins = NO_PINS) -> Path:
        return execution.cache_file(tmp_path, key, "cpu", threads, pins)

    assert file() == file()
    assert len({file(), file("b"), file(threads=2), file(pins=Pins(microbatch=8))}) == 4


def test_a_cache_that_cant_be_written_costs_a_probe_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = tmp_path / "file" / "c.json"
    assert (
        choose(network(), pictures(), base=Settings(), pins=Pins(), cache=cache, job_images=LARGE_JOB).source
        == "probed"
    )


def test_a_network_that_fits_no_candidate_runs_in_eager_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "MIN_COSINE", 2.0)
    choice = execution.probe(network(), pictures(), Settings(), Pins())
    assert choice.settings == replace(Settings(), channels_last=False, fold_batchnorm=False)
