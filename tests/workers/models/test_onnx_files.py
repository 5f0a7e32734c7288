"""The laws of ONNX files: references to other files and foreign operators are found at any depth."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.onnx_files import read_network
from tests.workers.onnx_files import convolution, model_of, saved

SHAPE = ("b", 3, "h", "w")


def outside() -> Any:
    """A tensor that keeps its numbers in a file of this machine."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../../etc/passwd"), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def in_an_initializer() -> Any:
    return model_of([helper.make_node("Add", ["x", "w"], ["y"])], SHAPE, SHAPE, [outside()])


def in_a_constant() -> Any:
    constant = helper.make_node("Constant", [], ["w"], value=outside())
    return model_of([constant, helper.make_node("Add", ["x", "w"], ["y"])], SHAPE, SHAPE)


def in_a_branch() -> Any:
    branches = [
        helper.make_graph(
            [helper.make_node("Identity", ["w"], ["z"])],
            name,
            [],
            [helper.make_tensor_value_info("z", TensorProto.FLOAT, [4])],
            [outside()],
        )
        for name in ("yes", "no")
    ]
    choice = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    return model_of([choice], SHAPE, SHAPE)


def in_a_function() -> Any:
    body = [helper.make_node("Constant", [], ["b"], value=outside()), helper.make_node("Add", ["a", "b"], ["c"])]
    function = helper.make_function("own", "Shift", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    node = helper.make_node("Shift", ["x"], ["y"], domain="own")
    return model_of([node], SHAPE, SHAPE, functions=[function], opset_imports=opsets)


def with_a_place_alone() -> Any:
    """Which is not said to be of another file, and some readers may follow."""
    model = in_an_initializer()
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    return model


def without_a_place() -> Any:
    model = in_an_initializer()
    model.graph.initializer[0].ClearField("external_data")
    return model


PLACES = (in_an_initializer, in_a_constant, in_a_branch, in_a_function, with_a_place_alone, without_a_place)


@pytest.mark.parametrize("build", PLACES)
def test_weights_in_another_file_are_found_wherever_they_stand(build: Any, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(build().SerializeToString())
    with pytest.raises(ModelError, match="keeps weights in another file"):
        read_network("m", tmp_path / "net.onnx")


def test_operators_of_a_library_of_native_code_are_refused_and_functions_of_the_file_are_not(tmp_path: Path) -> None:
    foreign = model_of([helper.make_node("Custom", ["x"], ["y"], domain="someone.else")], SHAPE, SHAPE)
    (tmp_path / "net.onnx").write_bytes(foreign.SerializeToString())
    with pytest.raises(
        ModelError, match=r"an operator of the domain someone\.else, which needs a library of native code"
    ):
        read_network("m", tmp_path / "net.onnx")
    body = [helper.make_node("Relu", ["a"], ["c"])]
    function = helper.make_function("own", "Shift", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    node = helper.make_node("Shift", ["x"], ["y"], domain="own")
    own = model_of([node], SHAPE, SHAPE, functions=[function], opset_imports=opsets)
    (tmp_path / "net.onnx").write_bytes(own.SerializeToString())
    assert read_network("m", tmp_path / "net.onnx") == own.SerializeToString()


@pytest.mark.parametrize("operator", ["EPContext", "PyOp"])
def test_operators_that_read_other_files_are_refused(operator: str, tmp_path: Path) -> None:
    model = model_of([helper.make_node(operator, ["x"], ["y"], domain="com.microsoft")], SHAPE, SHAPE)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=f"has the operator {operator}, which reads or runs other files"):
        read_network("m", tmp_path / "net.onnx")


def test_a_whole_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = saved(tmp_path, convolution())
    assert read_network("m", file) == file.read_bytes()


def test_a_file_of_more_than_two_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "net.onnx").open("wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(ModelError, match="has more than 2 GB"):
        read_network("m", tmp_path / "net.onnx")


@pytest.mark.parametrize("data", [b"\x80\x02}q\x00.", b"\xff" * 16, b"\x3a\x7f", b"PK\x03\x04" * 8])
def test_what_is_no_protobuf_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="is no ONNX file, or not a whole one"):
        read_network("m", tmp_path / "net.onnx")


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(
    cut: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("onnx") / "net.onnx"
    data = bytearray(convolution().SerializeToString())
    data[cut % len(data)] = byte
    file.write_bytes(data)
    with contextlib.suppress(ModelError):
        assert read_network("m", file) == bytes(data)


def field(number: int, message: bytes) -> bytes:
    """A field of protobuf that holds a message."""
    return bytes([number << 3 | 2, len(message) & 127 | 128, len(message) >> 7]) + message


def test_graphs_that_are_nested_without_end_are_refused(tmp_path: Path) -> None:
    graph = b""
    for _ in range(80):
        graph = field(1, field(5, field(6, graph)))  # a node with an attribute that is a graph
    (tmp_path / "net.onnx").write_bytes(field(7, graph))
    with pytest.raises(ModelError, match="nested too deeply"):
        read_network("m", tmp_path / "net.onnx")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("raw", [True, False])
def test_weights_that_are_no_numbers_are_refused_by_name_and_a_mask_is_not(
    tmp_path: Path, dtype: type[np.floating[Any]], raw: bool
) -> None:
    def written(value: float) -> Path:
        values = np.array([0.0, 1.0, value], dtype)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        stored = helper.make_tensor("bias", kind, [3], values.tobytes() if raw else list(values), raw=raw)
        node = helper.make_node("Identity", ["x"], ["y"])
        return saved(tmp_path, model_of([node], (1,), (1,), [stored]))

    read_network("m", written(-np.inf))  # as masks of attention have it
    if not raw and dtype is np.float16:
        return  # stored as integers
    for value in (np.nan, np.inf):
        with pytest.raises(ModelError, match="bias holds values that are no numbers"):
            read_network("m", written(value))
