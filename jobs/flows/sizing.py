"""What a step that states its CPUs and GPUs makes of them: so many workers, unless it says itself how many it takes."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pixelmill.jobs.documents.parsing import parse, read_file
from pixelmill.jobs.flows.spec import STAGE_COMMANDS, StepSpec

SIZES = frozenset({"actors", "cpus_per_actor", "num_gpus"})
"""The keys of `run` by which a job says how many workers it takes."""


def sized(words: tuple[str, ...], spec: StepSpec, file: Path | None) -> tuple[str, ...]:
    """The words of a step, with the workers for which `cpus` and `gpus` have room. Words stay as they are where the step
    states no CPUs, where its words or its job file size it, and for commands without such workers."""
    if spec.cpus is None or not _has_workers(words) or _is_sized(words, file):
        return words
    return (*words, *(word for setting in _settings(spec.cpus, spec.gpus) for word in ("--set", setting)))


def _settings(cpus: float, gpus: float) -> list[str]:
    """A worker for each GPU, or one for a share of a GPU, with the CPUs less one, which publishes; without, one for each CPU."""
    if not gpus:
        return [f"run.actors={max(1, int(cpus))}", "run.num_gpus=0"]
    actors = max(1, int(gpus))
    each = max(1, int((cpus - 1) // actors))
    return [f"run.actors={actors}", f"run.cpus_per_actor={each}", f"run.num_gpus={min(1.0, gpus):g}"]


def _has_workers(words: tuple[str, ...]) -> bool:
    return words[0] in {*STAGE_COMMANDS, "run"} or words[:2] in {("ct", "index"), ("ct", "ingest")}


def _is_sized(words: tuple[str, ...], file: Path | None) -> bool:
    if any(word.startswith(tuple(f"run.{key}=" for key in SIZES)) for word in words):
        return True
    if file is None:
        return False
    run = parse(read_file(str(file)), name=str(file), what="a mapping").document.get("run")
    return isinstance(run, dict) and not SIZES.isdisjoint(cast("dict[str, object]", run))
