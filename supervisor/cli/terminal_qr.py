"""QR codes as text: two rows of modules in each line, by half blocks."""

from __future__ import annotations

from typing import Any

from qrcode.constants import ERROR_CORRECT_L
from qrcode.main import QRCode

QUIET_ZONE = 2
"""Modules of white around the code. The standard asks for four; two are enough on a screen and save lines."""

_BLACK_ON_WHITE = "\x1b[38;2;0;0;0;48;2;255;255;255m"
_RESET = "\x1b[0m"
_BLOCKS = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}


def modules(code: str) -> list[list[bool]]:
    """The code's modules with its quiet zone, row by row; True is dark.

    The lowest error correction gives the fewest modules: a screen has no stains, but little room.
    """
    qr: Any = QRCode(error_correction=ERROR_CORRECT_L, border=QUIET_ZONE)
    qr.add_data(code, optimize=0)
    qr.make(fit=True)
    return [[bool(module) for module in row] for row in qr.get_matrix()]


def draw(code: str, *, color: bool, light_terminal: bool = False) -> str:
    """The code as lines of text.

    Args:
        code: what a phone shall read.
        color: paint black on white, which is right on every terminal; otherwise the text's own colour is
            used.
        light_terminal: without colours, whether the terminal is dark on light rather than light on dark.
    """
    rows = modules(code)
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    ink = color or light_terminal
    lines = [
        "".join(_BLOCKS[(upper is ink, lower is ink)] for upper, lower in zip(top, bottom, strict=True))
        for top, bottom in zip(rows[::2], rows[1::2], strict=True)
    ]
    return "\n".join(f"{_BLACK_ON_WHITE}{line}{_RESET}" if color else line for line in lines)


def size(code: str) -> tuple[int, int]:
    """Columns and lines that the drawing takes."""
    side = len(modules(code))
    return side, (side + 1) // 2
