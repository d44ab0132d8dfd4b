"""Charts of figures as SVG: a bar for each median, and a line from the least to the most."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.benchmarks.figures import Figure, tell_number

WIDTH = 720
_LABELS = 250
_VALUES = 100
_ROW = 24
_TOP = 36
#: On a ground of its own: the viewer's wish and the page's colour may be at odds.
_STYLE = (
    ".ground{fill:#fff}text{font:12px system-ui,sans-serif;fill:#24292f}"
    ".title{font-weight:600;font-size:14px}"
    ".value{font-variant-numeric:tabular-nums}.bar{fill:#3b82c4}.peer{fill:#9aa4ae}"
    ".spread{stroke:#24292f;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){.ground{fill:#0d1117}text{fill:#e6edf3}.spread{stroke:#e6edf3}}"
)


def draw(title: str, figures: Sequence[tuple[str, Figure]]) -> str:
    """A chart of figures of one unit, each with its label; what others are held against is grey."""
    most = max(figure.values.most for _, figure in figures) or 1
    has_peers = any(figure.ratios for _, figure in figures)
    scale = (WIDTH - _LABELS - _VALUES) / most
    height = _TOP + _ROW * len(figures) + 10
    said = "; ".join(f"{label}: {figure.values} {figure.unit}" for label, figure in figures)
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(said)}</desc>",
        f"<style>{_STYLE}</style>",
        '<rect class="ground" width="100%" height="100%" rx="6"/>',
        f'<text class="title" x="12" y="22">{escape(title)}</text>',
    ]
    for place, (label, figure) in enumerate(figures):
        kind = "peer" if has_peers and figure.ratios is None else "bar"
        lines += _draw_bar(_TOP + _ROW * place, label, figure, scale, kind)
    return "\n".join([*lines, "</svg>", ""])


def _draw_bar(top: float, label: str, figure: Figure, scale: float, kind: str) -> list[str]:
    least, middle, most = (
        _LABELS + value * scale
        for value in (figure.values.least, figure.values.middle, figure.values.most)
    )
    line = top + _ROW / 2
    shown = tell_number(figure.values.middle)
    size = f'width="{middle - _LABELS:.1f}" height="{_ROW - 8}"'
    return [
        f'<text x="{_LABELS - 8}" y="{top + 16}" text-anchor="end">{escape(label)}</text>',
        f'<rect class="{kind}" x="{_LABELS}" y="{top + 4}" {size} rx="2"/>',
        f'<line class="spread" x1="{least:.1f}" x2="{most:.1f}" y1="{line}" y2="{line}"/>',
        f'<text class="value" x="{most + 6:.1f}" y="{top + 16}">{shown}</text>',
    ]
