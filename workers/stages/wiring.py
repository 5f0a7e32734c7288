"""Resolve which picture each stage reads: names, inputs and order of a job's stages, checked before Ray starts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pixelmill.workers.pictures import Kind
from pixelmill.workers.stages import StageConfig

ORIGINAL = "original"
TAKEN_NAMES = frozenset({ORIGINAL, "list", "fetch", "decode", "compress", "publish", "worker"})
"""Reserved words that can't name a stage."""


class Misfit(ValueError):
    """Stages that don't fit together: the position of the stage in the job, its key, and the reason."""

    def __init__(self, index: int, key: Literal["name", "from"], message: str) -> None:
        super().__init__(message)
        self.index = index
        self.key = key


@dataclass(frozen=True)
class Wiring:
    """Stages by position in the job; for each, `inputs` has the position of the stage that it reads, or None for the original."""

    names: tuple[str, ...]
    inputs: tuple[int | None, ...]
    order: tuple[int, ...]
    """Every stage after the one that it reads."""

    def readers_of(self, index: int | None) -> tuple[int, ...]:
        return tuple(reader for reader in self.order if self.inputs[reader] == index)


def wire(configs: Sequence[StageConfig], original: Kind) -> Wiring:
    """Connect the stages of a job whose decoder makes pictures of kind `original`. Raises Misfit."""
    names = names_of(configs)
    inputs = tuple(_input_of(index, config, names) for index, config in enumerate(configs))
    order = tuple(_in_order(inputs, names))
    for index, config in enumerate(configs):
        _check_kind(index, config, inputs[index], configs, names, original)
    return Wiring(names, inputs, order)


def names_of(configs: Sequence[StageConfig]) -> tuple[str, ...]:
    """The name of each stage: its `name:`, or its kind, followed by a number if that name is taken."""
    given = [config.name for config in configs if config.name is not None]
    taken, names = {*given, *TAKEN_NAMES}, list[str]()
    for index, config in enumerate(configs):
        if config.name is not None and (config.name in TAKEN_NAMES or given.count(config.name) > 1):
            raise Misfit(index, "name", f"{config.name} is the name of something else; give the stage one of its own")
        names.append(config.name or _free_name(config.stage, taken))
        taken.add(names[-1])
    return tuple(names)


def output_row_bytes(configs: Sequence[StageConfig], original: Kind, picture_px: int) -> int:
    """Estimated bytes of a row for a picture of so many pixels: the sum over the stages, each for the picture that it reads."""
    wiring = wire(configs, original)
    made_px: dict[int | None, int] = {None: picture_px}
    total = 0
    for index in wiring.order:
        read_px = made_px[wiring.inputs[index]]
        made_px[index] = configs[index].made_px(read_px)
        total += configs[index].row_bytes(read_px)
    return total


def _free_name(kind: str, taken: set[str]) -> str:
    name, number = kind, 2
    while name in taken:
        name, number = f"{kind}-{number}", number + 1
    return name


def _input_of(index: int, config: StageConfig, names: Sequence[str]) -> int | None:
    if config.reads is None or config.reads == ORIGINAL:
        return None
    if config.reads not in names:
        others = [ORIGINAL, *(name for name in names if name != names[index])]
        near = difflib.get_close_matches(config.reads, others, n=1, cutoff=0.5)
        there = (
            f"there are {', '.join(others)}" if len(others) > 1 else f"leave from out to read the {ORIGINAL} picture"
        )
        advice = f"did you mean {near[0]}?" if near else there
        raise Misfit(index, "from", f"no stage is called {config.reads}; {advice}")
    return names.index(config.reads)


def _in_order(inputs: Sequence[int | None], names: Sequence[str]) -> list[int]:
    """Every stage after the one that it reads, otherwise in the order of the job."""
    order: list[int] = []
    for index in range(len(inputs)):
        path: list[int] = []
        here: int | None = index
        while here is not None and here not in order:
            if here in path:
                circle = " -> ".join(names[stage] for stage in [*path[path.index(here) :], here])
                raise Misfit(here, "from", f"these stages wait for each other's pictures: {circle}")
            path.append(here)
            here = inputs[here]
        order += reversed(path)
    return order


def _check_kind(
    index: int,
    config: StageConfig,
    source: int | None,
    configs: Sequence[StageConfig],
    names: Sequence[str],
    original: Kind,
) -> None:
    made = original if source is None else configs[source].makes
    if made in config.takes:
        return
    takes = f"{config.stage} takes {_any_of(sorted(config.takes))}"
    whose = "the source" if source is None else names[source]
    gives = "makes no picture" if made is None else f"gives {made}"
    if made == "volume":
        gives += ", blocks of volumes: `ct ingest` without --volumes writes slices"
    raise Misfit(index, "from", f"{takes}, and {whose} {gives}")


def _any_of(kinds: list[str]) -> str:
    """a, b or c."""
    *first, last = kinds
    return f"{', '.join(first)} or {last}" if first else last
