"""A headless Chromium that sees the pages of the server as a person does. Tests that need it skip where there is none."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
Scheme = Literal["light", "dark"]
PATIENCE_MS = 60_000
"""On a machine that others use too."""


@dataclass
class Tab:
    """A page, and what its console said that is an error or a warning."""

    page: Any
    said: list[str] = field(default_factory=list)

    def open(self, url: str, hash_: str) -> None:
        """Go to a page of the app, and wait until it is shown."""
        self.page.goto(f"{url}{hash_}")
        self.wait("hash => document.body?.dataset.shown === hash", hash_)

    def wait(self, condition: str, given: object = None) -> None:
        """Until an expression, or a function of `given`, holds. Asked again and again from here: the page's own policy forbids
        what Playwright would leave in it to watch."""
        until_s = time.monotonic() + PATIENCE_MS / 1000
        while not self.page.evaluate(condition, given):
            assert time.monotonic() < until_s, f"never: {condition}; the console said {self.said}"
            self.page.wait_for_timeout(50)

    def data(self, name: str) -> str:
        """A value that the page left for whoever watches it."""
        return str(self.page.evaluate("name => document.body.dataset[name] ?? ''", name))

    def pictures_are_loaded(self) -> bool:
        return bool(
            self.page.evaluate(
                "[...document.images].every(each => each.complete && each.naturalWidth > 0) && document.images.length > 0"
            )
        )

    def widest(self) -> int:
        """How many pixels the page is wider than its window: 0 but for what scrolls by itself."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@contextmanager
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def tab(opened: Any, size: str = "desktop", scheme: Scheme = "light", **options: Any) -> Iterator[Tab]:
    context = opened.new_context(viewport=SIZES[size], color_scheme=scheme, **options)
    context.set_default_timeout(PATIENCE_MS)
    found = Tab(context.new_page())
    found.page.on("console", lambda said: found.said.append(said.text) if said.type in ("error", "warning") else None)
    found.page.on("pageerror", lambda error: found.said.append(str(error)))
    try:
        yield found
    finally:
        context.close()


def faults_of(seen: Tab) -> list[str]:
    """The rules of axe that are broken, serious and critical ones, each with an element that breaks it."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(seen.page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]} {each['nodes'][0].get('failureSummary', '')[:300]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
