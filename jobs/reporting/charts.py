"""Charts as SVG: bars in lines, columns over a range. Colours are those of the page, by class names alone."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 640, 150


def bar_lines(lines: Sequence[tuple[str, float, str]], heading: str) -> str:
    """A table of label, bar and text; the longest bar is that of the greatest value."""
    most = max((value for _, value, _ in lines), default=0) or 1
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td class="bar"><svg viewBox="0 0 100 10" preserveAspectRatio="none" '
        f'aria-hidden="true"><rect class="track" width="100" height="10"/><rect class="fill" width="{100 * value / most:.2f}" '
        f'height="10"/></svg></td><td class="number">{escape(text)}</td></tr>'
        for label, value, text in lines
    )
    return f'<table class="bars"><caption>{escape(heading)}</caption>{rows}</table>'


def columns(values: Sequence[float], label: str, low: str, high: str, top: str) -> str:
    """Columns side by side, with what their left and right end and the highest of them stand for."""
    most = max(values, default=0) or 1
    width = WIDTH / max(1, len(values))
    bars = "".join(
        f'<rect x="{place * width:.2f}" y="{HEIGHT * (1 - value / most):.2f}" width="{max(0.5, width - 1.5):.2f}" '
        f'height="{HEIGHT * value / most:.2f}"/>'
        for place, value in enumerate(values)
    )
    return (
        f'<figure class="chart"><figcaption>{escape(label)}</figcaption><div class="top">{escape(top)}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(label)}: '
        f'from {escape(low)} to {escape(high)}, at most {escape(top)}">{bars}</svg>'
        f'<div class="ends"><span>{escape(low)}</span><span>{escape(high)}</span></div></figure>'
    )
