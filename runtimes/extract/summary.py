"""What a job came to, read from its parts: so that it also tells of what was done before it was stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SHOWN = 20  # errors that are kept as sentences


@dataclass(frozen=True)
class Summary:
    """Of a finished job.

    Attributes:
        output: where the features are.
        files, seconds: that are in it, and the audio of those that have features.
        failed: files without features.
        kinds: how often each kind of error occurred, the most frequent first; salvaged files among them.
        errors: the first sentences.
        duplicates: files that the corpus named more than once, and that are in it once.
        passed_over: how many entries of the folder were not taken, by the reason; ``specgraph.folders`` has words for them.
        now_files, now_seconds, elapsed: files, seconds of audio and seconds that this run took; the rest was done before.
    """

    output: Path
    files: int
    seconds: float
    failed: int
    kinds: dict[str, int]
    errors: tuple[str, ...]
    duplicates: int = 0
    now_files: int = 0
    now_seconds: float = 0.0
    elapsed: float = 0.0
    passed_over: Mapping[str, int] = field(default_factory=dict)

    @property
    def wrong(self) -> int:
        """Files with an error, whether they have features or not."""
        return sum(self.kinds.values())


@dataclass
class Count:
    """Rows, counted part by part."""

    files: int = 0
    seconds: float = 0.0
    failed: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def add(self, durations: Iterable[float], errors: Iterable[str | None]) -> None:
        """Count rows."""
        for duration, error in zip(durations, errors, strict=True):
            self.files += 1
            self.seconds += duration
            if error is not None:
                self.failed += duration == 0
                self.kinds[error.partition(":")[0]] += 1
                if len(self.errors) < SHOWN:
                    self.errors.append(error)
