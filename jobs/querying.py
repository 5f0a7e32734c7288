"""`pixelmill neighbors` and `search`: rows near a row, a picture or a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from pixelmill.jobs import surroundings
from pixelmill.jobs.job import read_job
from pixelmill.pipelines import explore
from pixelmill.pipelines.findings.row_vectors import space_of, vector_column
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from pixelmill.workers.stages import StageConfig

if TYPE_CHECKING:
    from pixelmill.workers.pictures import Picture

ONE_PICTURE: dict[str, object] = {"precision": "float32", "batch": 1, "channels_last": False, "compile": False}
"""Settings for which nothing is probed."""
SEARCHABLE = "open_clip"


def near_row(run: Folder, row: str, count: int, column: str | None) -> pa.Table:
    """The rows nearest to a row, given by its id or uri. JobError where there is no such row."""
    with explained(run.uri, "reading the run"):
        name = vector_column(run, column)
        space_of(run, name)
        return explore.nearest(run, name, row, count)


def near_picture(run: Folder, picture: str, count: int, column: str | None) -> pa.Table:
    """The rows nearest to a picture, which the network of the run embeds."""
    from pixelmill.jobs.loaded import as_picture

    name, encode = picture_encoder(run, column)
    return _near(run, name, encode(as_picture(picture)), count)


def picture_encoder(run: Folder, column: str | None) -> tuple[str, Callable[[Picture], list[float]]]:
    """The column of vectors, and the network that made it as a function of one picture. JobError where its weights are others
    by now."""
    with explained(run.uri, "reading the run"):
        name = vector_column(run, column)
        space = space_of(run, name)
    config = _stage_of(run, name)
    stage = _built(config)
    if space["weights"] not in (None, stage.weights_sha256):
        raise JobError(
            f"{run.uri}: was made with other weights than {_model_of(config)} has now, so that their vectors can't be compared; "
            "restore the weights, or make the run again"
        )

    def encode(picture: Picture) -> list[float]:
        milled = stage.run([stage.prepare(picture)])
        if milled.errors:
            raise milled.errors[0]
        return milled.columns[name][0].as_py()

    return name, encode


def near_sentence(run: Folder, sentence: str, count: int, column: str | None) -> pa.Table:
    """The rows nearest to a sentence. JobError unless a model of open_clip made the vectors, whose text tower reads it."""
    name, encode = sentence_encoder(run, column)
    return _near(run, name, encode(sentence), count)


def sentence_encoder(run: Folder, column: str | None) -> tuple[str, Callable[[str], list[float]]]:
    """The column of vectors, and the text tower of its model as a function of a sentence. JobError for a model without one."""
    with explained(run.uri, "reading the run"):
        name = vector_column(run, column)
        space_of(run, name)
    config = _stage_of(run, name)
    if not _model_of(config).startswith(f"{SEARCHABLE}:"):
        raise JobError(
            f"{run.uri}: {name} was made by {_model_of(config)}, which knows no words; embed with a model of open_clip, such as "
            "open_clip:ViT-B-32/laion2b_s34b_b79k, to search by text"
        )
    from pixelmill.workers.models.libraries.open_clip import text_encoder

    with cast("Any", config).resolved() as model:
        tower: Any = text_encoder(model)

    def encode(sentence: str) -> list[float]:
        if not sentence.strip():
            raise JobError("search: the text is empty; describe what you look for")
        return tower([sentence])[0].tolist()

    return name, encode


def _near(run: Folder, column: str, vector: list[float], count: int) -> pa.Table:
    with explained(run.uri, "reading the run"):
        return explore.nearest(run, column, vector, count)


def _stage_of(run: Folder, column: str) -> StageConfig:
    """The stage that made a column, from the job as it was run."""
    text = (run.read("_run/spec.yaml") or b"").decode()
    environment = surroundings.of_process(quiet=True).environment
    job = read_job(text, name=f"{run.uri}/_run/spec.yaml", overrides=[], environment=environment)
    found = [config for config in job.spec.configs if column in config.columns()]
    if not found:
        raise JobError(f"{run.uri}: no stage of its job makes {column}; give --column with one that a stage makes")
    return found[0]


def _built(config: StageConfig) -> Any:
    from pixelmill.workers.stages import StageContext

    quick = {key: value for key, value in ONE_PICTURE.items() if key in type(config).model_fields}
    return config.model_copy(update=quick).build(StageContext("cpu", 1, 1, None))


def _model_of(config: StageConfig) -> str:
    return str(getattr(config, "model", config.stage))


def model_of_column(run: Folder, column: str) -> str:
    """The model that made a column, as the job names it, or the kind of its stage."""
    return _model_of(_stage_of(run, column))


def as_rows(found: pa.Table) -> list[dict[str, object]]:
    """For JSON."""
    return cast("list[dict[str, object]]", found.to_pylist())
