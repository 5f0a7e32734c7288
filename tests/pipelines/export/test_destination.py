"""A destination creates files and never overwrites one unasked, and what it says of a row is JSON for everybody."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from pixelmill.pipelines.export.destination import Destination, as_json
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import RunRefused


def at(place: Path, *, overwrite: bool = False) -> Destination:
    return Destination(Folder(str(place), Access(retry_for_s=0.0)), overwrite=overwrite)


def test_a_file_is_written_once_kept_where_it_is_the_same_and_replaced_only_when_asked(tmp_path: Path) -> None:
    assert at(tmp_path).put("a/b.png", b"1") == "written"
    assert at(tmp_path).put("a/b.png", b"1") == "kept"
    with pytest.raises(RunRefused, match="or --overwrite"):
        at(tmp_path).put("a/b.png", b"2")
    assert (tmp_path / "a/b.png").read_bytes() == b"1"
    assert at(tmp_path, overwrite=True).put("a/b.png", b"2") == "replaced"
    assert (tmp_path / "a/b.png").read_bytes() == b"2"


def test_two_writers_of_one_name_are_one_that_wrote_and_one_that_was_refused(tmp_path: Path) -> None:
    answers: list[str] = []

    def write(data: bytes) -> None:
        try:
            answers.append(at(tmp_path).put("a.png", data))
        except RunRefused:
            answers.append("refused")

    threads = [threading.Thread(target=write, args=(bytes([number]),)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(answers) == ["refused"] * 7 + ["written"]


def test_an_export_is_claimed_and_another_one_is_refused_with_the_differences(tmp_path: Path) -> None:
    at(tmp_path).claim({"format": "png", "columns": ["a"]})
    at(tmp_path).claim({"columns": ["a"], "format": "png"})
    with pytest.raises(RunRefused, match="format png and not jpeg"):
        at(tmp_path).claim({"format": "jpeg", "columns": ["a"]})


def test_a_part_is_known_when_it_was_begun_and_when_it_was_finished(tmp_path: Path) -> None:
    destination = at(tmp_path)
    destination.begin_part("part-000003")
    assert (at(tmp_path).begun_parts(), at(tmp_path).finished_parts()) == ({"part-000003"}, {})
    destination.finish_part("part-000003", {"files": 1}, [{"file": "a.png"}])
    assert at(tmp_path).finished_parts() == {"part-000003": {"files": 1}}
    assert json.loads((tmp_path / "_export/index/part-000003.jsonl").read_text()) == {"file": "a.png"}


def test_numbers_that_are_none_and_bytes_are_json_too() -> None:
    row = {"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": b"123", "e": None}, "f": "\u00e9"}
    assert json.loads(as_json(row)) == {"a": None, "b": [1.5, None], "c": {"d": "3 bytes", "e": None}, "f": "\u00e9"}
