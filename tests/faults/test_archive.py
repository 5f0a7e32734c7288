"""The main job at its full size: an archive of photographs on S3 with broken files in it, killed twice on the way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import corpus
from tests.faults.conftest import Mine
from tests.jpegs import make_jpegs
from tests.support import READERS, assert_every_input_in_one_row, pixelmill, read_elsewhere

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]

PHOTOGRAPHS = 4000


def test_4000_photographs_with_broken_files_among_them_killed_twice_are_each_in_one_row_for_any_reader(
    mine: Mine, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    make_jpegs(archive, PHOTOGRAPHS)
    mine.gateway.put_folder(mine.bucket, "in", archive)
    broken = [item for item in corpus.image_items() if item.expected != "good"]
    for number, item in enumerate(broken):
        mine.put(f"photos/{number % 40:02d}/{number:03d}-{Path(item.name).name[-60:]}", item.data)
    inputs = PHOTOGRAPHS + len(broken)

    for share in (0.25, 0.6):
        with mine.start() as run:
            run.wait_until(
                lambda share=share: len(mine.output.finished_uris()) > share * inputs, f"{share:.0%} were done"
            )
            run.kill()
            assert run.wait_until_gone() == []
        assert share * inputs < mine.seal() < inputs
    with mine.start() as run:
        assert run.wait() == 3, run.stderr
    assert mine.fetched_again() == {}
    reasons = assert_every_input_in_one_row(mine.output, inputs=inputs)
    assert reasons == Counter(item.expected for item in broken)

    inspected = json.loads(pixelmill(mine.home, "inspect", mine.out, "--json").stdout)
    expected = {"inputs": inputs, "done": PHOTOGRAPHS, "failed": len(broken), "missing": 0, "twice": 0, "unknown": 0}
    assert (inspected["complete"], inspected["counts"]) == (True, expected)
    assert [attempt["ended"] for attempt in inspected["attempts"]][-1] == "complete"

    data = mine.output.copy_to(tmp_path / "copy") / "data"
    table = pq.read_table(data)
    rows = dict(zip(table["id"].to_pylist(), table["embedding"].to_pylist(), strict=True))
    assert len(rows) == PHOTOGRAPHS
    for reader in READERS:
        assert read_elsewhere(reader, data, tmp_path) == rows
