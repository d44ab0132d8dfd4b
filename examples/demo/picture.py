"""Draws a product: an SVG composed from its description."""

from __future__ import annotations

import hashlib
import math
import textwrap
from html import escape

from .products import Product

WIDTH, HEIGHT = 800, 500


def draw(product: Product) -> str:
    """A poster with the title, the wrapped description and a pattern of the product's own."""
    dark, light = product["colours"]
    lines = textwrap.wrap(product["description"], 50)
    text = "".join(f'<tspan x="48" dy="24">{escape(line)}</tspan>' for line in lines)
    size = min(46, 1080 // len(product["title"]))  # the longest fits too
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">
<title>{escape(product["title"])}</title>
<defs><linearGradient id="sky" x1="0" y1="0" x2="1" y2="1">
<stop offset="0" stop-color="{escape(light)}"/><stop offset="1" stop-color="#fff"/>
</linearGradient></defs>
<rect width="{WIDTH}" height="{HEIGHT}" fill="url(#sky)"/>
<g fill="{escape(dark)}">{_draw_flower(product["title"])}</g>
<g fill="{escape(dark)}" font-family="Georgia, serif">
<text x="48" y="72" font-size="18" letter-spacing="3">{escape(product["category"].upper())}</text>
<text x="48" y="130" font-size="{size}" font-weight="bold">{escape(product["title"])}</text>
<text x="48" y="{HEIGHT - 48}" font-size="34">{escape(product["price"])}</text>
<text y="170" font-size="17">{text}</text>
</g>
</svg>
"""


def _draw_flower(seed: str) -> str:
    # Two rings of petals whose number and shape come from the title, so that no two look alike.
    digest = hashlib.sha256(seed.encode()).digest()
    petals = []
    for ring in range(2):
        count = 5 + digest[ring] % 8
        reach = 44 + digest[2 + ring] % 40 + 46 * ring
        for petal in range(count):
            angle = 360 / count * petal + digest[4 + ring] % 90
            x = 660 + reach * math.cos(math.radians(angle))
            y = 350 + reach * math.sin(math.radians(angle))
            petals.append(
                f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{reach / 2:.1f}" '
                f'ry="{9 + digest[6 + ring] % 14}" opacity="{0.5 - 0.28 * ring:.2f}" '
                f'transform="rotate({angle:.1f} {x:.1f} {y:.1f})"/>'
            )
    return "".join(petals) + '<circle cx="660" cy="350" r="20"/>'
