"""Keep the log of a training as a small CSV beside the gallery, and draw the curves of all of them.

    python -m benchmarks.curves RUN NAME [--refused]

writes docs/gallery/curves/NAME.csv: some 300 rows of RUN/log.csv, after a line with the hash of the weights of NAME that ship
now, unless those of RUN were refused. A curve whose hash is not theirs is drawn with a sentence that says so. Trainings whose
log was not kept have NAME.jpg there, the curve as it was drawn at that time.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.utils import make_grid

from pixelmill.jobs import catalogue
from pixelmill.pipelines.training.curve import LogRow, drawn_curve
from pixelmill.workers.models import zoo
from pixelmill.workers.recipes.registry import recipe_type

KEPT = Path("docs/gallery/curves")
ROWS = 300
CURVE_PX, TITLE_PX = 360, 14
WEIGHTS = "# weights "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a training")
    parser.add_argument("name", help="the recipe file's name")
    parser.add_argument(
        "--refused", action="store_true", help="the weights that ship under the name are another training's"
    )
    options = parser.parse_args()
    print(keep(options.run, options.name, ships=not options.refused))


def keep(run: Path, name: str, *, ships: bool = True) -> Path:
    """Write the CSV of a training whose weights ship now, or of one whose weights do not."""
    with (run / "log.csv").open(newline="") as file:
        rows = thinned([{key: value for key, value in row.items() if value} for row in csv.DictReader(file)])
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    text.write(f"{WEIGHTS}{(weights_hash(name) if ships else None) or 'do not ship'}\n")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: shortened(value) for key, value in row.items()} for row in rows)
    path = KEPT / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue())
    return path


def thinned(rows: list[LogRow], most: int = ROWS) -> list[LogRow]:
    """All evaluations, and evenly so many of the training rows that it is `most` together."""
    train = [index for index, row in enumerate(rows) if row["kind"] == "train"]
    others = [index for index, row in enumerate(rows) if row["kind"] != "train"]
    places = np.unique(np.linspace(0, len(train) - 1, min(len(train), max(2, most - len(others)))).round().astype(int))
    return [rows[index] for index in sorted([train[place] for place in places] + others)]


def shortened(value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        return value
    return value if number.is_integer() and "." not in value else f"{number:.5g}"


def weights_hash(name: str) -> str | None:
    """The hash of the weights of this name that ship; None where none do."""
    path = zoo.zoo_path(name)
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def drawn() -> Tensor:
    """The curves of all recipe files in a grid."""
    tiles = [to_tensor(tile(name)) for name in sorted(catalogue.shipped())]
    return make_grid(tiles, nrow=4, padding=4, pad_value=255)


def tile(name: str) -> Image.Image:
    picture, remark = curve_of(name)
    picture = picture.resize((CURVE_PX, round(CURVE_PX * 9 / 16)))
    whole = Image.new("RGB", (picture.width, picture.height + TITLE_PX), "white")
    whole.paste(picture, (0, TITLE_PX))
    ImageDraw.Draw(whole).text((TITLE_PX, 0), f"{name}{remark and f': {remark}'}", fill="black")
    return whole


def curve_of(name: str) -> tuple[Image.Image, str]:
    """The curve, and its caption."""
    kept, before = KEPT / f"{name}.csv", KEPT / f"{name}.jpg"
    if kept.is_file():
        weights, rows = read(kept)
        recipe = yaml.safe_load(catalogue.shipped()[name].read_text())["recipe"]
        ships = weights_hash(name)
        is_stale = ships is not None and weights != ships
        remark = "of another training than the one that ships" if is_stale else ""
        return Image.open(io.BytesIO(drawn_curve(rows, recipe_type(recipe).GOAL[0]))).convert("RGB"), remark
    if before.is_file():
        return Image.open(before).convert("RGB"), ""
    return Image.new("RGB", (16, 9), "white"), "its log was not kept"


def read(path: Path) -> tuple[str, list[LogRow]]:
    """The hash of the weights that a curve belongs to, and the rows of its log."""
    first, _, rest = path.read_text().partition("\n")
    rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(io.StringIO(rest))]
    return first.removeprefix(WEIGHTS), rows


def to_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


if __name__ == "__main__":
    main()
