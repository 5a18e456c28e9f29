"""Parameters from text and from Python, checked against their annotations."""

from __future__ import annotations

import ast
import difflib
import math
import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from specgraph.design.windows import WindowSpec

NUMBERS = tuple[float, ...]
MOST_NEAR = 3  # names that are shown in place of one that is not known
OTHER_NAMES = {  # of parameters in torchaudio, librosa, nnAudio, Kaldi and transformers, and what they are called here
    **dict.fromkeys(("sr", "fs", "rate", "samplerate", "sampling_rate", "sample_frequency", "orig_sr", "orig_freq"), "sample_rate"),
    **dict.fromkeys(("f_min", "low_freq", "min_frequency", "fmin_hz"), "fmin"),
    **dict.fromkeys(("f_max", "high_freq", "max_frequency", "fmax_hz"), "fmax"),
    **dict.fromkeys(("hop", "hop_size", "hop_len", "hopsize", "stride", "n_hop"), "hop_length"),
    **dict.fromkeys(("win", "win_size", "win_len", "window_size", "window_length", "n_window"), "win_length"),
    **dict.fromkeys(("nfft", "fft_size", "fft_length", "n_ffts"), "n_fft"),
    **dict.fromkeys(("window_fn", "window_type", "win_type"), "window"),
    **dict.fromkeys(("n_mel", "nmels", "num_mels", "num_mel_bins", "mel_bins", "num_mel_filters", "nb_mels"), "n_mels"),
    **dict.fromkeys(("padding_mode", "pad_type"), "pad_mode"),
    **dict.fromkeys(("n_cep", "n_ceps", "num_ceps", "numcep"), "n_mfcc"),
    **dict.fromkeys(("preemph", "pre_emphasis", "preemphasis_coefficient"), "preemphasis"),
    **dict.fromkeys(("n_iters", "num_iters"), "n_iter"),
    **dict.fromkeys(("cepstral_lifter", "liftering"), "lifter"),
    "new_sr": "new_freq",
    "mel_scale": "htk",
    "mel_norm": "norm",
    "octave_bins": "bins_per_octave",
}
LARGEST_INT = 2**31 - 1
LARGEST, SMALLEST = 1e30, 2.0**-126  # magnitudes of a number that is not 0: above, powers overflow float32; below, it has no normal numbers
LONGEST_TEXT = 80  # characters of a value in a message


@cache
def field_types(cls: type) -> Mapping[str, Any]:
    """The types of a class's fields by name: evaluated once, which takes milliseconds."""
    return types.MappingProxyType(get_type_hints(cls))


def _options(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (types.UnionType, Union) else (annotation,)


def type_text(annotation: Any) -> str:
    """An annotation for people: ``int``, ``float or none``, ``reflect | constant | edge``."""
    if annotation == WindowSpec:
        return "window"
    names: list[str] = []
    for option in _options(annotation):
        if get_origin(option) is Literal:
            names += map(str, get_args(option))
        elif option == NUMBERS:
            names.append("numbers")
        else:
            names.append("none" if option is types.NoneType else option.__name__)
    return " | ".join(names)


def meant(name: str, names: Iterable[str]) -> str:
    """The one of ``names`` that was meant by another; nothing where none is like it."""
    every = list(names)
    other = OTHER_NAMES.get(name, "")
    return other if other in every else next(iter(difflib.get_close_matches(name, every, 1)), "")


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint at the name that was meant, or nothing."""
    near = meant(name, names)
    return f" (did you mean {near!r}?)" if near else ""


def like(name: str, presets: Iterable[str], transforms: Iterable[str] = ()) -> str:
    """A hint at the presets of the family that is named, or at three names like it; or nothing."""
    every = sorted({*presets})
    of_family = [preset for preset in every if name and preset.startswith(name)][:MOST_NEAR]
    near = of_family or difflib.get_close_matches(name, [*transforms, *every], MOST_NEAR)
    return f"; presets: {', '.join(of_family)}" if of_family else f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""


def checked(name: str, value: Any, annotation: Any) -> Any:
    """The value in its field's own type: 400.0 is the int 400, 1 is the float 1.0; else a ``ValueError``."""
    if annotation == WindowSpec:
        return _window(name, value)
    options = _options(annotation)
    if value is None and types.NoneType in options:
        return None
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    for option in options:
        if get_origin(option) is Literal and value in get_args(option):
            return value
        if option is bool and isinstance(value, bool):
            return value
        if option is str and isinstance(value, str):
            return value
        if option == NUMBERS and isinstance(value, tuple | list):
            return tuple(checked(name, item, float) for item in value)
        if isinstance(value, bool):
            continue
        if option in (int, float) and isinstance(value, int | float) and (number := _number(name, value, option)) is not None:
            return number
    raise ValueError(f"{name} must be {type_text(annotation)}, not {shown(value)}")


def _number(name: str, value: float, kind: type) -> int | float | None:
    """The value as an int or float, or None where it is none; a ``ValueError`` where it is beyond any use."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if kind is int:
        if value != int(value):
            return None
        if abs(value) > LARGEST_INT:
            raise ValueError(f"{name} must be from {-LARGEST_INT} to {LARGEST_INT}, not {shown(value)}")
        return int(value)
    if value and not SMALLEST <= abs(value) <= LARGEST:
        raise ValueError(f"{name} must be 0, or between {SMALLEST:g} and {LARGEST:g} in magnitude, not {shown(value)}")
    return float(value)


def shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an int of thousands of digits
        return f"a {type(value).__name__} of thousands of digits"
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


def _window(name: str, value: Any) -> Any:
    """A window's name, its name with parameters, or its samples as a tuple, so that transforms can be compared."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    made = _number(name, value, float) if isinstance(value, int | float) and not isinstance(value, bool) else _tupled(value)
    if made is None:
        raise ValueError(f"{name} must be a window's name, a tuple such as ('kaiser', 8.0), or samples, not {shown(value)}")
    return made


def _tupled(value: Any) -> Any:
    """A list, and lists in it, as tuples; None where it holds anything but text and numbers."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        items = [_tupled(item) for item in value]
        return None if None in items else tuple(items)
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def from_text(name: str, text: str, annotation: Any) -> Any:
    """A parameter as it is written on a command line."""
    if annotation == WindowSpec:
        if not text.startswith(("(", "[")):
            return text
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            raise ValueError(f"{name} must be a window's name or a tuple such as ('kaiser', 8.0), not {text!r}") from None
    options = _options(annotation)
    lowered = text.strip().lower()
    if types.NoneType in options and lowered in ("none", "null"):
        return None
    if bool in options and lowered in ("true", "yes", "on", "1", "false", "no", "off", "0"):
        return lowered in ("true", "yes", "on", "1")
    if any(get_origin(option) is Literal and lowered in get_args(option) for option in options):
        return lowered
    if NUMBERS in options:
        try:
            return tuple(float(item) for item in lowered.strip("()[]").split(",") if item.strip())
        except ValueError:
            pass
    elif int in options or float in options:
        try:
            return float(text) if float in options else int(text)
        except ValueError:
            pass
    elif str in options:
        return text
    raise ValueError(f"{name} must be {type_text(annotation)}, not {text!r}")
