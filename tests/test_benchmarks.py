"""The benchmarks can be run, and what the page on limits says is what they found."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import BENCHMARKS, main
from tests.benchmarks.chapters import CHAPTERS
from tests.benchmarks.records import Records
from tests.benchmarks.report import PAGE
from tests.benchmarks.report import main as report
from tests.benchmarks.sized import check_disk, parse_size, sizes_up_to

MARKERS = "# Limits\n\n<!-- bench:signal -->\n<!-- /bench -->\n"
#: Of each case, the values of three rounds.
MADE_UP = {"floor": (1000, 2000, 4000), "commit": (500, 1400, 2400), "send": (300, 500, 1000)}
TABLE = """\
# Limits

<!-- bench:signal -->
![Signals a second](images/bench-signal.svg)

| kind | callers | case | median of the rounds (least to most) | beside the bare update | \
goal | reached |
| --- | --- | --- | --- | --- | --- | --- |
| processes | 8 | commit | 1,400 (500 to 2,400) per second | 0.6 (0.5 to 0.7) | \
0.6 or more beside it | yes |
| processes | 8 | floor | 2,000 (1,000 to 4,000) per second |  |  |  |
| processes | 8 | send | 500 (300 to 1,000) per second | 0.25 (0.25 to 0.3) | \
0.35 or more beside it | **no** |
<!-- /bench -->
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The raw results of two runs, of which the first is superseded."""
    path = tmp_path / "bench.jsonl"
    old = Records(path, {"fsync": "on"}, at="2026-01-01T00:00:00Z")
    old.add("signal", "floor", 1, "per second", kind="processes", callers=8, round=1)
    records = Records(path, {"fsync": "on"})
    for case, values in MADE_UP.items():
        for number, value in enumerate(values, 1):
            records.add("signal", case, value, "per second",
                        kind="processes", callers=8, round=number)  # fmt: skip
    return path


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "limits.md"
    path.write_text(MARKERS)
    return path


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_can_be_run(name: str) -> None:
    module = importlib.import_module(f"tests.benchmarks.{name}")
    assert list(inspect.signature(module.measure).parameters) in (
        ["rig", "records", "rounds"],
        ["_rig", "records", "rounds"],
    )


def test_the_help_names_each_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out.replace("\n", " ")
    assert [name for name in BENCHMARKS if name not in said] == []


def test_what_there_is_none_of_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["juggling"])
    assert "invalid choice: 'juggling'" in capsys.readouterr().err


def test_the_readme_tells_of_each_benchmark() -> None:
    readme = (Path(__file__).parent / "benchmarks" / "README.md").read_text()
    assert [name for name in BENCHMARKS if f"\n| `{name}` | " not in readme] == []


def test_the_page_has_a_place_for_each_benchmark() -> None:
    markers = [f"<!-- bench:{chapter.benchmark} -->" for chapter in CHAPTERS]
    assert [marker for marker in markers if marker not in PAGE.read_text()] == []


def test_the_page_says_what_the_raw_results_say() -> None:
    assert report(["--check"]) == 0, "run python -m tests.benchmarks.report"


def test_the_report_tells_medians_ratios_and_goals(results: Path, page: Path) -> None:
    assert report(["--results", str(results), "--page", str(page)]) == 0
    assert page.read_text() == TABLE
    chart = (page.parent / "images" / "bench-signal.svg").read_text()
    assert "processes, 8 callers, commit: 1,400 (500 to 2,400) per second" in chart


def test_a_page_that_says_something_else_is_found(
    results: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--results", str(results), "--page", str(page)]
    assert report([*arguments, "--check"]) == 1
    assert page.read_text() == MARKERS
    assert report(arguments) == 0
    assert report([*arguments, "--check"]) == 0
    page.write_text(page.read_text().replace("1,400", "1,500"))
    capsys.readouterr()
    assert report([*arguments, "--check"]) == 1
    assert capsys.readouterr().err == f"{page} is not what {results} says\n"


@pytest.mark.parametrize(
    ("text", "size"), [("1000", 1_000), ("20k", 20_000), ("10m", 10_000_000), ("1M", 1_000_000)]
)
def test_sizes_may_be_short(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_run_compares_the_sizes_up_to_the_largest() -> None:
    assert sizes_up_to(20_000) == [1_000, 20_000]
    assert sizes_up_to(1_000_000) == [1_000, 100_000, 1_000_000]


def test_what_would_fill_the_disk_is_refused() -> None:
    with pytest.raises(
        SystemExit, match=r"^1,000,000,000,000 parked jobs need about 2500003 GB in "
    ):
        check_disk(10**12)
