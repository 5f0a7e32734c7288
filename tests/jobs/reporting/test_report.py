"""The report of a run: everything on one page that asks nobody for anything, whatever the run holds, and names are never code."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.jobs.reporting import map_points
from pixelmill.jobs.reporting.content import Wanted, content_of
from pixelmill.jobs.reporting.page import page_of
from pixelmill.pipelines.outputs.columns import INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from tests.jobs.test_querying import embedded
from tests.pipelines.export.drawn import BLUE, make_run
from tests.pipelines.findings.explored import TEXTS, add_part, directions, noise, open_out

EVIL = "</script><script>document.body.dataset.hacked='yes'</script><img src=x onerror=alert(1)>"


def page(out: Folder, **wanted: Any) -> str:
    return page_of(content_of(out.uri, Wanted(**wanted), {}, lambda _: None))


class Elements(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def drawn(tmp_path: Path) -> Folder:
    """Pictures with masks and depth beside their inputs; one input failed."""
    run = make_run(tmp_path, {"a.png": (9, 9, 9), "b.png": (200, 90, 90), "c/blue.png": BLUE})
    spec = json.dumps({"version": 1, "source": str(tmp_path / "in"), "out": run.uri, "stages": ["embed"]})
    run.publish("_run/spec.yaml", spec.encode())
    return run


@pytest.fixture
def mapped(tmp_path: Path) -> Folder:
    """Three directions of vectors with fingerprints; a name of each kind of danger."""
    out = open_out(tmp_path / "out")
    names = [f"dir/{n:02d}" for n in range(23)]
    add_part(out, [*names, EVIL], directions(3, 8), [noise(n) for n in range(24)], failed=[EVIL + "2"])
    return out


def test_inputs_stand_beside_what_was_made_of_them(drawn: Folder) -> None:
    content = content_of(drawn.uri, Wanted(), {}, lambda _: None)
    (sampled, *_) = content.sheets
    assert [Path(card.name).name for card in sampled.cards] == ["a.png", "b.png"]
    for card in sampled.cards:
        assert [tile.label for tile in card.tiles] == ["input", "shown", "mask", "depth_m"]
        assert all(tile.jpeg is not None for tile in card.tiles)
    assert content.notes == []
    (histogram,) = content.histograms
    assert (histogram.column, histogram.unit, sum(histogram.shares)) == ("depth_m", "m", pytest.approx(1))
    assert histogram.low == pytest.approx(9, abs=1)
    assert "drawn / Blue" in Elements(page_of(content)).text


def test_rows_of_each_folder_are_shown_together_unless_nobody_wants_them(tmp_path: Path) -> None:
    run = make_run(tmp_path, {f"{kind}/{n}.png": (9 * n, 9, 9) for kind in ("cat", "dog") for n in range(2)})
    titles = [sheet.title for sheet in content_of(run.uri, Wanted(), {}, lambda _: None).sheets]
    assert titles[-2:] == ["Folder cat", "Folder dog"]
    cats = content_of(run.uri, Wanted(), {}, lambda _: None).sheets[-2]
    assert [Path(card.name).parent.name for card in cats.cards] == ["cat", "cat"]
    without = content_of(run.uri, Wanted(by="none"), {}, lambda _: None).sheets
    assert not any("Folder" in sheet.title for sheet in without)


def test_nothing_is_loaded_from_elsewhere_and_no_script_but_ours_may_run(mapped: Folder) -> None:
    text = page(mapped)
    elements = Elements(text)
    sources = [value for _, attributes in elements.tags for key, value in attributes.items() if key in {"src", "href"}]
    assert sources
    assert all(str(source).startswith("data:image/jpeg;base64,") for source in sources)
    policy = next(each["content"] for tag, each in elements.tags if "http-equiv" in each)
    assert "default-src 'none'" in str(policy)
    assert "unsafe" not in str(policy)
    assert sum(tag == "script" for tag, _ in elements.tags) == 2
    assert not any(key.startswith("on") or key == "style" for _, each in elements.tags for key in each)


def test_a_name_with_markup_is_shown_as_text(mapped: Folder) -> None:
    text = page(mapped)
    assert EVIL not in text
    assert "<img src=x" not in text
    assert EVIL in Elements(text).text
    packed = re.search(r'<script type="application/json" id="points">(.*?)</script>', text, re.DOTALL)
    assert packed is not None
    assert any(name.endswith(f"{EVIL}.jpg") for name in json.loads(packed[1])["names"])


def test_the_map_has_a_place_a_cluster_and_a_picture_for_every_row(mapped: Folder) -> None:
    points = content_of(mapped.uri, Wanted(), {}, lambda _: None).map
    assert points is not None
    assert len(points.names) == points.rows == 24
    labels = np.repeat(np.arange(3), 8)
    assert len(set(zip(points.clusters_N.tolist(), labels.tolist(), strict=True))) == 3
    assert sorted(points.tiles_N.tolist()) == list(range(24))
    few = content_of(mapped.uri, Wanted(points=5), {}, lambda _: None).map
    assert few is not None
    assert (len(few.names), few.rows) == (5, 24)


def test_stored_clusters_and_maps_are_used_while_they_are_fresh(mapped: Folder) -> None:
    CliRunner().invoke(cli.app, ["cluster", mapped.uri, "--k", "2"], catch_exceptions=False)
    CliRunner().invoke(cli.app, ["project", mapped.uri], catch_exceptions=False)
    content = content_of(mapped.uri, Wanted(), {}, lambda _: None)
    assert content.map is not None
    assert set(content.map.clusters_N.tolist()) == {0, 1}
    assert [sheet.title for sheet in content.sheets if "Cluster" in sheet.title] == ["Cluster 0", "Cluster 1"]
    add_part(mapped, ["new"], directions(3, 1)[:1], [noise(99)])
    content = content_of(mapped.uri, Wanted(), {}, lambda _: None)
    assert content.map is not None
    assert set(content.map.clusters_N.tolist()) != {0, 1}
    assert sum("is older than the newest rows" in note for note in content.notes) == 2


def test_the_extremes_of_a_score_are_shown_in_their_order(drawn: Folder) -> None:
    content = content_of(drawn.uri, Wanted(score="brightness"), {}, lambda _: None)
    sheets = {sheet.title: [Path(card.name).name for card in sheet.cards] for sheet in content.sheets}
    assert sheets["Highest brightness"] == ["b.png", "a.png"]
    assert sheets["Lowest brightness"] == ["a.png", "b.png"]
    with pytest.raises(JobError, match=r"uri is no column of one number a row; there are brightness"):
        content_of(drawn.uri, Wanted(score="uri"), {}, lambda _: None)


# ------------------------------------------------------------------------------------------------------------ bad input


def test_a_picture_that_is_gone_from_its_source_has_its_reason_and_the_rest_is_shown(drawn: Folder) -> None:
    (Path(drawn.uri).parent / "in/a.png").unlink()
    text = Elements(page(drawn)).text
    assert "NotFound" in text
    content = content_of(drawn.uri, Wanted(), {}, lambda _: None)
    gone, there = (card.tiles for card in content.sheets[0].cards)
    assert gone[0].jpeg is None
    assert gone[1].jpeg is not None
    assert there[0].jpeg is not None


def test_a_huge_picture_takes_a_word_of_the_sheet_and_not_the_memory(tmp_path: Path) -> None:
    out = embedded(tmp_path, ["embed"])
    Image.new("L", (12_500, 8_000), 90).save(tmp_path / "in/cat.png")
    content = content_of(out.uri, Wanted(), {}, lambda _: None)
    tiles = {Path(card.name).name: card.tiles[0] for card in content.sheets[0].cards}
    assert tiles["cat.png"].jpeg is None
    assert tiles["cat.png"].reason
    assert tiles["coffee.png"].jpeg is not None


def test_a_run_of_zero_rows_still_says_what_failed(tmp_path: Path) -> None:
    out = open_out(tmp_path / "out")
    assert "0 done" not in page(out)
    add_part(out, [], failed=["x", "y"])
    text = Elements(page(out)).text
    assert "decode / Corrupt" in text
    assert "/p/x.jpg" in text


def test_a_job_file_that_can_not_be_read_here_costs_the_inputs_and_not_the_page(drawn: Folder) -> None:
    spec = {"version": 1, "source": "${NOT_SET_HERE}", "out": drawn.uri, "stages": ["embed"]}
    drawn.publish("_run/spec.yaml", json.dumps(spec).encode())
    content = content_of(drawn.uri, Wanted(), {}, lambda _: None)
    assert [tile.label for tile in content.sheets[0].cards[0].tiles] == ["shown", "mask", "depth_m"]
    (note,) = content.notes
    assert "inputs are not shown" in note
    assert "NOT_SET_HERE" in note


def test_a_run_without_vectors_has_no_map_and_one_of_two_models_says_so(tmp_path: Path) -> None:
    out = open_out(tmp_path / "plain")
    add_part(out, ["a"], pictures=[noise(0)])
    assert content_of(out.uri, Wanted(), {}, lambda _: None).map is None
    assert "<canvas" not in page(out)
    two = open_out(tmp_path / "two")
    add_part(two, ["a"], directions(1, 1))
    add_part(two, ["b"], directions(1, 1), weights="b" * 64)
    assert "no map" in page(two)
    assert "vectors of two models" in page(two)


def test_fifty_thousand_classes_are_counted_and_the_largest_shown(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    field = pa.field("classes_name", pa.list_(pa.string()))
    rows = [{"id": str(n), "uri": f"/{n}", "classes_name": [f"c{n}" if n else "most"]} for n in range(50_000)]
    rows += [{"id": f"x{n}", "uri": f"/x{n}", "classes_name": ["most", "c1"]} for n in range(9)]
    publish(
        out, "part-000000", pa.Table.from_pylist(rows, pa.schema([*INPUT_FIELDS, field, *TEXTS])), {}, Compression()
    )
    text = page(out, sampled=0)
    assert "and 49,960 more classes" in text
    assert Elements(text).text.index("most") < Elements(text).text.index("c1")
    assert len(text) < 1_000_000


@pytest.mark.parametrize(("place", "said"), [("report.txt", "ends in .html"), ("none/report.html", "does not exist")])
def test_a_place_that_can_hold_no_page_is_refused_before_anything_is_read(
    tmp_path: Path, place: str, said: str
) -> None:
    with pytest.raises(JobError, match=said):
        cli.app(["report", str(tmp_path / "no run"), "--out", str(tmp_path / place)], standalone_mode=False)


def test_the_command_writes_the_page_and_says_where(mapped: Folder, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli.app, ["report", mapped.uri, "--out", str(tmp_path / "r.html")], catch_exceptions=False
    )
    assert f"{tmp_path}/r.html: " in done.stdout
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


# -------------------------------------------------------------------------------------------------------------- browser

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVE = """
<script>
const canvas = document.querySelector("canvas");
const press = (key) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
press("ArrowRight");
document.body.dataset.first = document.getElementById("tip-name").textContent;
document.body.dataset.picture = document.getElementById("tip-picture").style.backgroundImage.slice(0, 30);
const names = ["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"].map((key) => {
  press(key);
  return document.getElementById("tip-name").textContent;
});
document.body.dataset.visited = new Set(names).size;
press("Escape");
document.body.dataset.closed = document.getElementById("tip").hidden;
document.querySelector("#legend button").click();
document.body.dataset.pressed = document.querySelector("#legend button").getAttribute("aria-pressed");
</script></body>"""


def in_browser(text: str, folder: Path) -> tuple[str, str]:
    """The document after its script ran, and what the browser said on its console."""
    assert CHROMIUM is not None
    (folder / "page.html").write_text(text)
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", f"file://{folder}/page.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_script_runs_under_the_policy_and_names_do_not(mapped: Folder, tmp_path: Path) -> None:
    shown, said = in_browser(page(mapped), tmp_path)
    assert said == ""
    assert 'data-ready="yes"' in shown
    assert "data-hacked" not in shown
    assert shown.count('aria-pressed="true"') == 3


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_map_is_used_by_keyboard_alone(mapped: Folder, tmp_path: Path) -> None:
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page(mapped))
    shown, said = in_browser(text.replace("</body>", DRIVE), tmp_path)
    assert said == ""
    found = dict(re.findall(r'data-(\w+)="([^"]*)"', shown[shown.index("<body") :][:2000]))
    assert "cluster" in found["first"]
    assert found["picture"].startswith("url(&quot;data:image/jpeg")
    assert int(found["visited"]) > 1
    assert (found["closed"], found["pressed"]) == ("true", "false")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_policy_with_another_digest_keeps_the_script_from_running(mapped: Folder, tmp_path: Path) -> None:
    shown, said = in_browser(page(mapped).replace('"use strict";', '"use strict"; '), tmp_path)
    assert "data-ready" not in shown
    assert "Content Security Policy" in said


def test_atlases_hold_every_tile_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_points, "TILES_PER_SIDE", 2)
    tiles = [Image.new("RGB", (48, 48), (40 * n, 0, 0)) for n in range(6)]
    atlases = list(map_points._atlases(tiles))
    assert len(atlases) == 2
    with Image.open(io.BytesIO(atlases[1])) as second:
        assert second.size == (96, 48)
        assert [second.getpixel((24 + 48 * n, 24))[0] // 36 for n in range(2)] == [4, 5]  # type: ignore[index]
