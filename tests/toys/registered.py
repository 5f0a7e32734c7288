"""The toys among the stages that a job file can name, for as long as a test lasts or a process lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pixelmill.workers.stages import STAGES

TOY_STAGES = {
    "invert": "tests.toys.invert:InvertConfig",
    "threshold": "tests.toys.threshold:ThresholdConfig",
}


@contextmanager
def toy_stages() -> Iterator[None]:
    STAGES.update(TOY_STAGES)
    try:
        yield
    finally:
        for name in TOY_STAGES:
            del STAGES[name]


def main() -> None:
    """The `pixelmill` command with the toys registered: `python -m tests.toys.registered run job.yaml`."""
    from pixelmill.jobs.cli import main as command

    with toy_stages():
        command()


if __name__ == "__main__":
    main()
