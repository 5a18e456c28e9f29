"""kaldi-native-fbank, and what toolkits do to its features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from specgraph.bench.references import Run, reference
from specgraph.presets import Preset


def knf_features(t: Any, wave: Any) -> Any:
    """(bins, frames): a Kaldi transform by kaldi-native-fbank."""
    import kaldi_native_fbank as knf

    mfcc = hasattr(t, "n_mfcc")
    options = knf.MfccOptions() if mfcc else knf.FbankOptions()
    frames, mel = options.frame_opts, options.mel_opts
    frames.samp_freq, frames.dither, frames.window_type, frames.snip_edges = t.sample_rate, 0.0, t.window, t.snip_edges
    frames.preemph_coeff, frames.remove_dc_offset, frames.round_to_power_of_two = t.preemphasis, t.remove_dc_offset, t.round_to_power_of_two
    frames.frame_length_ms, frames.frame_shift_ms = t.frame_length, t.frame_shift
    mel.num_bins, mel.low_freq, mel.high_freq = t.n_mels, t.fmin, t.fmax
    options.use_energy, options.raw_energy, options.energy_floor, options.htk_compat = t.use_energy, t.raw_energy, t.energy_floor, t.htk_compat
    if mfcc:
        options.num_ceps, options.cepstral_lifter = t.n_mfcc, t.lifter
    else:
        options.use_log_fbank, options.use_power = t.use_log_fbank, t.use_power
    computer = (knf.OnlineMfcc if mfcc else knf.OnlineFbank)(options)
    computer.accept_waveform(t.sample_rate, np.asarray(wave * np.float32(t.scale), np.float32))
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)], 1)


def low_frame_rate(frames: Any, size: int, step: int) -> Any:
    """(frames, bins) -> FunASR's ``apply_lfr``, row by row as it is written there."""
    count = -(-len(frames) // step)
    padded = np.vstack([np.tile(frames[:1], ((size - 1) // 2, 1)), frames])
    rows = []
    for i in range(count):
        row = padded[i * step : i * step + size]
        rows.append(np.vstack([row, np.tile(padded[-1:], (size - len(row), 1))]).ravel())
    return np.stack(rows)


AFTER: dict[str, Callable[[Any], Any]] = {  # (frames, bins) -> the preset's features
    "kaldi-fbank": lambda f: f.T,
    "kaldi-mfcc": lambda f: f.T,
    "wespeaker": lambda f: f - f.mean(0),
    "paraformer": lambda f: low_frame_rate(f, 7, 6),
    "fsmn-vad": lambda f: low_frame_rate(f, 5, 1),
    "fsmn-kws": lambda f: low_frame_rate(f, 5, 3),
}


@reference(
    "kaldi-fbank", "kaldi-mfcc", "icefall", "wenet", "fireredasr", "wespeaker", "paraformer", "fsmn-vad", "fsmn-kws", "telespeech",
    package="kaldi-native-fbank", called="OnlineFbank, OnlineMfcc",
)  # fmt: skip
def kaldi_native_fbank(p: Preset) -> Run:
    """kaldi-native-fbank with the transform's options, and what follows in numpy."""
    after = AFTER.get(p.name, lambda f: f)
    return lambda wave: after(knf_features(p.transform, wave).T)
