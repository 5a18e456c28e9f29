"""Tensors of the Open Inference Protocol V2 as numpy arrays: from raw bytes, from lists, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.runtimes.serving.problems import invalid

# What the protocol calls the types, by what numpy calls them. Strings ("BYTES") are no features.
DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8", "int16": "INT16",
    "int32": "INT32", "int64": "INT64", "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
DTYPES = {datatype: np.dtype(name).newbyteorder("<") for name, datatype in DATATYPES.items()}
MOST_ELEMENTS, MOST_AXES = 2**31, 16


def datatype_of(array: npt.NDArray[Any]) -> str:
    """The protocol's name of an array's type."""
    return DATATYPES[array.dtype.name]


def checked_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A shape as it was sent; refused unless it is a list of whole numbers."""
    if not isinstance(shape, Sequence) or not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape):
        raise invalid(f"the shape of {name} must be a list of whole numbers, not {shape!r:.100}")
    if len(shape) > MOST_AXES:
        raise invalid(f"the shape of {name} has {len(shape)} axes, more than {MOST_AXES}")
    if math.prod(max(size, 1) for size in shape) > MOST_ELEMENTS:  # an axis of 0 makes no other one smaller
        raise invalid(f"the shape of {name} is {shape!r:.100}, more than {MOST_ELEMENTS:,} elements")
    return tuple(shape)


def checked_datatype(name: str, sent: Any, wanted: str) -> np.dtype[Any]:
    """The dtype of a tensor; refused unless it was sent as what the model takes."""
    if sent != wanted:
        raise invalid(f"{name} must be {wanted} and was sent as {sent!r:.40}; convert it")
    return DTYPES[wanted]


def from_bytes(name: str, data: bytes | memoryview, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A tensor that was sent as raw little-endian bytes."""
    wanted = math.prod(shape) * dtype.itemsize
    if len(data) != wanted:
        raise invalid(f"{name} of shape {shape} takes {wanted} bytes and {len(data)} were sent")
    return np.frombuffer(data, dtype).reshape(shape)


def from_values(name: str, values: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A tensor that was sent as a list of numbers, flat or nested."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiub" and array.size:
            raise ValueError
        whole = array.dtype.kind in "iub" or not array.size
        if not whole and dtype.kind in "iu":
            raise ValueError
        with np.errstate(over="ignore"):  # infinity, which is refused with its place
            made = array.astype(dtype)
        if dtype.kind in "iu" and (made != array).any():
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise invalid(f"the data of {name} must be a list of {DATATYPES[dtype.name]} numbers, flat or nested as its shape") from None
    if made.size != math.prod(shape):
        raise invalid(f"{name} of shape {shape} takes {math.prod(shape)} numbers and {made.size} were sent")
    return made.reshape(shape)


def to_bytes(array: npt.NDArray[Any]) -> memoryview:
    """Raw little-endian bytes, without a copy where the array holds them."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
