"""The pages as a person uses them: with the mouse, with the keyboard alone, on a phone, in the dark; nothing on the console."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.jobs.reporting.content import Wanted, content_of
from pixelmill.jobs.reporting.page import page_of
from pixelmill.pipelines.stores.folder import Folder
from tests.jobs.serving.browser import Tab, browser, faults_of, needs_browser, tab
from tests.jobs.serving.served import Served, explored_run, served
from tests.pipelines.findings.explored import add_part, compressed, directions, noise, open_out

pytestmark = [needs_browser, pytest.mark.timeout(900)]

EVIL = "<img src=x onerror=document.body.dataset.hacked=1>"
POINTS = 1_002
PAGES = ("overview", "grid", "map", "search", "duplicates", "failures", "log")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A thousand points with clusters, a name of markup, and duplicates."""
    root = tmp_path_factory.mktemp("browser")
    out = explored_run(root / "run", POINTS // 3)
    add_part(out, [EVIL, "repeated"], directions(3, 1)[:2], [noise(7), compressed(noise(7))], failed=[f"{EVIL}2"])
    for words in (["cluster", out.uri, "--k", "3"], ["duplicates", out.uri]):
        CliRunner().invoke(cli.app, words, catch_exceptions=False)
    return out


@pytest.fixture(scope="module")
def at(run: Folder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("t"), run.uri) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as opened:
        yield opened


def test_a_mouse_goes_from_the_overview_to_a_row_and_its_neighbours(at: Served, chromium: Any) -> None:
    with tab(chromium) as seen:
        page = seen.page
        seen.open(at.url, "#/0/overview")
        assert "Why inputs failed" in page.inner_text("main")
        page.click("nav >> text=Grid")
        seen.wait("document.querySelectorAll('button.tile').length === 60")
        seen.wait("[...document.images].slice(0, 12).every(each => each.complete && each.naturalWidth > 0)")
        page.select_option("[aria-label=Column]", "uri")
        page.fill("[aria-label=Value]", "/b/")
        page.click("form.filter button[type=submit]")
        seen.wait(f"document.querySelector('[role=status]').textContent.includes('of {POINTS // 3} rows')")
        page.select_option("[aria-label='Sort by']", "fingerprint_brightness")
        page.click("text=Largest first")
        seen.wait(
            "(() => { const shown = [...document.querySelectorAll('.caption b')].map(each => Number(each.textContent));"
            " return shown.length === 60 && shown[0] > shown[59]; })()"
        )
        shown = [float(text) for text in page.locator(".caption b").all_inner_texts()]
        assert shown == sorted(shown, reverse=True)
        page.click("text=Next")
        seen.wait("document.querySelector('[role=status]').textContent.startsWith('61 to')")
        page.click("button.tile >> nth=2")
        page.wait_for_selector("dialog[open] table")
        first = page.inner_text("#lightbox-title")
        page.click("dialog [aria-keyshortcuts=ArrowRight]")
        seen.wait(
            "first => ![first, '\u2026'].includes(document.getElementById('lightbox-title').textContent)",
            first,
        )
        page.click("text=Show its neighbours")
        page.wait_for_selector("dialog .near button.tile")
        assert page.locator("dialog .near button.tile").count() == 12
        page.click("dialog [aria-label=Close]")
        page.wait_for_selector("dialog:not([open])", state="attached")
        page.click(".chip")
        seen.wait(f"document.querySelector('[role=status]').textContent.includes('{POINTS + 2:,} rows')")
        assert seen.said == []


def test_the_map_is_hovered_coloured_filtered_and_clicked(at: Served, chromium: Any) -> None:
    with tab(chromium) as seen:
        page = seen.page
        seen.open(at.url, "#/0/map")
        seen.wait("document.body.dataset.drawnMs")
        assert seen.data("points") == str(POINTS + 2)
        assert page.locator("#legend button").count() == 3
        spot = _some_point(seen)
        page.mouse.move(*spot)
        page.wait_for_selector("#tip:not([hidden]) img")
        seen.wait("document.querySelector('#tip img').naturalWidth > 0")
        assert "clusters.cluster" in page.inner_text("#tip-name")
        page.select_option("[aria-label='Colour by']", "fingerprint_brightness")
        page.wait_for_selector("#legend .scale i >> nth=39")
        page.select_option("[aria-label=Column]", "uri")
        page.fill("[aria-label=Value]", "/b/")
        page.click("form.filter button[type=submit]")
        seen.wait(f"document.getElementById('map-said').textContent.startsWith('{POINTS // 3} of')")
        page.click(".chip")
        seen.wait("document.getElementById('map-said').textContent.startsWith('1,004 of')")
        page.mouse.move(5, 5)
        page.mouse.click(*_some_point(seen))
        page.wait_for_selector("dialog[open] table")
        page.keyboard.press("Escape")
        assert seen.said == []


def _some_point(seen: Tab) -> tuple[float, float]:
    """Where a point lies on the window, by the pixels that are drawn."""
    seen.page.locator("canvas").scroll_into_view_if_needed()
    box = seen.page.locator("canvas").bounding_box()
    x, y = seen.page.evaluate("""() => {
      const canvas = document.querySelector("canvas"), copy = document.createElement("canvas");
      copy.width = canvas.width; copy.height = canvas.height;
      const pen = copy.getContext("2d");
      pen.drawImage(canvas, 0, 0);
      const data = pen.getImageData(0, 0, copy.width, copy.height).data;
      for (let y = Math.round(copy.height * 0.2); y < copy.height * 0.9; y++) for (let x = 0; x < copy.width * 0.8; x++)
        if (data[4 * (y * copy.width + x) + 3] > 200) return [x / devicePixelRatio, y / devicePixelRatio];
    }""")
    return box["x"] + x, box["y"] + y


DRAWN_CELLS = """async () => {
  const canvas = document.querySelector("canvas"), copy = document.createElement("canvas");
  copy.width = canvas.width; copy.height = canvas.height;
  const pen = copy.getContext("2d");
  document.getElementById("zoom-all").click();
  await new Promise((done) => requestAnimationFrame(() => { pen.drawImage(canvas, 0, 0); done(); }));
  const data = pen.getImageData(0, 0, copy.width, copy.height).data, cells = [];
  for (let y = 0; y + 16 <= copy.height; y += 16) for (let x = 0; x + 16 <= copy.width; x += 16) {
    let most = 0;
    for (let at = 0; at < 256; at++) most = Math.max(most, data[4 * ((y + (at >> 4)) * copy.width + x + (at & 15)) + 3]);
    if (most > 100) cells.push([x / 16, y / 16]);
  }
  return cells;
}"""
"""Squares of 16 pixels in which something is drawn; WebGL gives its pixels away only within the frame that draws them."""


@pytest.mark.slow
def test_webgl_draws_the_same_points_at_the_same_places(at: Served, chromium: Any) -> None:
    """In software here: what it says on the console about that is no fault."""
    drawn: dict[str, set[tuple[int, int]]] = {}
    for renderer in ("canvas", "webgl"):
        with tab(chromium) as seen:
            seen.open(at.url, f"#/0/map?renderer={renderer}")
            seen.wait("document.body.dataset.drawnMs")
            assert seen.data("renderer") == renderer
            drawn[renderer] = {tuple(cell) for cell in seen.page.evaluate(DRAWN_CELLS)}
    both = drawn["canvas"] & drawn["webgl"]
    assert len(both) > 20
    assert len(both) > 0.9 * len(drawn["canvas"] | drawn["webgl"])


def test_the_keyboard_alone_does_all_of_it(at: Served, chromium: Any) -> None:
    with tab(chromium) as seen:
        page, press = seen.page, seen.page.keyboard.press
        seen.open(at.url, "#/0/grid")
        seen.wait("document.querySelectorAll('button.tile').length === 60")
        _tab_to(page, "button.tile")
        press("ArrowRight")
        press("ArrowDown")
        row = page.evaluate("document.activeElement.dataset.row")
        assert int(row) > 1
        press("Enter")
        page.wait_for_selector("dialog[open] table")
        press("ArrowRight")
        seen.wait("document.querySelector('dialog .at').textContent.length > 0")
        press("Escape")
        seen.wait("row => document.activeElement?.dataset?.row === row", str(int(row) + 1))
        seen.open(at.url, "#/0/map")
        seen.wait("document.body.dataset.drawnMs")
        _tab_to(page, "canvas")
        names = set()
        for key in ("ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "+", "-"):
            press(key)
            seen.wait("document.getElementById('tip-name').textContent.length > 2")
            names.add(page.inner_text("#tip-name"))
        assert len(names) > 1
        press("Enter")
        page.wait_for_selector("dialog[open] table")
        press("Escape")
        seen.wait("document.activeElement?.tagName === 'CANVAS'")
        press("Escape")
        page.wait_for_selector("#tip", state="hidden")
        assert seen.said == []


def _tab_to(page: Any, selector: str) -> None:
    for _ in range(60):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never came to {selector}")


def test_duplicates_are_reviewed_by_keys_and_the_list_is_what_was_decided(
    at: Served, chromium: Any, tmp_path: Path
) -> None:
    with tab(chromium, accept_downloads=True) as seen:
        page = seen.page
        seen.open(at.url, "#/0/duplicates")
        page.wait_for_selector("button.member")
        members = page.locator("button.member").all()
        ids = [member.get_attribute("data-id") for member in members]
        assert len(ids) == 5
        assert [member.get_attribute("data-mark") for member in members][:2] == ["keep", "drop"]
        _tab_to(page, "button.member")
        page.keyboard.press("d")
        page.keyboard.press("k")
        assert [member.get_attribute("data-mark") for member in members][:2] == ["drop", "keep"]
        assert _listed(page, "Download what to drop", tmp_path)[0] == ids[0]
        assert ids[1] in _listed(page, "Download what to keep", tmp_path)
        page.reload()
        page.wait_for_selector("button.member")
        assert page.locator("button.member").first.get_attribute("data-mark") == "drop"
        page.locator("button.member").first.click()
        assert page.locator("button.member").first.get_attribute("data-mark") == "keep"
        page.click("text=Forget the marks")
        seen.wait("document.querySelectorAll('button.member')[1].dataset.mark === 'drop'")
        assert seen.said == []


def test_leaks_stand_beside_their_originals_in_the_other_run(run: Folder, chromium: Any, tmp_path: Path) -> None:
    test = open_out(tmp_path / "test")
    add_part(test, ["x", "y"], directions(3, 1)[:2] - 2, [noise(3), noise(5_000)])
    CliRunner().invoke(cli.app, ["leaks", run.uri, test.uri], catch_exceptions=False)
    with served(tmp_path / "t", test.uri, run.uri) as both, tab(chromium, accept_downloads=True) as seen:
        page = seen.page
        seen.open(both.url, "#/")
        page.click("text=test >> nth=0")
        page.click("nav >> text=Duplicates")
        page.wait_for_selector("button.member")
        seen.wait(
            "document.images.length === 2 && [...document.images].every(each => each.complete && each.naturalWidth > 0)"
        )
        assert page.inner_text("h1") == "Leaks"
        assert page.locator(".member.fixed").count() == page.locator("button.member").count() == 1
        with page.expect_download() as waiting:
            page.click("text=Download what to drop")
        assert waiting.value.suggested_filename == "test-leaks-drop.csv"
        assert _listed(page, "Download what to drop", tmp_path) == ["id-x"]
        assert _listed(page, "Download what to keep", tmp_path) == []
        assert seen.said == []


def _listed(page: Any, button: str, folder: Path) -> list[str]:
    with page.expect_download() as waiting:
        page.click(f"text={button}")
    place = folder / waiting.value.suggested_filename
    waiting.value.save_as(place)
    with place.open(encoding="utf-8") as file:
        return [row["id"] for row in csv.DictReader(file)]


def test_failures_are_found_by_reason_and_text(at: Served, chromium: Any) -> None:
    with tab(chromium) as seen:
        page = seen.page
        seen.open(at.url, "#/0/failures")
        assert page.locator("table.failures tbody tr").count() == 4
        page.click("text=decode / Corrupt >> nth=0")
        page.fill("input[type=search]", "bad/2")
        seen.wait("document.querySelectorAll('table.failures tbody tr').length === 1")
        assert "/p/bad/2.jpg" in page.inner_text("table.failures")
        assert seen.said == []


def test_a_name_with_markup_is_text_everywhere(at: Served, chromium: Any) -> None:
    with tab(chromium) as seen:
        for hash_ in (
            "#/0/failures?text=onerror",
            "#/0/grid?filters=%5B%5B%22uri%22%2C%22contains%22%2C%22onerror%22%5D%5D",
        ):
            seen.open(at.url, hash_)
            seen.wait("document.body.innerText.includes('onerror=')")
        seen.page.click("button.tile")
        seen.page.wait_for_selector("dialog[open] table")
        assert EVIL in seen.page.inner_text("dialog")
        assert seen.data("hacked") == ""
        assert seen.said == []


def test_axe_finds_no_serious_fault_in_a_row_on_a_phone(at: Served, chromium: Any) -> None:
    """The quick one of those that look at every page."""
    with tab(chromium, "phone", "dark") as seen:
        seen.open(at.url, "#/0/grid")
        seen.page.click("button.tile >> nth=0")
        seen.page.wait_for_selector("dialog[open] table")
        assert seen.widest() == 0
        assert faults_of(seen) == []


def test_a_link_opens_its_row_and_an_id_that_is_not_there_is_a_plain_word(at: Served, chromium: Any) -> None:
    with tab(chromium) as seen:
        seen.open(at.url, "#/0/grid?id=id-b%2F0400")
        seen.page.wait_for_selector("dialog[open] table")
        assert "b/0400.jpg" in seen.page.inner_text("#lightbox-title")
        seen.open(at.url, "#/0/grid?id=gone")
        seen.page.wait_for_selector("[role=alert]")
        assert "holds no finished row of 'gone'" in seen.page.inner_text("[role=alert]")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_every_page_fits_its_window_and_axe_finds_no_serious_fault(
    at: Served, chromium: Any, size: str, scheme: Any
) -> None:
    with tab(chromium, size, scheme) as seen:
        for name in PAGES:
            seen.open(at.url, f"#/0/{name}")
            if name == "map":
                seen.wait("document.body.dataset.drawnMs")
            assert seen.widest() == 0, name
            assert faults_of(seen) == [], name
        seen.open(at.url, "#/0/grid")
        seen.page.wait_for_selector("button.tile")
        seen.page.click("button.tile >> nth=0")
        seen.page.wait_for_selector("dialog[open] table")
        assert faults_of(seen) == []
        assert seen.said == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault_in_the_report(run: Folder, chromium: Any, tmp_path: Path, scheme: Any) -> None:
    text = page_of(content_of(run.uri, Wanted(points=200), {}, lambda _: None))
    place = tmp_path / "report.html"
    place.write_text(
        text.replace('http-equiv="Content-Security-Policy"', "data-policy"), encoding="utf-8"
    )  # axe is a script of ours
    with tab(chromium, "phone", scheme) as seen:
        seen.page.goto(place.as_uri())
        seen.wait("document.body.dataset.ready === 'yes'")
        assert seen.widest() == 0
        assert faults_of(seen) == []


LATE = """() => {
  const real = window.fetch;
  window.fetch = async (path, options) => {
    try {
      const answer = await real(path, options);
      if (String(path).includes("/rows?") && !String(path).includes("falling=1")) await new Promise((go) => setTimeout(go, 700));
      return answer;
    } finally {
      document.body.dataset.asked = Number(document.body.dataset.asked || 0) + 1;
    }
  };
}"""
"""Answers about rows in rising order come late."""


def test_an_answer_that_comes_late_does_not_replace_that_to_a_newer_question(at: Served, chromium: Any) -> None:
    with tab(chromium) as seen:
        page = seen.page
        seen.open(at.url, "#/0/grid")
        seen.wait("document.querySelectorAll('button.tile').length === 60")
        page.evaluate(LATE)
        page.select_option("[aria-label='Sort by']", "fingerprint_brightness")
        page.click("text=Largest first")
        seen.wait("document.body.dataset.asked === '2'")
        page.wait_for_timeout(200)
        shown = [float(text) for text in page.locator(".caption b").all_inner_texts()]
        assert len(shown) == 60
        assert shown == sorted(shown, reverse=True)
