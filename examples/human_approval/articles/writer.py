"""Stands in for the model that drafts articles: replace ``draft`` by a call of yours."""

from __future__ import annotations

from dataclasses import dataclass

RISKY = {"miracle", "rumour", "war", "scandal"}


@dataclass(frozen=True)
class Draft:
    """A text, and how sure its writer is of it, from 0 to 1."""

    content: str
    confidence: float


def draft(title: str) -> Draft:
    """Write an article."""
    is_risky = not RISKY.isdisjoint(title.lower().split())
    return Draft(f"{title}. More about it tomorrow.", 0.55 if is_risky else 0.98)
