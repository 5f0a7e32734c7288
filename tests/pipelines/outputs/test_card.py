"""The card of an output: `datasets` reads data/ and nothing else, nothing secret is in it, and what people wrote stays."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from pixelmill.pipelines.outputs.attempt import Attempt
from pixelmill.pipelines.outputs.card import CARD, card_of, is_ours
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, FAILED_SCHEMA, INPUT_FIELDS, MEANINGS, input_fields
from pixelmill.pipelines.outputs.encoding import Compression, encode
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.stages import STAGES, config_class

COLUMNS = {"id": "string", "uri": "string", "embedding": "fixed_size_list<item: float>[2]"}
TEXTS = [pa.field(name, pa.string()) for name in ERROR_COLUMNS]


def success(**changes: Any) -> dict[str, Any]:
    """The content of a _SUCCESS."""
    source = {"uri": ["s3://photos/2024"], "format": "auto"}
    stage = {"embed": {"model": "torchvision:resnet50", "layer": None, "column": "embedding"}}
    said = {
        "inputs": 1203,
        "done": 1200,
        "failed": 3,
        "reasons": {"decode/NotAnImage": 2, "fetch/NotFound": 1},
        "identity": {"version": 1, "source": source, "stages": [stage]},
        "weights": {"0.embed": "ab12" * 16},
        "finished_at": "2026-01-01T00:00:00+00:00",
        "seconds": {"work": 3.0},
    }
    return said | changes


def with_source(uri: str) -> dict[str, Any]:
    return success(identity={"source": {"uri": [uri]}, "stages": []})


def with_model(model: str) -> dict[str, Any]:
    return success(identity={"source": {"uri": ["in"]}, "stages": [{"embed": {"model": model}}]})


# What it says


def test_a_card_names_the_stages_the_source_and_the_result() -> None:
    card = card_of(success(), COLUMNS)
    for words in (
        "1,203, of which 1,200 are done and 3 failed",
        "source: `s3://photos/2024`",
        "embed: model `torchvision:resnet50`, column `embedding`",
        "ab12ab12",
        "| `embedding` | fixed\\_size\\_list\\<item: float\\>\\[2\\] |",
        "| `decode/NotAnImage` | 2 |",
        "Unknown: that of the inputs",
        "polars.read_parquet",
        "duckdb.sql",
        "datasets.load_dataset",
    ):
        assert words in card
    assert card == card_of(success(), COLUMNS)


def test_it_names_the_licences_of_weights_where_they_are_known() -> None:
    card = card_of(success(licences={"segment": "cc-by-nc-4.0", "embed": "*mine*"}), COLUMNS)
    assert "- weights of segment: cc-by-nc-4.0\n- weights of embed: \\*mine\\*\n" in card
    assert "Unknown: that of the inputs has to be looked up." in card


def test_it_says_how_networks_were_quantized() -> None:
    card = card_of(success(quantized={"embed": "int8, cosine to float32 0.99870 (worst 0.99500)"}), COLUMNS)
    assert "- network of embed: int8, cosine to float32 0.99870 (worst 0.99500)\n" in card


def test_the_time_is_not_in_it_so_that_the_same_output_has_the_same_card() -> None:
    later = success(finished_at="2027-02-02T00:00:00+00:00", seconds={"work": 9.0}, attempt=7)
    assert card_of(later, COLUMNS) == card_of(success(), COLUMNS)


@pytest.mark.parametrize(("failed", "names"), [(3, ["default", "failed"]), (0, ["default"])])
def test_the_front_matter_names_data_first_and_failed_where_there_is_any(failed: int, names: list[str]) -> None:
    front = yaml.safe_load(card_of(success(failed=failed), COLUMNS).split("---\n")[1])
    assert [each["config_name"] for each in front["configs"]] == names
    assert front["configs"][0]["data_files"] == "data/*.parquet"


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        (with_source("https://anna:s3cr3tword@host/photos"), "https://host/photos"),
        (with_source("https://host/photos?X-Amz-Signature=s3cr3tword&x=1"), "https://host/photos`"),
        (with_source("/home/s3cr3tword/photos"), "`photos`"),
        (with_source("file:///home/s3cr3tword/photos/"), "`photos`"),
        (with_source("${BUCKET}/photos"), "photos"),
        (with_model("/home/s3cr3tword/best.safetensors"), "`best.safetensors`"),
        (with_model("s3://key:s3cr3tword@bucket/best.safetensors"), "s3://bucket/best.safetensors"),
    ],
)
def test_no_credential_and_no_local_path_is_in_it(facts: dict[str, Any], shown: str) -> None:
    card = card_of(facts, COLUMNS)
    assert "s3cr3tword" not in card
    assert shown in card


def test_a_name_can_not_add_markup_or_front_matter() -> None:
    facts = with_source("s3://b/`x`\n---\n<script>|\u202e")
    card = card_of(facts | {"reasons": {"a|b\n# c": 1}}, {"a|`b": "<b>"})
    assert card.count("\n---\n") == 1
    assert "\n<script>" not in card
    assert "`s3://b/'x'---<script>/ `" in card
    assert "| `a/b # c` | 1 |" in card
    assert "| `a/'b` | \\<b\\> |" in card


def test_the_last_line_distinguishes_a_card_from_one_that_was_changed() -> None:
    card = card_of(success(), COLUMNS)
    assert is_ours(card.encode())
    for changed in (card.replace("1,203", "1,204"), f"{card}\nmore\n", card.rpartition("<!--")[0], "# My data\n", ""):
        assert not is_ours(changed.encode())
    assert not is_ours(b"\xff\xfe")


# When it is written


class Alone:
    """Holds a folder that nobody else wants."""

    claim = Claim(1, "token", is_fenced=True)

    def require(self) -> None:
        pass

    def follows_unknown(self, since: int) -> bool:
        return False


def output(root: Path) -> Folder:
    """Two finished rows, one that failed, and what else lies in an output."""
    folder = Folder(str(root), Access())
    rows: list[dict[str, Any]] = [{"id": str(n), "uri": f"/p/{n}", "embedding": [1.0, float(n)]} for n in range(3)]
    rows[2] |= {"stage": "decode", "error_type": "Corrupt", "error": "broken"}
    schema = pa.schema([*INPUT_FIELDS, pa.field("embedding", pa.list_(pa.float32(), 2)), *TEXTS])
    publish(folder, "part-000000", pa.Table.from_pylist(rows, schema), {}, Compression())
    manifest = pa.table({"id": ["0", "1", "2"], "size": [1, 2, 3]})
    folder.publish("_run/manifest/000000-0000.parquet", encode(manifest))
    folder.publish("_run/identity.json", b"{}")
    return folder


def succeed(folder: Folder, **changes: Any) -> None:
    Attempt(folder, Alone(), lambda _: 1, 1).succeed(success(inputs=3, done=2, failed=1) | changes)


def test_a_complete_run_has_a_card_that_follows_its_counts(tmp_path: Path) -> None:
    folder = output(tmp_path)
    succeed(folder)
    assert "3, of which 2 are done and 1 failed" in (tmp_path / CARD).read_text()
    succeed(folder, inputs=4, done=3)
    assert "4, of which 3 are done and 1 failed" in (tmp_path / CARD).read_text()
    before = (tmp_path / CARD).stat().st_mtime_ns
    succeed(folder, inputs=4, done=3)
    assert (tmp_path / CARD).stat().st_mtime_ns == before


@pytest.mark.parametrize("theirs", ["# My archive\n", "a card that was changed"])
def test_a_readme_that_somebody_wrote_or_changed_stays(tmp_path: Path, theirs: str) -> None:
    folder = output(tmp_path)
    if "changed" in theirs:
        succeed(folder)
        theirs = (tmp_path / CARD).read_text().replace("license: unknown", "license: cc0-1.0")
    (tmp_path / CARD).write_text(theirs)
    succeed(folder, inputs=4, done=3)
    assert (tmp_path / CARD).read_text() == theirs
    assert json.loads((tmp_path / "_SUCCESS").read_text())["inputs"] == 4


def test_a_complete_output_of_an_older_version_gets_its_card_when_its_command_is_run_again(tmp_path: Path) -> None:
    folder = output(tmp_path)
    succeed(folder)
    (tmp_path / CARD).unlink()
    said = (tmp_path / "_SUCCESS").read_bytes()
    succeed(folder)
    assert (tmp_path / CARD).exists()
    assert (tmp_path / "_SUCCESS").read_bytes() == said


# What reads it

LOAD = """
import datasets, json, sys
data = datasets.load_dataset(sys.argv[1])
failed = datasets.load_dataset(sys.argv[1], "failed", split="train")
print(json.dumps([{name: split.to_dict() for name, split in data.items()}, failed["error_type"][:]]))
"""


def test_datasets_loads_the_folder_and_finds_the_rows_alone(tmp_path: Path) -> None:
    succeed(output(tmp_path / "out"))
    caches = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", LOAD, str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | caches, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    splits, failed = json.loads(done.stdout.splitlines()[-1])
    assert list(splits) == ["train"]
    assert splits["train"]["id"] == ["0", "1"]
    assert splits["train"]["embedding"] == [[1.0, 0.0], [1.0, 1.0]]
    assert failed == ["Corrupt"]


@pytest.mark.parametrize("kind", STAGES)
def test_every_column_of_every_stage_has_a_meaning_in_the_card_under_any_name(kind: str) -> None:
    usual = config_class(kind).model_construct()
    options: list[dict[str, Any]] = [{}, {"column": "mine"}] if "column" in type(usual).model_fields else [{}]
    for given in options:
        names = [*type(usual).model_construct(**given).columns()]
        made = success(identity={"source": {"uri": ["in"]}, "stages": [{kind: given}]})
        card = card_of(made, dict.fromkeys(names, "float"), {names[0]: "furlongs"})
        rows = {row.split("`")[1]: row for row in card.splitlines() if row.startswith("| `")}
        assert all(re.search(r"[a-z]{4,}.* \\|$", rows[name].rpartition("| float |")[2]) for name in names)
        assert "unit: furlongs" in rows[names[0]]


def test_every_column_of_the_inputs_has_a_meaning() -> None:
    fields = [*input_fields(makes_many=True, has_source_ids=True), *FAILED_SCHEMA]
    assert {field.name for field in fields} <= MEANINGS.keys()
