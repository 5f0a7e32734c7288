"""What a recipe finds in a folder stays what it was: names, fingerprints and splits decide what a training is held against.

The expected values in identities.json were written by the first release. A difference here means that old trainings are
refused, or judged on pictures that they were trained on.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.splits import split
from pixelmill.pipelines.training.unseen import Seen, to_evaluate
from pixelmill.workers.recipes.registry import recipe_type

ACCESS = Access(retry_for_s=0.0)
EXPECTED: dict[str, Any] = json.loads((Path(__file__).parent / "identities.json").read_text())


def fill(folder: Path, names: list[str]) -> None:
    """Files of different sizes, which are listed and never decoded."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(number))


def pictures(root: Path) -> None:
    names = [f"{folder}/{number:02d}.{suffix}" for folder in "ab" for number, suffix in enumerate(["png", "jpg"] * 4)]
    fill(root, [*names, ".hidden/1.png", "a/._1.png", "notes.txt"])


def parts(root: Path) -> None:
    fill(root, [f"{part}/{number}.png" for part, count in (("train", 5), ("val", 2)) for number in range(count)])


def class_folders(root: Path) -> None:
    fill(
        root, [f"{part}/{name}/{n}.png" for part in ("train", "test") for name in ("dog", "cat", "emu") for n in (1, 2)]
    )


def flat_classes(root: Path) -> None:
    fill(root, [f"set/{name}/2019/{n}.jpeg" for name in ("dog", "cat") for n in range(4)])


def masks(root: Path) -> None:
    for part, count in (("train", 4), ("val", 2)):
        fill(root / part, [f"images/{n}.jpg" for n in range(count)] + [f"labels/{n}.png" for n in range(count)])
    (root / "classes.json").write_text('{"classes": ["sky", "road"], "ignore_index": 7}')


def whole_masks(root: Path) -> None:
    fill(root, [f"images/{n}.png" for n in range(6)] + [f"labels/{n}.png" for n in range(6)] + ["labels/.DS_Store"])


def stereo(root: Path) -> None:
    fill(root, [f"{view}/{n:03d}.{end}" for view, end in (("left", "jpg"), ("right", "png")) for n in range(5)])
    (root / "calib.json").write_text('{"width_px": 10}')


def stereo_with_depth(root: Path) -> None:
    stereo(root)
    fill(root, [f"depth/{n:03d}.png" for n in range(5)])


def archives(root: Path) -> None:
    root.mkdir()
    for name in ("one", "two"):
        with tarfile.open(root / f"{name}.tar", "w") as archive:
            for number in range(3):
                member = tarfile.TarInfo(f"{name}{number}.jpg")
                member.size = 20 + number
                archive.addfile(member, io.BytesIO(bytes(20 + number)))


def tables(root: Path) -> None:
    root.mkdir()
    for part, rows in (("train-00000", 4), ("train-00001", 3), ("test", 2)):
        pixels = [bytes(10 + row) for row in range(rows)]
        labels = [row % 2 for row in range(rows)]
        pq.write_table(pa.table({"image": pa.array(pixels), "label": pa.array(labels)}), root / f"{part}.parquet")


MADE: dict[str, Callable[[Path], None]] = {
    each.__name__: each
    for each in (
        pictures,
        parts,
        class_folders,
        flat_classes,
        masks,
        whole_masks,
        stereo,
        stereo_with_depth,
        archives,
        tables,
    )
}

CASES = {
    f"{recipe} {made} {hold_out:g}": (recipe, made, hold_out)
    for recipe, folders in {
        "vae": (pictures, parts, archives, tables, class_folders),
        "finetune": (class_folders, flat_classes, tables),
        "unet": (masks, whole_masks),
        "monodepth": (stereo, stereo_with_depth),
    }.items()
    for made in (folder.__name__ for folder in folders)
    for hold_out in (0.25, 2)
}


def described(data: DataSet | None, root: Path) -> dict[str, Any] | None:
    if data is None:
        return None
    return {
        "names": [name.removeprefix(str(root)) for name in data.names()],
        "fingerprints": data.fingerprints(),
        "labels": None if data.labels is None else data.labels.tolist(),
        "constants": {name: value.decode() for name, value in data.constants.items()},
        "ignored": data.ignored,
        "roles": {
            role: [uri.removeprefix(str(root)) for uri in strings_of(table["uri"])]
            for role, table in data.roles.items()
        },
    }


def found(recipe: str, made: str, hold_out: float, root: Path) -> dict[str, Any]:
    MADE[made](root / made)
    roles, uris = recipe_type(recipe).ROLES, [str(root / made)]
    divided = split(roles, uris, [], hold_out, 3, ACCESS, protocol=1)
    seen = Seen(frozenset(divided.train.fingerprints()[:1]), frozenset())
    judged = to_evaluate(roles, uris, "auto", seen, ACCESS)
    return {
        "train": described(divided.train, root),
        "held_out": described(divided.held_out, root),
        "split": [divided.says, divided.has_own],
        "judged": [described(judged.data, root), judged.says],
    }


@pytest.mark.parametrize("case", CASES)
def test_a_recipe_finds_what_it_found_in_the_first_release(case: str, tmp_path: Path) -> None:
    assert found(*CASES[case], tmp_path) == EXPECTED[case]
