"""Distances in hindsight: each class of a layout is charged with the picture that got it best."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixelmill.workers.losses.hindsight import LAYERS, feature_distances, hindsight, mean_edge
from pixelmill.workers.networks.crn import one_hot
from pixelmill.workers.networks.vgg import Vgg, VggConfig
from tests.workers.facades import random_ids, seeded

K = 12


def test_with_one_output_hindsight_is_the_sum_of_the_maps_means() -> None:
    maps = [torch.rand(2, 1, 8, 16, generator=seeded()), torch.rand(2, 1, 4, 8, generator=seeded(1))]
    expected_B = maps[0].mean((1, 2, 3)) + maps[1].mean((1, 2, 3))
    torch.testing.assert_close(hindsight(maps, one_hot(random_ids(), K)), expected_B)
    torch.testing.assert_close(hindsight(maps, one_hot(random_ids(), K), mean_share=0.3), expected_B)


def test_a_class_is_charged_with_its_best_output_and_another_class_with_another() -> None:
    layouts_BHW = torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    right_for_0_then_1 = torch.tensor([[[[0.0, 0.0, 9.0, 9.0]], [[9.0, 9.0, 0.0, 0.0]]]])
    wrong_everywhere = torch.tensor([[[[1.0, 1.0, 9.0, 9.0]], [[9.0, 9.0, 3.0, 3.0]]]])
    assert hindsight([right_for_0_then_1], one_hot(layouts_BHW, K)).item() == 0
    assert hindsight([wrong_everywhere], one_hot(layouts_BHW, K)).item() == (1 + 1 + 3 + 3) / 4


def test_an_output_is_the_best_over_all_layers_together() -> None:
    layouts_BHW = torch.zeros(1, 1, 2, dtype=torch.uint8)
    fine = torch.tensor([[[[0.0, 0.0]], [[2.0, 2.0]]]])
    coarse = torch.tensor([[[[5.0]], [[1.0]]]])
    assert hindsight([fine, coarse], one_hot(layouts_BHW, K)).item() == 3


def test_an_output_that_is_never_the_best_still_gets_a_gradient() -> None:
    maps = torch.stack([torch.zeros(1, 8, 16), torch.ones(1, 8, 16)], 1).requires_grad_()
    hindsight([maps], one_hot(random_ids(1), K), mean_share=0.001).sum().backward()
    assert maps.grad is not None
    assert (maps.grad[:, 1] > 0).all()


def test_a_photograph_is_at_no_distance_from_itself_and_each_output_is_compared_with_its_own() -> None:
    vgg = Vgg(VggConfig(width=4)).requires_grad_(False)
    photos_BCHW, others_BCHW = torch.rand(2, 2, 3, 32, 32, generator=seeded())
    maps = feature_distances(vgg, torch.stack([photos_BCHW, others_BCHW], 1), photos_BCHW)
    assert len(maps) == 1 + len(LAYERS)
    assert [tuple(map_BOHW.shape) for map_BOHW in maps] == [(2, 2, side, side) for side in (32, 32, 16, 8, 4, 2)]
    assert max(float(map_BOHW[:, 0].max()) for map_BOHW in maps) < 1e-4
    assert all((map_BOHW[:, 1].mean((1, 2)) > 0).all() for map_BOHW in maps)


def test_the_papers_features_are_taken_after_the_relu() -> None:
    assert LAYERS == ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")


def test_two_truths_for_one_layout_are_both_had_with_two_outputs_and_averaged_by_l2() -> None:
    """The paper's white car and black car: one output is drawn to grey, which is neither."""
    truths_B = torch.tensor([0.0, 1.0])
    layouts_BKHW = one_hot(torch.zeros(2, 1, 1, dtype=torch.uint8), K)

    def learned(outputs: int) -> Tensor:
        levels_O = torch.linspace(0.4, 0.6, outputs + 2)[1:-1].clone().requires_grad_()
        optimizer = torch.optim.SGD([levels_O], 0.2)
        for _ in range(100):
            squares = (levels_O - truths_B[:, None]).square()[..., None, None]
            optimizer.zero_grad()
            hindsight([squares], layouts_BKHW).mean().backward()
            optimizer.step()
        return levels_O.detach()

    torch.testing.assert_close(learned(1), torch.tensor([0.5]), atol=0.01, rtol=0)
    torch.testing.assert_close(learned(2), torch.tensor([0.0, 1.0]), atol=0.01, rtol=0)


def test_an_edge_is_as_long_as_its_step_is_high() -> None:
    step_CHW = torch.zeros(3, 5, 9)
    step_CHW[:, :, 4:] = 1
    assert float(mean_edge(step_CHW)) == pytest.approx(4 / (4 * 8))
    assert float(mean_edge(step_CHW.mT)) == pytest.approx(float(mean_edge(step_CHW)))


@pytest.mark.parametrize("seed", range(5))
def test_more_outputs_are_never_worse_in_hindsight_and_one_alone_is_the_mean_of_its_map(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    maps = [torch.rand(2, 4, side, side, generator=random) for side in (8, 4)]
    layouts_BKHW = one_hot(torch.randint(0, K, (2, 8, 8), generator=random), K)
    best_B = hindsight(maps, layouts_BKHW)
    alone_OB = torch.stack([hindsight([map_BOHW[:, [place]] for map_BOHW in maps], layouts_BKHW) for place in range(4)])
    fewer_B = hindsight([map_BOHW[:, :2] for map_BOHW in maps], layouts_BKHW)
    assert (best_B <= fewer_B + 1e-6).all()
    assert (fewer_B <= alone_OB[:2].amin(0) + 1e-6).all()
    assert (best_B < alone_OB.amin(0)).all()  # no picture is the best for every class
    torch.testing.assert_close(alone_OB[0], torch.stack([map_BOHW[:, 0].mean((1, 2)) for map_BOHW in maps]).sum(0))
