"""The laws of the corpus: it is the same on every run, complete, and its containers hold what its cases say."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.decode_errors import DECODE_ERROR_TYPES
from pixelmill.workers.errors import RowError
from tests.corpus import Case, build


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, build(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fate(data: bytes | None) -> str:
    try:
        decode_picture(data or b"")
    except RowError as error:
        return error.error_type
    return "good"


def test_the_corpus_is_the_same_on_every_run(corpus: tuple[Path, list[Case]], tmp_path: Path) -> None:
    folder, cases = corpus
    assert build(tmp_path) == cases
    assert files(tmp_path) == files(folder)


def test_every_image_file_has_one_case_and_no_row_has_two(corpus: tuple[Path, list[Case]]) -> None:
    folder, cases = corpus
    assert Counter((case.path, case.member) for case in cases).most_common(1)[0][1] == 1
    assert {case.path for case in cases if case.path.startswith("images/")} == set(files(folder / ".")) - {
        name for name in files(folder) if not name.startswith("images/")
    }
    assert all((case.size is not None) == (case.expected == "good") for case in cases)


def test_the_corpus_covers_every_fate_and_the_limits_of_names(corpus: tuple[Path, list[Case]]) -> None:
    _, cases = corpus
    counts = Counter(case.expected for case in cases)
    assert set(counts) == {"good", *DECODE_ERROR_TYPES}
    assert sum(counts.values()) - counts["good"] >= 60
    assert max(len(part.encode()) for case in cases for part in case.path.split("/")) == 255
    assert max(len(case.path) for case in cases) > 300


def test_image_files_meet_their_fate_from_disk(corpus: tuple[Path, list[Case]]) -> None:
    folder, cases = corpus
    rows = [case for case in cases if case.path.startswith("images/")]
    assert [fate((folder / case.path).read_bytes()) for case in rows] == [case.expected for case in rows]


def test_tar_members_meet_their_fate_and_only_one_tar_is_cut(corpus: tuple[Path, list[Case]]) -> None:
    folder, cases = corpus
    for path in sorted((folder / "tars").iterdir()):
        found = []
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.isreg():
                        file = tar.extractfile(member)
                        assert file is not None
                        found.append((member.name, fate(file.read())))
        except tarfile.ReadError:
            found.append((None, "Truncated"))
        assert found == [(case.member, case.expected) for case in cases if case.path == f"tars/{path.name}"]


def test_parquet_rows_meet_their_fate(corpus: tuple[Path, list[Case]]) -> None:
    folder, cases = corpus
    for path in sorted((folder / "parquet").iterdir()):
        (column,) = pq.read_table(path).to_pydict().values()
        blobs = [value["bytes"] if isinstance(value, dict) else value for value in column]
        found = [(f"row {row}", fate(blob)) for row, blob in enumerate(blobs)]
        assert found == [(case.member, case.expected) for case in cases if case.path == f"parquet/{path.name}"]
