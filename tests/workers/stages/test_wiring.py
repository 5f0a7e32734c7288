"""Stages that don't fit together are refused before the start; others run after the stage that they read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.workers.stages import StageConfig, config_class
from pixelmill.workers.stages.wiring import Misfit, names_of, output_row_bytes, wire
from tests.toys.invert import InvertConfig
from tests.toys.registered import toy_stages
from tests.toys.threshold import ThresholdConfig


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    with toy_stages():
        yield


def stage(kind: str, **options: Any) -> StageConfig:
    return config_class(kind).model_validate({key.rstrip("_"): value for key, value in options.items()})


def test_a_stage_without_a_name_goes_by_its_kind_and_a_second_one_by_a_number() -> None:
    stages = [stage("embed"), stage("embed"), stage("invert", name="embed-2"), stage("embed")]
    assert names_of(stages) == ("embed", "embed-3", "embed-2", "embed-4")


def test_without_from_every_stage_reads_the_original_in_the_order_of_the_job() -> None:
    wiring = wire([stage("embed"), stage("threshold"), stage("embed")], "rgb8")
    assert wiring.inputs == (None, None, None)
    assert wiring.order == wiring.readers_of(None) == (0, 1, 2)
    assert wiring.readers_of(1) == ()


def test_a_stage_may_read_one_that_is_listed_after_it() -> None:
    wiring = wire([stage("embed", from_="negative"), stage("invert", name="negative", from_="original")], "rgb8")
    assert wiring.inputs == (1, None)
    assert wiring.order == (1, 0)
    assert (wiring.readers_of(None), wiring.readers_of(1)) == ((1,), (0,))


@pytest.mark.parametrize(
    ("stages", "index", "key", "message"),
    [
        ([("embed", {"name": "a"}), ("embed", {"name": "a"})], 0, "name", "a is the name of something else"),
        ([("embed", {"name": "decode"})], 0, "name", "decode is the name of something else"),
        ([("embed", {"from_": "negativ"}), ("invert", {"name": "negative"})], 0, "from", "did you mean negative?"),
        ([("embed", {"from_": "zzz"}), ("invert", {})], 0, "from", "there are original, invert"),
        ([("invert", {"from_": "invert"})], 0, "from", "wait for each other's pictures: invert -> invert"),
        (
            [("invert", {"name": "a", "from_": "b"}), ("invert", {"name": "b", "from_": "a"})],
            0,
            "from",
            "pictures: a -> b -> a",
        ),
        (
            [("embed", {"from_": "embed-2"}), ("embed", {})],
            0,
            "from",
            "embed takes hu16, rgb8 or volume, and embed-2 makes no picture",
        ),
        (
            [("threshold", {}), ("embed", {"from_": "threshold"})],
            1,
            "from",
            "takes hu16, rgb8 or volume, and threshold gives ids8",
        ),
        ([("threshold", {}), ("threshold", {"from_": "threshold"})], 1, "from", "threshold takes grey8 or rgb8"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_stage_and_key(
    stages: list[tuple[str, dict[str, Any]]], index: int, key: str, message: str
) -> None:
    with pytest.raises(Misfit, match=message.replace("?", r"\?")) as caught:
        wire([stage(kind, **options) for kind, options in stages], "rgb8")
    assert (caught.value.index, caught.value.key) == (index, key)


def test_what_the_source_gives_has_to_fit_too() -> None:
    with pytest.raises(Misfit, match="depth takes rgb8, and the source gives hu16"):
        wire([stage("depth")], "hu16")


@given(st.data())
def test_every_stage_comes_after_the_one_that_it_reads(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    places = data.draw(st.permutations(range(count)))
    reads = [data.draw(st.sampled_from([None, *range(number)])) for number in range(count)]
    stages: list[StageConfig] = [stage("invert")] * count
    for number, read in enumerate(reads):
        name = "original" if read is None else f"s{read}"
        stages[places[number]] = stage("invert", name=f"s{number}", from_=name)
    wiring = wire(stages, "rgb8")
    assert sorted(wiring.order) == list(range(count))
    at = {index: position for position, index in enumerate(wiring.order)}
    assert all(read is None or at[read] < at[index] for index, read in enumerate(wiring.inputs))
    readers = [reader for index in (None, *range(count)) for reader in wiring.readers_of(index)]
    assert sorted(readers) == list(range(count))


def test_the_bytes_of_a_row_are_those_of_each_stage_for_the_picture_that_it_reads() -> None:
    class Doubles(InvertConfig):
        stage: ClassVar[str] = "doubles"

        def row_bytes(self, picture_px: int) -> int:
            return 10 * self.made_px(picture_px)

        def made_px(self, picture_px: int) -> int:
            return 4 * picture_px

    class Masks(ThresholdConfig):
        def row_bytes(self, picture_px: int) -> int:
            return picture_px

    line: list[StageConfig] = [
        Masks.model_validate({"from": "large"}),
        Doubles.model_validate({"name": "large"}),
        Masks.model_validate({"name": "plain"}),
    ]
    assert output_row_bytes(line, "rgb8", 1000) == 4000 + 40_000 + 1000
