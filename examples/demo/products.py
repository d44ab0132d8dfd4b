"""What the shop sells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict


class Product(TypedDict):
    """One entry of ``products.json``."""

    slug: str
    title: str
    category: str
    price: str
    description: str
    colours: list[str]


def load_products() -> list[Product]:
    """Read the products that come with the demo."""
    text = Path(__file__).with_name("products.json").read_text(encoding="utf-8")
    products: list[Product] = json.loads(text)
    return products
