"""What `pixelmill train` knows: recipes with their settings and layouts of data, and the recipe files that ship."""

from __future__ import annotations

import ast
import difflib
import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pixelmill.jobs.documents.parsing import read_file, to_yaml
from pixelmill.workers.errors import JobError

SHIPPED = Path(__file__).parent / "recipes"
SOURCES = Path(__file__).parent.parent / "workers" / "recipes"

LAYOUTS = {
    "pictures": "any source of pictures: folder, glob, tar shards, Parquet; where it has a column `label`, that is used",
    "classes": "pictures with labels: the integer column `label` of Parquet, or else the first folder below the data",
    "masks": "images/NAME.*, labels/NAME.png (a picture of class ids), classes.json beside them or one folder up",
    "pairs": "NAME.jpg and NAME_mask.png in one folder, or a pattern of both, pictures first: DIR/{a/*.jpg,b/*_seg.png}",
    "voc": "PASCAL VOC: JPEGImages, SegmentationClass, ImageSets/Segmentation/train.txt and val.txt",
    "coco": "COCO: annotations/instances_PART.json or panoptic_PART.json with its folder, pictures in PART or images/PART",
    "cityscapes": "Cityscapes: leftImg8bit/SPLIT/CITY/*_leftImg8bit.png, gtFine/SPLIT/CITY/*_gtFine_labelIds.png",
    "ct-slices": "CT as `ct ingest` wrote it (slices, blocks), HU as TIFF, or windowed pictures; an ID in a name is a patient",
    "ct-labelled": "slices of CT in images/ with masks/NAME.png (0 and 255), or a folder of slices for each class",
    "stereo": "left/NAME.*, right/NAME.*, depth/NAME.png where there is one, calib.json beside them or one folder up",
}
SPLIT = (
    "folders train, val and test below it are the split, or files train*.parquet, ...; a single one beside train is the "
    "test part, and `hold_out` of train selects the step"
)


@cache
def recipe_places() -> dict[str, str]:
    """Every recipe by the place of its class, read from the source: importing it would import torch."""
    for node in ast.parse((SOURCES / "registry.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "RECIPES":
            return ast.literal_eval(node.value or ast.Dict([], []))
    raise AssertionError("workers/recipes names no RECIPES")


def shipped() -> dict[str, Path]:
    """The recipe files that ship, by the name that `train` takes."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def names() -> list[str]:
    return [*recipe_places(), *shipped()]


def recipe_text(name: str) -> str:
    """A recipe file as text: the bare recipe of this name, a file, or one that ships. Raises JobError where there is none."""
    if name in recipe_places():
        return to_yaml({"recipe": name})
    if name in shipped() and not Path(name).is_file():
        return read_file(str(shipped()[name]))
    if not Path(name).exists():
        raise JobError(f"{name}: there is no such recipe or recipe file{_near(name)}; `pixelmill recipes` lists all")
    return read_file(name)


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, names(), n=2)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


# ---------------------------------------------------------------------------------------------------------- the list


def listed() -> dict[str, list[dict[str, str]]]:
    """Recipes and recipe files, with one line about each."""
    return {
        "recipes": [{"name": name, "about": _about(place)} for name, place in recipe_places().items()],
        "files": [{"name": name, "about": _headline(path)} for name, path in shipped().items()],
    }


def list_lines(found: dict[str, list[dict[str, str]]]) -> list[str]:
    wide = max(len(each["name"]) for several in found.values() for each in several)
    lines = ["recipes (pixelmill train NAME --data DIR --out DIR):"]
    lines += [f"  {each['name']:<{wide}}  {each['about']}" for each in found["recipes"]]
    lines += ["", "recipe files that ship (pixelmill train NAME; --data, --out and --set override them):"]
    lines += [f"  {each['name']:<{wide}}  {each['about']}" for each in found["files"]]
    return [*lines, "", "pixelmill recipes NAME shows the settings, their defaults and how the data has to lie"]


def _about(place: str) -> str:
    """The first line of a recipe's docstring."""
    module, _, kind = place.rpartition(":")
    body = ast.parse((SOURCES / f"{module.rpartition('.')[2]}.py").read_text(encoding="utf-8")).body
    found = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == kind)
    return (ast.get_docstring(found) or "").partition("\n")[0]


def _headline(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


# ---------------------------------------------------------------------------------------------------------- one of them


def described(name: str) -> dict[str, Any]:
    """A recipe, or a file that ships with its recipe: what it trains, how its data must lie, and every setting."""
    if name not in names():
        raise JobError(f"{name}: there is no such recipe{_near(name)}; `pixelmill recipes` lists them")
    from pixelmill.jobs.training.resuming import MAY_CHANGE
    from pixelmill.pipelines.training.layouts.registry import layouts_for
    from pixelmill.workers.recipes.registry import recipe_type

    file = shipped().get(name)
    kind = recipe_type(yaml.safe_load(file.read_text(encoding="utf-8"))["recipe"] if file else name)
    metric, best = kind.GOAL
    return {
        "recipe": kind.NAME,
        "about": _about(recipe_places()[kind.NAME]),
        "network": kind.NETWORK,
        "goal": f"{metric}, {best}",
        "data": LAYOUTS[layouts_for(kind.ROLES)[0]],
        "other_data": [LAYOUTS[name] for name in layouts_for(kind.ROLES)[1:]],
        "split": SPLIT,
        "files": [stem for stem, path in shipped().items() if f"\nrecipe: {kind.NAME}\n" in path.read_text("utf-8")],
        "help": _help(kind.Settings),
        "settings": kind.Settings.model_json_schema(),
        "may_change": MAY_CHANGE,
        **({"file": {"name": name, "text": file.read_text(encoding="utf-8")}} if file else {}),
    }


def _help(settings: type[Any]) -> list[str]:
    """The descriptions of the settings from their classes, the recipe's own class first."""
    docs = [
        each.__dict__.get("__doc__") for each in settings.__mro__ if each.__module__.startswith("pixelmill.workers.")
    ]
    return [" ".join(doc.split()) for doc in docs if doc]


def lines_of(found: dict[str, Any]) -> list[str]:
    """A recipe for a person."""
    lines = [
        f"{found['recipe']}: {found['about']}",
        f"  network  {found['network']}; the best checkpoint by {found['goal']}",
    ]
    lines += [f"  data     {found['data']}", *(f"           or {each}" for each in found["other_data"])]
    lines += [f"           {found['split']}"]
    lines += [f"  files    {', '.join(found['files']) or 'none ships'}", "", "settings (--set KEY=VALUE):"]
    properties = found["settings"]["properties"]
    needed = found["settings"].get("required", [])
    wide = max(map(len, properties))
    for key, schema in properties.items():
        default = "has to be given" if key in needed else json.dumps(schema.get("default"))
        lines.append(f"  {key:<{wide}}  {default:<20}  {_kind(schema, found['settings'])}")
    lines += ["", *found["help"], "", "these may change when a training is resumed, and all keys of run:"]
    lines += [f"  - {key}: {meaning}" for key, meaning in found["may_change"].items()]
    if "file" in found:
        lines += ["", f"{found['file']['name']}:", *(f"  {line}" for line in found["file"]["text"].splitlines())]
    return lines


def _kind(schema: dict[str, Any], whole: dict[str, Any]) -> str:
    """What a value may be, in words: integer above 0, float32 or bfloat16, null."""
    if "$ref" in schema:
        return _kind(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        return " or ".join(_kind(each, whole) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(map(str, schema.get("enum", [schema.get("const")])))
    if schema.get("type") == "array":
        inner: dict[str, Any] = schema.get("items") or next(iter(schema.get("prefixItems", [])), dict[str, Any]())
        count = f"{schema['minItems']} x " if schema.get("minItems") and "prefixItems" in schema else ""
        return f"[{count}{_kind(inner, whole)}]"
    limits = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
    bounds = [f"{word} {schema[key]:g}" for key, word in limits.items() if key in schema]
    return " ".join([schema.get("type", "anything"), *bounds])
