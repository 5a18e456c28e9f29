"""What a specgraph file says about itself: read by every runtime, written by the exporter.

Standard library only, so that a serving host needs nothing more than onnxruntime and numpy to read it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1
PREFIX = "specgraph."
SELDOM = ("front_ends", "input_dtype", "channels", "dtype")  # left out where they are what they usually are


class MetadataError(ValueError):
    """A file that specgraph did not write, or that a newer specgraph wrote."""


@dataclass(frozen=True)
class OutputMetadata:
    """One output: its axes, and where its frames lie in the clip.

    Frame ``t`` is centred on sample ``t * hop + centre`` of the clip (the input, or what an input of features describes) and reads from ``before`` samples before that
    to ``after`` samples after it; both are None where a frame depends on the whole clip. ``hop`` is 0 where there are no frames,
    as in what a classifier gives.
    """

    axes: tuple[str, ...]
    hop: float = 1.0
    centre: float = 0.0
    before: int | None = 0
    after: int | None = 0
    quantity: str = ""
    unit: str = ""
    frequencies: tuple[float, ...] | None = None
    frames: tuple[tuple[int, int, int], ...] = ()

    def count(self, samples: int) -> int:
        """The number of frames that a clip of ``samples`` samples gives; of samples, for frames, where an inverse is the model.

        >>> OutputMetadata(("batch", "bins", "frames"), frames=((1, 160, 160),)).count(1600)
        11
        """
        for multiply, add, divide in self.frames:
            samples = (samples * multiply + add) // divide
        return samples


@dataclass(frozen=True)
class Slicing:
    """How a clip may be cut: what a position of the outputs reads, and how much memory each sample takes.

    A piece of the clip that begins at a multiple of ``step`` samples, with ``before`` samples more in front of it and ``after``
    behind it, gives the same frames as the whole clip does; both are None where a frame depends on the whole clip.
    ``bytes`` is what the largest value in the graph takes for each step of the input along the clip, for one clip; 0 where clips
    are not independent.

    Where only the last steps look at the whole clip (a maximum over it), ``cut`` names the values in the file that those read, and
    what they are: pieces are for those values, and the rest is run on what the pieces give together. ``whole`` is the first op that does.
    """

    step: int = 1
    before: int | None = None
    after: int | None = None
    bytes: float = 0.0
    cut: dict[str, OutputMetadata] = field(default_factory=dict)
    whole: str = ""


@dataclass(frozen=True)
class Metadata:
    """All that a runtime needs to know of a file, besides its inputs and outputs.

    ``min_samples`` is the smallest size of the first input along the clip: of frames where that input is features. ``front_ends``
    are the name, sample rate and parameters of each front end in a whole model; empty where the file is a front end itself.
    ``input_dtype`` is that of the samples, "float32" or "int16", ``channels`` how many the waveforms have, and ``dtype`` that of the
    features, "float32" or "float16".
    """

    name: str
    version: str
    sample_rate: int
    target: str = "cpu"
    min_samples: int = 1
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, OutputMetadata] = field(default_factory=dict)
    lowering: tuple[dict[str, Any], ...] = ()
    verified: dict[str, Any] = field(default_factory=dict)
    slicing: Slicing = Slicing()
    hash: str = ""
    front_ends: tuple[dict[str, Any], ...] = ()
    input_dtype: str = "float32"
    channels: int = 1
    dtype: str = "float32"

    def to_properties(self) -> dict[str, str]:
        """The model's ``metadata_props``: strings as they are, everything else as JSON."""
        usual = {field.name for field in dataclasses.fields(self) if field.name in SELDOM and getattr(self, field.name) == field.default}
        fields = {"format": FORMAT} | {key: value for key, value in asdict(self).items() if key not in usual}
        return {PREFIX + key: value if isinstance(value, str) else _json(value) for key, value in fields.items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], path: str) -> Metadata:
        """Read a model's ``metadata_props``; ``path`` is named in the error, a ``MetadataError``."""
        stated = properties.get(PREFIX + "format")
        if stated is None:
            raise MetadataError(
                f"{path} was not written by specgraph: its metadata has no '{PREFIX}format'; "
                "export the front end with specgraph.to_onnx first"
            )
        if not stated.isdigit() or int(stated) > FORMAT:
            raise MetadataError(
                f"{path} has format {stated}, newer than the format {FORMAT} that this specgraph reads; "
                "upgrade specgraph"
            )
        text = {key.removeprefix(PREFIX): value for key, value in properties.items() if key.startswith(PREFIX)}
        try:
            slicing = json.loads(text["slicing"])
            return cls(
                name=text["name"],
                version=text["version"],
                sample_rate=int(text["sample_rate"]),
                target=text["target"],
                min_samples=int(text["min_samples"]),
                parameters=json.loads(text["parameters"]),
                outputs=_outputs(json.loads(text["outputs"])),
                lowering=tuple(json.loads(text["lowering"])),
                verified=json.loads(text["verified"]),
                slicing=Slicing(**slicing | {"cut": _outputs(slicing["cut"])}),
                hash=text["hash"],
                front_ends=tuple(json.loads(text.get("front_ends", "[]"))),
                input_dtype=text.get("input_dtype", "float32"),
                channels=int(text.get("channels", 1)),
                dtype=text.get("dtype", "float32"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MetadataError(
                f"{path} has damaged specgraph metadata ({type(error).__name__}: {error}); export it again"
            ) from None


def _outputs(read: dict[str, dict[str, Any]]) -> dict[str, OutputMetadata]:
    return {name: OutputMetadata(**{key: _frozen(value) for key, value in output.items()}) for name, output in read.items()}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _frozen(value: Any) -> Any:
    """Lists, at any depth, as tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
