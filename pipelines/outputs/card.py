"""The card of an output, OUT/README.md: what was run and which files are data, for people and
`datasets.load_dataset(OUT)`.

Without it `datasets` would take the manifest in _run/ for data too. A README.md that the user wrote or changed is kept:
the last line of a card holds a digest of the lines above.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import urlsplit

import yaml

from pixelmill.pipelines.inputs.names import is_local
from pixelmill.pipelines.outputs.columns import MEANINGS
from pixelmill.pipelines.outputs.features import shown_type
from pixelmill.workers.credentials import scrub
from pixelmill.workers.decoders import DECODERS, ExplainsColumns, decoder_of
from pixelmill.workers.stages import STAGES, config_class

CARD = "README.md"

_LAST_LINE = re.compile(r"<!-- written by pixelmill: ([0-9a-f]{16}) -->\n")
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
IN_METADATA = frozenset({"classes", "colours"})
"""Settings that the metadata of a column repeats in full."""

_READ_ANYWHERE = """\
## Read it

```python
import datasets
rows = datasets.load_dataset("OUT", split="train")

import duckdb
duckdb.sql("select * from 'OUT/data/*.parquet' limit 3")

import polars
rows = polars.read_parquet("OUT/data/*.parquet")
"""
_READ_RUN = """
import pixelmill
run = pixelmill.open_run("OUT")
```

`OUT` is this folder. `data/` has the rows, `failed/` the inputs that could not be done and why, `_run/` how it was made.
"""
_READ_DATA_SET = """```

`OUT` is this folder, or the name under which it is published.
"""


@dataclass(frozen=True)
class DataSet:
    """The rows of a run in a folder of their own, to be published."""

    features: list[dict[str, object]] | None
    """The features as the front matter states them; see `features.stated_features`."""
    rows: int
    memory_bytes: int
    file_bytes: int
    meanings: Mapping[str, str]
    """The meanings of columns that hold something else here than in the run."""


def card_of(
    success: Mapping[str, object],
    columns: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    data_set: DataSet | None = None,
) -> str:
    """The card of a complete run, from the content of its _SUCCESS and the types of its columns by name; or of a data set that
    was made of a run.

    `units` are those that the metadata of columns state.

    It holds no credentials, and only the last name of a local path: cards are published with the data.
    """
    meanings = {name: _meaning(name, success, (units or {}).get(name)) for name in columns}
    meanings |= {} if data_set is None else data_set.meanings
    described = ((name, shown_type(kind), meanings[name]) for name, kind in columns.items())
    sections = [
        _front_matter(has_failed=bool(success.get("failed"))) if data_set is None else _front_of(data_set),
        _summary(success),
        _table("Columns", ("column", "type", "meaning"), described),
        _table("Failed inputs", ("reason", "inputs"), ((name, f"{count:,}") for name, count in _reasons(success))),
        _READ_ANYWHERE + (_READ_RUN if data_set is None else _READ_DATA_SET),
        _licences(success),
    ]
    text = "\n".join(section for section in sections if section)
    return f"{text}\n<!-- written by pixelmill: {_digest(text)} -->\n"


def _meaning(column: str, success: Mapping[str, object], unit: str | None) -> str:
    """The meaning of a column, with its unit; empty where it is not known."""
    identity = _mapping(success.get("identity"))
    stages = [
        made for stage in _sequence(identity.get("stages")) for made in _mapping(stage).items() if made[0] in STAGES
    ]
    texts = (config_class(kind).meaning_of(column, _mapping(options)) for kind, options in stages)
    text = MEANINGS.get(column) or next(filter(None, texts), "") or _decoders_meaning(column, identity)
    return text if unit is None else f"{text}; unit: {unit}".removeprefix("; ")


def _decoders_meaning(column: str, identity: Mapping[str, object]) -> str:
    """What a column of a decoder of ours holds; empty for a user's decoder, which is not imported for a card."""
    name = _mapping(identity.get("source")).get("decoder")
    decoder = decoder_of(name) if isinstance(name, str) and name in DECODERS else None
    return decoder.meanings.get(column, "") if isinstance(decoder, ExplainsColumns) else ""


def is_ours(text: bytes) -> bool:
    """Whether a README.md is a card that nobody has changed."""
    above, _, last = text.decode("utf-8", "replace").rpartition("\n<!-- ")
    found = _LAST_LINE.fullmatch(f"<!-- {last}")
    return found is not None and found[1] == _digest(above)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _front_matter(*, has_failed: bool) -> str:
    """The front matter for `datasets`: the files of each configuration, the first one by default."""
    failed = ["- config_name: failed", "  data_files: failed/*.parquet"] if has_failed else []
    data = ["- config_name: default", "  data_files: data/*.parquet"]
    return "\n".join(["---", "license: unknown", "tags: [pixelmill]", "configs:", *data, *failed, "---", ""])


def _front_of(data_set: DataSet) -> str:
    """The front matter of a data set, whose columns and size are known before a file is read. The licence is its publisher's."""
    split = {"name": "train", "num_bytes": data_set.memory_bytes, "num_examples": data_set.rows}
    info: dict[str, object] = {} if data_set.features is None else {"features": data_set.features}
    info |= {"splits": [split], "download_size": data_set.file_bytes, "dataset_size": data_set.memory_bytes}
    files = [{"split": "train", "path": "data/*.parquet"}]
    stated = {
        "license": "unknown",
        "tags": ["pixelmill"],
        "dataset_info": info,
        "configs": [{"config_name": "default", "data_files": files}],
    }
    text: str = cast("Any", yaml).safe_dump(stated, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n"


def _summary(success: Mapping[str, object]) -> str:
    identity = _mapping(success.get("identity"))
    sources = _sequence(_mapping(identity.get("source")).get("uri"))
    stages = [named for stage in _sequence(identity.get("stages")) for named in _mapping(stage).items()]
    lines = [
        "# Milled by pixelmill",
        "",
        f"- inputs: {success.get('inputs', 0):,}, of which {success.get('done', 0):,} are done and "
        f"{success.get('failed', 0):,} failed",
        *(f"- source: {_code(_public(str(uri)))}" for uri in sources),
        *(f"- {_text(name)}: {', '.join(_settings(_mapping(settings)))}" for name, settings in stages),
        *(f"- weights of {_text(name)}: sha256 {_code(str(sha256))}" for name, sha256 in _weights(success)),
        *(f"- network of {_text(name)}: {_text(str(how))}" for name, how in _mapping(success.get("quantized")).items()),
    ]
    return "\n".join(lines) + "\n"


def _settings(settings: Mapping[str, object]) -> Iterator[str]:
    """The options of a stage, the model first."""
    for name in sorted(settings, key=lambda name: name != "model"):
        value = settings[name]
        if value is not None and name not in IN_METADATA:
            yield f"{_text(name)} {_code(_public(str(value)) if name == 'model' else str(value))}"


def _reasons(success: Mapping[str, object]) -> list[tuple[str, object]]:
    return list(_mapping(success.get("reasons")).items())


def _weights(success: Mapping[str, object]) -> list[tuple[str, object]]:
    return [(name, sha256) for name, sha256 in _mapping(success.get("weights")).items() if sha256]


def _licences(success: Mapping[str, object]) -> str:
    """The licences of the weights, where their publishers state them."""
    stated = _mapping(success.get("licences")).items()
    known = [f"- weights of {_text(name)}: {_text(str(licence))}" for name, licence in stated]
    inputs = "Unknown: that of the inputs and of the model's weights has to be looked up."
    if known:
        inputs = "Unknown: that of the inputs has to be looked up. That of the weights, as they state it:"
    return "\n".join(["## Licence", "", inputs, *(["", *known] if known else [])]) + "\n"


def _public(place: str) -> str:
    """A place without its secret and private parts: no credentials, no query, only the last name of a local path."""
    if "://" not in place and "/" not in place:
        return place
    if is_local(place):
        return PurePosixPath(place.rstrip("/")).name or "a local folder"
    parts = urlsplit(scrub(place))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _table(title: str, headings: Sequence[str], rows: Iterable[tuple[str, ...]]) -> str:
    """A section with a table; empty without rows."""
    lines = [f"| {_code(first)} | {' | '.join(map(_text, others))} |" for first, *others in rows]
    head = [f"## {title}", "", f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    return "\n".join([*head, *lines, ""]) if lines else ""


def _text(text: str) -> str:
    """Text with markup escaped."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", _UNSHOWN.sub(" ", text))


def _code(text: str) -> str:
    """Text as inline code on one line; bars are escaped, since they would end a table cell."""
    shown = _UNSHOWN.sub(" ", text).replace("`", "'").replace("|", "/")
    return f"`{shown}`"


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[object]:
    return cast("list[object]", value) if isinstance(value, list) else ()
