"""A plot as SVG: some panels beside each other, one line in each, all over the same values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from bench.samples import plain

WIDTH, HEIGHT = 300, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 40, 34
_STYLE = (
    "text{font:11px sans-serif;fill:#57606a}.title{font-size:12px;fill:#24292f}"
    "line{stroke:#d0d7de}polyline{fill:none;stroke:#198754;stroke-width:2}circle{fill:#198754}"
    "@media(prefers-color-scheme:dark){text{fill:#8b949e}.title{fill:#e6edf3}line{stroke:#30363d}}"
)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the panels: its title, the unit of its values, and the name of its series."""

    title: str
    unit: str
    series: str


def draw(panels: Sequence[Panel], series: Mapping[str, Sequence[Point]]) -> str:
    """Draw each panel's series over the number of instances; both axes begin at 0."""
    width = WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}">',
        f"<style>{_STYLE}</style>",
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number * WIDTH} 0)">')
        parts += _panel(panel, series[panel.series])
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, points: Sequence[Point]) -> list[str]:
    most_x, most_y = max(x for x, _ in points), _round_up(max(y for _, y in points))

    def place(x: float, y: float) -> Point:
        across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return LEFT + across * x / most_x, HEIGHT - BOTTOM - up * y / most_y

    parts = [f'<text class="title" x="{LEFT}" y="18">{escape(panel.title)}, {escape(panel.unit)}</text>']
    for share in (0, 0.5, 1):
        left, height = place(0, most_y * share)
        parts.append(f'<line x1="{left}" y1="{height:.1f}" x2="{WIDTH - RIGHT}" y2="{height:.1f}"/>')
        label = f"{most_y * share:g}"
        parts.append(f'<text x="{left - 6}" y="{height + 4:.1f}" text-anchor="end">{label}</text>')
    corners = [place(x, y) for x, y in points]
    parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in corners)}"/>')
    for (x, y), (value_x, value_y) in zip(corners, points, strict=True):
        tip = f"<title>{value_x:g} instances: {plain(value_y)} {escape(panel.unit)}</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3">{tip}</circle>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 18}" text-anchor="middle">{value_x:g}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">instances</text>')
    return parts


def _round_up(value: float) -> float:
    """The next 1, 2, 4, 5, 6 or 8 of a power of ten: an axis that ends in a round number."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(step * power for step in (1, 2, 4, 5, 6, 8, 10) if step * power >= value)
