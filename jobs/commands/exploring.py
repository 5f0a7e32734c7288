"""Commands that look at what a run made: clusters, neighbours, search, duplicates, leaks, outliers, samples, a map."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands.options import AsJson
from pixelmill.jobs.commands.running import interrupted

if TYPE_CHECKING:
    import pyarrow as pa

    from pixelmill.jobs.exploring import Exploration
    from pixelmill.pipelines.findings.duplicates import ReadVectors

OutRun = Annotated[str, typer.Argument(metavar="OUT", help="Output folder of a run, complete or not.")]
Column = Annotated[str | None, typer.Option(help="The column of vectors; needed where there are several.")]
Threshold = Annotated[float, typer.Option(help="The least cosine of two near-duplicates, 0 to 1.")]
MostBits = Annotated[
    int,
    typer.Option("--bits", min=0, max=16, help="In how many of 64 bits the perceptual hashes of copies may differ."),
]


Name = Annotated[str, typer.Option(help="The result is OUT/explore/NAME/rows.parquet, and replaces one of this name.")]
OnRay = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on a Ray cluster, `auto` on one of its nodes; `local` starts a Ray here. In this process by default.",
    ),
]
Count = Annotated[int, typer.Option("--count", "-k", min=1, help="How many rows.")]


def cluster(
    out: OutRun,
    k: Annotated[
        str, typer.Option("--k", metavar="N|auto", help="Clusters; auto: by the silhouette of a sample.")
    ] = "auto",
    column: Column = None,
    name: Name = "clusters",
    ray: OnRay = None,
    as_json: AsJson = False,
) -> None:
    """Group the rows of a run by k-means over their vectors."""
    from pixelmill.jobs import exploring

    _answer(exploring.cluster(out, name, column, k, _reader(ray)), ray, as_json=as_json)


def project(
    out: OutRun,
    method: Annotated[str, typer.Option(metavar="pca|umap", help="umap needs pixelmill[explore].")] = "pca",
    column: Column = None,
    name: Name = "map",
    ray: OnRay = None,
    as_json: AsJson = False,
) -> None:
    """Lay the rows of a run out on a map: x and y of every vector."""
    from pixelmill.jobs import exploring

    _answer(exploring.project(out, name, column, method, _reader(ray)), ray, as_json=as_json)


def duplicates(
    out: OutRun,
    threshold: Threshold = 0.97,
    most_bits: MostBits = 4,
    column: Column = None,
    name: Name = "duplicates",
    ray: OnRay = None,
    as_json: AsJson = False,
) -> None:
    """Find equal and nearly equal pictures of a run, by fingerprints and vectors as far as it has them."""
    from pixelmill.jobs import exploring
    from pixelmill.pipelines.findings.duplicates import DuplicateOptions

    options = DuplicateOptions(column, threshold, most_bits)
    _answer(exploring.duplicates(out, name, options, _reader(ray)), ray, as_json=as_json)


def leaks(
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="Output folder of the run over the training set.")],
    test: Annotated[str, typer.Argument(metavar="TEST", help="Output folder of the run over the test set.")],
    threshold: Threshold = 0.97,
    most_bits: MostBits = 4,
    column: Column = None,
    name: Name = "leaks",
    as_json: AsJson = False,
) -> None:
    """Find pictures of TEST that are in TRAIN too, equal or nearly so; stored with TEST."""
    from pixelmill.jobs import exploring
    from pixelmill.pipelines.findings.duplicates import DuplicateOptions

    _answer(exploring.leaks(train, test, name, DuplicateOptions(column, threshold, most_bits)), as_json=as_json)


def outliers(out: OutRun, column: Column = None, name: Name = "outliers", as_json: AsJson = False) -> None:
    """Score how unlike all others each row is, and mark dark, bright, blurred and nearly empty pictures."""
    from pixelmill.jobs import exploring

    _answer(exploring.outliers(out, name, column), as_json=as_json)


def sample(
    out: OutRun,
    count: Annotated[
        int, typer.Option("--k-center", min=1, help="How many rows, each far from those before it.")
    ] = 100,
    column: Column = None,
    name: Name = "sample",
    as_json: AsJson = False,
) -> None:
    """Choose rows that together cover what a run holds."""
    from pixelmill.jobs import exploring

    _answer(exploring.sample(out, name, column, count), as_json=as_json)


def neighbors(
    out: OutRun,
    row: Annotated[str | None, typer.Option("--id", help="Id or uri of a row of the run.")] = None,
    image: Annotated[str | None, typer.Option(help="A picture: a path or a URI.")] = None,
    count: Count = 5,
    column: Column = None,
    as_json: AsJson = False,
) -> None:
    """Show the rows nearest to a row or to a picture, by the cosine of their vectors."""
    from pixelmill.jobs import querying
    from pixelmill.jobs.inspect import open_run
    from pixelmill.workers.errors import JobError

    if (row is None) == (image is None):
        raise JobError("neighbors: give either --id, with the id or uri of a row, or --image, with a picture")
    run = open_run(out)
    if row is not None:
        _show(querying.near_row(run, row, count, column), as_json=as_json)
    else:
        _show(querying.near_picture(run, str(image), count, column), as_json=as_json)


def search(
    out: OutRun,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for, in words: 'a red car at night'.")],
    count: Count = 10,
    column: Column = None,
    as_json: AsJson = False,
) -> None:
    """Show the pictures that a sentence describes best; the run's vectors must be a model's of open_clip."""
    from pixelmill.jobs import querying
    from pixelmill.jobs.inspect import open_run

    _show(querying.near_sentence(open_run(out), text, count, column), as_json=as_json)


def _reader(ray: str | None) -> ReadVectors:
    from pixelmill.jobs.exploring_ray import read_on_ray
    from pixelmill.pipelines.findings.row_vectors import read_vectors

    return read_vectors if ray is None else read_on_ray


def _answer(asked: Exploration, ray: str | None = None, *, as_json: bool) -> None:
    from pixelmill.jobs import exploring
    from pixelmill.jobs.exploring_ray import connected

    around = surroundings.of_process(quiet=as_json)
    try:
        with connected(ray, around.environment):
            result = exploring.answer(asked, around.now, lambda text: None if as_json else typer.echo(text, err=True))
    except KeyboardInterrupt:
        interrupted("nothing was stored, and the same command begins anew", around)
    typer.echo(json.dumps(result.to_json(), indent=1) if as_json else "\n".join(exploring.lines_of(result)))


def _show(found: pa.Table, *, as_json: bool) -> None:
    from pixelmill.jobs.querying import as_rows

    rows = as_rows(found)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for each in rows:
        member = "" if each["member"] is None else f" {each['member']}"
        typer.echo(f"{each['cosine']:.4f}  {each['uri']}{member}  {each['id']}")


def report(
    out: OutRun,
    page: Annotated[
        str, typer.Option("--out", metavar="FILE", help="The page, NAME.html, on any store.")
    ] = "report.html",
    sampled: Annotated[int, typer.Option("--sample", min=0, max=500, help="Rows on the contact sheet.")] = 24,
    points: Annotated[int, typer.Option(min=1, max=100_000, help="The most points on the map.")] = 20_000,
    score: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Show the rows with its greatest and least values.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|folder|none",
            help="Show rows of each class; by default by what a classifier found, else by the folders of the source.",
        ),
    ] = None,
    column: Column = None,
) -> None:
    """Write one page about a run: pictures, failures, classes, throughput and map; it needs a browser and nothing else."""
    from pixelmill.jobs.reporting.content import Wanted, content_of
    from pixelmill.jobs.reporting.page import page_of
    from pixelmill.jobs.reporting.writing import place_of, write

    around = surroundings.of_process(quiet=False)
    place = place_of(page)
    content = content_of(
        out, Wanted(sampled, points, score, column, by), around.environment, lambda text: typer.echo(text, err=True)
    )
    text = page_of(content)
    write(place, text)
    typer.echo(f"{place[0].uri}/{place[1]}: {len(text) / 1e6:,.1f} MB; open it in a browser")
