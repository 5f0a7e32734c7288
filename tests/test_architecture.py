"""The three floors and their rooms: what each may see, how long a file may be, and what importing it may cost.

Where a rule does not hold everywhere yet, the files that break it are listed. A list may only shrink: a file that breaks the
rule and is not on it fails, and so does one that is on it and no longer has to be.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pixelmill.pipelines.inputs.list_formats import LIST_FORMATS
from pixelmill.workers.decoders import DECODERS
from pixelmill.workers.recipes.registry import RECIPES
from pixelmill.workers.stages import STAGES
from tests.architecture import (
    FLOORS,
    ROOT,
    calls,
    choices_as_statements,
    has_tests,
    imports_package,
    lacks_tests,
    late_attributes,
    lines,
    long_functions,
    modules_imported,
    names_by_loop,
    names_used,
    nested_choices,
    private_reaches,
    relative,
    source_files,
    surroundings_read,
    unquoted_places,
)

SCRIPTS = Path(sys.executable).parent
MOST_LINES, MOST_FUNCTION_LINES = 400, 60

Check = Callable[[Path], object]
"""Something true or not empty for a file that breaks a rule."""

# ---------------------------------------------------------------------------------------------------- import-linter

CONTRACTS = 5

PLANTED = {
    "workers/codecs/planted.py": "import pixelmill.jobs.spec\n",
    "workers/geometry/planted.py": "def late() -> None:\n    import ray\n",
    "jobs/host/planted.py": "import pixelmill.jobs.session.cluster\n",
    "pipelines/stores/planted.py": "import pixelmill.pipelines.outputs.columns\n",
    "workers/networks/planted.py": "import pixelmill.workers.recipes.vae\n",
}
"""A file that breaks each contract, in the order of the contracts."""


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [SCRIPTS / "lint-imports", "--no-logo", "--no-cache", "--config", root / "pyproject.toml"]
    return subprocess.run(command, cwd=root / ".types", env=environment, capture_output=True, text=True)


def test_the_contracts_of_imports_are_kept() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout
    assert f"Contracts: {CONTRACTS} kept, 0 broken" in done.stdout


def test_every_contract_breaks_when_it_is_broken(tmp_path: Path) -> None:
    for name in (*FLOORS, ".types"):
        ignored = shutil.ignore_patterns("zoo", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, text in PLANTED.items():
        (tmp_path / name).write_text(text)
    done = lint_imports(tmp_path)
    assert f"Contracts: 0 kept, {CONTRACTS} broken" in done.stdout, done.stdout


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle_among(ROOT) == ""


def test_a_circle_of_two_modules_is_found(tmp_path: Path) -> None:
    package = tmp_path / ".types/pixelmill"
    for floor in FLOORS:
        (package / floor).mkdir(parents=True)
        (package / floor / "__init__.py").touch()
    (package / "workers/a.py").write_text("from pixelmill.workers import b\n")
    (package / "workers/b.py").write_text("def late():\n    import pixelmill.workers.a\n")
    assert "pixelmill.workers.a" in circle_among(tmp_path)


CIRCLE = """
import graphlib, sys
import grimp
sys.path.insert(0, ".")
floors = [f"pixelmill.{floor}" for floor in ("jobs", "pipelines", "workers")]
graph = grimp.build_graph(*floors, exclude_type_checking_imports=True, cache_dir=None)
sorter = graphlib.TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules})
try:
    sorter.prepare()
except graphlib.CycleError as error:
    print(" imports ".join(reversed(error.args[1])))
"""


def circle_among(root: Path) -> str:
    """Modules of which each imports the next, wherever in a file; imports for annotations alone don't count."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", CIRCLE]
    done = subprocess.run(command, cwd=root / ".types", env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


# ------------------------------------------------------------------------------------------------ rules with exceptions

READ_SURROUNDINGS = {
    "jobs/surroundings.py",
    "pipelines/bulk/mill.py",
    "pipelines/stores/obstore_clients.py",
}
IMPORT_RAY_IN_JOBS = {
    "jobs/session/cluster.py",
    "jobs/session/job_server.py",
    "jobs/session/minimal_ray.py",
    "jobs/session/ray_api.py",
}
REACH_FOR_PRIVATE_NAMES = {
    "jobs/session/minimal_ray.py",  # what Ray has no switch for
    "pipelines/progress.py",  # Ray's key-value store has no public name
    "pipelines/stores/access.py",  # fsspec's own way to a path without its scheme
    "pipelines/stores/reading.py",  # fsspec's asynchronous read
}
SET_ATTRIBUTES_LATE: set[str] = set()
ARE_LONG: set[str] = set()


def ray_modules(path: Path) -> set[str]:
    return {name for name in modules_imported(path) if name.partition(".")[0] == "ray"}


def is_long(path: Path) -> bool:
    return lines(path) > MOST_LINES


def has_long_functions(path: Path) -> set[str]:
    return long_functions(path, MOST_FUNCTION_LINES)


OURS = (*FLOORS, "pixelmill")
EVERYTHING = (*OURS, "benchmarks", "docs", "tests")
RULES: dict[str, tuple[Check, tuple[str, ...], set[str]]] = {
    "only Surroundings reads arguments, environment and clock": (surroundings_read, OURS, READ_SURROUNDINGS),
    "in jobs only the session knows Ray": (ray_modules, ("jobs", "pixelmill"), IMPORT_RAY_IN_JOBS),
    "no private name is reached across files": (private_reaches, (*OURS, "benchmarks"), REACH_FOR_PRIVATE_NAMES),
    "no attribute is first set outside __init__": (late_attributes, OURS, SET_ATTRIBUTES_LATE),
    "no choice is made within a choice": (nested_choices, EVERYTHING, set()),
    "no expression that chooses is a statement": (choices_as_statements, EVERYTHING, set()),
    "no loop over one thing gives it a name": (names_by_loop, EVERYTHING, set()),
    "a command in a message quotes its folder": (unquoted_places, OURS, set()),
    f"no file is longer than {MOST_LINES} lines": (is_long, (*OURS, "benchmarks"), ARE_LONG),
    f"no function is longer than {MOST_FUNCTION_LINES} lines": (has_long_functions, (*OURS, "benchmarks"), set()),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_holds_but_for_the_files_that_are_listed(rule: str) -> None:
    check, folders, exceptions = RULES[rule]
    found = {relative(path): found for path in source_files(*folders) if (found := check(path))}
    broken = {path: found for path, found in found.items() if path not in exceptions}
    assert not broken, f"{rule}: {broken}"
    assert not exceptions - set(found), "these keep the rule by now: take them off the list"


BREAKS = {
    "only Surroundings reads arguments, environment and clock": [
        "import os as o\nx = o.environ['A']\n",
        "from os import getenv\nx = getenv('A')\n",
        "import sys\nx = sys.argv[1:]\n",
        "from time import time as now\nx = now()\n",
        "import datetime\nx = datetime.datetime.now()\n",
        "from datetime import datetime\nx = datetime.now().year\n",
    ],
    "in jobs only the session knows Ray": ["def late():\n    import ray.data\n", "from ray import get\n"],
    "no private name is reached across files": [
        "from a import _b\n",
        "import a._b\n",
        "import a\nx = a._b\n",
        "def f(run):\n    return run._b.c\n",
    ],
    "no attribute is first set outside __init__": [
        "class A:\n    def __init__(self):\n        self.a = 1\n    def f(self):\n        self.b = 2\n",
        "class A:\n    def f(self):\n        self.a, self.b = 1, 2\n",
    ],
    "no choice is made within a choice": ["x = 1 if a else 2 if b else 3\n", "x = (1 if a else 2) if b else 3\n"],
    "no expression that chooses is a statement": ["f() if a else g()\n", "a and f()\n", "[f(b) for b in c]\n"],
    "no loop over one thing gives it a name": ["x = [b for a in c for b in [f(a)]]\n", "x = {a for a in (b,)}\n"],
    "a command in a message quotes its folder": [
        "x = f'see it with: pixelmill inspect {run.uri}'\n",
        "x = f'pixelmill eval {kind} --checkpoint {str(out)} --data'\n",
    ],
    f"no file is longer than {MOST_LINES} lines": ["x = 1\n" * (MOST_LINES + 1)],
    f"no function is longer than {MOST_FUNCTION_LINES} lines": ["def f():\n" + "    x = 1\n" * MOST_FUNCTION_LINES],
}
KEEPS = {
    "only Surroundings reads arguments, environment and clock": "import time, os.path\nx = time.monotonic()\n",
    "in jobs only the session knows Ray": "import rayon\nx = 'import ray'\n",
    "no private name is reached across files": "class A:\n    def __init__(self): self._a = super()._b\n"
    "def f(a, row): return a._a, row._replace(b=1), a.__dict__\n",
    "no attribute is first set outside __init__": "class A:\n    b: int = 0\n    def __init__(self): self.a = 1\n"
    "    def f(self): self.a, self.b = 2, 3\n",
    "no choice is made within a choice": "x = f(1 if a else 2) if b else 3\n",
    "no expression that chooses is a statement": "f()\nx = a and b\ny = [f(b) for b in c]\n",
    "no loop over one thing gives it a name": "x = [a for a in [b, c]]\ny = [a for a in [*b]]\n",
    "a command in a message quotes its folder": "x = f'{run.uri}: see it with: pixelmill inspect {quote(run.uri)}'\n",
    f"no file is longer than {MOST_LINES} lines": "x = 1\n" * MOST_LINES,
    f"no function is longer than {MOST_FUNCTION_LINES} lines": "def f():\n" + "    x = 1\n" * (MOST_FUNCTION_LINES - 1),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_file_that_breaks_a_rule_is_found_and_one_that_keeps_it_is_not(rule: str, tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    check, _, _ = RULES[rule]
    for text in BREAKS[rule]:
        file.write_text(text)
        assert check(file), text
    file.write_text(KEEPS[rule])
    assert not check(file)


# --------------------------------------------------------------------------------------------- rules without exceptions


@pytest.mark.parametrize("path", source_files("jobs", "pixelmill"), ids=relative)
def test_only_pipelines_knows_ray_data_and_ray_train(path: Path) -> None:
    inside = {"jobs/session/minimal_ray.py"}  # takes helpers of Ray Data out of a Ray of our own
    assert relative(path) in inside or not (imports_package(path, "ray.data") or imports_package(path, "ray.train"))


OPEN_SETS = {"stage": STAGES, "decoder": DECODERS, "list format": LIST_FORMATS, "recipe": RECIPES}
"""What is added as a file and a line of a registry; its modules share others of their room, but never import each other."""


def modules_of(registry: Mapping[str, str]) -> set[str]:
    return {place.partition(":")[0] for place in registry.values()}


def others_imported(path: Path, module: str, registry: Mapping[str, str]) -> set[str]:
    return modules_imported(path) & (modules_of(registry) - {module})


@pytest.mark.parametrize("kind", OPEN_SETS)
def test_one_of_a_kind_never_imports_another(kind: str) -> None:
    for module in modules_of(OPEN_SETS[kind]):
        path = ROOT / f"{module.removeprefix('pixelmill.').replace('.', '/')}.py"
        assert not others_imported(path, module, OPEN_SETS[kind])


def test_a_recipe_that_imports_another_is_found(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text("def f():\n    from pixelmill.workers.recipes import vae, squares\n")
    assert others_imported(file, "pixelmill.workers.recipes.new", RECIPES) == {"pixelmill.workers.recipes.vae"}


@pytest.mark.parametrize("path", source_files("tests"), ids=relative)
def test_tests_stand_without_the_benchmarks(path: Path) -> None:
    assert not imports_package(path, "benchmarks")


def test_a_wheel_holds_the_product_alone() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = settings["tool"]["setuptools"]["packages"]
    found = {relative(path.parent) for path in source_files(*FLOORS)}
    assert set(packages) == {"pixelmill", *(f"pixelmill.{folder.replace('/', '.')}" for folder in found)}


@pytest.mark.parametrize("path", source_files(*FLOORS, "pixelmill"), ids=relative)
def test_no_pickle_is_loaded(path: Path) -> None:
    assert not any(imports_package(path, name) for name in ("pickle", "cloudpickle", "dill", "joblib"))
    assert "torch.load" not in names_used(path)


PARQUET_READERS = frozenset(
    {"ParquetFile", "read_table", "read_schema", "read_metadata", "read_pandas", "ParquetDataset", "read_parquet"}
)


@pytest.mark.parametrize("path", source_files(*FLOORS, "pixelmill"), ids=relative)
def test_one_module_opens_parquet_files(path: Path) -> None:
    """Types that run code are taken out of a file there; nothing else may open one."""
    names = {name.rpartition(".")[2] for name in names_used(path)}
    assert path == ROOT / "pipelines/stores/tables.py" or not names & PARQUET_READERS


IMPATIENT = frozenset({"store.open", "store.pipe_file", "store.rm_file", "store.cat_file", "fs.open", "fsspec.open"})


@pytest.mark.parametrize("path", source_files(*FLOORS, "pixelmill"), ids=relative)
def test_files_of_stores_are_opened_and_written_where_requests_are_retried(path: Path) -> None:
    """A store refuses some requests, and its client gives up on some that would succeed a second later."""
    assert path.parent == ROOT / "pipelines/stores" or not calls(path) & IMPATIENT


def test_what_those_rules_look_for_is_found(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "import pickle\nimport ray.train.torch\nimport torch as t, pyarrow.parquet as pq\n"
        "from benchmarks import gpu\nx = t.load, pq.ParquetFile('a')\nwith self.out.store.open('a'): pass\n"
    )
    assert {"torch.load", "pyarrow.parquet.ParquetFile"} <= names_used(file)
    assert all(imports_package(file, name) for name in ("pickle", "ray.train", "benchmarks"))
    assert not imports_package(file, "ray.data")
    assert calls(file) == {"pq.ParquetFile", "store.open"}


# -------------------------------------------------------------------------------------------------- tests in one place

TESTED_ELSEWHERE = {
    "jobs/commands/argo.py": "tests/jobs/flows/test_argo.py",
    "jobs/commands/diagnosing.py": "tests/jobs/doctor/test_doctor.py",
    "jobs/commands/exploring.py": "tests/jobs/test_exploring.py",
    "jobs/commands/scheduling.py": "tests/jobs/scheduling/test_planning.py",
    "jobs/commands/serving.py": "tests/jobs/serving/test_served_places.py",
    "jobs/commands/submitting.py": "tests/jobs/submission/test_submitting.py",
    "workers/networks/registry.py": "tests/workers/models/test_checkpoint.py",
    "workers/recipes/registry.py": "tests/contracts/test_recipes.py",
}
"""Commands that only hand their options on, and registries, each with the tests that go through all of it."""

LACK_TESTS = {
    "jobs/ct/index.py",
    "jobs/doctor/examining.py",
    "jobs/doctor/findings.py",
    "jobs/doctor/first_row.py",
    "jobs/doctor/machine.py",
    "jobs/doctor/ray_place.py",
    "jobs/doctor/stores.py",
    "jobs/flows/scheduling.py",
    "jobs/flows/spec.py",
    "jobs/kubernetes/cluster_rules.py",
    "jobs/kubernetes/comments.py",
    "jobs/kubernetes/manifest.py",
    "jobs/kubernetes/names.py",
    "jobs/kubernetes/pod_rules.py",
    "jobs/kubernetes/pods.py",
    "jobs/kubernetes/ray_job_rules.py",
    "jobs/kubernetes/schedules.py",
    "jobs/kubernetes/spec.py",
    "jobs/kubernetes/verdicts.py",
    "jobs/kubernetes/walking.py",
    "jobs/reporting/charts.py",
    "jobs/reporting/content.py",
    "jobs/reporting/map_points.py",
    "jobs/reporting/page.py",
    "jobs/reporting/sheets.py",
    "jobs/reporting/writing.py",
    "jobs/serving/answers.py",
    "jobs/serving/catalogue.py",
    "jobs/serving/ct_pages.py",
    "jobs/serving/live.py",
    "jobs/serving/maps.py",
    "jobs/serving/nearness.py",
    "jobs/serving/pictures.py",
    "jobs/serving/server.py",
    "jobs/serving/vectors.py",
    "jobs/session/job_server.py",
    "jobs/supervision/supervising.py",
    "pipelines/bulk/graph.py",
    "pipelines/training/layouts/stereo.py",
    "pipelines/training/ray_worker.py",
    "workers/ct/object_files.py",
    "workers/ct/series_slices.py",
    "workers/models/features.py",
    "workers/models/libraries/checkpoint.py",
    "workers/models/libraries/torchvision.py",
    "workers/models/libraries/transformers_config.py",
    "workers/prediction/slices.py",
}


def test_a_module_with_logic_has_a_test_file_of_its_name() -> None:
    found = {relative(path) for path in source_files(*FLOORS) if lacks_tests(path)}
    listed = LACK_TESTS | set(TESTED_ELSEWHERE)
    assert not found - listed, "write tests/FLOOR/ROOM/test_MODULE.py"
    assert not listed - found, "these have tests of their own by now: take them off the list"
    assert all(has_tests(ROOT / path) for path in TESTED_ELSEWHERE.values())


def test_a_module_without_tests_of_its_own_is_found(tmp_path: Path) -> None:
    module, tests = tmp_path / "jobs/a/b.py", tmp_path / "tests/jobs/a/test_b.py"
    for folder in (module.parent, tests.parent):
        folder.mkdir(parents=True)
    module.write_text("A = 1\n")
    assert not lacks_tests(module, tmp_path)
    module.write_text("class A:\n    def f(self):\n        return 1\n")
    assert lacks_tests(module, tmp_path)
    tests.write_text("from jobs.a import b\n")
    assert lacks_tests(module, tmp_path)
    tests.write_text("def test_b():\n    assert True\n")
    assert not lacks_tests(module, tmp_path)


# ----------------------------------------------------------------------------------------------------- cost of importing

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
    "pipelines.outputs.accounting",
    "pipelines.outputs.listing",
    "pipelines.outputs.repair",
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
