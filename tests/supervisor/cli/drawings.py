"""Reads QR codes from a terminal's output, as a phone held to the screen does."""

from __future__ import annotations

from PIL import Image

from tests.camera import read_qr

BLOCKS = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}


def decode(drawing: str, *, ink_is_dark: bool) -> str:
    """What a phone reads from lines of half blocks."""
    rows: list[list[int]] = []
    for line in drawing.splitlines():
        pairs = [BLOCKS[character] for character in line]
        rows += [[pair[0] for pair in pairs], [pair[1] for pair in pairs]]
    image = Image.new("L", (len(rows[0]), len(rows)))
    image.putdata([0 if bool(module) is ink_is_dark else 255 for row in rows for module in row])
    side = image.resize((image.width * 4, image.height * 4), Image.Resampling.NEAREST)
    return read_qr(side)


def is_drawn(line: str) -> bool:
    """Whether a line of output is a part of a drawing."""
    return bool(line) and set(line) <= set(BLOCKS)


def drawings(output: str) -> list[str]:
    """The blocks of lines that are drawn, in order."""
    blocks: list[list[str]] = [[]]
    for line in output.splitlines():
        if is_drawn(line):
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return ["\n".join(block) for block in blocks if block]
