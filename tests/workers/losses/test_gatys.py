"""Style transfer by optimisation: that it optimises, that pictures don't meddle with one another, that it repeats.

Legend: B batch, C channels, H height, W width, N numbers in one picture.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from pixelmill.workers.losses import gatys
from pixelmill.workers.losses.gatys import GatysSettings, Lbfgs, first_images, stylize
from pixelmill.workers.networks.vgg import Vgg, VggConfig

QUICK = GatysSettings(
    steps=12,
    content_layers=("relu2_2",),
    style_layers=("relu1_1", "relu2_1", "relu3_1"),
    style_weight=3.0,
    scale="relative",
)


def random_images(batch: int = 2, side: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


def changed(**settings: object) -> GatysSettings:
    return QUICK.model_copy(update=settings)


@pytest.fixture(scope="module")
def vgg() -> Vgg:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Vgg(VggConfig(width=4, convention="caffe"))


def totals(vgg: Vgg, settings: GatysSettings, photos_BCHW: Tensor) -> Tensor:
    steps: list[Tensor] = []
    stylize(photos_BCHW, random_images(1, 20, 9), vgg, settings, lambda _, terms: steps.append(terms["total"]))
    return torch.stack(steps)


@pytest.mark.parametrize(("optimizer", "steps"), [("lbfgs", 60), ("adam", 100)])
def test_the_total_falls_by_95_percent_from_noise_for_every_picture(vgg: Vgg, optimizer: str, steps: int) -> None:
    totals_SB = totals(
        vgg, changed(optimizer=optimizer, steps=steps, content_weight=0.01, tv_weight=0.0), random_images()
    )
    assert (totals_SB[-1] < 0.05 * totals_SB[0]).all()


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_picture_comes_out_the_same_alone_and_in_company(vgg: Vgg, optimizer: str) -> None:
    photos_BCHW, style_1CHW = random_images(3), random_images(1, 20, 9)
    settings = changed(optimizer=optimizer, start="content")
    together_BCHW = stylize(photos_BCHW, style_1CHW, vgg, settings)
    for photo_1CHW, expected_1CHW in zip(photos_BCHW.split(1), together_BCHW.split(1), strict=True):
        torch.testing.assert_close(stylize(photo_1CHW, style_1CHW, vgg, settings), expected_1CHW, atol=1e-3, rtol=0)


def test_lbfgs_takes_the_steps_of_torch_on_one_point() -> None:
    def value(point: Tensor) -> Tensor:  # Rosenbrock's valley in ten dimensions
        return (10 * (point[1:] - point[:-1].square()).square() + (1 - point[:-1]).square()).sum()

    theirs = torch.full((10,), 0.3, dtype=torch.float64, requires_grad=True)
    ours_1N = theirs.detach().clone()[None]
    optimizer, descent = (
        torch.optim.LBFGS([theirs], lr=0.5, max_iter=1, history_size=gatys.HISTORY),
        Lbfgs(0.5, longest_step=1e9),
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = value(theirs)
        loss.backward()
        return loss

    for _ in range(30):
        optimizer.step(closure)
        ours_1N = ours_1N + descent.step(torch.func.grad(value)(ours_1N[0])[None])
        torch.testing.assert_close(ours_1N[0], theirs.detach(), rtol=1e-6, atol=1e-8)
    assert value(ours_1N[0]) < 0.1 * value(torch.full((10,), 0.3, dtype=torch.float64))


def test_lbfgs_minimises_each_row_whatever_the_others_curvature() -> None:
    curvatures_BN = torch.tensor([[1.0, 2.0, 3.0], [1e4, 2e4, 5e4], [0.0, 0.0, 0.0]])
    points_BN, descent = torch.ones(3, 3), Lbfgs(None, longest_step=1e9)
    for _ in range(25):
        points_BN = points_BN + descent.step(curvatures_BN * points_BN)
    assert points_BN[:2].abs().max() < 1e-5
    assert torch.equal(points_BN[2], torch.ones(3))


def test_lbfgs_survives_where_full_steps_are_the_end() -> None:
    def last(longest_step: float) -> float:
        points_BN, descent = torch.tensor([[0.01, 3.0]]), Lbfgs(5.0, longest_step)
        for _ in range(100):
            points_BN = points_BN + descent.step(4 * points_BN**3)
        return points_BN.abs().max().item()

    assert last(1e9) > 100
    assert last(0.1) < 0.1


def test_lbfgs_forgets_what_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gatys, "HISTORY", 4)
    points_BN, descent = torch.ones(1, 8), Lbfgs(None)
    for _ in range(12):
        points_BN = points_BN + descent.step(torch.arange(1.0, 9.0) * points_BN)
    assert len(descent.changes_BN) == len(descent.inverse_curvatures_B1) == 4
    assert len(descent.steps_BN) <= 5


def test_the_same_seed_gives_the_same_picture_and_another_one_another(vgg: Vgg) -> None:
    photos_BCHW, style_1CHW = random_images(), random_images(1, 20, 9)
    first_BCHW = stylize(photos_BCHW, style_1CHW, vgg, QUICK)
    torch.rand(1)  # the caller's random numbers move on, which must not matter
    assert torch.equal(stylize(photos_BCHW, style_1CHW, vgg, QUICK), first_BCHW)
    assert not torch.equal(stylize(photos_BCHW, style_1CHW, vgg, changed(seed=1)), first_BCHW)


def test_the_callers_pictures_and_random_state_are_left_alone(vgg: Vgg) -> None:
    photos_BCHW = random_images()
    kept_BCHW = photos_BCHW.clone()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    stylize(photos_BCHW, random_images(1, 20, 9), vgg, changed(start="content"))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(photos_BCHW, kept_BCHW)


def test_progress_is_reported_at_every_step_for_every_picture(vgg: Vgg) -> None:
    told: list[tuple[int, Mapping[str, Tensor]]] = []
    stylize(random_images(), random_images(1, 20, 9), vgg, QUICK, lambda step, terms: told.append((step, terms)))
    assert [step for step, _ in told] == list(range(12))
    for _, terms in told:
        assert terms["total"].shape == (2,)
        assert not terms["total"].requires_grad
        torch.testing.assert_close(
            terms["total"], terms["content"] + terms["style"] + terms["total_variation"], rtol=1e-4, atol=1e-6
        )


def test_from_the_content_and_without_style_nothing_changes(vgg: Vgg) -> None:
    photos_BCHW = random_images()
    settings = changed(start="content", style_weight=0.0, tv_weight=0.0)
    torch.testing.assert_close(stylize(photos_BCHW, random_images(1, 20, 9), vgg, settings), photos_BCHW)


def test_it_starts_from_one_noise_for_all_or_from_the_photographs() -> None:
    photos_BCHW = random_images(3)
    noise_BCHW = first_images(photos_BCHW, QUICK)
    assert noise_BCHW.shape == photos_BCHW.shape
    assert torch.equal(noise_BCHW[0], noise_BCHW[2])
    assert 0.015 < noise_BCHW.std() < 0.025
    assert abs(noise_BCHW.mean() - 0.5) < 0.01
    assert torch.equal(first_images(photos_BCHW, changed(start="content")), photos_BCHW)


def test_it_runs_in_inference_mode_and_gives_a_picture(vgg: Vgg) -> None:
    with torch.inference_mode():
        images_BCHW = stylize(random_images(), random_images(1, 20, 9), vgg, QUICK)
    assert images_BCHW.shape == (2, 3, 16, 16)
    assert images_BCHW.min() >= 0
    assert images_BCHW.max() <= 1
    assert not images_BCHW.requires_grad
    assert all(parameter.grad is None for parameter in vgg.parameters())


def test_the_papers_layers_are_the_defaults() -> None:
    settings = GatysSettings()
    assert settings.content_layers == ("relu4_2",)
    assert settings.style_layers == ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    assert settings.optimizer == "lbfgs"
    assert settings.start == "noise"
