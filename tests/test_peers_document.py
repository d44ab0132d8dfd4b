"""The page of the peers tells what its raw results say, of all that is measured."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.benchmarks.peers.__main__ import KINDS
from tests.benchmarks.peers.guarantees import GUARANTEES
from tests.benchmarks.peers.report import NAMES, write
from tests.processes import REPOSITORY

PAGE = REPOSITORY / "docs/peers.md"
RESULTS = REPOSITORY / "docs/peers.jsonl"


def test_the_page_is_what_its_raw_results_give(tmp_path: Path) -> None:
    page = Path(shutil.copy(PAGE, tmp_path))
    write(RESULTS, page)
    assert page.read_text() == PAGE.read_text()


def test_every_peer_that_is_measured_has_a_name_and_its_guarantees() -> None:
    names = {name.removesuffix("-processes") for name in KINDS}
    assert names == set(NAMES) == set(GUARANTEES)
