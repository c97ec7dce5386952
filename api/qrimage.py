"""QR codes as pictures.

A picture costs tens of milliseconds, and a dashboard asks for the same one every second, so the last few
are kept. Error correction is "M": a pairing code is long, and a phone reads fewer, larger modules better
from a screen."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from itertools import groupby

from qrcode.constants import ERROR_CORRECT_M
from qrcode.image.pil import PilImage
from qrcode.main import QRCode

_KEPT = 64
_BORDER = 4
"""Modules of white around the code: the standard's quiet zone."""
_PIXELS = 6
"""Of one module in the PNG."""


@lru_cache(maxsize=_KEPT)
def png(code: str, color: str) -> bytes:
    """The code as a PNG, dark modules in `color` (`#rrggbb`) on white."""
    image = _qr(code).make_image(fill_color=color, back_color="#ffffff")
    out = io.BytesIO()
    image.save(out, "PNG")  # type: ignore[no-untyped-call]
    return out.getvalue()


@lru_cache(maxsize=_KEPT)
def svg(code: str, color: str) -> bytes:
    """The code as an SVG of one path, dark modules in `color` (`#rrggbb`) on white."""
    matrix = _qr(code).get_matrix()  # type: ignore[no-untyped-call]
    size = len(matrix)
    path = "".join(_dark_runs(row, y) for y, row in enumerate(matrix))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<rect width="{size}" height="{size}" fill="#ffffff"/><path fill="{color}" d="{path}"/></svg>\n'
    ).encode("ascii")


def data_url(code: str, color: str) -> str:
    """The PNG as `data:image/png;base64,…`, the form of `base64` in Evolution API."""
    return "data:image/png;base64," + base64.b64encode(png(code, color)).decode("ascii")


def _qr(code: str) -> QRCode[PilImage]:
    qr: QRCode[PilImage] = QRCode(error_correction=ERROR_CORRECT_M, border=_BORDER, box_size=_PIXELS)
    qr.add_data(code, optimize=0)  # type: ignore[no-untyped-call]
    qr.make(fit=True)  # type: ignore[no-untyped-call]
    return qr


def _dark_runs(row: list[bool], y: int) -> str:
    """Each run of dark modules in a row as one rectangle of the path."""
    runs, x = [], 0
    for dark, modules in groupby(row):
        width = len(list(modules))
        if dark:
            runs.append(f"M{x} {y}h{width}v1h-{width}z")
        x += width
    return "".join(runs)
