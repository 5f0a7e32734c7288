"""What workers import early is what their actors need, and an error of it is left to the actor."""

from __future__ import annotations

import subprocess
import sys

from pixelmill.jobs.run import PRELOADED

LOOK = """
import importlib, sys
{before}
importlib.import_module({module!r})
print("torch" in sys.modules, "pixelmill.pipelines.bulk.graph" in sys.modules)
"""


def looked(before: str) -> str:
    command = [sys.executable, "-c", LOOK.format(before=before, module=PRELOADED)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_torch_and_the_graph_are_imported() -> None:
    assert looked("") == "True True"


def test_a_library_that_does_not_load_ends_no_worker() -> None:
    broken = (
        "class Broken:\n    def find_spec(self, name, *_):\n        if name == 'torch': raise OSError('libtorch.so')\n"
    )
    assert looked(f"{broken}sys.meta_path.insert(0, Broken())") == "False False"
