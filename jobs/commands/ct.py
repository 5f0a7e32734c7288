"""CT archives: `ct index`, `ct ingest`, `ct show` and `ct demo`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands.options import DryRun, Failures, Quiet, Set, SetLogFormat, SetLogLevel
from pixelmill.jobs.commands.running import failing, job_of, run_bulk, run_first
from pixelmill.workers.errors import JobError

if TYPE_CHECKING:
    from pixelmill.jobs.job import Job
    from pixelmill.jobs.surroundings import Surroundings


@dataclass(frozen=True)
class Names:
    """How an index names what states no ids, and the intercept of what states none."""

    key: str = "user"
    patient: str | None = None
    picture_intercept: float | None = None


app = typer.Typer(no_args_is_help=True, help="CT archives: from DICOM to slices in Hounsfield units, without names.")

Patient = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX", help="The patient in names of NIfTI files and pictures: the one group, as '^([^/]+)/'."
    ),
]
PictureIntercept = Annotated[
    float | None,
    typer.Option(metavar="HU", help="Intercept of TIFF and PNG slices, which state none, such as -32768 or -1024."),
]
Key = Annotated[
    str,
    typer.Option(
        metavar="FILE", help="Key of the ids: a file, env (PIXELMILL_CT_KEY), or user: your own, which is made once."
    ),
]


@app.command()
def index(
    archive: Annotated[
        str,
        typer.Argument(metavar="ARCHIVE", help="Folder, glob, tar or zip of DICOM or NIfTI, of any names."),
    ],
    out: Annotated[str, typer.Argument(metavar="INDEX", help="Folder of the index, which stays with the archive.")],
    key: Key = "user",
    patient: Patient = None,
    picture_intercept: PictureIntercept = None,
    overrides: Set = None,
    quiet: Quiet = False,
    log_level: SetLogLevel = "info",
    log_format: SetLogFormat = "text",
) -> None:
    """Read the headers of an archive of DICOM, NIfTI or slices as TIFF: which series are usable for 2-D and 3-D, and why not."""
    from pixelmill.jobs import extras

    extras.require("ct", "ct index")
    around = surroundings.of_process(quiet=quiet, log_level=log_level, log_format=log_format)
    run_bulk(_index_job(archive, out, Names(key, patient, picture_intercept), overrides, around), around)


@app.command()
def ingest(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INDEX", help="Folder that `ct index` wrote, on any store; or, with --index, an archive."
        ),
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Output folder, on any store.")],
    index_at: Annotated[
        str | None,
        typer.Option("--index", metavar="INDEX", help="Index the archive first, into this folder, then ingest."),
    ] = None,
    key: Key = "user",
    patient: Patient = None,
    picture_intercept: PictureIntercept = None,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Blocks of resampled volumes, of series that are usable in 3-D.")
    ] = False,
    spacing: Annotated[
        str | None, typer.Option(metavar="MM", help="With --volumes: 1.5, or 2.5,1,1 of slices, rows and columns.")
    ] = None,
    block: Annotated[str | None, typer.Option(metavar="DxHxW", help="With --volumes: 64x128x128 voxels.")] = None,
    overlap: Annotated[int, typer.Option(min=0, help="With --volumes: voxels that neighbours share.")] = 0,
    shear_tilt: Annotated[
        bool, typer.Option("--shear-tilt", help="With --volumes: series of a tilted gantry too, sheared straight.")
    ] = False,
    overrides: Set = None,
    failures: Failures = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    log_level: SetLogLevel = "info",
    log_format: SetLogFormat = "text",
) -> None:
    """Decode the usable series of an index to Hounsfield units, as slices or blocks, without anything that names a patient."""
    from pixelmill.jobs import extras
    from pixelmill.jobs.ct.index import ingest_source

    extras.require("ct", "ct ingest")
    around = surroundings.of_process(quiet=quiet, log_level=log_level, log_format=log_format)
    names = Names(key, patient, picture_intercept)
    if index_at is None and names != Names():
        raise JobError("ct ingest: --key, --patient and --picture-intercept are of the index; add --index INDEX")
    index = index_at or source
    options = ingest_source(
        index, volumes=volumes, spacing=spacing, block=block, overlap=overlap, shear_tilt=shear_tilt
    )
    document: dict[str, object] = {"version": 1, "source": options, "out": out, "stages": ["hu"]}
    job = job_of(document, "ct ingest", [*(overrides or []), *failing(failures)], around)
    if index_at is not None:
        indexing = _index_job(source, index_at, names, None, around)
        if dry_run:  # the series are known when the index is there
            run_bulk(indexing, around, dry_run=True)
        typer.echo(run_first(indexing, around))
    run_bulk(job, around, dry_run=dry_run)


def _index_job(archive: str, out: str, names: Names, overrides: list[str] | None, around: Surroundings) -> Job:
    from pixelmill.jobs.id_keys import made_key_note

    if (note := made_key_note(names.key, around.environment)) and not around.quiet:
        typer.echo(note, err=True)
    options = {"key": names.key, "patient_pattern": names.patient, "picture_intercept_hu": names.picture_intercept}
    document: dict[str, object] = {
        "version": 1,
        "source": {"uri": archive, "format": "dicom", "decoder": "dicom-header"},
        "out": out,
        "stages": [{"ct-index": options}],
        "run": {"max_failed_fraction": 1.0, "failures": "ok"},
    }
    return job_of(document, "ct index", overrides or [], around)


@app.command()
def curve(
    data: Annotated[list[str], typer.Option(help="Labelled slices: images/ and masks/, or a folder for each class.")],
    out: Annotated[str, typer.Option(help="Folder of the curve; the same command resumes it.")],
    encoder: Annotated[
        list[str] | None, typer.Option(metavar="NAME=URI", help="What ct-autoencoder trained; an arm each.")
    ] = None,
    n: Annotated[str, typer.Option("--n", help="Labelled patients; for classes, of each class.")] = "1,2,4,8,16,all",
    primary: Annotated[
        str | None, typer.Option(metavar="N:METRIC", help="The comparison that counts, as 4:dice or 4:auc.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each point.")] = 3,
    few_seeds: Annotated[int, typer.Option(min=1, help="Seeds where n is 4 or fewer.")] = 10,
    search_seeds: Annotated[int, typer.Option(min=1, help="Seeds of each encoder rate that is tried.")] = 3,
    overrides: Set = None,
    quiet: Quiet = False,
) -> None:
    """Train arms of a fine-tuning on few and on many labels: what pretraining gains. A whole curve takes hours."""
    from pixelmill.jobs.ct.curve import CurveJob, run_curve
    from pixelmill.jobs.documents.overrides import override_key

    settings: dict[str, object] = {}
    for override in overrides or []:
        override_key(settings, override)
    job = CurveJob(data, out, encoder or [], n, primary, seeds, few_seeds, search_seeds, settings=settings)
    typer.echo(run_curve(job, lambda line: None if quiet else typer.echo(line, err=True)))


@app.command()
def show(
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder that `ct ingest` wrote, on any store.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="PNG", help="File of the first sheet, on any store; OUT/explore/contact-sheets by default."
        ),
    ] = None,
    window: Annotated[
        list[str] | None,
        typer.Option(help="lung, soft-tissue, bone, brain or wide; several times. By default soft-tissue and lung."),
    ] = None,
    series: Annotated[str | None, typer.Option(metavar="ID", help="A series, by its id or how that begins.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many series, from the first.")] = 8,
    codes: Annotated[
        str | None,
        typer.Option(metavar="CODES", help="Show the nearest slices of other series, by what `embed` made of OUT."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="URI", help="Show inputs beside reconstructions of this `ct-autoencoder`.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Draw contact sheets as PNG: each series through its middle in three planes, or some of its slices where it is no volume."""
    from pixelmill.jobs.ct import show

    asked = show.Asked(out, to, tuple(window or show.DEFAULT_WINDOWS), series, count, model, codes)
    for sheet in show.show(asked, lambda text: None if quiet else typer.echo(text)):
        typer.echo(sheet)


@app.command()
def pool(
    codes: Annotated[str, typer.Argument(metavar="CODES", help="What `pixelmill embed` made of slices, on any store.")],
) -> None:
    """Pool the codes of slices: one code for each series, the mean of its slices. `embed` does so when it ends."""
    from pixelmill.jobs import inspect as inspection
    from pixelmill.pipelines.ct.pooled_codes import pool_codes
    from pixelmill.pipelines.stores.explain import explained

    folder = inspection.open_run(codes)
    with explained(folder.uri, "pooling the codes"):
        typer.echo(str(pool_codes(folder)))


@app.command()
def demo(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Folder for everything that the demo makes.")
    ] = "demo-ct-output",
) -> None:
    """Make an archive of phantoms with every defect, index it, ingest it, show it, pretrain on it for a minute, and embed it."""
    from pathlib import Path

    from pixelmill.jobs.ct import demo
    from pixelmill.jobs.places import absolute

    raise typer.Exit(demo.run(Path(absolute(folder)), surroundings.of_process(quiet=False)))
