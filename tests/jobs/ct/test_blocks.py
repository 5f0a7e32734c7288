"""`pixelmill embed` over blocks of volumes: a code for each block, pooled for each series; other stages say what they take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pixelmill.pipelines.ct.pooled_codes import SERIES_CODES
from tests.ct_networks import save_autoencoder, save_finetuned
from tests.ct_tables import write_blocks
from tests.support import Home, Output, pixelmill

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    """What `ct ingest --volumes` writes: two blocks of each of three series."""
    path = write_blocks(tmp_path / "blocks/data/part-000000.parquet", 3)
    places = pa.array([[16 * (row % 2), 0, 0] for row in range(6)], pa.list_(pa.int32()))
    pq.write_table(pq.read_table(path).append_column("block", places), path)
    (tmp_path / "blocks/_run").mkdir()
    (tmp_path / "blocks/_run/spec.yaml").write_text("source: {uri: index, decoder: ct-volume}\nstages: [hu]\n")
    return tmp_path / "blocks"


def test_blocks_have_codes_and_series_the_mean_of_theirs(user: Home, blocks: Path, tmp_path: Path) -> None:
    network, out = save_autoencoder(tmp_path / "m", dims=3), tmp_path / "codes"
    ended = pixelmill(user, "embed", str(blocks), str(out), "--model", str(tmp_path / "m"))
    assert ended.code == 0, ended.stderr
    assert "codes of 3 series, each the mean of its blocks, 6 in all" in ended.stdout
    rows = sorted(Output(str(out)).table("data").to_pylist(), key=lambda row: (row["series_id"], row["block"]))
    assert [(row["series_id"], row["patient_id"], row["block"][0]) for row in rows] == [
        (f"s{number // 2}", f"p{number // 2}", 16 * (number % 2)) for number in range(6)
    ]
    stored = pq.read_table(blocks / "data/part-000000.parquet").to_pylist()
    codes_BD = torch.tensor([row["embedding"] for row in rows])
    for code_D, row in zip(codes_BD, stored, strict=True):
        values_DHW = np.array(row["hu"], np.int16).reshape(row["depth"], row["height"], row["width"])
        with torch.inference_mode():
            (expected_D,) = network.encode(network.config.normalization.whole(values_DHW)[None])
        assert torch.nn.functional.cosine_similarity(code_D, expected_D, dim=0).item() > 0.999
    pooled = pq.read_table(out / SERIES_CODES).to_pylist()
    assert [(row["series_id"], row["blocks"]) for row in pooled] == [("s0", 2), ("s1", 2), ("s2", 2)]
    assert np.allclose([row["embedding"] for row in pooled], codes_BD.view(3, 2, -1).mean(1), atol=1e-5)


@pytest.mark.parametrize(
    ("stage", "dims", "words"),
    [
        ("embed", 2, "was trained on slices; take a network that ct-autoencoder trained with dims=3"),
        ("segment", None, "`ct ingest` without --volumes writes slices"),
        ("reconstruct", 3, "`ct ingest` without --volumes writes slices"),
    ],
)
def test_what_blocks_are_not_for_is_refused_with_the_next_step(
    user: Home, blocks: Path, tmp_path: Path, stage: str, dims: int | None, words: str
) -> None:
    if dims is None:
        save_finetuned(tmp_path / "m")
    else:
        save_autoencoder(tmp_path / "m", dims=dims)
    ended = pixelmill(user, stage, str(blocks), str(tmp_path / "out"), "--model", str(tmp_path / "m"))
    assert (ended.code, words in ended.stderr) == (2, True), ended.stderr
    assert not (tmp_path / "out").exists()
