"""Names from anywhere as text that can be drawn."""

import unicodedata

__all__ = ["printable", "shortened"]

_UNSEEN = {"Cc", "Cs", "Cf", "Zl", "Zp", "Co", "Cn"}
"""Unicode categories of what has no form or changes the direction of what follows."""


def printable(text: str) -> str:
    """The text with a visible sign in place of every control character, and of what cannot be written as UTF-8."""
    return "".join(_sign(letter) if unicodedata.category(letter) in _UNSEEN else letter for letter in text)


def shortened(text: str, length: int) -> str:
    """The text without its middle, where it is too long: names that are paths differ at both ends."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def _sign(letter: str) -> str:
    return chr(0x2400 + ord(letter)) if ord(letter) < 0x20 else "\ufffd"
