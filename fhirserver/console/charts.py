"""Bar charts as SVG, drawn on the server. Colours come from the style sheet; the numbers stand in a table beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT, _LEFT, _FOOT, _TOP = 700, 220, 56, 26, 12


def bars(title: str, values: Sequence[tuple[str, int]], number: Callable[[int], str]) -> Markup:
    """One bar for each (label, value). `title`: what screen readers say of the picture. `number`: how one is written."""
    most = _ceiling(max((value for _, value in values), default=0))
    step = (_WIDTH - _LEFT) / max(1, len(values))
    height = _HEIGHT - _FOOT - _TOP
    parts = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            _WIDTH, _HEIGHT, title
        )
    ]
    for line in range(5):
        value = most * line / 4
        y = _TOP + height - height * line / 4
        label = number(int(value)) if value == int(value) else ""
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(_LEFT, _WIDTH, y, y)
        )
        parts.append(
            Markup('<text class="axis" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                _LEFT - 8, y + 4, label
            )
        )
    for at, (day, value) in enumerate(values):
        x, tall = _LEFT + at * step, height * value / most
        parts.append(
            Markup('<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                x + step * 0.15, _TOP + height - tall, step * 0.7, tall
            )
        )
        parts.append(
            Markup('<text class="axis" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                x + step / 2, _HEIGHT - 6, day
            )
        )
    return Markup("").join([*parts, Markup("</svg>")])


def _ceiling(value: int) -> int:
    """A round number not below `value`, at least 4."""
    power = 1
    while True:
        for factor in (4, 8, 12, 20, 32):
            if factor * power >= value:
                return factor * power
        power *= 10
