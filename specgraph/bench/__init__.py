"""The benchmark: specgraph beside other libraries, in time and in error, against the float64 definition.

``specgraph bench`` is its command. To add a transform, put an entry into ``SUBJECTS`` from a file that is named here;
to add a library, a function with ``@peer(...)``. Both are found by their registries, and nothing else changes:

- ``subjects``, ``subjects_cqt`` what is computed: a name, its sizes, and the transform at a size
- ``peers_*`` who computes it: each says what it can compute, and makes a runner for one piece of work
- ``timing``, ``cuda``, ``memory`` the clocks; ``matrix`` the speed, ``paper`` the nnAudio paper's
  experiment, ``accuracy`` the errors
- ``tables``, ``pictures``, ``machine`` what is reported
"""

from importlib import import_module

PARTS = (
    "subjects", "subjects_cqt", "peers_own", "peers_librosa", "peers_torch", "peers_nnaudio", "peers_kaldi", "peers_essentia", "peers_onnx",
    "peers_cqt", "peers_onnx_asr",
)  # fmt: skip


def load() -> None:
    """Import the files that register subjects and peers. They import no other library when they are loaded."""
    for part in PARTS:
        import_module(f"specgraph.bench.{part}")
