"""A pinned model is run whatever has become of its file; files of tensors are refused once they have changed."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import specgraph as sg
from specgraph.runtimes.pinned import ModelChanged, pin
from specgraph.runtimes.session import session


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """Two front ends that differ."""
    paths = tmp_path / "one.onnx", tmp_path / "two.onnx"
    for path, bins in zip(paths, (8, 16), strict=True):
        sg.to_onnx(sg.MelSpectrogram(sample_rate=16000, n_fft=256, n_mels=bins), path)
    return paths


def outside(folder: Path, value: float, data: str = "m.data") -> Path:
    """A model that adds a number which is kept in another file."""
    weights = onnx.numpy_helper.from_array(np.full(600, value, np.float32), "w")
    ends = [onnx.helper.make_tensor_value_info(name, 1, [600]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(exist_ok=True)
    (folder / data).unlink(missing_ok=True)
    onnx.save_model(model, folder / "m.onnx", save_as_external_data=True, location=data, size_threshold=0)
    return folder / "m.onnx"


def test_a_replaced_file_changes_nothing(models: tuple[Path, Path]) -> None:
    one, two = models
    pinned = pickle.loads(pickle.dumps(pin(one)))
    digest = pinned.digest
    shutil.copy(two, one)
    assert pinned.digest == digest != pin(one).digest
    assert sg.load(pinned)(np.zeros(1600, np.float32)).shape[0] == 8
    assert sg.load(one)(np.zeros(1600, np.float32)).shape[0] == 16
    with pytest.raises(ModelChanged, match=r"one\.onnx has changed since the model was first read"):
        sg.load(pinned, device="torch")


def test_sessions_made_later_are_of_the_same_model(models: tuple[Path, Path]) -> None:
    one, two = models
    run = sg.load(one)
    os.replace(two, one)
    assert run._session(one_thread=True).get_outputs()[0].shape == run.session.get_outputs()[0].shape


def test_files_of_tensors_are_pinned_by_their_hash(tmp_path: Path) -> None:
    path = outside(tmp_path / "a", 1.0)
    model = pin(path)
    assert set(model.files) == {"m.data"}
    assert model.digest == pin(outside(tmp_path / "b", 1.0)).digest != pin(outside(tmp_path / "c", 2.0)).digest
    with model.unchanged():
        pass
    shutil.copy(path.with_name("m.data"), tmp_path / "same")
    os.replace(tmp_path / "same", path.with_name("m.data"))  # other state, same content
    with model.unchanged():
        pass
    held = path.with_name("m.data").read_bytes()
    path.with_name("m.data").write_bytes(bytes(len(held)))
    with pytest.raises(ModelChanged, match=r"m\.data, which holds tensors of .*m\.onnx, has changed"), model.unchanged():
        pass
    path.with_name("m.data").write_bytes(held)
    with pytest.raises(ModelChanged, match="changed while it was loaded"), model.unchanged():
        path.with_name("m.data").write_bytes(bytes(len(held)))
    path.with_name("m.data").unlink()
    with pytest.raises(ModelChanged, match="is gone"), model.unchanged():
        pass


def test_bytes_with_tensors_beside_them(tmp_path: Path) -> None:
    model = pin(outside(tmp_path / "a", 3.0))
    (tmp_path / "a" / "m.onnx").unlink()
    made = session(model.data, entries={"session.model_external_initializers_file_folder_path": model.folder})
    assert isinstance(made, onnxruntime.InferenceSession)
    assert (made.run(None, {"x": np.zeros(600, np.float32)})[0] == 3).all()


@pytest.mark.parametrize("location", ["../m.data", "/tmp/m.data"])
def test_tensors_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    path = outside(tmp_path / "a", 1.0)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = location
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match="which is outside its folder"):
        pin(path)


def test_a_missing_file_of_tensors_is_named(tmp_path: Path) -> None:
    path = outside(tmp_path / "a", 1.0)
    path.with_name("m.data").unlink()
    with pytest.raises(FileNotFoundError, match=r"m\.onnx needs m\.data beside it, which is not there; copy both"):
        pin(path)
