"""What a file says of its outputs: bins in hertz, frames in seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from specgraph.metadata import Metadata, MetadataError, OutputMetadata


class Described:
    """Something with a file's metadata."""

    path: str
    meta: Metadata
    output_names: tuple[str, ...]

    @property
    def sample_rate(self) -> int:
        """Samples a second of the waveforms it takes."""
        return self.meta.sample_rate

    @property
    def frequencies(self) -> npt.NDArray[np.float64] | None:
        """The centre frequencies of the first output's bins in hertz, or None where bins are not frequencies."""
        return self.frequencies_of(self.output_names[0])

    def frequencies_of(self, output: str) -> npt.NDArray[np.float64] | None:
        """The centre frequencies of an output's bins in hertz, or None."""
        frequencies = self._output(output).frequencies
        return None if frequencies is None else np.array(frequencies)

    def times(self, frames: int, output: str | None = None) -> npt.NDArray[np.float64]:
        """The centres of the first ``frames`` frames in seconds; frame 0 of a centred transform is at 0."""
        meta = self._output(output or self.output_names[0])
        if not meta.hop:
            raise ValueError(f"{self.path} gives {output or self.output_names[0]} ({', '.join(meta.axes)}), which has no frames whose times are known")
        return (np.arange(frames) * meta.hop + meta.centre) / self.sample_rate

    def latency(self, output: str | None = None) -> float | None:
        """Seconds of sound that must follow a frame's centre before it can be computed; None: the whole clip."""
        after = self._output(output or self.output_names[0]).after
        return None if after is None else max(after, 0) / self.sample_rate

    def _output(self, name: str) -> OutputMetadata:
        if name not in self.meta.outputs:
            raise ValueError(f"{self.path} has no output {name!r}; it has {', '.join(self.meta.outputs)}")
        return self.meta.outputs[name]


def check_described(path: str, meta: Metadata, names: Sequence[str], sizes: Sequence[Sequence[int | str]]) -> None:
    """Raise ``MetadataError`` unless the outputs that a file has are those that it describes, with as many axes."""
    described = {name: len(output.axes) for name, output in meta.outputs.items()}
    found = {name: len(shape) for name, shape in zip(names, sizes, strict=True)}
    if described.keys() != found.keys():
        said = ", ".join(described) or "nothing"
        raise MetadataError(f"{path} gives {', '.join(found)}, and its metadata describes {said:.1000}; export it again")
    for name, axes in found.items():
        if axes != described[name]:
            raise MetadataError(
                f"{path} gives {name} with {axes} axes, and its metadata describes {described[name]}; export it again"
            )
