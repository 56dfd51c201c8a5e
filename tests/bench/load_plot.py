"""A load run as a picture: four curves over time in one SVG, drawn without any library."""

from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Final

from load_report import Result
from load_watch import Sample

WIDTH: Final = 900
PANEL_HEIGHT: Final = 150
LEFT, RIGHT, TOP, GAP = 70, 20, 40, 45
COLOURS: Final = ("#1f6f8b", "#c8553d", "#5b8c5a", "#7a5195")

Curve = tuple[str, Sequence[float]]


def write_plot(result: Result, folder: Path) -> Path:
    """Write the picture into a folder; return where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.scenario}.svg"
    path.write_text(_svg(result))
    return path


def _svg(result: Result) -> str:
    panels = _panels(result.samples)
    height = TOP + len(panels) * (PANEL_HEIGHT + GAP)
    at_s = [sample.at_s for sample in result.samples]
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
            ' font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(LEFT, 22, f"{result.scenario}: {result.setting}", size=14),
    ]
    for number, (title, curves) in enumerate(panels):
        top = TOP + number * (PANEL_HEIGHT + GAP) + 20
        parts += _panel(title, curves, at_s, top)
        parts += [
            _mark(at / at_s[-1], top, event if number == 0 else "") for at, event in result.marks
        ]
    return "\n".join([*parts, "</svg>\n"])


def _panels(samples: Sequence[Sample]) -> Sequence[tuple[str, Sequence[Curve]]]:
    kinds = sorted({kind for sample in samples for kind in sample.synced})
    cpu = [0.0] + [
        100 * (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s)
        for before, after in pairwise(samples)
    ]
    return [
        (
            "accounts synced in this round",
            [(kind, [sample.synced.get(kind, 0) for sample in samples]) for kind in kinds],
        ),
        ("% of one processor, daemon", [("", cpu)]),
        ("MB of memory, daemon", [("", _each(samples, lambda s: s.resident_bytes / 1e6))]),
        (
            "database connections, and open circuits",
            [
                ("connections", _each(samples, lambda s: s.connections)),
                ("endpoint circuits", _each(samples, lambda s: sum(s.open_circuits.values()))),
            ],
        ),
    ]


def _each(samples: Sequence[Sample], value: Callable[[Sample], float]) -> Sequence[float]:
    return [value(sample) for sample in samples]


def _panel(title: str, curves: Sequence[Curve], at_s: Sequence[float], top: int) -> Sequence[str]:
    highest = max(1.0, *(value for _, values in curves for value in values))
    bottom, right = top + PANEL_HEIGHT, WIDTH - RIGHT
    parts = [
        _text(LEFT, top - 6, title),
        f'<path d="M{LEFT} {top}V{bottom}H{right}" fill="none" stroke="#888"/>',
        _text(LEFT - 8, top + 10, f"{highest:,.0f}", anchor="end"),
        _text(LEFT - 8, bottom, "0", anchor="end"),
        _text(right, bottom + 16, f"{at_s[-1]:.0f} s", anchor="end"),
    ]
    for number, (name, values) in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{_x(at / at_s[-1]):.1f},{bottom - PANEL_HEIGHT * value / highest:.1f}"
            for at, value in zip(at_s, values, strict=True)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(_text(right - 120 * number, top - 6, name, anchor="end", colour=colour))
    return parts


def _mark(share: float, top: int, event: str) -> str:
    x = _x(share)
    line = f'<path d="M{x:.1f} {top}v{PANEL_HEIGHT}" stroke="#bbb" stroke-dasharray="4 3"/>'
    return line + _text(x + 3, top + PANEL_HEIGHT - 6, event, colour="#666")


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _text(
    x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", colour: str = "#222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
        f' fill="{colour}">{escape(text)}</text>'
    )
