"""The job file: its keys, their values, and its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from pixelmill.jobs.decode_on import DecodeOnSpec, require_crops
from pixelmill.jobs.documents.faults import KnownKeys
from pixelmill.jobs.places import Place, Places
from pixelmill.jobs.stage_entries import (
    DecoderName,
    StageEntry,
    columns_beside_stages,
    keys_of_all_stages,
    raise_misfits,
    stage_keys,
    stage_kinds,
    with_bare_stages,
)
from pixelmill.jobs.supervision.deadlines import checked_deadline
from pixelmill.jobs.supervision.notifying import checked_url
from pixelmill.pipelines.inputs.name_groupings import checked_group
from pixelmill.workers.ct.volume_options import VolumeOptions
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.errors import JobError
from pixelmill.workers.stages import StageConfig

VOLUME_DECODER = "ct-volume"


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class VolumesSpec(Strict):
    """How the series of an index become blocks of volumes (`source.decoder: ct-volume`)."""

    spacing_mm: PositiveFloat | Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)] = Field(
        1.5, description="distance of voxels; three numbers are of slices, rows and columns"
    )
    block: Annotated[list[PositiveInt], Field(min_length=3, max_length=3)] = Field(
        [64, 128, 128], description="size of a block in slices, rows and columns"
    )
    overlap: Annotated[int, Field(ge=0)] = Field(0, description="voxels that neighbours share along each axis")
    shear_tilt: bool = Field(False, description="take series of a tilted gantry too, sheared straight")

    def options(self) -> VolumeOptions:
        """Raises JobError where they make no blocks."""
        given = self.spacing_mm
        slices_mm, rows_mm, columns_mm = given if isinstance(given, list) else [given] * 3
        depth, height, width = self.block
        return VolumeOptions((slices_mm, rows_mm, columns_mm), (depth, height, width), self.overlap, self.shear_tilt)


class SourceSpec(Strict):
    """What to read, with options."""

    uri: Place | Places = Field(
        description="a folder, a glob, a file, or a list of them: a path or s3:// gs:// az:// https://"
    )
    format: Literal["auto", "images", "webdataset", "parquet", "list", "dicom", "ct-index"] = Field(
        "auto",
        description="auto decides by the names of the files; dicom takes files of any name, and members of tars; ct-index the "
        "usable series of an index",
    )
    pattern: str | None = Field(
        None, description="glob below the folder, such as **/*.jpg; files that do not match are ignored"
    )
    column: str | None = Field(None, description="the column of pictures (parquet) or of URIs (list)")
    decoder: DecoderName = Field("picture", description="what decodes the bytes of an input to pictures")
    decode: Literal["auto", "full"] = Field(
        "auto",
        description="auto: a JPEG of which no stage sees more than a fraction is decoded at 1/2, 1/4 or 1/8 of its size, with "
        "twice the side that is needed at least; full: at its own size. An output that was begun in full is continued so",
    )
    group: Annotated[str, AfterValidator(checked_group)] | None = Field(
        None,
        description="which files form one input: stem (equal up to the first dot), folder, or a regular expression whose one "
        "group their names have in common, such as `(.*)-[0-9]+[.]tif`; when left out, each file is an input",
    )
    volumes: VolumesSpec | None = Field(
        None, description="with `decoder: ct-volume`: how series become blocks; when left out, its defaults"
    )
    limit: PositiveInt | None = Field(None, description="read at most so many inputs")
    max_pixels: PositiveInt = Field(
        178_956_970, description="a larger picture is filed as failed, before it is decoded"
    )
    max_bytes: PositiveInt = Field(256 << 20, description="a larger object is filed as failed, before it is read")
    profile: str | None = Field(None, description="a named profile of the AWS configuration")
    anon: bool = Field(False, description="read without credentials")
    timeout_s: PositiveFloat = Field(30, description="for one request")
    retry_for_s: NonNegativeFloat = Field(120, description="how long requests are retried after transient errors")
    in_flight: PositiveInt = Field(16, description="requests at once, for each worker")

    def volume_options(self) -> VolumeOptions | None:
        """How blocks are cut; None where the decoder makes no blocks."""
        if self.decoder != VOLUME_DECODER:
            return None
        return VolumeOptions() if self.volumes is None else self.volumes.options()


class OutSpec(Strict):
    """Where the output goes, with options."""

    uri: Place = Field(description="a folder: a path or s3:// gs:// az://")
    file_mb: PositiveInt = Field(128, description="no data file is planned to be larger than about this")
    row_group_mb: PositiveInt = Field(16, description="size of a row group")
    compression: Literal["zstd", "snappy", "none"] = "zstd"
    profile: str | None = Field(None, description="a named profile of the AWS configuration")


class Between(Strict):
    """As many workers as there is room for, between these."""

    min: PositiveInt = Field(1, description="fewest workers")
    max: PositiveInt = Field(description="most workers")

    @model_validator(mode="after")
    def _in_order(self) -> Between:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


LEAST_GPU = 0.01


def _shared_or_whole(gpus: float) -> float:
    if 0 < gpus < LEAST_GPU or (gpus > 1 and gpus != int(gpus)):
        raise ValueError(
            f"a worker has a part of one GPU, from {LEAST_GPU:g} to 1, or whole ones: 0.5 (two workers share one), 1 or 2, "
            f"not {gpus:g}"
        )
    return gpus


Gpus = Annotated[NonNegativeFloat, AfterValidator(_shared_or_whole)]
"""What Ray gives to one worker: it refuses one and a half, and counts in ten-thousandths."""


class NodeGroup(Strict):
    """Nodes of one kind that an autoscaling cluster may start."""

    max: PositiveInt = Field(description="most nodes of this kind")
    cpus: PositiveFloat = Field(description="CPUs of each for Ray")
    gpus: NonNegativeFloat = 0
    memory_gb: PositiveFloat | None = Field(None, description="memory of each for Ray")
    labels: dict[str, str] = Field(default_factory=dict[str, str], description="Ray's labels of each")


class Limits(Strict):
    """What a run may take, and what follows when it ends; none of these keys changes the output."""

    deadline: Annotated[str, AfterValidator(checked_deadline)] | None = Field(
        None,
        description="ends the run cleanly, so that it can be resumed: a time with its zone, as 2026-12-01T06:00+01:00, or how "
        "long an attempt may take, as 6h, 90min or 2d",
    )
    max_cost: PositiveFloat | None = Field(
        None,
        description="ends the run cleanly once all its attempts have cost so much; needs node_hour_price. A node counts while "
        "the command or a worker of the run is on it; nodes of others and idle ones do not",
    )
    node_hour_price: PositiveFloat | None = Field(None, description="price of one node of the cluster for an hour")
    retries: NonNegativeInt = Field(
        2, description="how often `supervise` and `submit` try again after an error; after an interruption always"
    )
    notify: Annotated[str, AfterValidator(checked_url)] | None = Field(
        None, description="a web address that gets one JSON POST when `supervise` or `submit` ends, as ${NOTIFY_URL}"
    )

    @model_validator(mode="after")
    def _cost_has_a_price(self) -> Self:
        if self.max_cost is not None and self.node_hour_price is None:
            raise ValueError("run.max_cost: needs run.node_hour_price, what one node costs in an hour")
        return self


class RunSpec(Limits):
    """Where the job runs, and its resources; none of these keys changes the output."""

    address: str | None = Field(
        None, description="a Ray cluster; when left out, RAY_ADDRESS, or a Ray that the run starts on this machine"
    )
    actors: PositiveInt | Literal["auto"] | Between = Field(
        "auto",
        description="workers; auto: one per GPU, or one per core, and no more than have work; or {min, max}: as many as there is "
        "room for",
    )
    cpus_per_actor: PositiveFloat | Literal["auto"] = "auto"
    num_gpus: Gpus | Literal["auto"] = Field(
        "auto",
        description="GPUs for each worker; auto: 1 where there are any; a part of one, such as 0.5: workers share a GPU and its "
        "memory, where one can't fill it",
    )
    decode_threads: Literal["auto"] | Annotated[int, Field(ge=0)] = Field(
        "auto", description="threads that decode beside the network; auto: none on CPUs, the worker's CPUs with a GPU"
    )
    memory_gb: PositiveFloat | Literal["auto"] = Field(
        "auto", description="memory of each worker; auto: an equal share of the machine's, or of its control group's"
    )
    label_selector: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="workers run on nodes of a cluster with these of Ray's labels; KEY: VALUE, !VALUE, in(A,B) or !in(A,B)",
    )
    node_groups: list[NodeGroup] = Field(
        default_factory=list[NodeGroup],
        description="nodes that an autoscaling cluster may start; the plan counts them although they are not up yet",
    )
    decode_on: DecodeOnSpec | None = Field(
        None,
        description="tasks on other nodes that fetch and decode for the workers, for stages that see crops (embed, classify, "
        "encode); when left out, the workers do",
    )
    stall_s: PositiveFloat = Field(
        600,
        description="a worker without progress for so long is ended; an input that causes this alone is filed as failed",
    )
    max_failed_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05, description="the job stops when a larger fraction fails, of the inputs seen so far and of the first 1,000"
    )
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        None,
        description="serves http://127.0.0.1:PORT/metrics for Prometheus; on a cluster Ray's agents export them anyway",
    )
    failures: Literal["exit-3", "ok"] = Field(
        "exit-3",
        description="exit code of a complete run in which some inputs failed: exit-3 is 3; ok is 0 where any was done, for "
        "schedulers that take every other code for a failed job. failed/ and the summary name them all the same",
    )


def _shape(value: object) -> str:
    if isinstance(value, list):
        return "list"
    return "mapping" if isinstance(value, dict | BaseModel) else "text"


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
    def _grouped_files_fit(self) -> JobSpec:
        source = self.source_options
        if source.group is not None and not decoder_of(source.decoder).takes_many:
            raise ValueError(
                f"source.group: the decoder {source.decoder} takes one file; name one that takes several as source.decoder"
            )
        return self

    @model_validator(mode="after")
    def _crops_are_enough(self) -> JobSpec:
        if self.run.decode_on is not None:
            require_crops(self.configs, self.source_options.decoder)
        return self

    @model_validator(mode="after")
    def _columns_differ(self) -> JobSpec:
        made = [column for config in self.configs for column in config.columns()]
        columns = [*columns_beside_stages(self.source_options.decoder), *made]
        odd = [column for column in made if not column.isprintable() or column != column.strip()]
        if odd:
            raise ValueError(
                f"column {odd[0]!r}: a name begins and ends with a character to see, and has no line breaks"
            )
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"two columns would be called {', '.join(twice)}; give one another name with column:")
        return self

    @model_validator(mode="after")
    def _volumes_fit(self) -> JobSpec:
        source = self.source_options
        if source.volumes is not None and source.decoder != VOLUME_DECODER:
            raise ValueError(f"source.volumes: the decoder {source.decoder} makes none; set decoder: {VOLUME_DECODER}")
        if source.decoder == VOLUME_DECODER and source.format != "ct-index":
            raise ValueError(f"source.decoder: {VOLUME_DECODER} takes the series of an index; set format: ct-index")
        try:
            source.volume_options()
        except JobError as error:
            raise ValueError(str(error)) from error
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


def _job_keys() -> list[str]:
    """Every key of a job file, by its path in the form that --set takes."""
    inner = {
        "source": SourceSpec,
        "source.volumes": VolumesSpec,
        "out": OutSpec,
        "run": RunSpec,
        "run.decode_on": DecodeOnSpec,
    }
    keys = [*JobSpec.model_fields, *(f"{path}.{key}" for path, model in inner.items() for key in model.model_fields)]
    return [*keys, *(f"stages.0.{key}" for key in keys_of_all_stages())]


def _keys_beside(path: list[int | str]) -> list[str]:
    """The keys that the mapping with a wrong key could have had."""
    models: dict[str, type[BaseModel]] = {
        "source": SourceSpec,
        "volumes": VolumesSpec,
        "out": OutSpec,
        "run": RunSpec,
        "decode_on": DecodeOnSpec,
    }
    parents = [part for part in path[:-1] if isinstance(part, str)]
    if parents and parents[0] == "stages":
        return stage_kinds() if len(parents) == 1 else stage_keys(parents[1])
    return list(models.get(parents[-1], JobSpec).model_fields) if parents else list(JobSpec.model_fields)


def known_keys() -> KnownKeys:
    """The keys of a job file, for the message about an unknown one."""
    return KnownKeys(_keys_beside, _job_keys())


def schema() -> dict[str, Any]:
    """JSON Schema of the job file."""
    made = with_bare_stages(JobSpec.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
