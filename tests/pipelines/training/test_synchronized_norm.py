"""With synchronized statistics several workers learn as one; each with its own they do not."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.layouts.registry import layout_of
from pixelmill.pipelines.training.peers import Peers
from pixelmill.pipelines.training.plan import TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.splits import split
from pixelmill.pipelines.training.synchronized_norm import SynchronizedNorm, synchronized
from pixelmill.pipelines.training.worker import Training
from tests.pipelines.training.several_workers import run_together
from tests.pipelines.training.trainings import Silent, plan_of, train

CPU = torch.device("cpu")


def network_of(momentum: float | None = 0.1) -> nn.Sequential:
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(4, momentum=momentum), nn.BatchNorm2d(2, affine=False, momentum=momentum)]
    return nn.Sequential(nn.Conv2d(3, 4, 3), norms[0], nn.ReLU(), nn.Sequential(nn.Conv2d(4, 2, 3), norms[1]))


def batch() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    images_BCHW = torch.rand(8, 3, 9, 9, generator=random) * torch.arange(1, 9)[:, None, None, None]  # unlike halves
    return images_BCHW, torch.rand(8, 2, 5, 5, generator=random)


def learned(network: nn.Module, trained: nn.Module, places: slice) -> dict[str, Tensor]:
    """Gradients and buffers after two steps."""
    images_BCHW, target_BCHW = batch()
    for _ in range(2):
        network.zero_grad()
        nn.functional.mse_loss(trained(images_BCHW[places]), target_BCHW[places]).backward()
    gradients = {f"{name}.grad": each.grad for name, each in network.named_parameters() if each.grad is not None}
    return gradients | dict(network.named_buffers())


def learn_together(rank: int, out: Path) -> None:
    """One worker of two: a half of each batch."""
    for momentum in (0.1, None):
        network = synchronized(network_of(momentum), CPU)
        assert isinstance(copy.deepcopy(network)[1], SynchronizedNorm)  # type: ignore[index]
        assert network.state_dict().keys() == network_of().state_dict().keys()
        found = learned(network, DistributedDataParallel(network), slice(rank * 4, rank * 4 + 4))
        if rank == 0:
            save_file(found, out / f"{momentum}.safetensors")


def test_gradients_and_statistics_of_halves_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    run_together(learn_together, tmp_path)
    for momentum in (0.1, None):
        network, found = network_of(momentum), load_file(tmp_path / f"{momentum}.safetensors")
        expected = learned(network, network, slice(None))
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


# ------------------------------------------------------------------------------------------------------- a whole training


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("masks")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for seed in range(16):
        random = np.random.default_rng(seed)
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"images/{seed:02}.png")
        Image.fromarray(random.integers(0, 3, (32, 32), np.uint8)).save(folder / f"labels/{seed:02}.png")
    return str(folder)


def segmenting(masks: str, pictures: str, out: Path, *, is_synchronized: bool = True) -> TrainingPlan:
    found = split(layout_of("masks").ROLES, [masks], [], 4, 0, Access())
    settings = {"classes": 3, "base": 4, "padding": "same", "batch_norm": True, "steps": 6, "batch": 4}
    settings |= {
        "precision": "float32",
        "evaluate_every_steps": 6,
        "dropout": 0.0,
    }  # which each worker draws for itself
    plan = plan_of(
        pictures, out, recipe="unet", train=found.train, held_out=found.train, sync_batch_norm=is_synchronized
    )
    return TrainingPlan(**{**vars(plan), "settings": settings})


def train_half(rank: int, masks: str, pictures: str, out: Path) -> None:
    for is_synchronized in (True, False):
        plan = segmenting(masks, pictures, out / f"{is_synchronized}", is_synchronized=is_synchronized)
        Training(plan, WorkerGroup(2), rank, CPU, {}, Silent(), Peers(rank, 2)).run()


def test_two_workers_with_batch_normalisation_learn_as_one(masks: str, pictures: str, tmp_path: Path) -> None:
    train(segmenting(masks, pictures, tmp_path / "one"))
    run_together(train_half, masks, pictures, tmp_path)
    # Logits, since the bias of a convolution before a normalisation has no effect and follows rounding alone.
    one, both, apart = (logits_of(tmp_path / folder) for folder in ("one", "True", "False"))
    assert float((both - one).abs().max()) < 1e-3 < 1e-2 < float((apart - one).abs().max())


def logits_of(folder: Path) -> Tensor:
    network, _ = checkpoints.load_from_store(str(folder), Access())
    with torch.inference_mode():
        return network.eval()(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5)))
