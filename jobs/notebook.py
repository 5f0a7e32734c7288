"""What a run shows in a notebook: a grid of pictures, a map in a frame, groups of duplicates; plain HTML, nothing is loaded."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pyarrow as pa

from pixelmill.jobs.reporting.content import inputs_of
from pixelmill.jobs.reporting.map_points import map_of
from pixelmill.jobs.reporting.page import map_page
from pixelmill.jobs.reporting.sheets import Tile, tiles_of
from pixelmill.jobs.terminal.printable import printable
from pixelmill.pipelines import explore
from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.findings.chosen_rows import sampled_ids
from pixelmill.pipelines.findings.duplicates import DuplicateOptions, duplicates_of
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from pixelmill.workers.wording import counted

GRID_ROWS = 12
SHOWN_GROUPS, SHOWN_MEMBERS = 20, 6
FRAME_PX = 760


@dataclass(frozen=True)
class Shown:
    """Something that a notebook displays; `html` is its page or part of a page."""

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


@dataclass(frozen=True)
class ShownRows(Shown):
    """Rows that a notebook displays as pictures; `table` has them for the program."""

    table: pa.Table


def grid_of(run: Folder, ids: Sequence[str], words: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """The pictures of these rows side by side, in this order, with a few words each."""
    tiles = tiles_of(run, explore.schema_of(run), inputs_of(run, environment, []), list(dict.fromkeys(ids)))
    cards = "".join(_card(*tiles[each], words.get(each, "")) for each in ids if each in tiles)
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{cards}</div>'


def _card(name: str, tiles: Sequence[Tile], words: str) -> str:
    pictures = "".join(_picture(tile) for tile in tiles) or "no picture"
    short = "/".join(name.rstrip("/").split("/")[-2:])
    said = f"<b>{_text(words)}</b> " if words else ""
    style = "border:1px solid #8884;border-radius:6px;padding:4px;max-width:340px"
    return f'<div style="{style}">{pictures}<div style="font-size:11px" title="{_text(name)}">{said}{_text(short)}</div></div>'


def _picture(tile: Tile) -> str:
    if tile.jpeg is None:
        return f'<span style="font-size:11px">{_text(tile.label)}: {_text(tile.reason)}</span>'
    data = base64.b64encode(tile.jpeg).decode()
    return (
        f'<img height="110" alt="{_text(tile.label)}" title="{_text(tile.label)}" src="data:image/jpeg;base64,{data}">'
    )


def _text(text: str) -> str:
    return escape(printable(text, one_line=True))


def sample_grid(run: Folder, environment: Mapping[str, str]) -> str:
    """A few finished rows, drawn at random; empty for a run without one."""
    ids = sampled_ids(run, GRID_ROWS)
    return grid_of(run, ids, {}, environment) if ids else ""


def shown_map(run: Folder, column: str | None, points: int, environment: Mapping[str, str]) -> Shown:
    """The map of a run, in a frame of its own. JobError for a run without vectors."""
    found = map_of(run, column, points, inputs_of(run, environment, []))
    if found is None:
        raise JobError(f"{run.uri}: holds no vectors, so that there is no map; run the stage embed over its source")
    page = escape(map_page(found, run.uri))
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{page}" style="width:100%;height:{FRAME_PX}px;border:0"></iframe>'
    return Shown(frame, f"map of {len(found.names):,} of {counted(found.rows, 'row')} of {run.uri}")


def shown_neighbours(run: Folder, found: pa.Table, environment: Mapping[str, str]) -> ShownRows:
    ids = strings_of(found["id"])
    words = {each: f"{cosine:.3f}" for each, cosine in zip(ids, found["cosine"].to_pylist(), strict=True)}
    return ShownRows(grid_of(run, ids, words, environment), str(found), found)


def shown_duplicates(run: Folder, options: DuplicateOptions, environment: Mapping[str, str]) -> ShownRows:
    """The largest groups, a line of pictures each; nothing is stored. JobError for a run with nothing to compare by."""
    made = duplicates_of(run, options)
    groups: dict[int, list[str]] = {}
    for each, group in zip(strings_of(made.rows["id"]), made.rows["group"].to_pylist(), strict=True):
        groups.setdefault(int(str(group)), []).append(each)
    shown = [groups[group][:SHOWN_MEMBERS] for group in sorted(groups)[:SHOWN_GROUPS]]
    repeating = f"{made.summary['duplicates']:,} of {made.summary['rows']:,} rows"
    head = f"{repeating} repeat another one, in {counted(len(groups), 'group')}"
    lines = "".join(f"<hr>{grid_of(run, members, {}, environment)}" for members in shown)
    return ShownRows(f"<div>{head}{lines}</div>", head, made.rows)
