"""Small packages that stand in for wandb and mlflow: they keep what they are told, and refuse what the real ones refuse."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

WANDB = """
import os
RUNS = {}
FAILS_AT = None

class Image:
    def __init__(self, pixels):
        assert pixels.dtype.name == "uint8" and pixels.ndim == 3 and pixels.shape[2] == 3
        self.pixels = pixels

class Run:
    def __init__(self, kept, folder):
        self.kept, self.folder = kept, folder
    def define_metric(self, name, step_metric=None):
        self.kept["axes"] = (name, step_metric)
    def log(self, values):
        if FAILS_AT is not None and values["step"] >= FAILS_AT:
            raise ConnectionError("https://user:hunter2@wandb.example/files is away")
        self.kept["rows"].append(values)
        with open(os.path.join(self.folder, "wandb", "offline-run", "run.wandb"), "a") as file:
            file.write(repr(values))
    def finish(self):
        self.kept["finished"] = True

def init(*, project, name, id, resume, config, dir, save_code):
    assert resume == "allow" and not save_code
    kept = RUNS.setdefault(id, {"project": project, "name": name, "config": config, "rows": [], "opened": 0})
    kept["opened"] += 1
    os.makedirs(os.path.join(dir, "wandb", "offline-run"), exist_ok=True)
    return Run(kept, dir)
"""

MLFLOW = """
import re
from types import SimpleNamespace
RUNS, STATE = {}, {}

def set_experiment(name):
    STATE["experiment"] = name

def start_run(run_id=None, run_name=None):
    if run_id is None:
        run_id = f"run-{len(RUNS)}"
        RUNS[run_id] = {"experiment": STATE["experiment"], "name": run_name, "params": {}, "metrics": [], "images": []}
    STATE["run"] = RUNS[run_id]
    return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

def log_params(params):
    assert not STATE["run"]["params"], "a parameter can't be changed"
    assert all(isinstance(value, str) and len(value) <= 500 for value in params.values())
    STATE["run"]["params"] = params

def log_metrics(metrics, step):
    assert all(re.fullmatch(r"[\\w\\-. /:]+", name, re.ASCII) for name in metrics), metrics
    STATE["run"]["metrics"].append((step, metrics))

def log_image(image, key, step):
    assert image.dtype.name == "uint8"
    STATE["run"]["images"].append((step, key))

def end_run():
    STATE["run"]["status"] = "ended"
"""


def installed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The stand-in for a package, on the path of this process."""
    import importlib

    (folder / f"{name}.py").write_text({"wandb": WANDB, "mlflow": MLFLOW}[name])
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    module = importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, module)
    return module
