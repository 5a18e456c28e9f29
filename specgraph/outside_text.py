"""Text from outside, such as file names: shown as it is, never as markup, and in characters that can be shown."""

from __future__ import annotations

LONGEST_TITLE = 100  # characters


def printable(text: str) -> str:
    """The text with control characters, and bytes of names that are no text, as escapes: ``\\x1b``, ``\\udce9``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode() for one in text)


def title(text: str) -> str:
    """The text for a picture: matplotlib takes what lies between dollar signs for mathematics."""
    shown = printable(text)
    if len(shown) > LONGEST_TITLE:
        shown = f"{shown[: LONGEST_TITLE // 2]} ... {shown[-LONGEST_TITLE // 2 :]}"
    return shown.replace("$", r"\$")
