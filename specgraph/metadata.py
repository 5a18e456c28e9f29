"""What a specgraph file says about itself: read by every runtime, written by the exporter.

Standard library only, so that a serving host needs nothing more than onnxruntime and numpy to read it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from specgraph.fields import Fields, Wrong, json_value

FORMAT = 2  # format 1 had no checksum
PREFIX = "specgraph."
CHECKSUM = PREFIX + "checksum"  # of everything that decides a result, by runtimes.wire.checksum
SELDOM = ("front_ends", "input_dtype", "channels", "dtype", "data")  # left out where they are what they usually are

MOST_BYTES = 2**62  # of a value, for one step along the clip: several axes may vary, and all are taken to be long
LONGEST = 2**40  # samples or frames: 290 days at 44.1 kHz
FASTEST = 2**31  # samples a second
MOST_CHANNELS = 2**16
MOST_STEPS = 1000  # of a count of frames
LEAST_HOP = 1e-6  # samples; fractions of a hop are kept to a millionth
INPUT_DTYPES = "float32", "float64", "float16", "int16", "int32", "int64", "bool"
DTYPES = "float32", "float16"
TEXTS = "name", "version", "target", "hash", "input_dtype", "dtype"  # written as they are; all others as JSON


class MetadataError(ValueError):
    """A file that specgraph did not write, that a newer specgraph wrote, or that was changed or damaged since."""


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
    features, "float32" or "float16". ``data`` holds the SHA-256 of each file beside the model that has arrays of it, by name.
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
    data: dict[str, str] = field(default_factory=dict)

    def to_properties(self) -> dict[str, str]:
        """The model's ``metadata_props``: strings as they are, everything else as JSON."""
        seldom = {one.name: one.default for one in dataclasses.fields(self) if one.name in SELDOM}
        usual = {name for name, default in seldom.items() if getattr(self, name) in (default, {})}
        fields = {"format": FORMAT} | {key: value for key, value in asdict(self).items() if key not in usual}
        return {PREFIX + key: value if isinstance(value, str) else _json(value) for key, value in fields.items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], path: str) -> Metadata:
        """Read a model's ``metadata_props``, every field of them checked; ``path`` is named in the error, a ``MetadataError``."""
        format_of(properties, path)
        text = {key.removeprefix(PREFIX): value for key, value in properties.items() if key.startswith(PREFIX)}
        try:
            known = [one.name for one in dataclasses.fields(cls) if one.name in text]
            read = Fields("", {name: text[name] if name in TEXTS else json_value(name, text[name]) for name in known})
            made = cls(
                name=read.text("name"),
                version=read.text("version"),
                sample_rate=read.whole("sample_rate", 1, FASTEST),
                target=read.text("target"),
                min_samples=read.whole("min_samples", 0, LONGEST),
                parameters=read.plain("parameters"),
                outputs=_outputs(read.fields("outputs")),
                lowering=tuple(map(_choice, read.several("lowering"))),
                verified=_verified(read.fields("verified")),
                slicing=_slicing(read.fields("slicing")),
                hash=read.text("hash"),
                front_ends=tuple(map(_front_end, read.several("front_ends", ()))),
                input_dtype=read.one_of("input_dtype", INPUT_DTYPES, "float32"),
                channels=read.whole("channels", 1, MOST_CHANNELS, 1),
                dtype=read.one_of("dtype", DTYPES, "float32"),
                data=_data(read.fields("data", {})),
            )
            if made.slicing.cut and all(output.before is not None for output in made.outputs.values()):
                raise Wrong("slicing.cut is of files with an output that looks at the whole clip, and none does")
        except Wrong as error:
            raise MetadataError(f"{path} has damaged specgraph metadata: {error}; export it again") from None
        return made


def format_of(properties: Mapping[str, str], path: str) -> int:
    """The format of a file.

    Raises:
        MetadataError: it is not specgraph's, or of a newer format.
    """
    stated = properties.get(PREFIX + "format")
    if stated is None:
        raise MetadataError(
            f"{path} was not written by specgraph: its metadata has no '{PREFIX}format'; "
            "export the front end with specgraph.to_onnx first"
        )
    if stated not in map(str, range(1, FORMAT + 1)):
        raise MetadataError(
            f"{path} has format {stated:.20}, newer than the format {FORMAT} that this specgraph reads; upgrade specgraph"
        )
    return int(stated)


def _outputs(read: Fields) -> dict[str, OutputMetadata]:
    return {name: _output(read.fields(name)) for name in read.names()}


def _output(read: Fields) -> OutputMetadata:
    read.only(OutputMetadata)
    hop = read.number("hop", 0, LONGEST, 1.0)
    if 0 < hop < LEAST_HOP:
        raise Wrong(f"{read.where}hop is {hop!r}, and must be 0 or at least {LEAST_HOP}")
    steps = read.numbers("frames", ())
    if len(steps) > MOST_STEPS or any(not _is_step(step) for step in steps):
        raise Wrong(f"{read.where}frames must hold at most {MOST_STEPS} steps (multiply, add, divide) of whole numbers")
    frequencies = read.numbers("frequencies", None)
    if frequencies is not None and not all(type(one) in (int, float) for one in frequencies):
        raise Wrong(f"{read.where}frequencies must be numbers")
    return OutputMetadata(
        axes=read.texts("axes"),
        hop=hop,
        centre=read.number("centre", -LONGEST, LONGEST, 0.0),
        before=read.whole_or_none("before", -LONGEST, LONGEST, 0),
        after=read.whole_or_none("after", -LONGEST, LONGEST, 0),
        quantity=read.text("quantity", ""),
        unit=read.text("unit", ""),
        frequencies=frequencies,
        frames=steps,
    )


def _is_step(step: Any) -> bool:
    """Whether it is (multiply, add, divide), of which a size can be made."""
    if not isinstance(step, tuple) or len(step) != 3 or any(type(one) is not int or abs(one) > LONGEST for one in step):
        return False
    return bool(step[0] >= 0 and step[2] >= 1)


def _slicing(read: Fields) -> Slicing:
    read.only(Slicing)
    made = Slicing(
        step=read.whole("step", 1, LONGEST, 1),
        before=read.whole_or_none("before", 0, LONGEST),
        after=read.whole_or_none("after", 0, LONGEST),
        bytes=read.number("bytes", 0, MOST_BYTES, 0.0),
        cut=_outputs(read.fields("cut", {})),
        whole=read.text("whole", ""),
    )
    if any(not output.hop for output in made.cut.values()):
        raise Wrong(f"{read.where}cut has an output without frames")
    return made


def _choice(read: Fields) -> dict[str, Any]:
    """What ``lowering.Choice`` is made of."""
    prices = read.fields("prices")
    return {
        "op": read.text("op"),
        "chosen": read.text("chosen"),
        "prices": {name: prices.number_or_none(name) for name in prices.names()},
        "measured": read.one_of("measured", (False, True), False),
        "tolerance": read.number_or_none("tolerance"),
        "bound": read.number_or_none("bound"),
    }


def _verified(read: Fields) -> dict[str, Any]:
    """What a file says of its verification: numbers where they are used, anything else as it is."""
    for name in read.names():
        if name == "tolerance" or name.endswith("error"):
            read.number_or_none(name)
    for errors in (read.fields("output_errors", {}), read.fields("front_end_output_errors", {})):
        for output in errors.names():
            errors.number(output, 0, 1e300)
    for check in read.several("checks", ()):
        check.text("signal")
        errors = check.fields("output_errors", {})
        for output in errors.names():
            for name in ("largest", "percentile"):
                errors.fields(output).number(name, 0, 1e300)
    return read.plain()


def _front_end(read: Fields) -> dict[str, Any]:
    """A front end in a whole model: its name, rate and parameters, and where it was attached how."""
    read.text("name")
    read.whole("sample_rate", 1, FASTEST)
    read.plain("parameters")
    if "attached" in read.names():
        read.one_of("attached", ("before", "after"))
        connected = read.fields("connected")
        for name in connected.names():
            connected.text(name)
        read.text("layout")
    return read.plain()


def _data(read: Fields) -> dict[str, str]:
    """The hash of each file that holds arrays, by name: in the model's own folder."""
    hashes = {name: read.text(name) for name in read.names()}
    for name in hashes:
        if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
            raise Wrong(f"data names {name!r:.100}, which is no file beside the model")
    return hashes


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
