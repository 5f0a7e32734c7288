"""Samples come in the order in which they were asked for, and one that can't be used is named without a secret."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelmill.pipelines.inputs import fetch
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from pixelmill.pipelines.stores import obstore_clients
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.reading import LABEL, read_samples
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Sample
from tests.pipelines.inputs.listings import tar_of
from tests.pipelines.training.drawn import ACCESS
from tests.servers.gateway import Gateway


class Verbatim:
    """Keeps the bytes of every file as they are; refuses those that say so."""

    def decode(self, files: dict[str, bytes]) -> Sample:
        if files["image"] == b"broken":
            raise DataError("is no picture")
        return {name: np.frombuffer(data, np.uint8) for name, data in files.items()}


def bytes_in(samples: list[Sample], name: str) -> list[bytes]:
    return [sample[name].tobytes() for sample in samples]


def read(data: DataSet) -> list[Sample]:
    return read_samples(data, Verbatim())  # type: ignore[arg-type]


def put(folder: Path, *contents: bytes) -> DataSet:
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        (folder / f"{number}.png").write_bytes(content)
    found = list(entries(Source((str(folder),), access=ACCESS), Ignored()))
    return DataSet({"image": table_of(found)}, ACCESS)


def test_samples_come_in_the_order_asked_for_each_with_its_label_and_all_roles(tmp_path: Path) -> None:
    images = put(tmp_path / "images", b"i0", b"i1", b"i2")
    masks = put(tmp_path / "masks", b"m0", b"m1", b"m2")
    roles = {"image": images.first, "mask": masks.first}
    data = DataSet(roles, ACCESS, np.array([7, 8, 9]), {"calibration": b"{}"})
    samples = read(data.take([2, 0, 1, 2]))
    assert bytes_in(samples, "image") == [b"i2", b"i0", b"i1", b"i2"]
    assert bytes_in(samples, "mask") == [b"m2", b"m0", b"m1", b"m2"]
    assert bytes_in(samples, LABEL) == [b"9", b"7", b"8", b"9"]
    assert bytes_in(samples, "calibration") == [b"{}"] * 4


def test_members_of_archives_among_files_come_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar_of(*((f"{number}.png", f"t{number}".encode()) for number in range(12))))
    found = list(entries(Source((str(tmp_path / "0.tar"),), access=ACCESS), Ignored()))
    files = put(tmp_path / "files", b"f0")
    listed = [*found, *entries(Source((str(tmp_path / "files"),), access=ACCESS), Ignored())]
    data = DataSet({"image": table_of(listed)}, ACCESS)
    order = [11, 12, 3, 0, 7]
    assert bytes_in(read(data.take(order)), "image") == [b"t11", b"f0", b"t3", b"t0", b"t7"]
    assert bytes_in(read(files), "image") == [b"f0"]


def test_a_sample_that_can_not_be_decoded_or_read_is_named(tmp_path: Path) -> None:
    data = put(tmp_path, b"fine", b"broken", b"gone")
    with pytest.raises(DataError, match=r"1\.png: is no picture"):
        read(data)
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match=r"2\.png: .*gone since it was listed"):
        read(data.take([0, 2]))


def test_a_file_that_changed_since_it_was_listed_is_never_trained_on(tmp_path: Path) -> None:
    data = put(tmp_path, b"first", b"second")
    (tmp_path / "1.png").write_bytes(b"another one")
    with pytest.raises(DataError, match=r"1\.png: .*was replaced or written to"):
        read(data)


def test_windows_of_one_process_read_by_the_same_threads_and_the_same_client(
    s3: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making a client for each window took more processor time than reading and decoding it."""
    made, make = list[str](), obstore_clients._made
    monkeypatch.setattr(obstore_clients, "_made", lambda bucket, access: made.append(bucket) or make(bucket, access))
    monkeypatch.setattr(fetch, "ThreadPoolExecutor", lambda *_: pytest.fail("threads were started for one window"))
    s3.make_bucket("windows")
    for number in range(4):
        s3.put("windows", f"{number}.png", b"i%d" % number)
    data = DataSet({"image": table_of(list(entries(Source(("s3://windows",), access=ACCESS), Ignored())))}, ACCESS)
    for window in ([0, 1], [3, 2]):
        assert bytes_in(read(data.take(window)), "image") == [b"i%d" % number for number in window]
    assert made == ["windows"]
