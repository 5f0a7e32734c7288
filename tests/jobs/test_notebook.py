"""A run in a notebook: a grid with its counts, a map, neighbours and duplicates as pictures, and names that are never markup."""

from __future__ import annotations

import html
from pathlib import Path

import pytest

from pixelmill.jobs.opened_run import OpenedRun
from pixelmill.workers.errors import JobError
from tests.pipelines.export.drawn import make_run
from tests.pipelines.findings.explored import add_part, compressed, directions, noise, open_out

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def opened(tmp_path: Path) -> OpenedRun:
    out = open_out(tmp_path / "out")
    pictures = [noise(n) for n in range(8)]
    pictures[5] = compressed(pictures[4])
    add_part(out, [*"abcdefg", EVIL], directions(2, 4), pictures)
    return OpenedRun.at(out.uri)


def test_a_run_shows_a_grid_of_its_pictures(opened: OpenedRun) -> None:
    shown = opened._repr_html_()
    assert shown.count("<img ") == 8
    assert "not complete" in shown
    assert EVIL not in shown
    assert html.escape(EVIL) in shown


def test_outputs_are_shown_where_inputs_can_not_be_read(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"a.png": (200, 200, 200), "b.png": (9, 9, 9)})
    assert OpenedRun(run)._repr_html_().count("<img ") == 6


def test_neighbours_are_a_table_and_a_row_of_pictures(opened: OpenedRun) -> None:
    found = opened.nearest("id-a", 3)
    assert set(found.table["id"].to_pylist()) == {"id-b", "id-c", "id-d"}
    shown = found._repr_html_()
    assert shown.count("<img ") == 3
    first = found.table.to_pylist()[0]
    assert f"<b>{first['cosine']:.3f}</b> p/{first['id'].removeprefix('id-')}.jpg" in shown


def test_duplicates_are_shown_group_by_group_and_nothing_is_stored(opened: OpenedRun) -> None:
    found = opened.duplicates()
    pair = {row["id"] for row in found.table.to_pylist() if row["tier"] != "content"}
    assert {"id-e", "id-f"} & pair
    assert found._repr_html_().count("<img ") == found.table.num_rows
    assert "repeat another one" in repr(found)
    assert not (Path(opened.uri) / "explore").exists()


def test_the_map_is_a_page_in_a_frame_that_may_run_scripts_and_nothing_else(opened: OpenedRun) -> None:
    shown = opened.map()
    assert shown.html.startswith('<iframe sandbox="allow-scripts" srcdoc="')
    page = html.unescape(shown.html.partition('srcdoc="')[2].partition('" style=')[0])
    assert "<canvas" in page
    assert EVIL not in page
    assert repr(shown).startswith("map of 8 of 8 rows")


def test_a_run_without_vectors_has_no_map(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    add_part(out, ["a"], pictures=[noise(0)])
    with pytest.raises(JobError, match="holds no vectors, so that there is no map"):
        OpenedRun(out).map()
    assert OpenedRun(out)._repr_html_().count("<img ") == 1
    with pytest.raises(JobError, match="no such column of vectors"):
        OpenedRun(out).nearest("id-a")
