"""A plain installation embeds with what it brings; what needs an extra says so before anything is started."""

from __future__ import annotations

import ast
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pixelmill.jobs import extras
from pixelmill.jobs.extras import PACKAGES
from pixelmill.workers.errors import JobError
from tests.installation import FLOORS, ROOT, Installation, hide_all_but, install
from tests.support import Ended, Home, Output, assert_every_input_in_one_row, pictures, pixelmill

pytestmark = pytest.mark.timeout(1200)

MODEL = "torchvision:mobilenet_v3_small/random"
ONLY_IN_EXTRAS = {name for several in PACKAGES.values() for name in several}
DASHBOARD = {"aiohttp_cors", "colorful", "opencensus", "prometheus_client", "smart_open", "virtualenv"}


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """What `pip install pixelmill` gives, and nothing more."""
    made = install(wheel, tmp_path_factory.mktemp("bare") / "venv")
    assert hide_all_but(made) >= ONLY_IN_EXTRAS | DASHBOARD | {"pytest"}
    return made


def done_by(at: Installation, user: Home, *arguments: str, cwd: Path) -> Ended:
    environment = {name: value for name, value in user.environment.items() if name != "PYTHONPATH"}
    return pixelmill(Home(user.folder, environment), *arguments, cwd=cwd, command=[str(at.command)])


def test_a_plain_installation_embeds(user: Home, bare: Installation, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 4)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"<html>gone</html>")
    command = ["embed", "in", "out", "--model", MODEL, "--set", "run.max_failed_fraction=1"]
    done = done_by(bare, user, *command, cwd=tmp_path)
    assert done.code == 3, done.stderr
    assert assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=5) == {"NotAnImage": 1}
    shown = done_by(bare, user, "inspect", "out", cwd=tmp_path)
    assert "every input is in exactly one row" in shown.stdout, shown.stderr
    assert done_by(bare, user, "recipes", "autoencoder", cwd=tmp_path).code == 0


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["demo", "out"], "demo"),
        (["train", "vae", "--data", "in", "--out", "out"], "train"),
        (["eval", "vae", "--checkpoint", "vae-mnist", "--data", "in"], "train"),
        (["generate", "samples", "--checkpoint", "vae-mnist", "--out", "out.png"], "train"),
    ],
)
def test_a_command_that_needs_an_extra_names_it_and_makes_nothing(
    user: Home, bare: Installation, tmp_path: Path, arguments: list[str], extra: str
) -> None:
    ended = done_by(bare, user, *arguments, cwd=tmp_path)
    assert ended.code == 2, ended.stderr
    assert "needs packages that are not installed here (" in ended.stderr
    assert f"pip install 'pixelmill[{extra}]'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "demo", ("json", "no_such_package", "nor_this"))
    with pytest.raises(
        JobError, match=r"demo: needs packages .* \(no_such_package, nor_this\); pip install 'pixelmill\[demo\]'"
    ):
        extras.require("demo", "demo")


@pytest.mark.parametrize("extra", list(PACKAGES))
def test_each_extra_brings_the_packages_that_are_asked_for(extra: str) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    brought = {Requirement(each).name.lower() for each in declared}
    owners = packages_distributions()
    asked = {owners[name][0].lower() for name in PACKAGES[extra]}  # pyright: ignore[reportArgumentType]
    assert asked == brought - {"ray"}


def modules() -> list[Path]:
    return sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_imports_a_package_of_an_extra_at_its_top(path: Path) -> None:
    """Importing the module would fail, before anything could say which extra is needed."""
    top = ast.parse(path.read_text(encoding="utf-8")).body
    names = [alias.name for node in top if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in top if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} & ONLY_IN_EXTRAS == set()
