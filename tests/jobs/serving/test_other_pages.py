"""Pages beside those of a run of photographs, as a person sees them: series of CT, curves, the list of runs, search by words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.serving.browser import browser, faults_of, needs_browser, tab
from tests.jobs.serving.served import Served, explored_run, served
from tests.jobs.serving.served_ct import ct_run, curve_of
from tests.jobs.test_querying import embedded
from tests.workers.models.libraries.test_open_clip import CONFIG, SHOWN, saved

pytestmark = [needs_browser, pytest.mark.timeout(900)]

PAGES = {"runs": "#/", "series": "#/0/series", "verdicts": "#/1/series", "curve": "#/2/curve"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Slices of CT, their index, a curve, and a run of photographs some of which failed."""
    root = tmp_path_factory.mktemp("other")
    slices = ct_run(root)
    curve_of(root / "curve")
    photographs = explored_run(root / "photographs").uri
    with served(tmp_path_factory.mktemp("t"), slices, str(root / "index"), str(root / "curve"), photographs) as found:
        yield found


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        ("phone", "dark"),
        pytest.param("phone", "light", marks=pytest.mark.slow),
        pytest.param("desktop", "dark", marks=pytest.mark.slow),
        pytest.param("desktop", "light", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_no_serious_fault_and_every_page_fits(at: Served, chromium: Any, size: str, scheme: Any) -> None:
    with tab(chromium, size, scheme) as seen:
        for name, address in PAGES.items():
            seen.open(at.url, address)
            if name == "series":
                seen.wait("document.querySelector('.viewer')?.dataset.loaded")
            assert seen.widest() == 0, name
            assert faults_of(seen) == [], name
        assert seen.said == []


def test_slices_are_gone_through_with_the_keyboard_alone(at: Served, chromium: Any) -> None:
    with tab(chromium) as seen:
        seen.open(at.url, "#/0/series")
        seen.wait("document.querySelector('.viewer')?.dataset.loaded === '0 2 soft-tissue'")
        seen.page.focus("figure")
        for key, loaded in (("ArrowDown", "0 3 soft-tissue"), ("End", "0 4 soft-tissue"), ("Home", "0 0 soft-tissue")):
            seen.page.keyboard.press(key)
            seen.wait("loaded => document.querySelector('.viewer').dataset.loaded === loaded", loaded)
        seen.page.focus("text=bone")
        seen.page.keyboard.press("Enter")
        seen.wait("document.querySelector('.viewer').dataset.loaded === '0 0 bone'")
        assert seen.said == []


def test_words_find_pictures_where_the_model_knows_words(chromium: Any, tmp_path: Path) -> None:
    """The weights are random, so that which picture comes first means nothing; that all come in order of likeness does."""
    saved(tmp_path / "clip", CONFIG, SHOWN)
    out = embedded(tmp_path, [{"embed": {"model": f"open_clip:local-dir:{tmp_path / 'clip'}"}}])
    with served(tmp_path / "t", out.uri) as at, tab(chromium) as seen:
        seen.open(at.url, "#/0/search")
        seen.page.fill("input[type=search]", "a cat on a sofa")
        seen.page.keyboard.press("Enter")
        seen.wait("document.body.dataset.found")
        cosines = [float(text) for text in seen.page.locator(".found .caption b").all_inner_texts()]
        asked = at.json("/api/runs/0/search?text=a%20cat%20on%20a%20sofa&count=36")["rows"]
        assert len(cosines) == len(asked) > 1
        assert seen.data("found") == " ".join(str(row["_row"]) for row in asked)
        assert cosines == sorted(cosines, reverse=True)
        seen.wait("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
        assert seen.said == []
