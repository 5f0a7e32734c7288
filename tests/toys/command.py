"""The command with the toys among its stages and decoders, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support import Ended, Home, Run

ROOT = Path(__file__).parents[2]


def with_toys(user: Home, *arguments: str) -> Ended:
    """Run it for a user; its workers find the files of the toys through PYTHONPATH."""
    paths = f"{ROOT}:{user.environment.get('PYTHONPATH', '')}"
    home = Home(user.folder, {**user.environment, "PYTHONPATH": paths})
    with Run(home, *arguments, under=(sys.executable, "-m", "tests.toys.registered"), cwd=ROOT) as run:
        return Ended(run.wait(), run.stdout, run.stderr, 0.0)
