"""The header reader: agrees with onnx on whole models, and lets only ValueError out on anything else."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from specgraph.runtimes.wire import read_header


def model(external: str = "") -> onnx.ModelProto:
    """A model with an If, whose branch holds a tensor; ``external`` says which tensor is kept elsewhere."""

    def tensor(name: str) -> TensorProto:
        made = numpy_helper.from_array(np.arange(3, dtype=np.float32), name)
        if external == name:
            made.data_location = TensorProto.EXTERNAL
            made.external_data.add(key="location", value="weights.bin")
            made.ClearField("raw_data")
        return made

    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])
    branch = helper.make_graph([helper.make_node("Constant", [], ["y"], value=tensor("inner"))], "branch", [], [out])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    graph = helper.make_graph([node], "g", [condition], [out], initializer=[tensor("outer")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("x", 3)], ir_version=8)
    helper.set_model_props(made, {"specgraph.format": "1", "name": "Größe"})
    return made


WHOLE = model().SerializeToString()


def test_reads_what_onnx_wrote() -> None:
    header = read_header(WHOLE, "m.onnx")
    assert header.properties == {"specgraph.format": "1", "name": "Größe"}
    assert (header.opsets, header.ir_version, header.external) == ({"": 18, "x": 3}, 8, frozenset())


@pytest.mark.parametrize("where", ["outer", "inner"])
def test_finds_tensors_in_other_files_at_any_depth(where: str) -> None:
    assert read_header(model(where).SerializeToString(), "m.onnx").external == {"weights.bin"}


@pytest.mark.parametrize("data", [b"", b"a text file\n", b"\x00" * 100, b"\xff" * 100, WHOLE[: len(WHOLE) // 2], b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_no_model_is_said_in_a_sentence(data: bytes) -> None:
    with pytest.raises(ValueError, match="m.onnx is not a whole ONNX model"):
        read_header(data, "m.onnx")


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a whole ONNX model"):
        read_header(b"\xff" + data, "m")


@settings(max_examples=300)
@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=8), st.integers(0, len(WHOLE)))
def test_damaged_models(place: int, patch: bytes, length: int) -> None:
    damaged = (WHOLE[:place] + patch + WHOLE[place + len(patch) :])[:length]
    try:
        header = read_header(damaged, "m")
    except ValueError as error:
        assert "not a whole ONNX model" in str(error)  # noqa: PT017
    else:
        assert header.opsets


def test_graphs_nested_without_end_are_refused() -> None:
    graph = b""
    for _ in range(60):  # graph { node { attribute { g } } }
        attribute = b"\x32" + _length(graph) + graph
        node = b"\x2a" + _length(attribute) + attribute
        graph = b"\x0a" + _length(node) + node
    with pytest.raises(ValueError, match="not a whole ONNX model"):
        read_header(b"\x08\x08\x42\x02\x10\x12\x3a" + _length(graph) + graph, "m")


def _length(data: bytes) -> bytes:
    size, out = len(data), b""
    while size > 127:
        out, size = out + bytes([size & 127 | 128]), size >> 7
    return out + bytes([size])
