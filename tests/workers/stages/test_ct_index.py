"""The stage of an index: a row of numbers, words of closed sets and keyed ids for each header, and errors without values."""

from __future__ import annotations

import pytest
from pydicom.tag import Tag
from pydicom.uid import UID

from pixelmill.workers.ct.index_rows import FIELDS
from pixelmill.workers.ct.keyed_ids import IdKey
from pixelmill.workers.errors import RowError
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.ct_index import CtIndex, CtIndexConfig
from tests.contracts.examples.ct_index import header
from tests.workers.ct.objects import a_slice, saved

SECRET = b"0123456789abcdef"
CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)


def _config(secret: bytes = SECRET) -> CtIndexConfig:
    return CtIndexConfig.model_validate({}).with_assets({"key": {"key": secret}})


def _row(stage: CtIndex, data: bytes) -> dict[str, object]:
    columns = stage.run([stage.prepare(header(data))]).columns
    return {name: column.to_pylist()[0] for name, column in columns.items()}  # pyright: ignore[reportAttributeAccessIssue]


def test_a_header_becomes_keyed_ids_and_numbers() -> None:
    row = _row(_config().build(CONTEXT), saved(a_slice(3, ConvolutionKernel="B70f")))
    assert tuple(row) == tuple(field.name for field in FIELDS)
    assert row["series_id"] == IdKey(SECRET).id_of("series", "1.2.9")
    assert (row["position_mm"], row["intercept"], row["kernel"]) == ([0, 0, 6], -1024, "sharp")


def test_objects_without_a_uid_are_reported_apart_by_their_headers() -> None:
    stage = _config().build(CONTEXT)
    first, same, other = (a_slice(n, SOPInstanceUID="") for n in (0, 0, 1))
    for dataset in (first, same, other):
        dataset.file_meta.MediaStorageSOPInstanceUID = UID("")
    ids = [_row(stage, b"\0" * 128 + b"DICM" + _body(dataset))["object_id"] for dataset in (first, same, other)]
    assert ids[0] == ids[1] != ids[2]


def _body(dataset: object) -> bytes:
    import io

    import pydicom

    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=False)  # pyright: ignore
    return file.getvalue().partition(b"DICM")[2]


def test_another_key_is_another_output_and_the_key_is_shown_nowhere() -> None:
    identity = _config().identity()
    assert identity != _config(b"fedcba9876543210").identity()
    for shown in (identity, _config(), _config().build(CONTEXT).settings, _config().describe(CONTEXT, here=False)):
        assert "0123456789abcdef" not in str(shown)


@pytest.mark.parametrize(
    ("keyword", "representation", "value"),
    [("RescaleSlope", "LO", "ANNA"), ("Rows", "LO", "ANNA"), ("NumberOfFrames", "IS", "98765432109")],
)
def test_a_malformed_tag_is_named_and_its_value_is_not(keyword: str, representation: str, value: str) -> None:
    dataset = a_slice()
    if keyword in dataset:
        del dataset[keyword]
    dataset.add_new(Tag(keyword), representation, value)
    stage = _config().build(CONTEXT)
    with pytest.raises(RowError) as caught:
        stage.prepare(header(saved(dataset)))
    assert keyword in str(caught.value)
    assert value not in str(caught.value)
