"""What `pixelmill recipes` says is what there is, and it is said before torch is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from pixelmill.jobs import catalogue
from pixelmill.jobs.training.job import read_recipe_file
from pixelmill.pipelines.training.layouts.registry import LAYOUTS, layouts_for
from pixelmill.workers.errors import JobError
from pixelmill.workers.recipes.registry import RECIPES, recipe_type

ROOT = Path(__file__).parents[2]


def test_the_recipes_are_those_that_there_are_and_every_layout_is_explained() -> None:
    assert catalogue.recipe_places() == RECIPES
    assert set(catalogue.LAYOUTS) == set(LAYOUTS)


def test_the_list_names_every_recipe_and_file_without_importing_torch() -> None:
    code = (
        "import sys; from pixelmill.jobs import catalogue; print('\\n'.join(catalogue.list_lines(catalogue.listed()))); "
        "print({'torch', 'ray'} & set(sys.modules))"
    )
    lines = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    told = [line.split(maxsplit=1) for line in lines.splitlines() if line.startswith("  ")]
    assert [name for name, _ in told] == [*RECIPES, *(path.stem for path in sorted(catalogue.SHIPPED.glob("*.yaml")))]
    assert all(about.strip() for _, about in told)
    assert lines.endswith("set()\n")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_described_with_every_setting_its_default_and_its_schema(name: str) -> None:
    found = json.loads(json.dumps(catalogue.described(name)))
    settings = recipe_type(name).Settings
    jsonschema.Draft202012Validator.check_schema(found["settings"])
    lines = catalogue.lines_of(found)
    for key, field in settings.model_fields.items():
        (line,) = [line for line in lines if line.startswith(f"  {key} ")]
        default = (
            "has to be given" if field.is_required() else json.dumps(found["settings"]["properties"][key]["default"])
        )
        assert default in line
    assert catalogue.LAYOUTS[layouts_for(recipe_type(name).ROLES)[0]] in "\n".join(lines)
    assert any("batch" in each for each in found["help"])  # what the settings' classes say of them
    for file in found["files"]:
        assert f"recipe: {name}\n" in (catalogue.SHIPPED / f"{file}.yaml").read_text()


def test_a_file_that_ships_is_trained_by_its_name_with_what_is_given_in_its_place() -> None:
    text = catalogue.recipe_text("segnet-camvid")
    job = read_recipe_file(text, name="segnet-camvid", overrides=['data="here"', "batch=2"], environment={})
    assert (job.spec.recipe, job.spec.data_uris, job.settings.batch) == ("segnet", [str(Path("here").absolute())], 2)
    assert job.settings.optimizer == "adamw"
    assert catalogue.described("segnet-camvid")["file"]["text"] == text


def test_a_file_of_the_users_own_comes_before_one_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("segnet-camvid").write_text("mine")
    assert catalogue.recipe_text("segnet-camvid") == "mine"


def test_a_misspelt_name_is_answered() -> None:
    with pytest.raises(JobError, match=r"vae-minst: there is no such recipe or recipe file \(did you mean vae-mnist"):
        catalogue.recipe_text("vae-minst")
    with pytest.raises(JobError, match=r"unett: there is no such recipe \(did you mean unet"):
        catalogue.described("unett")
