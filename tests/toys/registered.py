"""The toys among the stages and decoders that a job file can name, for as long as a test lasts or a process lives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pixelmill.workers.decoders import DECODERS
from pixelmill.workers.stages import STAGES

TOY_STAGES = {
    "enlarge": "tests.toys.enlarge:EnlargeConfig",
    "invert": "tests.toys.invert:InvertConfig",
    "threshold": "tests.toys.threshold:ThresholdConfig",
}
TOY_DECODERS = {"scan": "tests.scans:ScanDecoder"}


@contextmanager
def toy_stages() -> Iterator[None]:
    STAGES.update(TOY_STAGES)
    DECODERS.update(TOY_DECODERS)
    try:
        yield
    finally:
        for name in TOY_STAGES:
            del STAGES[name]
        for name in TOY_DECODERS:
            del DECODERS[name]


def main() -> None:
    """`python -m tests.toys.registered pixelmill run job.yaml` is that command with the toys registered."""
    from pixelmill.jobs.cli import main as command

    del sys.argv[0]
    with toy_stages():
        command()


if __name__ == "__main__":
    main()
