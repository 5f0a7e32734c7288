"""The job file: YAML, validated before anything is started, with the line and a suggestion for what is wrong."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    model_validator,
)

from pixelmill.jobs import yamlfile
from pixelmill.jobs.references import REFERENCE, expanded, hidden_values, texts
from pixelmill.jobs.stage_entries import (
    DecoderName,
    StageEntry,
    keys_of_all_stages,
    raise_misfits,
    spelled_out,
    stage_keys,
    stage_kinds,
    with_bare_stages,
)
from pixelmill.pipelines.inputs.names import is_local, place_of, spelled
from pixelmill.workers.credentials import carries_credentials, scrub
from pixelmill.workers.errors import JobError, ModelError
from pixelmill.workers.stages import StageConfig

UNION_TAGS = frozenset({"text", "list", "mapping", "int", "bool", "float", "str"})
CREDENTIAL_KEYS = re.compile(r"(?i)^key$|secret|token|passw|credential|access_?key|api_?key")


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _named(place: Any) -> Any:
    if not place or (isinstance(place, str) and not place.strip()):
        raise ValueError("is empty; name a folder or a URI")
    return place


Place = Annotated[str, AfterValidator(_named), Field(json_schema_extra={"pattern": r"\S"})]
"""A path or a URI. An empty one would be the working directory."""
Places = Annotated[list[Place], AfterValidator(_named), Field(json_schema_extra={"minItems": 1})]


class SourceSpec(Strict):
    """What to read, with options."""

    uri: Place | Places = Field(
        description="a folder, a glob, a file, or a list of them: a path or s3:// gs:// az:// https://"
    )
    format: Literal["auto", "images", "webdataset", "parquet", "list"] = Field(
        "auto", description="auto goes by what the files are called"
    )
    pattern: str | None = Field(
        None, description="glob below the folder, as **/*.jpg; files that do not match are ignored"
    )
    column: str | None = Field(None, description="the column of pictures (parquet) or of URIs (list)")
    decoder: DecoderName = Field("picture", description="what makes pictures of an input's bytes")
    limit: PositiveInt | None = Field(None, description="only the first so many inputs")
    max_pixels: PositiveInt = Field(
        178_956_970, description="a larger picture is filed as failed, before it is decoded"
    )
    max_bytes: PositiveInt = Field(256 << 20, description="a larger object is filed as failed, before it is read")
    profile: str | None = Field(None, description="a named profile of the AWS configuration")
    anon: bool = Field(False, description="read without credentials")
    timeout_s: PositiveFloat = Field(30, description="for one request")
    retry_for_s: NonNegativeFloat = Field(120, description="how long a passing fault of the store is waited out")
    in_flight: PositiveInt = Field(16, description="requests at once, for each worker")


class OutSpec(Strict):
    """Where the output goes, with options."""

    uri: Place = Field(description="a folder: a path or s3:// gs:// az://")
    file_mb: PositiveInt = Field(128, description="no data file is planned to be larger than about this")
    row_group_mb: PositiveInt = Field(16, description="size of a row group")
    compression: Literal["zstd", "snappy", "none"] = "zstd"
    profile: str | None = Field(None, description="a named profile of the AWS configuration")


class RunSpec(Strict):
    """Where and with how much the job runs; nothing of it changes the output."""

    address: str | None = Field(
        None, description="a Ray cluster; left out, RAY_ADDRESS or a Ray of its own on this machine"
    )
    actors: PositiveInt | Literal["auto"] = Field("auto", description="workers; auto: one per GPU, or one per core")
    cpus_per_actor: PositiveFloat | Literal["auto"] = "auto"
    num_gpus: NonNegativeFloat | Literal["auto"] = Field(
        "auto", description="GPUs for each worker; auto: 1 where there are any"
    )
    decode_threads: Literal["auto"] | Annotated[int, Field(ge=0)] = Field(
        "auto", description="threads that decode beside the network; auto: none on CPUs, the worker's CPUs with a GPU"
    )
    memory_gb: PositiveFloat | Literal["auto"] = Field(
        "auto", description="memory of each worker; auto: an equal share of the machine's, or of its control group's"
    )
    stall_s: PositiveFloat = Field(
        600,
        description="a worker that makes no progress for so long is ended; an input that did it alone is filed as failed",
    )
    max_failed_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05, description="the job stops when more fail, of the inputs seen and of the first 1,000"
    )
    failures: Literal["exit-3", "ok"] = Field(
        "exit-3",
        description="exit code of a complete run in which some inputs failed: exit-3 is 3; ok is 0 where any was done, for "
        "schedulers that take every other code for a failed job. failed/ and the summary name them all the same",
    )


def _shape(value: Any) -> str:
    return "mapping" if isinstance(value, dict | BaseModel) else "list" if isinstance(value, list) else "text"


SourceField = Annotated[
    Annotated[Place, Tag("text")] | Annotated[Places, Tag("list")] | Annotated[SourceSpec, Tag("mapping")],
    Discriminator(_shape),
]
OutField = Annotated[Annotated[Place, Tag("text")] | Annotated[OutSpec, Tag("mapping")], Discriminator(_shape)]


class JobSpec(Strict):
    """A bulk job of Pixelmill."""

    version: Literal[1] = Field(description="of this format")
    source: SourceField
    out: OutField
    stages: list[StageEntry] = Field(min_length=1)
    run: RunSpec = Field(default_factory=lambda: RunSpec.model_validate({}))

    @model_validator(mode="after")
    def _stages_fit(self) -> JobSpec:
        raise_misfits(self.stages, self.source_options.decoder)
        return self

    @model_validator(mode="after")
    def _columns_differ(self) -> JobSpec:
        columns = ["id", "uri", "member", "width", "height", *(c for stage in self.configs for c in stage.columns())]
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"two columns would be called {', '.join(twice)}; give one another name with column:")
        return self

    @property
    def source_options(self) -> SourceSpec:
        return self.source if isinstance(self.source, SourceSpec) else SourceSpec.model_validate({"uri": self.source})

    @property
    def out_options(self) -> OutSpec:
        return self.out if isinstance(self.out, OutSpec) else OutSpec.model_validate({"uri": self.out})

    @property
    def source_uris(self) -> tuple[str, ...]:
        uri = self.source_options.uri
        return (uri,) if isinstance(uri, str) else tuple(uri)

    @property
    def configs(self) -> tuple[StageConfig, ...]:
        return tuple(stage.config for stage in self.stages)


@dataclass(frozen=True)
class Job:
    """A job as it was written and as it is run: `document` has the references to the environment, `spec` their values."""

    document: dict[str, Any]
    spec: JobSpec

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to be continued: what is read and what is made of it, not how fast.

        ModelError when a stage's model can't be had.
        """
        source = self.spec.source_options
        written = self.document["source"]
        uris = written["uri"] if isinstance(written, dict) else written
        listed_as = [absolute(uri) for uri in self.spec.source_uris]
        decoder = {} if source.decoder == "picture" else {"decoder": source.decoder}
        return {
            "version": self.spec.version,
            "source": {
                "uri": [uri if "${" in uri else absolute(uri) for uri in ([uris] if isinstance(uris, str) else uris)],
                "uri_sha256": _digest(listed_as),
                "format": source.format,
                "pattern": source.pattern,
                "column": source.column,
                "max_pixels": source.max_pixels,
                "max_bytes": source.max_bytes,
                **decoder,
            },
            "stages": [config.identity() for config in self.spec.configs],
        }

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.document, sort_keys=False, allow_unicode=True)


def spelled_before(stored: Mapping[str, Any], now: Sequence[str]) -> tuple[str, ...] | None:
    """How the run with the identity `stored` spelled its source, if that is the same place as `now`; None if it is another.

    An id is made of a uri as it was listed, so that a run is resumed under its first spelling. A name and what it links to
    are one place. Older runs kept the words of the user, with slashes at the end and file://.
    """
    digest, places = stored["source"].get("uri_sha256"), [place_of(uri) for uri in now]
    written = [str(uri) for uri in stored["source"].get("uri", [])]
    candidates = [list(now), places, [uri if "://" in uri else os.path.abspath(uri) for uri in written]]
    candidates += [[before(uri) for uri in now] for before in _SPELLINGS]
    for candidate in candidates:
        if _digest(candidate) == digest and [place_of(uri) for uri in candidate] == places:
            return tuple(uri if is_local(uri) and "://" not in uri else absolute(uri) for uri in candidate)
    return None


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda uri: f"{uri}/",
    lambda uri: f"file://{uri}",
    lambda uri: f"file://{uri}/",
    lambda uri: f"s3a{uri.removeprefix('s3')}",
    lambda uri: f"s3a{uri.removeprefix('s3')}/",
)


def _digest(uris: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(uris)).encode()).hexdigest()[:16]


def load(text: str, *, name: str, overrides: list[str], environment: Mapping[str, str]) -> Job:
    """Parse, override, check; JobError with every fault, each with the key's path, its line and a suggestion."""
    document, root = parse(text, name=name, what="a job file is a mapping with version, source, out and stages")
    for override in overrides:
        override_key(document, override)
    return check(document, name=name, environment=environment, root=root)


def parse(text: str, *, name: str, what: str) -> tuple[dict[str, Any], yaml.Node | None]:
    """YAML as a document and as the nodes that know its lines; JobError where it is none, with `what` it should be."""
    try:
        document = yamlfile.read(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yamlfile.NotYaml as error:
        raise JobError(f"{name}: {error}".replace('"<unicode string>"', name)) from error
    _refuse_repeated_keys(root, name)
    if not isinstance(document, dict):
        raise JobError(f"{name}: {what}")
    return document, root


def _refuse_repeated_keys(node: yaml.Node | None, name: str) -> None:
    """YAML lets the last of two equal keys win in silence."""
    for child in node.value if isinstance(node, yaml.SequenceNode) else ():
        _refuse_repeated_keys(child, name)
    seen: set[str] = set()
    for key, child in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value in seen:
            raise JobError(f"{name}: {key.value} (line {key.start_mark.line + 1}): stands here a second time")
        seen.add(key.value)
        _refuse_repeated_keys(child, name)


def check(document: dict[str, Any], *, name: str, environment: Mapping[str, str], root: yaml.Node | None = None) -> Job:
    """A document as a job; see `load`."""
    refuse_credentials(document, name=name, environment=environment)
    with hidden_values(document, environment, name):
        return _checked(document, name, environment, root)


def _checked(document: dict[str, Any], name: str, environment: Mapping[str, str], root: yaml.Node | None) -> Job:
    try:
        spec = JobSpec.model_validate(expanded(document, environment, name))
    except ValidationError as error:
        lines = faults(error, root, written=document)
        raise JobError(f"{name}: this job can't be run\n" + "\n".join(lines)) from error
    job = Job(document, spec)
    try:
        job.identity()
    except ModelError as error:
        raise JobError(f"{name}: {error}") from error
    return job


# Overrides and the environment


def override_key(document: dict[str, Any], override: str) -> None:
    """Apply `stages.0.model=torchvision:resnet18`: the name of the stage's kind may be left out of the path."""
    path, equals, value = override.partition("=")
    if not equals:
        raise JobError(f"--set {override}: write KEY=VALUE, as in --set stages.0.model=torchvision:resnet18")
    keys, here = path.split("."), document
    for index, key in enumerate(keys[:-1]):
        here = _step(here, key, keys[index + 1], override)
    if isinstance(here, list):
        here[_index(here, keys[-1], override)] = _parsed(value)
    else:
        _mapping(here, override)[keys[-1]] = _parsed(value)


def _parsed(value: str) -> Any:
    """A value as YAML has it; **/*.jpg and the like, which YAML can't read, as they are."""
    try:
        return yamlfile.read(value)
    except yamlfile.NotYaml:
        return value


def _mapping(here: Any, override: str) -> dict[str, Any]:
    if not isinstance(here, dict):
        raise JobError(f"--set {override}: there are no keys below {here!r}")
    return here


def _step(here: Any, key: str, following: str, override: str) -> Any:
    if isinstance(here, list):
        index = _index(here, key, override)
        here[index] = spelled_out(here[index])
        inner = here[index]
        if isinstance(inner, dict) and len(inner) == 1 and following not in inner:
            return next(iter(inner.values()))
        return inner
    here = _mapping(here, override)
    if key in {"source", "out"} and not isinstance(here.get(key), dict):
        here[key] = {"uri": here.get(key)}
    if here.get(key) is None:
        here[key] = {}
    return here[key]


def _index(here: list[Any], key: str, override: str) -> int:
    if not key.isdecimal() or int(key) >= len(here):
        raise JobError(f"--set {override}: {key} is not one of the {len(here)} entries, which count from 0")
    return int(key)


def refuse_credentials(*written: Any, name: str = "", environment: Mapping[str, str] | None = None) -> None:
    """JobError where a text in what the user wrote would put a secret into files, logs or messages.

    With an environment, the values of references are looked at too, and the reference is shown.
    """
    for text in texts([each.model_dump() if isinstance(each, BaseModel) else each for each in written]):
        value = text if environment is None else expanded(text, environment, name)
        if carries_credentials(text) or carries_credentials(value):
            raise JobError(
                f"{name and f'{name}: '}{scrub(text)} carries credentials, which would be written to every output; "
                "give them in the environment (AWS_ACCESS_KEY_ID, ...) or name a profile"
            )


# Faults in the user's words


def faults(
    error: ValidationError,
    root: yaml.Node | None,
    keys_beside: Callable[[list[Any]], list[str]] | None = None,
    everywhere: Sequence[str] | None = None,
    written: Any = None,
) -> list[str]:
    """One line for each wrong key; a value that fits none of several types is one fault and not several.

    `keys_beside` gives the keys that there are where one is unknown, `everywhere` the paths of all; those of a job file
    by default. `written` is the document with its references to the environment, which are shown in the place of their
    values.
    """
    beside = _keys_beside if keys_beside is None else keys_beside
    paths = _job_keys() if everywhere is None and keys_beside is None else everywhere or ()
    found: dict[tuple[int | str, ...], list[Any]] = {}
    for fault in error.errors():
        found.setdefault(tuple(part for part in fault["loc"] if not _is_type(part)), []).append(fault)
    lines = []
    for path, several in found.items():
        if any(other != path and other[: len(path)] == path for other in found):
            continue  # one item of a list is wrong, so the list is no text either
        line = _line_of(root, list(path))
        where = ".".join(map(str, path)) + (f" (line {line})" if line else "")
        shown = _as_written(written, path)
        lines.append(f"  {where or 'the job'}: {_in_words(several, list(path), beside(list(path)), paths, shown)}")
    return lines


def _as_written(document: Any, path: tuple[int | str, ...]) -> str | None:
    """The text at a path where it refers to the environment."""
    for part in path:
        if isinstance(document, list):
            document = document[part] if isinstance(part, int) and part < len(document) else None
        else:
            document = document.get(part) if isinstance(document, dict) else None
    return document if isinstance(document, str) and REFERENCE.search(document) else None


def _is_type(part: int | str) -> bool:
    """Whether a part of a fault's path is pydantic's name for a member of a union, and no key of the user's."""
    return isinstance(part, str) and (part in UNION_TAGS or "[" in part or part.startswith("constrained-"))


def _in_words(
    several: list[Any], path: list[Any], known: list[str], everywhere: Sequence[str], reference: str | None
) -> str:
    fault = several[0]
    if fault["type"] == "extra_forbidden":
        key = str(path[-1])
        if CREDENTIAL_KEYS.search(key):
            return "credentials never go into a job file; set them in the environment or name a profile"
        near = _meant(key, known, everywhere)
        return f"unknown key; did you mean {near}?" if near else f"unknown key; it takes {', '.join(known)}"
    if fault["type"] == "missing":
        return "is missing"
    if not str(fault["msg"]).startswith("Input should be "):
        message = str(fault["msg"]).removeprefix("Value error, ")
        return f"{message[0].lower()}{message[1:]}"
    wanted = dict.fromkeys(re.sub("^Input should be |, (got|unable) .*", "", f["msg"]) for f in several)
    message = " or ".join(re.sub(r"a valid dictionary.*", "a mapping", each) for each in wanted)
    if reference is not None:
        return f"should be {message}, and the value of {reference} is not"
    return f"should be {message}" + (f", not {scrub(repr(fault['input']))}" if _is_plain(fault["input"]) else "")


def _meant(key: str, beside: list[str], everywhere: Sequence[str]) -> str | None:
    """The key that was meant: one of this very name in another place by its whole path, or one that is spelt alike."""
    ends = [(path.rpartition(".")[2], path) for path in everywhere]
    if places := [path for end, path in ends if end == key and path != key]:
        return " or ".join(places)
    if near := difflib.get_close_matches(key, beside, n=1, cutoff=0.5):
        return near[0]
    alike = difflib.get_close_matches(key, [end for end, _ in ends], n=1, cutoff=0.75)
    return next((path for end, path in ends if end in alike), None)


def _job_keys() -> list[str]:
    """Every key of a job file by its path, as --set has it."""
    inner = {"source": SourceSpec, "out": OutSpec, "run": RunSpec}
    keys = [*JobSpec.model_fields, *(f"{path}.{key}" for path, model in inner.items() for key in model.model_fields)]
    return [*keys, *(f"stages.0.{key}" for key in keys_of_all_stages())]


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool) and len(str(value)) < 60


def _keys_beside(path: list[Any]) -> list[str]:
    """The keys that the mapping with a wrong key could have had."""
    models: dict[str, type[BaseModel]] = {"source": SourceSpec, "out": OutSpec, "run": RunSpec}
    parents = [part for part in path[:-1] if isinstance(part, str)]
    if parents and parents[0] == "stages":
        return stage_kinds() if len(parents) == 1 else stage_keys(parents[1])
    return list(models.get(parents[-1], JobSpec).model_fields) if parents else list(JobSpec.model_fields)


def _line_of(node: yaml.Node | None, path: list[Any]) -> int | None:
    """The line on which a key stands, or the nearest mapping around one that is not there."""
    line = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            item: yaml.Node = node.value[part]
            line, node = (item.start_mark.line + 1 if item.start_mark else line), item
    return line


def schema() -> dict[str, Any]:
    """JSON Schema of the job file."""
    made = with_bare_stages(JobSpec.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def read_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise JobError(f"{path}: there is no such job file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{path}: can't be read: {error}") from error


def absolute(uri: str) -> str:
    """A place in its one spelling: a local path as it is from anywhere, a URI without a slash at its end.

    JobError where it names nothing, or nothing that can be kept.
    """
    if not uri.strip() or "\0" in uri:
        raise JobError(f"{uri!a}: is no path or URI; name a folder or a file")
    return as_utf8(spelled(as_utf8(uri) if "://" in uri else os.path.expanduser(uri)))


def as_utf8(text: str) -> str:
    """The text; JobError where it came from bytes that are no UTF-8, which neither Ray nor Parquet takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        shown = re.sub(r"\\udc([89a-f][0-9a-f])", r"\\x\1", text.encode("utf-8", "backslashreplace").decode())
        raise JobError(
            f"{shown}: has a byte that is no UTF-8, which neither Ray nor Parquet takes; rename it, or name a link to it"
        ) from error
    return text
