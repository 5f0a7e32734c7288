"""The `pixelmill` command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast, get_args

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.host import signals
from pixelmill.jobs.terminal import printable, streams

if TYPE_CHECKING:
    from pixelmill.jobs.job import Job
    from pixelmill.jobs.surroundings import Surroundings

app = typer.Typer(
    help="Mill an archive of images in object storage into Parquet: every input exactly once.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _set(examples: str) -> Any:
    return typer.Option("--set", metavar="KEY=VALUE", help=f"Override a key, several times: {examples}.")


Set = Annotated[list[str] | None, _set("run.actors=4, source.limit=100, stages.0.batch=16; `pixelmill schema` has all")]
SetSettings = Annotated[list[str] | None, _set("epochs=20, batch=8, run.threads=4; `pixelmill recipes NAME` has all")]
SetJudged = Annotated[list[str] | None, _set("a setting of the card's recipe, as size_px=128, or style=FILE")]
SetStyle = Annotated[list[str] | None, _set("with --style: steps=300, style_weight=20")]
Failures = Annotated[
    str | None, typer.Option(metavar="exit-3|ok", help="Exit code where some inputs failed: 3 (default), or 0.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the summary.")]
SetLogLevel = Annotated[
    str, typer.Option("--log-level", metavar="LEVEL", help="Of the log: debug, info, warning or error.")
]
SetLogFormat = Annotated[
    str,
    typer.Option("--log-format", metavar="text|json", help="json: each line of the log and of the progress is JSON."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and what it needs; start and write nothing.")]


def _recipe_names(incomplete: str) -> list[str]:
    """For the completion of the shell, which asks at each key."""
    from pixelmill.jobs import catalogue

    return [name for name in catalogue.names() if name.startswith(incomplete)]


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="Job file (YAML).")],
    overrides: Set = None,
    failures: Failures = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    log_level: SetLogLevel = "info",
    log_format: SetLogFormat = "text",
) -> None:
    """Run a job file; run it again to resume it, or to pick up what is new in the source."""
    from pixelmill.jobs.documents.parsing import read_file
    from pixelmill.jobs.job import read_job

    text = read_file(job)
    all_overrides = [*(overrides or []), *_failing(failures)]
    around = surroundings.of_process(quiet=quiet, log_level=log_level, log_format=log_format)
    _run(read_job(text, name=job, overrides=all_overrides, environment=around.environment), around, dry_run=dry_run)


@app.command()
def embed(
    source: Annotated[str, typer.Argument(help="Folder, glob, .tar, .parquet or list of URIs; local, s3://, https://")],
    out: Annotated[str, typer.Argument(help="Output folder; local or s3://")],
    model: Annotated[str | None, typer.Option(help="torchvision:NAME, timm:NAME or FILE.safetensors.")] = None,
    overrides: Set = None,
    failures: Failures = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    log_level: SetLogLevel = "info",
    log_format: SetLogFormat = "text",
) -> None:
    """Embed every picture of SOURCE into OUT: the commonest job, without a file."""
    from pixelmill.jobs.documents.parsing import to_yaml
    from pixelmill.jobs.job import read_job

    stage: dict[str, Any] = {} if model is None else {"model": model}
    document: dict[str, object] = {"version": 1, "source": source, "out": out, "stages": [{"embed": stage}]}
    text = to_yaml(document)
    all_overrides = [*(overrides or []), *_failing(failures)]
    around = surroundings.of_process(quiet=quiet, log_level=log_level, log_format=log_format)
    _run(read_job(text, name="embed", overrides=all_overrides, environment=around.environment), around, dry_run=dry_run)


@app.command()
def retry(
    out: Annotated[str, typer.Argument(help="Output folder of an earlier run.")],
    overrides: Set = None,
    failures: Failures = None,
    quiet: Quiet = False,
    log_level: SetLogLevel = "info",
    log_format: SetLogFormat = "text",
) -> None:
    """Do what failed once more, and only that."""
    from pixelmill.jobs.inspect import open_run
    from pixelmill.jobs.job import read_job

    folder = open_run(out)
    text = (folder.read("_run/spec.yaml") or b"").decode()
    here = f"out.uri={_quoted(folder.uri)}"  # it may be written relative to another folder, or have been moved
    around = surroundings.of_process(quiet=quiet, log_level=log_level, log_format=log_format)
    all_overrides = [here, *(overrides or []), *_failing(failures)]
    job = read_job(text, name=f"{out}/_run/spec.yaml", overrides=all_overrides, environment=around.environment)
    _run(job, around, retry=True)


@app.command()
def inspect(
    out: Annotated[str, typer.Argument(help="Output folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    rows: Annotated[int, typer.Option(min=0, help="How many rows to show.")] = 3,
) -> None:
    """Say what a run holds: counts, rates, failures by reason, schema, first rows."""
    from pixelmill.jobs import inspect as inspection

    report = inspection.report(inspection.open_run(out), rows=rows)
    if as_json:
        typer.echo(json.dumps(report, indent=1, default=str))
    else:
        inspection.print_report(report)


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(help="Recipe file (YAML), or a name of `pixelmill recipes`.", autocompletion=_recipe_names)
    ],
    data: Annotated[list[str] | None, typer.Option(help="Data set; may be given several times.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder for the training and its checkpoints.")] = None,
    overrides: SetSettings = None,
    quiet: Quiet = False,
    log_level: SetLogLevel = "info",
    log_format: SetLogFormat = "text",
) -> None:
    """Train a network; run it again to resume from the last checkpoint."""
    from pixelmill.jobs import catalogue

    text = catalogue.recipe_text(recipe)  # before torch is imported: a misspelt name should not wait for it
    from pixelmill.jobs.training_job import read_recipe_file

    given: dict[str, Any] = ({"data": data} if data else {}) | ({} if out is None else {"out": out})
    options = [f"{key}={_quoted(value)}" for key, value in given.items()]
    around = surroundings.of_process(quiet=quiet, log_level=log_level, log_format=log_format)
    all_overrides = [*options, *(overrides or [])]
    job = read_recipe_file(text, name=recipe, overrides=all_overrides, environment=around.environment)
    from pixelmill.jobs.train import train_job  # which imports Ray: a wrong setting should not wait for it

    try:
        typer.echo(train_job(job, around))
    except KeyboardInterrupt:
        _interrupted("the same command resumes from the last checkpoint", around)


@app.command()
def recipes(
    name: Annotated[
        str | None, typer.Argument(help="A recipe, or a recipe file that ships.", autocompletion=_recipe_names)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; of one recipe its JSON Schema too.")] = False,
) -> None:
    """List what `pixelmill train` knows; with NAME its settings, their defaults and how its data has to lie."""
    from pixelmill.jobs import catalogue

    found = catalogue.listed() if name is None else catalogue.described(name)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        typer.echo("\n".join(catalogue.list_lines(found) if name is None else catalogue.lines_of(found)))


@app.command(name="eval")
def evaluate(
    network: Annotated[str, typer.Argument(help="Network or recipe that the checkpoint holds.")],
    checkpoint: Annotated[str, typer.Option(help="Folder, NAME.safetensors, or a name of `pixelmill zoo`.")],
    data: Annotated[list[str], typer.Option(help="Data set; may be given several times.")],
    part: Annotated[
        str, typer.Option("--split", help="auto: val or test, nothing trained on; all; or a folder.")
    ] = "auto",
    overrides: SetJudged = None,
    picture: Annotated[str | None, typer.Option(help="PNG for what the network makes of the first samples.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Judge a checkpoint on data that it was not trained on."""
    from pixelmill.jobs import evaluation

    report = evaluation.evaluate(network, checkpoint, data, part, overrides or [], picture)
    if as_json:
        typer.echo(json.dumps(report))
        return
    typer.echo(f"{report['network']} of {checkpoint} on {report['split']}:")
    for name, value in report["metrics"].items():
        typer.echo(f"  {name:<28}{value:.5g}")


@app.command()
def generate(
    kind: Annotated[str, typer.Argument(help="samples, reconstructions, interpolation, traversal or predictions.")],
    checkpoint: Annotated[str, typer.Option(help="Folder, NAME.safetensors, or a name of `pixelmill zoo`.")],
    out: Annotated[str, typer.Option(help="PNG for the grid.")] = "generated.png",
    data: Annotated[list[str] | None, typer.Option(help="Pictures to start from.")] = None,
    part: Annotated[str, typer.Option("--split", help="As for eval.")] = "auto",
    count: Annotated[int, typer.Option(min=2, help="Columns of the grid.")] = 8,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the grid.")] = 8,
    dimension: Annotated[list[int] | None, typer.Option(help="Number of the code to traverse; several times.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    overrides: SetJudged = None,
) -> None:
    """Make pictures with a network: samples, reconstructions, walks through the latent space, predictions."""
    from pixelmill.jobs import checks
    from pixelmill.jobs import generate as generating
    from pixelmill.workers.errors import JobError

    if kind not in get_args(generating.Kind):
        raise JobError(f"generate {kind}: there are {', '.join(get_args(generating.Kind))}")
    asked = generating.Asked(
        cast("generating.Kind", kind),
        checkpoint,
        tuple(data or ()),
        part,
        count,
        rows,
        tuple(dimension or ()),
        seed,
        tuple(overrides or ()),
    )
    checks.check_file(out)
    generating.write(generating.picture(asked), out)
    typer.echo(f"{kind} of {checkpoint}: {out}")


@app.command()
def stylize(
    content: Annotated[list[str], typer.Argument(help="Photographs; several are done at once.")],
    out: Annotated[str, typer.Option(help="Folder for the pictures.")] = "stylized",
    checkpoint: Annotated[str | None, typer.Option(help="A network that knows one style (fast).")] = None,
    style: Annotated[str | None, typer.Option(help="A painting, for Gatys' optimisation (slow, any style).")] = None,
    vgg: Annotated[str | None, typer.Option(help="Weights of the loss network, for Gatys' optimisation.")] = None,
    size_px: Annotated[int | None, typer.Option(help="Shorter side; 256 by default with --style.")] = None,
    overrides: SetStyle = None,
) -> None:
    """Paint photographs in a style: with a trained network, or by optimising the picture itself."""
    from pixelmill.jobs import stylize as stylizing

    wish = stylizing.Wish(content, out, checkpoint, style, vgg, size_px, overrides or [])
    for path in stylizing.stylize(wish, _say):
        typer.echo(path)


@app.command()
def zoo(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the checkpoints that ship: network, data, licence, metrics, size."""
    from pixelmill.jobs.zoo import print_zoo, shipped_checkpoints

    listed = shipped_checkpoints()
    if as_json:
        typer.echo(json.dumps([each.to_json() for each in listed], indent=1))
    else:
        print_zoo(listed)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the job file, for editors."""
    from pixelmill.jobs import spec

    typer.echo(json.dumps(spec.schema(), indent=1))


@app.command()
def demo(
    out: Annotated[str, typer.Argument(help="Folder for the demo's archive and its output.")] = "demo-output",
) -> None:
    """Make an archive of a few hundred JPEGs, broken ones among them, embed it and show what came of it."""
    from pixelmill.jobs import demo as demonstration
    from pixelmill.jobs.places import absolute

    raise typer.Exit(demonstration.run(Path(absolute(out)), surroundings.of_process(quiet=False)))


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"pixelmill {version('pixelmill')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _run(job: Job, around: Surroundings, *, dry_run: bool = False, retry: bool = False) -> NoReturn:
    from pixelmill.jobs.outcome import exit_code_of
    from pixelmill.jobs.run import run_job
    from pixelmill.jobs.summary import note_of, summary_of

    if (note := note_of(job.spec)) and not around.quiet:
        typer.echo(_worded(note, around), err=True)
    if dry_run:
        from pixelmill.jobs.dry_run import show_plan

        show_plan(job, around)
        raise typer.Exit(0)
    try:
        outcome = run_job(job, around, retry=retry)
    except KeyboardInterrupt:
        _interrupted("what was finished stays, and the same command resumes from there", around)
    typer.echo(summary_of(outcome, job.open_out().uri))
    raise typer.Exit(exit_code_of(outcome, job.spec.run.failures))


def _worded(text: str, around: Surroundings) -> str:
    from pixelmill.jobs.terminal.logs import wording_of

    return wording_of(around.log_format, around.now)(text, "info")


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _failing(failures: str | None) -> list[str]:
    return [] if failures is None else [f"run.failures={_quoted(failures)}"]


def _quoted(value: object) -> str:
    """As YAML: JSON's escapes of characters beyond U+FFFF are two to YAML, so that they stay as they are."""
    return json.dumps(value, ensure_ascii=False)


def _interrupted(what_now: str, around: Surroundings) -> NoReturn:
    import logging
    import shlex

    from pixelmill.jobs.outcome import EXIT_INTERRUPTED

    logging.disable()  # threads of Ray Data live to the end of the process, and miss a Ray that is gone
    text = f"interrupted; {what_now}: {shlex.join(['pixelmill', *sys.argv[1:]])}"
    typer.echo(_worded(text, around), err=True)
    raise typer.Exit(EXIT_INTERRUPTED) from None


def _require_utf8(arguments: list[str]) -> None:
    """Before anything of them is done: Ray takes the whole command line."""
    if not all(map(str.isascii, arguments)):
        from pixelmill.jobs.places import as_utf8

        for argument in arguments:
            as_utf8(argument)


def main() -> None:
    """Entry point: errors of ours are a sentence and an exit code, everything else is a defect with a traceback."""
    streams.install()
    signals.install()
    printable.install()
    from pixelmill.workers.errors import DataError, JobError, ModelError, PixelmillError, RunRefused

    try:
        _require_utf8(sys.argv[1:])
        app(standalone_mode=True)
    except PixelmillError as error:
        from pixelmill.jobs.terminal.logs import wording_of
        from pixelmill.workers.credentials import scrub

        wording = wording_of("json" if _wants_json(sys.argv[1:]) else "text", surroundings.of_process(quiet=False).now)
        sys.stderr.write(f"{wording(f'pixelmill: {scrub(str(error))}', 'error')}\n")
        sys.exit(2 if isinstance(error, JobError | RunRefused | ModelError | DataError) else 1)


def _wants_json(arguments: list[str]) -> bool:
    """Whether the last word on the format of the log is json; an error may come before the options are parsed."""
    words = " ".join(arguments).replace("--log-format=", "--log-format ").split("--log-format ")
    return len(words) > 1 and words[-1].split(" ")[0] == "json"


if __name__ == "__main__":
    main()
