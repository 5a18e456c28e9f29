"""Files changed after they were written, with the checksum that a forger would give them, or with the old one."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import helper

from specgraph.metadata import CHECKSUM, FORMAT, PREFIX
from specgraph.runtimes.wire import checksum, metadata_entry


def rewritten(data: bytes, properties: Mapping[str, str | None], sealed: bool) -> bytes:
    """A model with other properties; None takes one away. ``sealed`` gives it the checksum of what it then holds."""
    model = onnx.ModelProto.FromString(data)
    kept = {p.key: p.value for p in model.metadata_props} | dict(properties)
    del model.metadata_props[:]
    helper.set_model_props(model, {key: value for key, value in kept.items() if value is not None})
    return resealed(model.SerializeToString()) if sealed else model.SerializeToString()


def resealed(data: bytes) -> bytes:
    """A model of the newest format with the checksum of what it holds."""
    model = onnx.ModelProto.FromString(data)
    kept = {p.key: p.value for p in model.metadata_props if p.key != CHECKSUM}
    del model.metadata_props[:]
    helper.set_model_props(model, kept)
    data = model.SerializeToString()
    ours = {key: value for key, value in kept.items() if key.startswith(PREFIX)}
    return data + metadata_entry(CHECKSUM, checksum(data, ours)) if ours.get(PREFIX + "format") == str(FORMAT) else data
