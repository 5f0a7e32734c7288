"""Networks: `train`, `recipes`, `eval`, `generate`, `quantize`."""

from __future__ import annotations

import json
from typing import Annotated, Any, cast, get_args

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands.options import Quiet, SetJudged, SetLogFormat, SetLogLevel, SetSettings, recipe_names
from pixelmill.jobs.commands.running import interrupted, quoted
from pixelmill.workers.wording import counted


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="Recipe file (YAML), or a name of `pixelmill recipes`.", autocompletion=recipe_names
        ),
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

    text = catalogue.recipe_text(recipe)  # before torch is imported, so that a misspelt name is reported at once
    from pixelmill.jobs.training.job import read_recipe_file

    given: dict[str, Any] = ({"data": data} if data else {}) | ({} if out is None else {"out": out})
    options = [f"{key}={quoted(value)}" for key, value in given.items()]
    around = surroundings.of_process(quiet=quiet, log_level=log_level, log_format=log_format)
    all_overrides = [*options, *(overrides or [])]
    job = read_recipe_file(text, name=recipe, overrides=all_overrides, environment=around.environment)
    from pixelmill.jobs.train import train_job  # imports Ray; a wrong setting was reported before

    try:
        typer.echo(train_job(job, around))
    except KeyboardInterrupt:
        interrupted("the same command resumes from the last checkpoint", around)


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A recipe, or a recipe file that ships.", autocompletion=recipe_names),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; for one recipe including its JSON Schema.")
    ] = False,
) -> None:
    """List the recipes of `pixelmill train`; with NAME its settings, their defaults and the layout of its data."""
    from pixelmill.jobs import catalogue

    found = catalogue.listed() if name is None else catalogue.described(name)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        typer.echo("\n".join(catalogue.list_lines(found) if name is None else catalogue.lines_of(found)))


def evaluate(
    network: Annotated[str, typer.Argument(metavar="RECIPE", help="Network or recipe that the checkpoint holds.")],
    checkpoint: Annotated[str, typer.Option(help="Folder, NAME.safetensors, or a name of `pixelmill zoo`.")],
    data: Annotated[list[str], typer.Option(help="Data set; may be given several times.")],
    part: Annotated[
        str, typer.Option("--split", help="auto: val or test, without training samples; all; or a folder.")
    ] = "auto",
    overrides: SetJudged = None,
    picture: Annotated[str | None, typer.Option(help="PNG of the network's output for the first samples.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Evaluate a checkpoint on data that it was not trained on."""
    from pixelmill.jobs import evaluation

    report = evaluation.evaluate(network, checkpoint, data, part, overrides or [], picture)
    if as_json:
        typer.echo(json.dumps(report))
        return
    if failed := report["failed"]:
        first = failed[0]
        typer.echo(
            f"warning: unreadable and left out: {counted(len(failed), 'sample')}, such as {first['uri']}: {first['error']}",
            err=True,
        )
    typer.echo(f"{report['network']} of {checkpoint} on {report['split']}:")
    for name, value in report["metrics"].items():
        typer.echo(f"  {name:<28}{value:.5g}")
    for what, metrics in report["baselines"].items():
        typer.echo(f"beside it, {what}: " + ", ".join(f"{name} {value:.5g}" for name, value in metrics.items()))


def generate(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="samples, reconstructions, interpolation, traversal or predictions.")
    ],
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
    if not out.lower().endswith(".png"):
        raise JobError(f"--out {out}: the grid is a PNG; name a file that ends in .png")
    generating.write(generating.picture(asked), out)
    typer.echo(f"{kind} of {checkpoint}: {out}")


def quantize(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model as a stage names it, such as torchvision:resnet50.")
    ],
    pictures: Annotated[
        str, typer.Argument(metavar="PICTURES", help="Folder, glob or other source of pictures like those of the job.")
    ],
    out: Annotated[
        str,
        typer.Argument(metavar="OUT", help="File to write, OUT.onnx; its card OUT.json lies beside it."),
    ],
    task: Annotated[str, typer.Option(help="What the network is for: embed, classify, segment, ...")] = "embed",
    count: Annotated[
        int,
        typer.Option("--pictures", min=8, max=2048, help="Calibrate on so many, and compare on as many others."),
    ] = 256,
) -> None:
    """Make an int8 file of a network for fast runs on CPUs, and measure how it agrees with float32."""
    from pixelmill.jobs import quantize as quantizing

    quantizing.quantize(quantizing.Asked(model, pictures, out, task, count), typer.echo)
