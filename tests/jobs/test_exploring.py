"""The commands that look at a run, as a person types them: what they print, what they store, and every bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.jobs.opened_run import OpenedRun
from pixelmill.jobs.session.holding import holding
from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, RunRefused
from tests.pipelines.findings.explored import add_part, compressed, directions, noise, open_out


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    """Three directions of 8 rows with pictures, one of them twice, and one that failed."""
    folder = open_out(tmp_path / "out")
    pictures = [noise(n) for n in range(24)]
    pictures[9] = compressed(pictures[8])
    vectors = directions(3, 8)
    vectors[9] = vectors[8]
    add_part(folder, [f"{n:02d}" for n in range(24)], vectors, pictures, failed=["bad"])
    return folder


def typed(*words: str) -> str:
    done = CliRunner().invoke(cli.app, list(words), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cluster": ("clusters", ("--k", "3")),
    "project": ("map", ()),
    "duplicates": ("duplicates", ()),
    "outliers": ("outliers", ()),
    "sample": ("sample", ("--k-center", "5")),
}
"""The default name of the result, and options."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_stores_its_rows_by_id_and_says_where(out: Folder, command: str) -> None:
    name, options = COMMANDS[command]
    place = f"{out.uri}/explore/{name}/rows.parquet"
    assert f"the rows, by id: {place}" in typed(command, out.uri, *options)
    rows = pq.read_table(place)
    assert set(rows["id"].to_pylist()) <= {f"id-{n:02d}" for n in range(24)}
    answer = json.loads(typed(command, out.uri, *options, "--json"))
    assert (answer["kind"], answer["place"], answer["covers"]["rows"]) == (command, place, 24)
    assert answer["run_is_complete"] is False
    found = stored.read(out, name)
    assert found is not None
    assert not found.is_stale


def test_a_duplicate_is_named_with_its_original(out: Folder) -> None:
    said = typed("duplicates", out.uri)
    assert "1 of 24 rows repeat another one, in 1 group: 1 by perceptual" in said
    assert "  /p/08.jpg = /p/09.jpg\n" in said


def test_leaks_are_stored_with_the_test_set(out: Folder, tmp_path: Path) -> None:
    test = open_out(tmp_path / "test")
    add_part(test, ["x"], np.array([[-1, -1, -1]], np.float32), [compressed(noise(3))])
    said = typed("leaks", out.uri, test.uri)
    assert "1 of 1 test rows are among the 24 training rows" in said
    assert "/p/x.jpg = /p/03.jpg (perceptual)" in said
    assert stored.names(test) == ["leaks"]
    assert stored.names(out) == []


def test_neighbours_of_a_row_are_those_of_its_direction(out: Folder) -> None:
    rows = json.loads(typed("neighbors", out.uri, "--id", "id-00", "-k", "7", "--json"))
    assert {row["id"] for row in rows} == {f"id-{n:02d}" for n in range(1, 8)}
    assert typed("neighbors", out.uri, "--id", "/p/00.jpg", "-k", "1").split()[1].startswith("/p/0")


def test_a_row_is_found_by_its_path_as_a_person_writes_it(out: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    for written in ("p/00.jpg", "./p/00.jpg", "file:///p/00.jpg"):
        assert typed("neighbors", out.uri, "--id", written) == typed("neighbors", out.uri, "--id", "/p/00.jpg")
        assert OpenedRun(out).neighbors(written).equals(OpenedRun(out).neighbors("/p/00.jpg"))


BAD: list[tuple[tuple[str, ...], str]] = [
    (("neighbors", "--id", "gone"), "holds no finished row of gone"),
    (("neighbors",), "give either --id"),
    (("neighbors", "--id", "id-00", "--image", "x.jpg"), "give either --id"),
    (("cluster", "--k", "many"), "give a number of clusters, or auto"),
    (("cluster", "--k", "99"), "give 1 to 24, or auto"),
    (("cluster", "--column", "uri"), "uri is no column of vectors; there are embedding"),
    (("cluster", "--name", "../data"), "no plain name"),
    (("project", "--method", "tsne"), "there are pca, umap"),
    (("sample", "--k-center", "99"), "give 1 to 24"),
    (("duplicates", "--threshold", "7"), "is a cosine"),
]


@pytest.mark.parametrize(("words", "said"), BAD)
def test_what_can_not_be_asked_is_reported_before_anything_is_written(
    out: Folder, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(JobError, match=said):
        cli.app([words[0], out.uri, *words[1:]], standalone_mode=False)
    assert not (Path(out.uri) / "explore").exists()


@pytest.mark.parametrize("command", [*COMMANDS, "leaks"])
def test_a_run_of_zero_rows_is_a_plain_word(tmp_path: Path, command: str) -> None:
    empty = open_out(tmp_path / "empty")
    words: list[Any] = [command, empty.uri, *(["/elsewhere"] if command == "never" else [])]
    if command == "leaks":
        words = [command, open_out(tmp_path / "other").uri, empty.uri]
    with pytest.raises(JobError, match="holds no finished row"):
        cli.app(words, standalone_mode=False)


def test_a_folder_that_is_no_run_is_a_plain_word(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="holds no run of pixelmill"):
        cli.app(["cluster", str(tmp_path)], standalone_mode=False)


def test_a_name_that_another_process_works_on_is_refused(out: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelmill.jobs.session import holding as module

    monkeypatch.setattr(module, "is_gone", lambda holder: False)
    monkeypatch.setattr("pixelmill.pipelines.outputs.claims.POLL_S", 0.05)
    monkeypatch.setattr("pixelmill.jobs.session.holding.BEAT_S", 0.05)
    with (
        holding(stored.folder_for(out, "clusters"), "explore", lambda: 0.0, lambda _: None),
        pytest.raises(RunRefused, match="is being written by"),
    ):
        cli.app(["cluster", out.uri, "--k", "2"], standalone_mode=False)
    assert stored.names(out) == []
    typed("cluster", out.uri, "--k", "2")
    assert stored.names(out) == ["clusters"]


def test_a_result_is_replaced_by_the_next_of_its_name(out: Folder) -> None:
    typed("cluster", out.uri, "--k", "2")
    add_part(out, ["more"], directions(3, 1)[:1], [noise(99)])
    before = stored.read(out, "clusters")
    assert before is not None
    assert before.is_stale
    typed("cluster", out.uri, "--k", "3")
    after = stored.read(out, "clusters")
    assert after is not None
    assert (after.is_stale, after.rows.num_rows) == (False, 25)
