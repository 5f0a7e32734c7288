"""The job file: YAML, validated before anything is started, with the line and a suggestion for what is wrong."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
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

from pipelines.stores import carries_credentials, scrub
from workers.errors import JobError, ModelError
from workers.stages import StageConfig
from workers.stages.embed import EmbedConfig

UNION_TAGS = frozenset({"text", "list", "mapping", "int", "bool", "float", "str"})
CREDENTIAL_KEYS = re.compile(r"(?i)^key$|secret|token|passw|credential|access_?key|api_?key")
KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSpec(Strict):
    """What to read, with options."""

    uri: str | list[str] = Field(
        description="a folder, a glob, a file, or a list of them: a path or s3:// gs:// az:// https://"
    )
    format: Literal["auto", "images", "webdataset", "parquet", "list"] = Field(
        "auto", description="auto goes by what the files are called"
    )
    pattern: str | None = Field(
        None, description="glob below the folder, as **/*.jpg; files that do not match are ignored"
    )
    column: str | None = Field(None, description="the column of pictures (parquet) or of URIs (list)")
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

    uri: str = Field(description="a folder: a path or s3:// gs:// az://")
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


class StageEntry(Strict):
    """One stage: exactly one of the kinds below."""

    embed: EmbedConfig | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> StageEntry:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"a stage names exactly one of: {', '.join(type(self).model_fields)}")
        return self

    @property
    def config(self) -> StageConfig:
        (kind,) = self.model_fields_set
        return getattr(self, kind) or type(self).model_fields[kind].annotation.__args__[0]()  # type: ignore[union-attr]


def _shape(value: Any) -> str:
    return "mapping" if isinstance(value, dict | BaseModel) else "list" if isinstance(value, list) else "text"


SourceField = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[str], Tag("list")] | Annotated[SourceSpec, Tag("mapping")],
    Discriminator(_shape),
]
OutField = Annotated[Annotated[str, Tag("text")] | Annotated[OutSpec, Tag("mapping")], Discriminator(_shape)]


class JobSpec(Strict):
    """A bulk job of Pixelmill."""

    version: Literal[1] = Field(description="of this format")
    source: SourceField
    out: OutField
    stages: list[StageEntry] = Field(min_length=1)
    run: RunSpec = Field(default_factory=lambda: RunSpec.model_validate({}))

    @model_validator(mode="before")
    @classmethod
    def _bare_stages(cls, raw: Any) -> Any:
        """`- embed` and `- embed:` are `- embed: {}`."""
        if isinstance(raw, dict) and isinstance(raw.get("stages"), list):
            raw = raw | {"stages": [_spelled_out(stage) for stage in raw["stages"]]}
        return raw

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


def _spelled_out(stage: Any) -> Any:
    if isinstance(stage, str):
        return {stage: {}}
    if isinstance(stage, dict) and len(stage) == 1 and next(iter(stage.values())) is None:
        return {next(iter(stage)): {}}
    return stage


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
        expanded = json.dumps([absolute(uri) for uri in self.spec.source_uris])
        return {
            "version": self.spec.version,
            "source": {
                "uri": [uris] if isinstance(uris, str) else uris,
                "uri_sha256": hashlib.sha256(expanded.encode()).hexdigest()[:16],
                "format": source.format,
                "pattern": source.pattern,
                "column": source.column,
                "max_pixels": source.max_pixels,
                "max_bytes": source.max_bytes,
            },
            "stages": [config.identity() for config in self.spec.configs],
        }

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.document, sort_keys=False, allow_unicode=True)


def load(text: str, *, name: str, overrides: list[str], environment: Mapping[str, str]) -> Job:
    """Parse, override, check; JobError with every fault, each with the key's path, its line and a suggestion."""
    document, root = parse(text, name=name, what="a job file is a mapping with version, source, out and stages")
    for override in overrides:
        override_key(document, override)
    return check(document, name=name, environment=environment, root=root)


def parse(text: str, *, name: str, what: str) -> tuple[dict[str, Any], yaml.Node | None]:
    """YAML as a document and as the nodes that know its lines; JobError where it is none, with `what` it should be."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise JobError(f"{name}: is not YAML: {error}".replace('"<unicode string>"', name)) from error
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
    try:
        spec = JobSpec.model_validate(expanded(document, environment, name))
    except ValidationError as error:
        raise JobError(f"{name}: this job can't be run\n" + "\n".join(faults(error, root))) from error
    refuse_credentials(spec, name=name)
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
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _mapping(here: Any, override: str) -> dict[str, Any]:
    if not isinstance(here, dict):
        raise JobError(f"--set {override}: there are no keys below {here!r}")
    return here


def _step(here: Any, key: str, following: str, override: str) -> Any:
    if isinstance(here, list):
        index = _index(here, key, override)
        here[index] = _spelled_out(here[index])
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


_REFERENCE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def expanded(value: Any, environment: Mapping[str, str], name: str) -> Any:
    """The value with ${NAME} and ${NAME:-default} replaced."""
    if isinstance(value, dict):
        return {key: expanded(item, environment, name) for key, item in value.items()}
    if isinstance(value, list):
        return [expanded(item, environment, name) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        found = environment.get(match[1], match[2])
        if found is None:
            raise JobError(
                f"{name}: ${{{match[1]}}} is not set in the environment; set it or write ${{{match[1]}:-default}}"
            )
        return found

    return _REFERENCE.sub(replace, value)


def refuse_credentials(*written: Any, name: str = "") -> None:
    """JobError where a text in what the user wrote would put a secret into files, logs or messages."""
    for text in _texts([each.model_dump() if isinstance(each, BaseModel) else each for each in written]):
        if carries_credentials(text) or KEY_ID.search(text):
            raise JobError(
                f"{name and f'{name}: '}{scrub(text)} carries credentials, which would be written to every output; "
                "give them in the environment (AWS_ACCESS_KEY_ID, ...) or name a profile"
            )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


# Faults in the user's words


def faults(
    error: ValidationError, root: yaml.Node | None, keys_beside: Callable[[list[Any]], list[str]] | None = None
) -> list[str]:
    """One line for each wrong key; a value that fits none of several types is one fault and not several.

    `keys_beside` gives the keys that there are where one is unknown; those of a job file by default.
    """
    found: dict[tuple[int | str, ...], list[Any]] = {}
    for fault in error.errors():
        found.setdefault(tuple(part for part in fault["loc"] if not _is_type(part)), []).append(fault)
    lines = []
    for path, several in found.items():
        if any(other != path and other[: len(path)] == path for other in found):
            continue  # one item of a list is wrong, so the list is no text either
        line = _line_of(root, list(path))
        where = ".".join(map(str, path)) + (f" (line {line})" if line else "")
        lines.append(f"  {where or 'the job'}: {_in_words(several, list(path), keys_beside or _keys_beside)}")
    return lines


def _is_type(part: int | str) -> bool:
    """Whether a part of a fault's path is pydantic's name for a member of a union, and no key of the user's."""
    return isinstance(part, str) and (part in UNION_TAGS or "[" in part or part.startswith("constrained-"))


def _in_words(several: list[Any], path: list[Any], keys_beside: Callable[[list[Any]], list[str]]) -> str:
    fault = several[0]
    if fault["type"] == "extra_forbidden":
        key = str(path[-1])
        if CREDENTIAL_KEYS.search(key):
            return "credentials never go into a job file; set them in the environment or name a profile"
        known = keys_beside(path)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        return f"unknown key; did you mean {near[0]}?" if near else f"unknown key; it takes {', '.join(known)}"
    if fault["type"] == "missing":
        return "is missing"
    if not str(fault["msg"]).startswith("Input should be "):
        message = str(fault["msg"]).removeprefix("Value error, ")
        return f"{message[0].lower()}{message[1:]}"
    wanted = dict.fromkeys(re.sub("^Input should be |, (got|unable) .*", "", f["msg"]) for f in several)
    message = " or ".join(re.sub(r"a valid dictionary.*", "a mapping", each) for each in wanted)
    return f"should be {message}" + (f", not {scrub(repr(fault['input']))}" if _is_plain(fault["input"]) else "")


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool) and len(str(value)) < 60


def _keys_beside(path: list[Any]) -> list[str]:
    """The keys that the mapping with a wrong key could have had."""
    models: dict[str, type[BaseModel]] = {"source": SourceSpec, "out": OutSpec, "run": RunSpec, "embed": EmbedConfig}
    parents = [part for part in path[:-1] if isinstance(part, str)]
    if parents and parents[-1] == "stages":
        return list(StageEntry.model_fields)
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
    made = JobSpec.model_json_schema()
    stages = made["properties"]["stages"]
    stages["items"] = {"anyOf": [stages["items"], {"enum": list(StageEntry.model_fields)}]}  # `- embed` is one too
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def read_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise JobError(f"{path}: there is no such job file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{path}: can't be read: {error}") from error


def absolute(uri: str) -> str:
    """A local path as it is from anywhere; a URI as it is."""
    return uri if "://" in uri else os.path.abspath(os.path.expanduser(uri))
