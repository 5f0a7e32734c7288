"""A command for each kind of stage: it runs a job with this one stage, from arguments, without a file.

All commands share options and body. They differ in a line of help, and in the keys of the stage that have an option; every
other key can be set with --set stages.0.KEY=VALUE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands import options
from pixelmill.jobs.commands.running import failing, job_of, run_bulk

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Key:
    """A key of the stage's config that is an option of its command."""

    name: str
    kind: type[str] | type[int]
    help: str
    is_document: bool = False
    """Whether the value is YAML or JSON, or a file of it."""

    @property
    def option(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    def value_of(self, given: object) -> object:
        """The value as in the job file. JobError for a document that can't be read."""
        if given is None or not self.is_document:
            return given
        from pathlib import Path

        from pixelmill.jobs.documents.parsing import parse, read_file

        text = read_file(str(given)) if Path(str(given)).is_file() else str(given)
        return parse(text, name=f"{self.option} {given}", what="a mapping, or a file of one").document


@dataclass(frozen=True)
class StageCommand:
    """A command that runs one stage over every picture."""

    help: str
    keys: tuple[Key, ...]


OURS = "a name of `pixelmill zoo`, or a folder or FILE.safetensors that training wrote"


def _model(help_text: str) -> Key:
    return Key("model", str, help_text)


FORMAT = Key("format", str, "As png, jpeg or webp.")

STAGE_COMMANDS: dict[str, StageCommand] = {
    "embed": StageCommand(
        "Embed every picture of SOURCE: one vector for each, for search, clustering and comparison.",
        (_model("A model: torchvision:NAME, timm:NAME, hf:NAME, open_clip:NAME or FILE.safetensors."),),
    ),
    "segment": StageCommand(
        "Label every pixel: a mask of class ids for each picture, and the share of each class.",
        (
            _model(f"{OURS}; torchvision:NAME, hf:NAME or onnx:FILE."),
            Key(
                "resize_px",
                int,
                "Shorter side of the network's input; masks keep the size of their pictures.",
            ),
        ),
    ),
    "depth": StageCommand(
        "Estimate how far away each pixel is: a 16-bit map for each picture.",
        (_model(f"{OURS}; hf:NAME or onnx:FILE."),),
    ),
    "upscale": StageCommand(
        "Enlarge every picture two, three or four times, with detail that its network learned.",
        (Key("scale", int, "2, 3 or 4."), _model(f"{OURS}; spandrel:FILE or onnx:FILE."), FORMAT),
    ),
    "stylize": StageCommand(
        "Render every picture in a style: fast with a network trained for it, or slowly in the style of any painting.",
        (
            Key(
                "style",
                str,
                "A style of `pixelmill zoo`, such as starry-night; a checkpoint; or a painting (PNG, JPEG, WebP).",
            ),
            Key(
                "vgg",
                str,
                "Weights of VGG, for a painting: FILE.safetensors or torchvision:VGG19_Weights.IMAGENET1K_V1.",
            ),
            Key("steps", int, "Steps of the optimiser, for a painting; 500 by default."),
            Key("size_px", int, "Shorter side of the result; the picture's own by default, 256 for a painting."),
            FORMAT,
        ),
    ),
    "synthesize": StageCommand(
        "Make a photograph of every layout: a picture in the colours of its classes, or, with --set source.decoder=ids, of ids.",
        (
            _model(f"{OURS}."),
            Key(
                "palette",
                str,
                "Colours of the classes by id, {NAME: [R, G, B], ...}, or a file of them.",
                is_document=True,
            ),
            FORMAT,
        ),
    ),
    "reconstruct": StageCommand(
        "Encode and decode every picture with an autoencoder: the reconstruction and its error, to find outliers.",
        (_model(f"{OURS}."),),
    ),
    "fingerprint": StageCommand(
        "Fingerprint every picture: hashes, brightness, sharpness and a thumbnail, to find duplicates and bad pictures.",
        (),
    ),
    "encode": StageCommand("Encode every picture: its latent code in an autoencoder.", (_model(f"{OURS}."),)),
    "classify": StageCommand(
        "Name the classes of every picture, best first, with their scores.",
        (
            _model(f"{OURS}; torchvision:NAME, timm:NAME or hf:NAME."),
            Key("top", int, "How many classes; 5 by default."),
        ),
    ),
}
"""In the order of `pixelmill --help`. The keys and their meaning are the stage's; see `pixelmill schema`."""


def add_stage_commands(app: typer.Typer) -> None:
    for kind, command in STAGE_COMMANDS.items():
        short = command.help.partition(":")[0].rstrip(".") + "."
        app.command(kind, help=command.help + AGAIN, short_help=short)(body_of(kind, command))


AGAIN = "\n\nRun it again to resume it, or to process new inputs of SOURCE."


def body_of(kind: str, command: StageCommand) -> Callable[..., None]:
    """The function behind a command, with the signature that typer reads its options from."""

    def body(**given: Any) -> None:
        _run(kind, {key.name: key.value_of(given[key.name]) for key in command.keys}, given)

    body.__signature__ = _signature(command)  # pyright: ignore[reportFunctionMemberAccess]
    body.__annotations__ = {each.name: each.annotation for each in _signature(command).parameters.values()}
    return body


def stage_document(kind: str, source: object, out: object, keys: Mapping[str, object]) -> dict[str, object]:
    """The job of one stage; keys that are None were not given."""
    given = {name: value for name, value in keys.items() if value is not None}
    return {"version": 1, "source": source, "out": out, "stages": [{kind: given}]}


def _run(kind: str, keys: Mapping[str, object], given: Mapping[str, Any]) -> None:
    around = surroundings.of_process(quiet=given["quiet"], log_level=given["log_level"], log_format=given["log_format"])
    from pixelmill.jobs.ct.source import with_decoder

    document = stage_document(kind, with_decoder(given["source"], kind), given["out"], keys)
    overrides: list[str] = [*(given["overrides"] or []), *failing(given["failures"])]
    job = job_of(document, kind, overrides, around)
    run_bulk(job, around, dry_run=given["dry_run"])


def _signature(command: StageCommand) -> Signature:
    own = [(key.name, _option(key), None) for key in command.keys]
    shared: list[tuple[str, Any, object]] = [
        ("overrides", options.Set, None),
        ("failures", options.Failures, None),
        ("dry_run", options.DryRun, False),
        ("quiet", options.Quiet, False),
        ("log_level", options.SetLogLevel, "info"),
        ("log_format", options.SetLogFormat, "text"),
    ]
    places = [_parameter("source", options.Source), _parameter("out", options.Out)]
    return Signature([*places, *(_parameter(*each) for each in [*own, *shared])])


def _parameter(name: str, annotation: Any, default: object = Parameter.empty) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _option(key: Key) -> Any:
    text = key.help[0].upper() + key.help[1:]
    return Annotated[key.kind | None, typer.Option(key.option, help=text)]
