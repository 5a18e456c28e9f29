"""What to use in a stream in place of an op that looks at the whole clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LENGTHS = "fixed_length", "repeat_to_length", "fill_up", "cut_to_multiple"
STATISTICS = "cmvn", "standardize"
LIMITS = "limit_range", "unit_range", "normalize", "reduce"


def instead(op: str, parameters: Mapping[str, Any]) -> str:
    """What to do about an op that a stream cannot have: as a sentence goes on after "looks at the whole clip; ".

    Args:
        op: as it is listed, such as ``decibel(top_db=80.0)``.
        parameters: of the front end, of which one may do.
    """
    name = op.partition("(")[0]
    if name == "decibel":
        if parameters.get("top_db") is not None:
            return "give top_db=None"
        return "give linear=True" if "linear" in parameters else "use decibels without top_db, of a fixed ref"
    if name in LENGTHS:
        return "give length=None" if parameters.get("length") is not None else f"leave {name} out, since a stream has no length"
    if name in STATISTICS:
        if parameters.get("cmvn") == "utterance":
            return "give cmvn='sliding', over the last cmvn_window frames"
        return "use a fixed mean and scale in its place, or for features sliding_cmvn, with a model that is trained so"
    if name in LIMITS:
        return "use fixed limits in its place, with a model that is trained so"
    if name.startswith("smooth"):
        return "stream a MelSpectrogram of the same parameters and smooth its frames as they come, y = b x + (1 - b) y"
    return f"leave {name} out"
