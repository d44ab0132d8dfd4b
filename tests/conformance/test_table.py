"""The suite runs what it says, and docs/conformance.md says what it runs."""

from __future__ import annotations

import itertools

from tests.conformance.cases import CASES
from tests.conformance.combinations import BACKENDS, BROKERS, COMBINATIONS, TABLES
from tests.conformance.table import PATH, make_page, why_not


def test_every_pair_of_values_meets() -> None:
    wanted = {
        frozenset(pair)
        for left, right in itertools.combinations((BROKERS, BACKENDS, TABLES), 2)
        for pair in itertools.product(left, right)
    }
    met: set[frozenset[str]] = set().union(*(combination.pairs for combination in COMBINATIONS))
    assert met == wanted


def test_every_case_meets_every_value_that_can_run_it() -> None:
    with_chords = {"Redis", "database"}
    for case in CASES:
        met = {
            value
            for one in COMBINATIONS
            if why_not(one, case) is None
            for value in (one.broker, one.backend, one.table)
        }
        backends = with_chords if case.needs_chords else set(BACKENDS)
        assert met == {*BROKERS, *TABLES, *backends}, case.name


def test_each_case_has_a_name_and_a_title_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({case.title for case in CASES}) == len(CASES)


def test_the_page_says_what_the_suite_runs() -> None:
    hint = "write it anew with: python -m tests.conformance.table"
    assert PATH.read_text() == make_page(), hint
