"""Check before a job starts what its stages ask of their models: layers, numbers of classes, precisions, classes along chains.

A stage is built here only where its keys ask for a fact that names and cards don't hold; others start at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.libraries.checkpoint import OF_CT
from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.pictures import Kind
from pixelmill.workers.stages import StageConfig, StageContext
from pixelmill.workers.stages.model_stage import ModelStageConfig
from pixelmill.workers.stages.wiring import wire

TRIED = StageContext(device="cpu", threads=1, job_images=1, cache_dir=None)
LISTED = 4
_HU = frozenset({"hu16", "volume"})
"""Kinds in Hounsfield units: slices and blocks."""


def check_models(configs: Sequence[StageConfig], original: Kind) -> None:
    """ModelError where a stage can't be built as its keys ask, or doesn't know the classes of the masks that it reads."""
    for config in configs:
        if config.needs_trial():
            config.build(TRIED)
    wiring = wire(configs, original)
    for config, source in zip(configs, wiring.inputs, strict=True):
        kind = original if source is None else configs[source].makes
        _require_hu_network(config, kind)
        _require_known_values(config, kind)
    for index, source in enumerate(wiring.inputs):
        if source is not None and configs[source].makes == "ids8":
            _require_same(configs[source], configs[index], wiring.names[source], wiring.names[index])


def _require_hu_network(config: StageConfig, kind: Kind | None) -> None:
    """ModelError where Hounsfield units would reach a network that was not trained on CT."""
    if kind not in _HU or not isinstance(config, ModelStageConfig):
        return
    name = config.known()
    if name is not None and not _is_of_ct(name):
        raise ModelError(
            f"stage {config.stage}: the source gives Hounsfield units, and {config.model} has no normalisation of them in its "
            "card; take a network that ct-autoencoder or ct-finetune trained"
        )


def _require_dims(config: ModelStageConfig, dims: int) -> None:
    """ModelError where slices would reach a network of blocks, or blocks one of slices."""
    from pixelmill.workers.models.card import read_card  # which imports torch

    with config.resolved() as found:
        assert found.path is not None
        trained = read_card(found.path).config.get("dims", 2)
    if trained == dims:
        return
    if dims == 3:
        raise ModelError(
            f"stage {config.stage}: the source gives blocks of volumes, and {config.model} was trained on slices; take a network "
            "that ct-autoencoder trained with dims=3, or what `ct ingest` writes without --volumes"
        )
    raise ModelError(
        f"stage {config.stage}: the source gives slices, and {config.model} was trained on blocks; take a network with dims=2, "
        "or what `ct ingest --volumes` writes"
    )


def _require_known_values(config: StageConfig, kind: Kind | None) -> None:
    """ModelError where a network of CT knows other values than it would get."""
    if not isinstance(config, ModelStageConfig) or kind not in {*_HU, "rgb8"}:
        return
    name = config.known()
    if name is None or not _is_of_ct(name):
        return
    _require_dims(config, 3 if kind == "volume" else 2)
    from pixelmill.workers.models.ct_encoders import require_values  # which imports torch

    with config.resolved() as found:
        assert found.path is not None
        require_values(config.stage, config.model, found.path, "hu" if kind in _HU else "windowed")


def _is_of_ct(name: ModelName) -> bool:
    return (name.network or "").partition(" ")[0] in OF_CT


def _require_same(makes: StageConfig, reads: StageConfig, source: str, reader: str) -> None:
    """ModelError unless ids mean the same classes to both stages; names are compared without regard to case."""
    made, known = makes.class_names(), reads.class_names()
    if len(made) > len(known):
        raise ModelError(
            f"stage {reader}: reads the masks of {source}, which have {len(made)} classes, and its model knows {len(known)}: it "
            f"lacks {_few(made[len(known) :])}; take a model that was trained on layouts of these classes"
        )
    pairs = enumerate(zip_longest(made, known[: len(made)]))
    differ = [(number, there, here) for number, (there, here) in pairs if not _alike(there, here, number)]
    if differ:
        several = [f"{number} is {there} there and {here} here" for number, there, here in differ]
        raise ModelError(
            f"stage {reader}: reads the masks of {source}, whose classes are not those of its model: id {_few(several)}; take "
            "models of the same classes in the same order, or, where two names mean one class, give the stage a palette with "
            f"the names of {source}"
        )


def _alike(there: str, here: str, number: int) -> bool:
    """Classes without names have numbers, which fit any name."""
    numbers = {str(number), f"class_{number}", f"label_{number}"}
    return there.casefold() == here.casefold() or not numbers.isdisjoint({there.casefold(), here.casefold()})


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:LISTED]) + (f" and {len(words) - LISTED} more" if len(words) > LISTED else "")
