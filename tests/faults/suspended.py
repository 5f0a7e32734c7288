"""Processes that stop themselves at a named moment (tests/faults/suspension), and what they may not change when they wake up."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.support import Output

SUSPENSION = Path(__file__).parent / "suspension"
TIMES = {"LEASE_S": 3.0, "BEAT_S": 0.5, "POLL_S": 0.2, "SETTLE_S": 1.0}
CLOCK = "PIXELMILL_TEST_CLOCK_S"
"""By how many seconds the clock of a command is wrong."""
DECIDES = ("data/", "failed/", "_SUCCESS", "_run/identity.json")


@dataclass(frozen=True)
class Moment:
    """The write at which a command is suspended: see tests/faults/suspension/sitecustomize.py."""

    when: str
    file: str

    def variable(self, marker: Path) -> dict[str, str]:
        return {"PIXELMILL_TEST_MOMENT": json.dumps({**vars(self), "marker": str(marker)})}


def decided(output: Output) -> dict[str, str]:
    """The digests of everything that an attempt which wakes up late may not change."""
    kept = [
        name
        for name in output.files()
        if name.startswith(DECIDES) or (name.startswith("_run/manifest/") and name.endswith(".json"))
    ]
    return {name: digest for name, digest in output.contents().items() if name in kept}
