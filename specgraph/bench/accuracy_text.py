"""The accuracy report as text: tables, and docs/accuracy/README.md."""

from __future__ import annotations

from typing import Any

from specgraph.bench.accuracy import picture_name
from specgraph.bench.peers_cqt import KERNELS_ALONE, LIBROSA, OWN_KERNELS
from specgraph.bench.tables import Table, machine_text
from specgraph.bench.tones import DRAWN, SIGNALS


def table(result: dict[str, Any], whole: bool = False) -> Table:
    """The largest errors of one subject, and with ``whole`` the root mean square and the largest away from the ends too."""
    fields = ["largest", *(["rms"] if whole else []), *(["inside"] if whole and result["inside"] else [])]
    rows = []
    for row in result["rows"]:
        differs = [f"{name}={value}" for name, value in row["compared_with"].items() if name != "transform"]
        mark = f" ({', '.join(differs)})" if differs else ""
        rows.append((row["name"] + mark, *(" / ".join(f"{row[field][s]:.1e}" for field in fields) for s in SIGNALS)))
    title = f"{result['subject']} {result['size']}: largest error against float64, as a fraction of the peak"
    return Table(title, ("", *SIGNALS), tuple(rows))


def markdown(results: dict[str, Any]) -> str:
    """docs/accuracy/README.md."""
    parts = [
        "# Accuracy\n",
        f"Written by `{results['machine']['command']}`; the numbers are in [results.json](results.json).\n",
        machine_text(results["machine"]),
        ("Signals at 44.1 kHz: chirps from 55 to 22,050 Hz, linear and logarithmic, an impulse (1 s each), a chromatic scale of decaying "
        "harmonics (25 tones of 0.25 s), white noise (1 s). Every library is given the same float32 samples, and is compared with the float64 "
        "definition of the convention that it follows, all frames, those at the ends included. Two numbers: the largest difference as a fraction of "
        "the definition's peak, and the root mean square of the difference as a fraction of the definition's. Of constant-Q a third: the largest "
        "difference in frames whose kernels all lie within the clip; at its ends librosa and nnAudio pad an octave at a time at its own rate. "
        "Complex numbers differ by the modulus. float32 holds 6e-8.\n"),
    ]
    for result in results["results"]:
        parts += [f"## {result['subject']}, {result['size']}\n", f"Convention: {result['convention']}.\n", f"`{result['transform']}`\n"]
        parts.append(f"The lowering that specgraph chose: {', '.join(result['chosen'])}.\n")
        parts.append(table(result, whole=True).markdown())
        if result["inside"]:
            parts.append(_notes(result))
        parts += [f"![{result['subject']} of a {signal}]({picture_name(result['subject'], signal)})\n" for signal in DRAWN]
        if result["left_out"]:
            parts.append("Left out:\n\n" + "\n".join(f"- {one['name']}: {one['why']}" for one in result["left_out"]) + "\n")
    return "\n".join(parts)


def _notes(result: dict[str, Any]) -> str:
    """What the rows of constant-Q are, and where librosa's errors come from."""
    rows = {row["name"]: row for row in result["rows"]}
    notes = "\n".join(f"- **{name}**: {row['note']}" for name, row in rows.items() if row["note"]) + "\n"
    if not {LIBROSA, OWN_KERNELS, KERNELS_ALONE} <= rows.keys():
        return notes

    def largest(name: str) -> str:
        return ", ".join(f"{row:.1e}" for row in rows[name]["inside"].values())

    return (
        f"{notes}\n"
        "librosa takes the inner product with the kernel reversed in time, where the definition has its conjugate. The two are the same for kernels "
        "of even length, which lengths that are not rounded hardly ever give. A periodic window of odd length is centred half a sample before the frame's centre, and reversed half a sample after "
        "it: one sample of window off, felt most by the shortest kernels. In frames away from the ends that alone makes "
        f"{largest(KERNELS_ALONE)} of the peak ({', '.join(SIGNALS)}). librosa's difference is {largest(LIBROSA)}, and compared with its "
        f"own kernels {largest(OWN_KERNELS)}: so it is not much of it. "
        "The rest is its resampling by halves: in this size the highest bin of every octave but the first lies at 0.957 of half the rate that it is "
        "computed at, where librosa 0.11's soxr_hq passes half (a sine at 10,548 Hz, in the centre of its bin, comes out at 0.504 of the "
        "definition, and with res_type=\"fft\" at 0.999), and what lies above is folded down; "
        "and kernels whose lengths are rounded at the lower rates (sines between those bins differ by 5e-3 to 7e-3 of the peak, of which that rounding "
        "alone makes as much).\n"
    )
