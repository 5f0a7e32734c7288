"""The three floors: what each may see, and what importing it may cost."""

from __future__ import annotations

import ast
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent


def modules(floor: str) -> list[Path]:
    return sorted((ROOT / floor).rglob("*.py"))


def attributes(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_checks_below_see_what_they_look_for(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "import os, sys\nimport ray.data\nfrom os import getenv\nx = os.environ['A'], sys.argv, torch.load\n"
    )
    assert {"os.environ", "os.getenv", "sys.argv", "torch.load"} <= attributes(file)
    assert "ray" in imports(file)
    assert len(modules("workers")) > 5


def test_imports_go_down_only() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [SCRIPTS / "lint-imports", "../pyproject.toml"],
        cwd=ROOT / ".types",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "Contracts: 1 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("path", [*modules("workers"), *modules("pipelines")], ids=lambda p: str(p.relative_to(ROOT)))
def test_only_jobs_reads_the_environment_and_argv(path: Path) -> None:
    assert not attributes(path) & {"os.environ", "os.getenv", "sys.argv"}


@pytest.mark.parametrize("path", modules("workers"), ids=lambda p: str(p.relative_to(ROOT)))
def test_workers_know_nothing_of_ray(path: Path) -> None:
    assert "ray" not in imports(path)


@pytest.mark.parametrize("path", [*modules("workers"), *modules("pipelines"), *modules("jobs")], ids=str)
def test_no_pickle_is_loaded(path: Path) -> None:
    assert not imports(path) & {"pickle", "cloudpickle", "dill", "joblib"}
    assert not attributes(path) & {"torch.load"}


PLANNING = (
    "jobs.catalogue",
    "jobs.checks",
    "jobs.cli",
    "jobs.inspect",
    "jobs.dry_run",
    "jobs.job",
    "jobs.planning",
    "jobs.session.session",
    "jobs.run",
    "jobs.spec",
    "jobs.summary",
    "jobs.terminal.display",
    "jobs.watch",
    "pipelines.bulk.orders",
    "pipelines.inputs.fetch",
    "pipelines.inputs.lists",
    "pipelines.inputs.names",
    "pipelines.inputs.sources",
    "pipelines.outputs.ledger",
    "pipelines.outputs.manifest",
    "pipelines.stores.folder",
    "pipelines.stores.tables",
    "workers.models.model_names",
)


@pytest.mark.parametrize("module", PLANNING)
def test_planning_imports_neither_torch_nor_ray(module: str) -> None:
    code = f"import sys, pixelmill.{module}; print(*{{'torch', 'ray', 'torchvision'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_answers_within_half_a_second() -> None:
    def seconds() -> float:
        start_s = time.perf_counter()
        subprocess.run([SCRIPTS / "pixelmill", "--help"], capture_output=True, check=True)
        return time.perf_counter() - start_s

    seconds()  # compiles what was never imported
    assert statistics.median(seconds() for _ in range(5)) < 0.5 or min(seconds() for _ in range(10)) < 0.5


PARQUET_READERS = frozenset(
    {"ParquetFile", "read_table", "read_schema", "read_metadata", "read_pandas", "ParquetDataset", "read_parquet"}
)


@pytest.mark.parametrize("path", [*modules("workers"), *modules("pipelines"), *modules("jobs")], ids=str)
def test_one_module_opens_parquet_files(path: Path) -> None:
    """Types that run code are taken out of a file there; nothing else may open one."""
    names = {name.rpartition(".")[2] for name in attributes(path)}
    assert path == ROOT / "pipelines/stores/tables.py" or not names & PARQUET_READERS
