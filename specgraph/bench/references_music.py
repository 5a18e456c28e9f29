"""torchaudio, torchcrepe, demucs, and the graph that basic-pitch ships."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from specgraph.bench.references import Run, reference
from specgraph.presets import Preset


@reference("ced", package="torchaudio", called="transforms.MelSpectrogram, AmplitudeToDB")
def ced(p: Preset) -> Run:
    """As CED's FrontEnd makes them."""
    import torch
    from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

    mel = MelSpectrogram(sample_rate=16000, n_fft=512, win_length=512, hop_length=160, f_min=0.0, f_max=8000.0, n_mels=64)
    decibels = AmplitudeToDB(top_db=120.0)
    return lambda wave: decibels(mel(torch.from_numpy(wave))).numpy()


@reference("torchcrepe", package="torchcrepe", called="preprocess")
def torchcrepe(p: Preset) -> Run:
    """All frames of a clip in one batch."""
    import torch
    import torchcrepe

    return lambda wave: next(torchcrepe.preprocess(torch.from_numpy(wave)[None], 16000)).numpy()


@reference("htdemucs", package="demucs", called="htdemucs.HTDemucs._spec, _magnitude", needs=("einops", "julius", "openunmix"))
def htdemucs(p: Preset) -> Run:
    """The methods of the model, which need none of its weights, on a segment."""
    import torch
    from demucs.htdemucs import HTDemucs

    model: Any = SimpleNamespace(hop_length=1024, nfft=4096, cac=True)

    def run(wave: Any) -> Any:
        segment = torch.nn.functional.pad(torch.from_numpy(wave), (0, (p.length or 0) - len(wave)))
        return HTDemucs._magnitude(model, HTDemucs._spec(model, segment[None, None]))[0].numpy()

    return run


@reference("basic-pitch", package="basic-pitch", called="nmp.onnx, what its first convolution reads")
def basic_pitch(p: Preset) -> Run:
    """The graph that basic-pitch ships, ending after its harmonic stacking."""
    from importlib.util import find_spec
    from pathlib import Path

    import numpy as np
    import onnx

    from specgraph.runtimes.session import session

    spec = find_spec("basic_pitch")  # its package imports what is not needed here
    assert spec is not None
    assert spec.origin is not None
    model = onnx.load(Path(spec.origin).parent / "saved_models" / "icassp_2022" / "nmp.onnx")
    (stacked,) = (name for node in model.graph.node for name in node.output if name.endswith("harmonic-stacking-diff/strided_slice_7"))
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(stacked, onnx.TensorProto.FLOAT, None))
    made = session(model.SerializeToString(), threads=1)

    def run(wave: Any) -> Any:
        window = np.pad(wave[: p.length], (0, max(0, (p.length or 0) - len(wave))))
        return made.run(None, {made.get_inputs()[0].name: window[None, :, None]})[0][0]

    return run
