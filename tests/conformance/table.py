"""The table of docs/conformance.md: ``python -m tests.conformance.table`` writes it anew."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.cases import CASES, Case
from tests.conformance.combinations import COMBINATIONS, Combination

PATH = Path(__file__).parent.parent.parent / "docs" / "conformance.md"

NO_CHORDS = "not possible: no chords"


def why_not(combination: Combination, case: Case) -> str | None:
    """Why a case cannot run on a combination; None: it can, and is compared."""
    return NO_CHORDS if case.needs_chords and not combination.has_chords else None
