"""The network of a file is found within whatever module wraps it."""

from __future__ import annotations

import pytest
from torch import nn

from pixelmill.workers.runtime.file_networks import FileNetwork, file_network_of


def test_it_is_found_alone_and_wrapped_and_nowhere_else() -> None:
    inner = FileNetwork()
    assert file_network_of(inner) is inner
    assert file_network_of(nn.Sequential(nn.ReLU(), nn.Sequential(inner))) is inner
    assert file_network_of(nn.Sequential(nn.ReLU())) is None


def test_its_own_library_runs_it_until_an_engine_is_set() -> None:
    network = FileNetwork()
    assert network.engine is None
    with pytest.raises(NotImplementedError):
        network.close()
