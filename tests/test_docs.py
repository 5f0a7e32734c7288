"""The documentation is true: the reference names all that the code has, the site builds, and the tutorials run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from docs import reference
from pixelmill.jobs import catalogue, spec
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA
from pixelmill.pipelines.outputs.columns import FAILED_SCHEMA, input_fields
from tests.jobs.serving.browser import CHROMIUM, browser, tab
from tests.support import COMMAND, Home, home, pictures

ROOT = Path(__file__).parent.parent
TUTORIALS = ROOT / "docs/tutorials"

# ----------------------------------------------------------------------------------------------------------- reference


def keys_of(schema: dict[str, Any]) -> set[str]:
    """Every key of a JSON Schema, at any depth."""
    found = set(schema.get("properties", {}))
    for value in schema.values():
        parts = list(value.values()) if isinstance(value, dict) else value
        for part in parts if isinstance(parts, list) else ():
            found |= keys_of(part) if isinstance(part, dict) else set()
    return found


def first_cells(page: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))


def test_every_key_of_a_job_file_is_in_the_reference() -> None:
    assert len(keys_of(spec.schema())) > 30
    assert keys_of(spec.schema()) - {"embed"} <= first_cells(reference.job_keys())


def test_every_setting_of_every_recipe_is_in_the_reference() -> None:
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", reference.recipe_keys(), re.MULTILINE | re.DOTALL))
    assert sections.keys() == catalogue.recipe_places().keys()
    for name, text in sections.items():
        assert keys_of(catalogue.described(name)["settings"]) <= first_cells(text)


def test_every_column_is_in_the_reference() -> None:
    fields = [*input_fields(makes_many=True, has_source_ids=True), *FAILED_SCHEMA, *SCHEMA]
    assert {field.name for field in fields} <= first_cells(reference.output_columns())


def test_every_error_of_an_input_is_in_the_reference_and_no_other() -> None:
    found = reference.error_types_in_code()
    assert len(found) > 20
    assert found == set(reference.ROW_ERRORS) == first_cells(reference.error_types())


def test_every_error_of_a_run_is_in_the_reference() -> None:
    from pixelmill.workers import errors

    kinds = [name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(name in reference.error_types() for name in kinds)


def test_every_exit_code_of_the_code_is_in_the_reference() -> None:
    from pixelmill.jobs import outcome
    from pixelmill.jobs.supervision import exit_codes

    names = {**vars(outcome), **vars(exit_codes)}
    codes = {value for name, value in names.items() if name.startswith("EXIT_")}
    assert codes | {2} == set(reference.EXIT_CODES) == {int(code) for code in first_cells(reference.exit_codes())}


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for page in (*reference.PAGES, "contributing.md", "design.md"):
        assert (tmp_path / "site" / page.removesuffix(".md") / "index.html").is_file()


# ----------------------------------------------------------------------------------------------------------- tutorials


@dataclass(frozen=True)
class Block:
    """What a page says to run, or a file that it says to write."""

    language: str
    options: str
    text: str


def blocks_of(page: str) -> list[Block]:
    """The blocks that are run: bash, python, and YAML with a title. `console` shows what needs more than this machine."""
    text = (TUTORIALS / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(r"^```(bash|python|yaml)([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(language, options.strip(), body) for language, options, body in found]


@pytest.fixture
def user() -> Iterator[Home]:
    with home() as user:
        yield user


def archive(folder: Path, *, broken: bool) -> None:
    """The pictures that the tutorials speak of."""
    pictures(folder / "photos", 24, size=(48, 48))
    if broken:
        (folder / "photos/broken.jpg").write_bytes(b"<html>not found</html>")
    for number, name in enumerate(("cats", "dogs")):
        pictures(folder / "labelled" / name, 8, first=100 + 8 * number, size=(48, 48))


def follow(page: str, folder: Path, user: Home) -> None:
    """Do what the page says, in its order."""
    for block in blocks_of(page):
        if block.language == "yaml":
            (folder / block.options.removeprefix('title="').removesuffix('"')).write_text(block.text)
        elif block.language == "python":
            run([sys.executable, "-W", "error", "-c", block.text], folder, user, 0)
        else:
            for line in block.text.splitlines():
                expected = int(block.options.removeprefix("exit=") or 0)
                words = shlex.split(line)[1:]
                if words[0] == "serve":
                    look(page, line, folder, user)
                else:
                    run([COMMAND, *words], folder, user, expected)


def steps_after(page: str, line: str) -> list[str]:
    """What the page says to press, in bold, in the numbered list after a command that serves."""
    text = (TUTORIALS / f"{page}.md").read_text(encoding="utf-8")
    after = text[text.index(f"{line}\n```") :]
    (listed,) = re.findall(r"^1\. .*?(?=\n\n[^ 0-9])", after, re.MULTILINE | re.DOTALL)[:1]
    return re.findall(r"\*\*(.+?)\*\*", listed)


def look(page: str, line: str, folder: Path, user: Home) -> None:
    """Serve, do what the page says in a browser, and keep what is downloaded; without a browser, ask for the page alone."""
    words = [COMMAND, *shlex.split(line)[1:]]
    with subprocess.Popen(words, cwd=folder, env=user.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        if CHROMIUM is None:
            urllib.request.urlopen(address[0]).close()
        else:
            press_all(address[0], steps_after(page, line), folder)
        process.terminate()
        assert process.wait(60) == 0


def press_all(address: str, labels: list[str], folder: Path) -> None:
    with browser() as opened, tab(opened, accept_downloads=True) as seen:
        seen.page.goto(address)
        for label in labels:
            found = seen.page.get_by_role("link", name=label, exact=True).or_(
                seen.page.get_by_role("button", name=label, exact=True)
            )
            if label.startswith("Download"):
                with seen.page.expect_download() as waiting:
                    found.first.click()
                waiting.value.save_as(folder / waiting.value.suggested_filename)
            else:
                found.first.click()
        assert seen.said == []


def run(command: list[str], folder: Path, user: Home, expected: int) -> None:
    done = subprocess.run(command, cwd=folder, env=user.environment, capture_output=True, text=True)
    assert done.returncode == expected, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.timeout(1200)
def test_a_curator_can_follow_their_page(tmp_path: Path, user: Home) -> None:
    archive(tmp_path, broken=False)
    follow("curator", tmp_path, user)
    assert (tmp_path / "out/_SUCCESS").is_file()


@pytest.mark.timeout(1200)
def test_an_engineer_can_follow_their_page(tmp_path: Path, user: Home) -> None:
    archive(tmp_path, broken=True)
    follow("engineer", tmp_path, user)
    assert json.loads((tmp_path / "out/_SUCCESS").read_text())["failed"] == 1


@pytest.mark.slow  # two trainings; their laws are those of tests/jobs/test_train.py
@pytest.mark.timeout(1800)
def test_a_researcher_can_follow_their_page(tmp_path: Path, user: Home) -> None:
    archive(tmp_path, broken=False)
    follow("researcher", tmp_path, user)
    assert (tmp_path / "classifier/card.json").is_file()


@pytest.mark.timeout(1200)
def test_who_looks_into_a_run_can_follow_their_page(tmp_path: Path, user: Home) -> None:
    """Three of the new pictures are old ones, two of them compressed once more; one of 33 photographs is no picture."""
    old = pictures(tmp_path / "old", 12, size=(64, 64))
    pictures(tmp_path / "new", 9, first=50, size=(64, 64))
    for number, path in enumerate(old[:3]):
        with Image.open(path) as picture:
            picture.save(tmp_path / f"new/again-{number}.jpg", quality=90 - 20 * number)
    pictures(tmp_path / "photos", 32, size=(48, 48))
    (tmp_path / "photos/broken.jpg").write_bytes(b"<html>not found</html>")
    follow("looking", tmp_path, user)
    leaked = pq.read_table(tmp_path / "out-new/explore/leaks/rows.parquet")["uri"].to_pylist()
    assert sorted(Path(uri).name for uri in leaked) == ["again-0.jpg", "again-1.jpg", "again-2.jpg"]
    if CHROMIUM is not None:
        dropped = (tmp_path / "out-new-leaks-drop.csv").read_text()
        assert [name in dropped for name in ("again-0", "again-1", "again-2", "00050")] == [True, True, True, False]
        failed = (tmp_path / "out-photos-failed.csv").read_text().splitlines()
        assert len(failed) == 2
        assert "broken.jpg" in failed[1]


@pytest.mark.parametrize("page", ["curator", "engineer", "looking", "researcher"])
def test_a_page_has_commands_and_each_is_one_of_ours(page: str) -> None:
    commands = [line for block in blocks_of(page) if block.language == "bash" for line in block.text.splitlines()]
    assert len(commands) >= 4
    assert all(command.startswith("pixelmill ") for command in commands)


# ------------------------------------------------------------------------------------------------------------ training

TRAINING = (ROOT / "docs/training.md").read_text(encoding="utf-8")
TRAINS = re.findall(r"^pixelmill (train .*)$", TRAINING, re.MULTILINE)


@pytest.mark.parametrize("command", TRAINS)
def test_each_command_of_the_page_on_training_is_a_training(command: str) -> None:
    from pixelmill.jobs.training.job import read_recipe_file

    _, recipe, *words = shlex.split(command)
    pairs = list(zip(words[::2], words[1::2], strict=True))
    overrides = [value if option == "--set" else f"{option.removeprefix('--')}={value}" for option, value in pairs]
    job = read_recipe_file(catalogue.recipe_text(recipe), name=recipe, overrides=overrides, environment={})
    assert job.spec.init_from is not None


def test_the_page_on_training_names_every_setting_that_may_change_and_all_of_optimisers_and_schedules() -> None:
    from pixelmill.jobs.training.resuming import MAY_CHANGE
    from pixelmill.workers.recipes.optimizers import OptimizerSettings
    from pixelmill.workers.recipes.schedules import ScheduleSettings

    named = set(re.findall(r"`([a-z_]+)`", TRAINING))
    assert len(TRAINS) > 3
    assert MAY_CHANGE.keys() | OptimizerSettings.model_fields.keys() | ScheduleSettings.model_fields.keys() <= named
