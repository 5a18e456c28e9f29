"""kaldi-native-fbank, set to compute what librosa does; Kaldi's own features are another thing."""

from __future__ import annotations

import dataclasses
from typing import Any

from specgraph.bench.work import Ready, Work, peer


@peer(
    "kaldi-native-fbank",
    package="kaldi-native-fbank",
    computes=("mel",),
    note="one clip after another, a frame at a time, as its streaming interface has it; set to a Hann window and Slaney's filters, without "
    "pre-emphasis, removal of the mean and dither, which Kaldi's own features have; its frames are not centred, so it is "
    "compared with center=False",
)
def kaldi(work: Work) -> Ready:
    """``OnlineFbank`` with its librosa filters."""
    import kaldi_native_fbank as knf
    import numpy as np

    t = work.transform
    options = knf.FbankOptions()
    options.use_energy, options.use_log_fbank, options.use_power = False, False, True
    frames, mel = options.frame_opts, options.mel_opts
    frames.samp_freq, frames.window_type, frames.snip_edges = t.sample_rate, "hann", True
    frames.frame_length_ms, frames.frame_shift_ms = 1000 * t.n_fft / t.sample_rate, 1000 * t.hop / t.sample_rate
    frames.dither, frames.preemph_coeff, frames.remove_dc_offset, frames.round_to_power_of_two = 0.0, 0.0, False, False
    mel.num_bins, mel.low_freq, mel.high_freq = t.n_mels, t.fmin, t.highest
    mel.is_librosa, mel.norm, mel.use_slaney_mel_scale, mel.floor_to_int_bin = True, "slaney", True, False

    def clip(wave: Any) -> Any:
        fbank = knf.OnlineFbank(options)
        fbank.accept_waveform(t.sample_rate, wave)
        fbank.input_finished()
        return np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)], 1)

    return Ready(lambda waves: np.stack([clip(wave) for wave in waves]), definition=dataclasses.replace(t, center=False))
