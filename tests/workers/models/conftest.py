"""A small checkpoint that was saved, as a file and as a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.networks.autoencoder import ConvAutoencoder
from tests.workers.saved import CONFIG, make_card


@pytest.fixture(params=["net.safetensors", "folder"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    save_checkpoint(path, ConvAutoencoder(CONFIG), make_card())
    return path
