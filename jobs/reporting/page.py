"""The page of a report: one HTML file with everything in it, and a policy that lets nothing else load or run.

Names and texts come from the data and are escaped; the script reads its data from a block of JSON in which no `<` is left, and
shows them as text alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files

import numpy as np

from pixelmill.jobs.inspect import Counts
from pixelmill.jobs.reporting.charts import bar_lines, columns
from pixelmill.jobs.reporting.content import Content, Reason
from pixelmill.jobs.reporting.map_points import STEPS, TILE_PX, TILES_PER_SIDE, MapPoints
from pixelmill.jobs.reporting.sheets import RowCard, Sheet, Tile
from pixelmill.jobs.terminal.printable import printable
from pixelmill.jobs.terminal.views import duration
from pixelmill.pipelines.findings.run_facts import Histogram, Shares, Throughput
from pixelmill.workers.wording import counted

SHOWN_ATTEMPTS = 20
MAP_HELP = (
    "Drag to move, scroll or pinch to zoom, point at a row to see it; with the keyboard: arrows, + and -, Escape."
)
MAP_FRAME = """
<div id="map">
<canvas tabindex="0" role="application" aria-label="Map of the rows; arrow keys move between them" aria-describedby="map-said">
</canvas>
<div id="tip" hidden><div id="tip-picture"></div><p id="tip-name"></p></div>
<div class="tools"><button type="button" id="zoom-in" aria-label="Zoom in">+</button>
<button type="button" id="zoom-out" aria-label="Zoom out">&minus;</button>
<button type="button" id="zoom-all">All</button></div>
</div>
<div id="legend" role="group" aria-label="Clusters"></div>
<p id="map-said" class="said" aria-live="polite"></p>
"""


def page_of(content: Content) -> str:
    """The whole report."""
    sections = [
        _head(content),
        _notes(content.notes),
        _map_section(content.map),
        *(_sheet(sheet) for sheet in content.sheets[:1]),
        _failures(content.reasons, content.counts),
        *(_shares(each) for each in content.shares),
        *(_histogram(each) for each in content.histograms),
        _throughput(content.throughput),
        *(_sheet(sheet) for sheet in content.sheets[1:]),
        _attempts(content),
        _columns(content),
    ]
    return document(f"{_last_name(content.uri)} - pixelmill report", "\n".join(filter(None, sections)), content.map)


def map_page(points: MapPoints, title: str) -> str:
    """The map alone, for a frame in a notebook."""
    return document(title, _map_section(points), points)


def document(title: str, body: str, points: MapPoints | None) -> str:
    """A page with our style and, where there is a map, our script; its policy allows these two alone, by their digests."""
    style, script = _file("report.css"), _script()
    data = "" if points is None else f'<script type="application/json" id="points">{_json(_packed(points))}</script>'
    code = "" if points is None else f"<script>{script}</script>"
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{_text(title)}</title><style>{style}</style></head>\n<body><main>\n{body}\n</main>{data}{code}</body></html>\n"
    )


def _file(name: str) -> str:
    return files("pixelmill.jobs.reporting").joinpath(name).read_text("utf-8")


def _script() -> str:
    """The map and what the report makes of it, in one script: a page alone can import no module."""
    renderer, export, _ = _file("point_map.js").rpartition("\nexport {")
    assert export
    return f'"use strict";\n(() => {{\n{renderer}\n{_file("map.js")}}})();'


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(value: object) -> str:
    """JSON that can't end its block or begin a comment of HTML."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _text(text: str) -> str:
    return escape(printable(text, one_line=True))


def _short_name(uri: str) -> str:
    """The last folder and the name of a file."""
    return "/".join(uri.rstrip("/").split("/")[-2:])


def _last_name(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2] or uri


# -------------------------------------------------------------------------------------------------------------- sections


def _head(content: Content) -> str:
    counts = content.counts
    state = "complete" if content.is_complete else "not complete"
    share = counts["done"] / max(1, counts["inputs"])
    numbers = [("inputs", counts["inputs"]), ("done", counts["done"]), ("failed", counts["failed"])]
    numbers += [("still to do", counts["missing"])] if counts["missing"] else []
    tiles = "".join(f"<div><dt>{name}</dt><dd>{count:,}</dd></div>" for name, count in numbers)
    return (
        f'<header><p class="mark">pixelmill report</p><h1>{_text(_last_name(content.uri))}</h1>'
        f'<p class="place">{_text(content.uri)}</p><p class="state {"good" if content.is_complete else "open"}">{state}, '
        f'{share:.1%} of the inputs are done</p><dl class="numbers">{tiles}</dl></header>'
    )


def _notes(notes: Sequence[str]) -> str:
    lines = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f'<section class="notes"><h2>Notes</h2><ul>{lines}</ul></section>' if notes else ""


def _map_section(points: MapPoints | None) -> str:
    if points is None or not len(points.names):
        return ""
    shown = len(points.names)
    of = (
        counted(shown, "row")
        if shown == points.rows
        else f"{shown:,} of {counted(points.rows, 'row')}, drawn at random"
    )
    note = f"{of}; near points have similar vectors, colours are clusters. {MAP_HELP}"
    return f'<section id="map-section"><h2>Map</h2><p class="note">{note}</p>{MAP_FRAME}</section>'


def _sheet(sheet: Sheet) -> str:
    note = f'<p class="note">{_text(sheet.note)}</p>' if sheet.note else ""
    cards = "".join(_card(card) for card in sheet.cards)
    return f'<section><h2>{_text(sheet.title)}</h2>{note}<div class="sheet">{cards}</div></section>'


def _card(card: RowCard) -> str:
    has_labels = len(card.tiles) > 1
    tiles = "".join(_tile(tile, card.name, has_label=has_labels) for tile in card.tiles)
    tiles = tiles or '<div class="none">no picture</div>'
    words = f'<span class="words">{_text(card.words)}</span>' if card.words else ""
    return (
        f'<figure class="card"><div class="tiles">{tiles}</div><figcaption title="{_text(card.name)}">'
        f'{words}<span class="name">{_text(_short_name(card.name))}</span></figcaption></figure>'
    )


def _tile(tile: Tile, name: str, *, has_label: bool) -> str:
    label = f'<span class="label">{_text(tile.label)}</span>' if has_label else ""
    if tile.jpeg is None:
        return f'<div class="tile none">{label}<span>{_text(tile.reason)}</span></div>'
    source = base64.b64encode(tile.jpeg).decode()
    shown = f"{tile.label} of {_last_name(name)}"
    return f'<div class="tile">{label}<img loading="lazy" alt="{_text(shown)}" src="data:image/jpeg;base64,{source}"></div>'


def _failures(reasons: Sequence[Reason], counts: Counts) -> str:
    if not reasons:
        return ""
    lines = [(f"{each.stage} / {each.error_type}", float(each.count), f"{each.count:,}") for each in reasons]
    examples = "".join(
        f"<details{'' if place else ' open'}>"
        f"<summary>{_text(each.stage)} / {_text(each.error_type)}: {each.count:,}</summary><ul>"
        + "".join(f"<li><code>{_text(uri)}</code><br>{_text(error)}</li>" for uri, error in each.examples)
        + "</ul></details>"
        for place, each in enumerate(reasons)
    )
    share = counts["failed"] / max(1, counts["inputs"])
    table = bar_lines(
        [(printable(label, one_line=True), value, text) for label, value, text in lines], "inputs by reason"
    )
    note = f'<p class="note">{counts["failed"]:,}, {share:.2%} of all</p>'
    return f"<section><h2>Failed inputs</h2>{note}{table}{examples}</section>"


def _shares(found: Shares) -> str:
    lines = [(printable(name, one_line=True), share, f"{share:.2%}") for name, share in found.shares]
    more = f'<p class="note">and {found.others:,} more classes</p>' if found.others else ""
    return (
        f"<section><h2>Classes</h2>{bar_lines(lines, f'mean share by {found.column}')}{more}</section>" if lines else ""
    )


def _histogram(found: Histogram) -> str:
    chart = columns(
        found.shares,
        f"{found.column}, {counted(found.rows, 'row')} drawn at random",
        f"{found.low:.3g} {found.unit}",
        f"{found.high:.3g} {found.unit}",
        f"{max(found.shares):.1%} of the pixels",
    )
    return f"<section><h2>Values of {_text(found.column)}</h2>{chart}</section>"


def _throughput(found: Throughput | None) -> str:
    if found is None:
        return ""
    seconds = found.slot_s * len(found.per_s)
    started = datetime.fromtimestamp(found.started_s, UTC).isoformat(sep=" ", timespec="seconds")
    hosts = counted(found.hosts, "machine")
    label = f"inputs per second, on {hosts}"
    chart = columns(found.per_s, label, started, f"+{duration(seconds)}", f"{max(found.per_s):,.1f} inputs/s")
    return f"<section><h2>Throughput</h2>{chart}</section>"


def _attempts(content: Content) -> str:
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("attempt", "started", "took", "done", "failed", "ended")
    )
    rows = "".join(
        f"<tr><td>{each['attempt']}</td><td>{_text(each['started_at'])}</td><td>{_text(duration(each['seconds_total']))}</td>"
        f"<td>{each['done']:,}</td><td>{each['failed']:,}</td><td>{_text(each['ended'])}</td></tr>"
        for each in content.attempts[-SHOWN_ATTEMPTS:]
    )
    table = f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f"<section><h2>Attempts</h2>{table}</section>" if rows else ""


def _columns(content: Content) -> str:
    rows = "".join(
        f"<tr><td><code>{_text(name)}</code></td><td>{_text(kind)}</td></tr>" for name, kind in content.columns.items()
    )
    head = '<thead><tr><th scope="col">column</th><th scope="col">type</th></tr></thead>'
    return (
        f'<section><h2>Columns</h2><div class="wide"><table>{head}<tbody>{rows}</tbody></table></div></section>'
        if rows
        else ""
    )


# ------------------------------------------------------------------------------------------------------------------ map


def _packed(points: MapPoints) -> dict[str, object]:
    """What the script draws: little-endian numbers in base64, names without their common beginning."""
    prefix = _common_folder(points.names)
    return {
        "steps": STEPS,
        "x": _numbers(points.x_N, "<u2"),
        "y": _numbers(points.y_N, "<u2"),
        "clusters": _numbers(points.clusters_N, "u1"),
        "tiles": _numbers(points.tiles_N, "<i4"),
        "names": [printable(name.removeprefix(prefix), one_line=True) for name in points.names],
        "atlases": [base64.b64encode(atlas).decode() for atlas in points.atlases],
        "tile": TILE_PX,
        "side": TILES_PER_SIDE,
    }


def _numbers(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode()


def _common_folder(names: Sequence[str]) -> str:
    """The folder that all names begin with, with its slash."""
    first, last = min(names), max(names)
    same = next(
        (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[: first.rfind("/", 0, same) + 1]
