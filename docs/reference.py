"""The reference of this documentation, made from the code whenever the site is built: nothing of it is written by hand twice."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pixelmill.jobs import catalogue, outcome, spec
from pixelmill.jobs.supervision.exit_codes import EXIT_BAD_JOB, EXIT_STOPPED, EXIT_TRY_AGAIN
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA
from pixelmill.pipelines.outputs import columns
from pixelmill.workers import errors
from pixelmill.workers.codecs.decode_errors import DECODE_ERROR_TYPES
from pixelmill.workers.stages import STAGES, config_class

ROOT = Path(__file__).parent.parent
Row = Sequence[object]


def table(head: Row, rows: Iterable[Row]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


# --------------------------------------------------------------------------------------------------------------- keys


def job_keys() -> str:
    """Every key of a job file, with type, default and meaning."""
    schema = spec.schema()
    parts = [
        "# Job file\n",
        "`pixelmill run FILE`; `pixelmill schema` prints the same as JSON Schema for your editor.\n",
    ]
    parts += ["## The document\n", _keys(schema, schema)]
    for title, name in (("source", "SourceSpec"), ("out", "OutSpec"), ("run", "RunSpec")):
        parts += [
            f"## {title}\n",
            schema["$defs"][name].get("description", "") + "\n",
            _keys(schema["$defs"][name], schema),
            *_inner_sections(title, schema["$defs"][name], schema),
        ]
    for kind in STAGES:
        one = schema["$defs"][config_class(kind).__name__]
        parts += [f"## stages: {kind}\n", one["description"] + "\n", _keys(one, schema)]
        parts += _inner_sections(kind, one, schema)
    return "\n".join(parts)


def _inner_sections(title: str, part: Mapping[str, Any], whole: Mapping[str, Any]) -> list[str]:
    """A section for each key whose values are mappings."""
    return [
        text
        for key, inner in _mappings_in(part, whole).items()
        for text in (f"### {title}.{key}\n", inner.get("description", "") + "\n", _keys(inner, whole))
    ]


def _mappings_in(part: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The keys whose values are mappings with keys of their own, or lists of such."""
    found: dict[str, Mapping[str, Any]] = {}
    for key, value in part["properties"].items():
        for choice in (value, value.get("items", {}), *value.get("anyOf", [])):
            target = whole["$defs"].get(choice.get("$ref", "").rpartition("/")[2], {})
            if "properties" in target:
                found[key] = target
    return found


def _keys(part: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    needed = part.get("required", [])
    rows = [
        (
            f"`{key}`",
            kind_of(value, whole),
            "needed" if key in needed else _default(value),
            value.get("description", ""),
        )
        for key, value in part["properties"].items()
    ]
    return table(("key", "value", "default", "meaning"), rows)


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    return "" if default is None else f"`{json.dumps(default)}`"


def kind_of(value: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in value:
        target = whole["$defs"][value["$ref"].rpartition("/")[2]]
        return "mapping" if "properties" in target else kind_of(target, whole)
    for several in ("anyOf", "oneOf"):
        if several in value:
            kinds = dict.fromkeys(kind_of(each, whole) for each in value[several] if each.get("type") != "null")
            return " or ".join(kinds)
    if "enum" in value or "const" in value:
        return " or ".join(f"`{choice}`" for choice in value.get("enum", [value.get("const")]))
    return f"list of {kind_of(value['items'], whole)}" if "items" in value else _bounded(value)


def _bounded(value: Mapping[str, Any]) -> str:
    limits = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
    bounds = [f"{word} {value[key]:g}" for key, word in limits.items() if key in value]
    kind = {"string": "text", "object": "mapping"}.get(value.get("type", ""), value.get("type", "anything"))
    return " ".join([kind, *bounds])


def recipe_keys() -> str:
    """Every recipe with its data and its settings."""
    parts = ["# Recipes\n", "`pixelmill train NAME --data DIR --out DIR --set KEY=VALUE`.\n"]
    for name in catalogue.recipe_places():
        found = catalogue.described(name)
        parts += [f"## {name}\n", f"{found['about']}\n", f"Data: {found['data']}.\n"]
        parts += [f"Network `{found['network']}`; the best checkpoint by {found['goal']}.\n"]
        parts += [_keys(found["settings"], found["settings"]), *(f"{text}\n" for text in found["help"])]
    return "\n".join(parts)


# ------------------------------------------------------------------------------------------------------------ columns


def output_columns() -> str:
    """The columns of data/ and failed/, of every stage, and of the manifest."""
    rows = columns.input_fields(makes_many=True, has_source_ids=True)
    parts = ["# Columns\n", "## data/part-*.parquet\n", _fields(rows)]
    parts += ["`source_id` and `place` are there where the job has them. Then come the columns of the stages:\n"]
    parts += [table(("stage", "column by default", "meaning"), [row for kind in STAGES for row in _made_by(kind)])]
    parts += ["## failed/part-*.parquet\n", _fields(columns.FAILED_SCHEMA)]
    parts += ["## _run/manifest/*.parquet\n", table(("column", "type"), [(f"`{f.name}`", f.type) for f in SCHEMA])]
    return "\n".join(parts)


def _fields(fields: Iterable[pa.Field]) -> str:
    return table(("column", "type", "meaning"), [(f"`{f.name}`", f.type, columns.MEANINGS[f.name]) for f in fields])


def _made_by(kind: str) -> list[Row]:
    config = config_class(kind).model_construct()  # as some have keys that have to be given
    made = [(kind, f"`{name}`", config.meaning_of(name, {}) or "") for name in config.columns()]
    return made or [(kind, "none", "it makes pictures for later stages")]


# ------------------------------------------------------------------------------------------------ exit codes and errors

EXIT_CODES: dict[int, str] = {
    outcome.EXIT_COMPLETE: "complete",
    outcome.EXIT_FAILED: "failed; what was finished stays, and the same command resumes",
    EXIT_BAD_JOB: "the job file, the plan or the output folder is wrong; nothing was started",
    outcome.EXIT_WITH_FAILURES: "complete, and some inputs failed; `run.failures: ok` makes it 0 as long as any was done",
    EXIT_STOPPED: "stopped cleanly by `pixelmill stop`, `run.deadline`, `run.max_cost` or `run.max_failed_fraction`; "
    "`pixelmill resume` goes on",
    EXIT_TRY_AGAIN: "interrupted from outside: Ray, a node or a store was lost; the same command resumes",
    outcome.EXIT_INTERRUPTED: "interrupted by Ctrl-C or SIGTERM; the same command resumes",
}

ROW_ERRORS = {
    "BadName": "the name is not UTF-8; rename the file",
    "BadSample": "training: the sample can't be decoded by its recipe; the message says why",
    "BadShape": "a row of Hounsfield units has another number of values than its height and width state",
    "Changed": "the object is not the one that was listed; `pixelmill retry` lists it again",
    "Corrupt": "the bytes contradict themselves; restore the file from its source",
    "Empty": "there are no bytes",
    "Encrypted": "a member of a zip is encrypted; unpack the archive with its password",
    "ForeignUri": "a list in a store names a file of this machine; write a URI below the list",
    "KilledWorker": "it killed or stalled its worker, alone, twice; look at the file, or give `run.memory_gb` more",
    "LeftOut": "training: the sample was left out as the settings ask, such as a slice of air",
    "MalformedPixels": "the pixels of a DICOM object are truncated, corrupt, or of another size than its header states",
    "MalformedTag": "a tag of a DICOM object has an unusable value; the message names the tag and never shows the value",
    "MissingPixels": "a DICOM object holds no pixels; copy it again, or leave it out",
    "MissingTag": "a tag that is needed is missing in a DICOM object; the message names it",
    "NoDecoder": "the pixels of a DICOM object are compressed in a way that needs a package; the message names it",
    "NoPalette": "a layout is drawn in colours, and the model names none; set `palette`",
    "NoPicture": "a stage made no picture of it for the stages that read it",
    "NoPictures": "its decoder found no picture in it",
    "NotAFile": "it is a pipe, a device or a socket",
    "NotALayout": "too many of its pixels have the colour of no class; give layouts drawn in the colours of `palette`",
    "NotASlice": "a DICOM object is no usable slice of CT; the message says why, in the words of [CT archives](../ct.md)",
    "NotAVolume": "the slices of a series of CT are no regular volume, and the message says why; ingest it as slices",
    "NotAnImage": "it is something else: a web page, a PDF, a video; the message says what",
    "NotDicom": "it is no DICOM object; leave it out of the archive, or name a pattern",
    "NotFinite": "a value is NaN or infinite: of a CT file, write it as air; of a network, try `precision: float32`",
    "NotMade": "`pixelmill serve`: this row holds no such picture; look at another one of it",
    "NotShown": "`pixelmill serve`: inputs of this kind of source can't be shown; look at what was made of them",
    "NotFound": "gone since it was listed, or it is a folder",
    "NotHu": "the values are no Hounsfield units: windowed, scaled to 0 to 1, or with an offset",
    "NullUri": "the list has no URI in this line",
    "OutOfMemory": "the device has too little memory for it, even alone",
    "PermissionDenied": "it may not be read; check permissions, or credentials and the bucket's policy",
    "ReadError": "it could not be read; the message has the reason",
    "SignedUrl": "the URI carries a secret, which would be written to every output; list the plain URI",
    "StoreUnavailable": "the store gave no good answer in time; `pixelmill retry` tries again",
    "TooLarge": "the picture is larger than its format or its network takes; the message says what does",
    "TooManyBytes": "the object is larger than `source.max_bytes`",
    "TooManyPieces": "the input has more pieces than its grouping allows",
    "TooManyPixels": "the header states more than `source.max_pixels`; nothing was decoded",
    "TooMuchMemory": "it can never fit into a worker's memory; the message says what it needs and what there is",
    "Truncated": "the end of the file is missing; copy it again",
    "UnknownClass": "a layout has class ids that the model does not know",
    "UnsupportedFormat": "an intact picture of a kind that is not read here; the message says what reads it",
    "WorkerDied": "training: the sample ended the process that decoded it, alone",
}


ROWS_INTRODUCED = """An input that can't be done becomes one row in `failed/`, with one of these as its `error_type`. A stage may
add its own, and an error that nobody foresaw goes by the name of its Python class."""


def exit_codes() -> str:
    rows = [(f"`{code}`", meaning) for code, meaning in EXIT_CODES.items()]
    return (
        "# Exit codes\n\nOf all commands that start a run, and of `submit --wait`, `supervise` and `resume`.\n\n"
        + table(("code", "meaning"), rows)
    )


def error_types() -> str:
    """The errors that end a run, and those that cost one input."""
    tree = (errors.__doc__ or "").partition("\n\n")[2]
    rows = [(f"`{name}`", meaning) for name, meaning in sorted(ROW_ERRORS.items())]
    shown = table(("error_type", "meaning and next step"), rows)
    return f"# Errors\n\n## Of the run\n\n{tree}\n\n## Of one input\n\n{ROWS_INTRODUCED}\n\n{shown}"


_PROBLEM = re.compile(r"([A-Z][a-z]+(?:[A-Z][a-z]+)*): [a-z0-9]")


def error_types_in_code() -> set[str]:
    """Every name that the code gives to the error of an input, as far as it stands in the source as a constant."""
    files = [path for floor in ("jobs", "pipelines", "workers") for path in (ROOT / floor).rglob("*.py")]
    found = {name for path in files for name in _named_in(ast.parse(path.read_text(encoding="utf-8")))}
    problems = [ROOT / "pipelines/inputs", ROOT / "pipelines/outputs/listing.py"]
    texts = [path for place in problems for path in (place.rglob("*.py") if place.is_dir() else [place])]
    return found | set(DECODE_ERROR_TYPES) | {name for path in texts for name in _problems_in(path)}


def _named_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) != "RowError" or len(node.args) < 2:
            continue
        if isinstance(node.args[1], ast.Constant):
            yield str(node.args[1].value)


def _problems_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (found := _PROBLEM.match(node.value)):
            yield found[1]


PAGES: dict[str, Callable[[], str]] = {
    "reference/job.md": job_keys,
    "reference/recipes.md": recipe_keys,
    "reference/columns.md": output_columns,
    "reference/exit-codes.md": exit_codes,
    "reference/errors.md": error_types,
}
