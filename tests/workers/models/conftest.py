"""A small checkpoint that was saved, as a file and as a folder; a cache of torch.hub of its own."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
import torch

from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.networks.autoencoder import ConvAutoencoder
from tests.workers.saved import CONFIG, make_card


@pytest.fixture(params=["net.safetensors", "folder"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    save_checkpoint(path, ConvAutoencoder(CONFIG), make_card())
    return path


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub, and no way to the network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of its first use for the whole process
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    return tmp_path / "hub/checkpoints"
