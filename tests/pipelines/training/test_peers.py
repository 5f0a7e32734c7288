"""What workers exchange: one answer for all, one network for all, and scores in the order of the samples."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from pixelmill.pipelines.training.peers import Peers
from pixelmill.workers.recipes.scoring import joined
from tests.pipelines.training.several_workers import run_together


def exchange(rank: int) -> None:
    """In each of three processes."""
    pickle.loads = refused
    peers = Peers(rank, 3)
    assert peers.agreed(rank == 0, rank == 1) == [True, False]
    assert peers.mean(torch.tensor([float(rank), 6.0])).tolist() == [1, 6]
    torch.manual_seed(rank)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    network(torch.rand(2, 3, 8, 8))
    peers.share(network)
    said = torch.cat([tensor.double().flatten() for tensor in network.state_dict().values()])
    assert torch.equal(peers.mean(said.clone()), said)
    mine = {"mse": np.arange(rank, dtype=np.float32), "confusion": np.full((1, 2, 2), rank)} if rank != 1 else {}
    parts = peers.gathered(mine)
    if rank:
        assert parts == []
        return
    assert list(joined(parts)) == ["mse", "confusion"]  # as the first has them: safetensors keeps no order
    assert [set(part) for part in parts] == [{"mse", "confusion"}, set(), {"mse", "confusion"}]
    assert parts[2]["mse"].tolist() == [0, 1]
    assert parts[2]["confusion"].tolist() == [[[2, 2], [2, 2]]]


def refused(*_: object) -> object:
    raise AssertionError("a pickle was loaded")


def test_three_workers_agree_and_give_the_first_one_their_scores_without_pickle() -> None:
    run_together(exchange, workers=3)


def test_a_worker_alone_has_everything_already() -> None:
    peers, mine = Peers(), {"mse": np.ones(2)}
    assert peers.agreed(True, False) == [True, False]
    assert peers.gathered(mine) == [mine]
    assert list(peers.shares(3)) == [0, 1, 2]


@pytest.mark.parametrize("samples", [0, 1, 2, 7, 8, 100])
@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_shares_are_even_and_together_all_samples_in_order(samples: int, workers: int) -> None:
    each = [Peers.shares(sharing(rank, workers), samples) for rank in range(workers)]
    assert [number for share in each for number in share] == list(range(samples))
    assert max(map(len, each)) - min(map(len, each)) <= 1
    assert bool(each[0]) is (samples > 0)  # the first worker's names of scores are those of all


def sharing(rank: int, workers: int) -> Peers:
    """A worker that shares, in a process that has no others."""
    peers = Peers()
    peers.rank, peers.workers = rank, workers
    return peers
