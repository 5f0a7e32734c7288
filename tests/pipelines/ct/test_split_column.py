"""The column `split` of slices and blocks: a patient is in one part, in both, and stays there when the archive grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.ct.volume_options import VolumeOptions
from pixelmill.workers.errors import RowError
from tests.ct_series import index_of, ingested
from tests.phantoms import write_archive

VOLUMES = VolumeOptions((2.5, 1.5, 1.5), (8, 16, 16))


def _splits(index: Folder, volumes: VolumeOptions | None = None) -> dict[str, set[str]]:
    """The parts of each patient."""
    found: dict[str, set[str]] = {}
    for _, rows in ingested(index, volumes):
        for row in [] if isinstance(rows, RowError) else rows:
            found.setdefault(str(row.columns["patient_id"]), set()).add(str(row.columns["split"]))
    return found


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = tmp_path_factory.mktemp("larger")
    write_archive(folder / "archive", 60, slices=6)
    return index_of(folder / "archive", folder / "index")[0]


def test_no_patient_is_in_two_parts_and_there_are_several(larger: Folder) -> None:
    slices = _splits(larger)
    assert {len(parts) for parts in slices.values()} == {1}
    assert len(set().union(*slices.values())) > 1


def test_a_block_is_in_the_part_of_its_patients_slices(larger: Folder) -> None:
    slices, blocks = _splits(larger), _splits(larger, VOLUMES)
    assert blocks
    assert blocks.items() <= slices.items()


def test_no_patient_moves_when_the_archive_grows(larger: Folder, tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", 25, slices=6)
    before = _splits(index_of(tmp_path / "archive", tmp_path / "index")[0])
    assert len(before) >= 6
    assert before.items() <= _splits(larger).items()
