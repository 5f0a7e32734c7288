"""The commands that show what networks make: zoo, generate and eval."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelmill.workers.models.zoo import zoo_names
from tests.support import Home, pixelmill


def test_the_zoo_lists_every_checkpoint_with_its_card(user: Home) -> None:
    listed = json.loads(pixelmill(user, "zoo", "--json").stdout)
    assert [each["name"] for each in listed] == zoo_names()
    assert all(each["data_licence"] and each["metrics"] and each["recipe"] for each in listed)
    assert sum(each["bytes"] for each in listed) < 64e6
    assert max(each["bytes"] for each in listed) < 10e6
    table = pixelmill(user, "zoo").stdout
    assert all(name in table for name in zoo_names())


def test_reconstructions_and_walks_are_grids_of_pictures(user: Home, photos: str, tmp_path: Path) -> None:
    for kind in ("reconstructions", "interpolation", "traversal", "samples"):
        out = tmp_path / f"{kind}.png"
        ended = pixelmill(
            user, "generate", kind, "--checkpoint", "autoencoder-photos", "--data", photos, "--count", "3",
            "--rows", "2", "--out", str(out),
        )  # fmt: skip
        assert ended.code == 0, ended.stderr
        with Image.open(out) as grid:
            pixels = np.asarray(grid)
        assert pixels.shape == (2 * 130 + 2, 3 * 130 + 2, 3)
        assert pixels.std() > 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generate", "dreams", "--checkpoint", "autoencoder-photos"], "there are samples"),
        (["generate", "traversal", "--checkpoint", "autoencoder-photos"], "give --data"),
        (["eval", "segnet", "--checkpoint", "autoencoder-photos", "--data", "."], "holds the network autoencoder"),
        (["eval", "vae", "--checkpoint", "weights.pt", "--data", "."], "a pickle can run code"),
        (["generate", "samples", "--checkpoint", "vae-mnist", "--out", __file__ + "/x.png"], "choose another place"),
        (["generate", "samples", "--checkpoint", "vae-mnist", "--out", "{tmp}/x.jpg"], "name a file that ends in .png"),
        (["generate", "samples", "--checkpoint", "s3://me:secret@b/x", "--out", "{tmp}/x.png"], "***@b/x carries"),
    ],
)
def test_what_can_not_be_shown_is_refused_with_the_next_step(
    user: Home, tmp_path: Path, words: list[str], said: str
) -> None:
    ended = pixelmill(user, *(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert ended.code == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
