"""What a run answers: overview, pages of rows, one row, what columns hold, groups of duplicates, failures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any, cast

from pixelmill.jobs.inspect import shortened
from pixelmill.jobs.serving import nearness, pictures
from pixelmill.jobs.serving.exchange import Answer, Asked, as_answer
from pixelmill.jobs.serving.served_run import ServedRun
from pixelmill.pipelines import explore
from pixelmill.pipelines.browsing.queries import MOST_TEXT, Query, filters_of, known_column, page_of
from pixelmill.pipelines.browsing.row_cells import large_columns
from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.tables import hu_columns
from pixelmill.workers.errors import JobError

PAGE_ROWS, NEAR_ROWS, GROUPS, MEMBERS = 60, 24, 20, 60
SPECS = ("_run/spec.yaml", "_run/recipe.yaml", "_run/flow.yaml")


def summary(run: ServedRun, state: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the list of runs."""
    return {"run": run.number, "name": run.name, "uri": run.folder.uri, **state}


def overview(run: ServedRun, state: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the page of a run needs to know at first."""
    found = summary(run, state)
    with explained(run.folder.uri, "reading the run"):
        found |= {"success": _json_file(run, SUCCESS), "settings": _settings(run)}
        if run.kind in ("job", None):
            found |= _of_rows(run)
    return found


def _of_rows(run: ServedRun) -> dict[str, Any]:
    table, schema = run.table, run.schema()
    results = _results(run)
    return {
        "rows": table.rows,
        "version": f"{table.generation}",
        "columns": table.columns,
        "types": dict(zip(schema.names, map(_type_of, schema.types), strict=True)),
        "units": explore.column_units(run.folder),
        "pictures": pictures.picture_choices(run),
        "reasons": [{"stage": stage, "error_type": kind, "count": count} for stage, kind, count in table.reasons()],
        "results": results,
        "search": run.kept("search", lambda: run.stamp, lambda: nearness.what_is_searched(run)),
        "hounsfield": [name for name in hu_columns(schema) if "depth" not in schema.names],
        "notes": [*run.notes, *_staleness(results)],
    }


def _type_of(kind: object) -> str:
    text = str(kind)
    return "picture" if text.startswith("struct<bytes") else text


def _results(run: ServedRun) -> list[dict[str, Any]]:
    return run.kept("results", lambda: run.stamp, lambda: _read_results(run))


def _read_results(run: ServedRun) -> list[dict[str, Any]]:
    found = [(name, stored.read(run.folder, name)) for name in stored.names(run.folder)]
    return [
        {"name": name, "kind": each.facts["kind"], "made_at": each.facts["made_at"], "is_stale": each.is_stale}
        | {"rows": each.rows.num_rows, "summary": each.facts["summary"]}
        for name, each in found
        if each is not None
    ]


def _staleness(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"explore/{each['name']} is older than the newest rows; `pixelmill {each['kind']}` makes it again"
        for each in results
        if each["is_stale"]
    ]


def _json_file(run: ServedRun, name: str) -> object:
    try:
        return cast("object", json.loads(run.folder.read(name) or b"null"))
    except ValueError:
        return None


def _settings(run: ServedRun) -> str:
    """The file that says what was run, as it was written."""
    for name in SPECS:
        if (text := run.folder.read(name)) is not None:
            return text.decode("utf-8", "replace")
    return ""


# ------------------------------------------------------------------------------------------------------------------ rows


def rows(run: ServedRun, asked: Asked) -> Answer:
    """A page of the grid: filtered, sorted, with small columns alone."""
    table = run.table
    order = asked.query.get("sort")
    offset, limit = page_of(asked.number("offset", 0), asked.number("limit", PAGE_ROWS))
    query = Query(
        filters_of(asked.json("filters") or [], table.columns),
        None if not order else known_column(order, table.columns),
        asked.query.get("falling") == "1",
        offset,
        limit,
    )
    page = table.page(query)
    return as_answer({"total": page.total, "offset": offset, "rows": page.rows})


def row(run: ServedRun, asked: Asked) -> Answer:
    """Every column of one row, long ones shortened."""
    number = asked.number("row")
    place = run.table.place_of(number)
    (small,) = run.table.rows_of([number])
    schema = run.schema()
    with explained(run.folder.uri, "reading a row"):
        large = run.cells.values(place, large_columns(schema))
    values = {name: shortened(large[name]) if name in large else small.get(name) for name in (*schema.names, *small)}
    shown = {name: value for name, value in values.items() if name != "_row" and (name in small or name in large)}
    return as_answer({"_row": number, "values": shown, "units": explore.column_units(run.folder)})


def find(run: ServedRun, asked: Asked) -> Answer:
    """The number of the first row of an id or a uri. JobError where there is none."""
    wanted = asked.query.get("id", "")[:MOST_TEXT]
    columns = run.table.columns
    for column in ("id", "uri"):
        page = (
            run.table.page(Query(filters_of([[column, "is", wanted]], columns), limit=1)) if column in columns else None
        )
        if page is not None and page.rows:
            return as_answer({"row": page.rows[0]["_row"]})
    raise JobError(f"{run.folder.uri}: holds no finished row of {wanted!a}; it may have failed, or not be listed")


def column(run: ServedRun, asked: Asked) -> Answer:
    """What a column holds, for filters and charts."""
    table = run.table
    values = table.values_of(known_column(asked.query.get("name"), table.columns))
    return as_answer(vars(values))


# -------------------------------------------------------------------------------------------------------------- near rows


def near(run: ServedRun, asked: Asked) -> Answer:
    return as_answer({"rows": nearness.near_row(run, asked.number("row"), asked.number("count", NEAR_ROWS))})


def near_picture(run: ServedRun, asked: Asked) -> Answer:
    if not asked.body:
        raise JobError("search: the picture is empty")
    return as_answer({"rows": nearness.near_picture(run, asked.body, asked.number("count", NEAR_ROWS))})


def search(run: ServedRun, asked: Asked) -> Answer:
    text = asked.query.get("text", "")[:MOST_TEXT]
    return as_answer({"rows": nearness.near_sentence(run, text, asked.number("count", NEAR_ROWS))})


# ------------------------------------------------------------------------------------------------------------- duplicates


def groups(run: ServedRun, asked: Asked, others: Sequence[ServedRun]) -> Answer:
    """Groups of duplicates, or of leaks: rows of this run beside the row of another one that each repeats."""
    name = asked.query.get("name", "duplicates")
    found = run.kept(f"groups of {name}", lambda: run.stamp, lambda: _groups(run, name))
    offset, _ = page_of(asked.number("offset", 0), 1)
    shown = found["groups"][offset : offset + GROUPS]
    return as_answer(
        {
            **found,
            "offset": offset,
            "total": len(found["groups"]),
            "groups": [_shown(each, run, others) for each in shown],
        }
    )


def _groups(run: ServedRun, name: str) -> dict[str, Any]:
    result = stored.read(run.folder, name)
    if result is None or result.facts["kind"] not in ("duplicates", "leaks"):
        raise JobError(
            f"{run.folder.uri}: nothing was found out here yet; run: pixelmill duplicates {quote(run.folder.uri)}"
        )
    numbers = run.table.numbers_of_keys(result.rows).tolist()
    listed = result.rows.to_pylist()
    made: dict[object, list[dict[str, Any]]] = {}
    for place, (number, each) in enumerate(zip(numbers, listed, strict=True)):
        made.setdefault(each.get("group", place), []).append({**each, "_row": number})
    facts = result.facts
    told = {
        "kind": facts["kind"],
        "is_stale": result.is_stale,
        "summary": facts["summary"],
        "options": facts["options"],
    }
    return {**told, "groups": list(made.values())}


def _shown(members: Sequence[Mapping[str, Any]], run: ServedRun, others: Sequence[ServedRun]) -> dict[str, Any]:
    rows = [
        {"run": run.number, "_row": each["_row"], "id": each["id"], "uri": each["uri"], "tier": each["tier"]}
        | {"nearness": each["nearness"], "is_representative": bool(each.get("is_representative", False))}
        for each in members[:MEMBERS]
    ]
    if "train_id" in members[0]:
        rows.insert(0, _of_train(members[0], others))
    return {"rows": rows, "more": max(0, len(members) - MEMBERS)}


def _of_train(leak: Mapping[str, Any], others: Sequence[ServedRun]) -> dict[str, Any]:
    """The row that a leak repeats, which can be shown where its run is served too."""
    shown: dict[str, Any] = {
        "run": None,
        "_row": -1,
        "id": leak["train_id"],
        "uri": leak["train_uri"],
        "is_representative": True,
    }
    for other in others:
        if "id" not in other.table.columns:
            continue
        page = other.table.page(Query(filters_of([["id", "is", leak["train_id"]]], other.table.columns), limit=1))
        if page.rows and page.rows[0]["uri"] == leak["train_uri"]:
            return {**shown, "run": other.number, "_row": page.rows[0]["_row"]}
    return shown


def group_ids(run: ServedRun, asked: Asked) -> Answer:
    """The id and the uri of every row that a result names, and whether it is what its group is kept for: the list to export."""
    name = asked.query.get("name", "duplicates")
    found = run.kept(f"groups of {name}", lambda: run.stamp, lambda: _groups(run, name))
    listed = [
        [each["id"], each["uri"], bool(each.get("is_representative", False))]
        for members in found["groups"]
        for each in members
    ]
    return as_answer({"ids": listed})


# --------------------------------------------------------------------------------------------------------------- failures


def failures(run: ServedRun, asked: Asked) -> Answer:
    """A page of failed inputs, by reason and by text."""
    filters = {name: asked.query[name][:MOST_TEXT] for name in ("stage", "error_type") if asked.query.get(name)}
    offset, limit = page_of(asked.number("offset", 0), asked.number("limit", PAGE_ROWS))
    page = run.table.failures(filters, asked.query.get("text", "")[:MOST_TEXT], offset, limit)
    reasons = [{"stage": stage, "error_type": kind, "count": count} for stage, kind, count in run.table.reasons()]
    return as_answer({"total": page.total, "offset": offset, "rows": page.rows, "reasons": reasons})
