"""The page on limits from the raw results: ``python -m tests.benchmarks.report``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.chapters import CHAPTERS, Chapter
from tests.benchmarks.drawing import draw
from tests.benchmarks.figures import Figure, Line, figures_of, latest, resolve
from tests.benchmarks.records import read_records
from tests.processes import REPOSITORY

DOCS = REPOSITORY / "docs"
RESULTS = DOCS / "bench.jsonl"
PAGE = DOCS / "limits.md"
#: Between these stands what is generated.
MARKED = re.compile(r"(<!-- bench:(\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables and charts, or say whether they are as they should be."""
    parser = argparse.ArgumentParser(prog="report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it differs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args(arguments)
    differing = [
        path
        for path, text in render(given.results, given.page).items()
        if not path.exists() or path.read_text() != text
    ]
    if given.check:
        for path in differing:
            sys.stderr.write(f"{path} is not what {given.results} says\n")
        return int(bool(differing))
    for path, text in render(given.results, given.page).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


def render(results: Path, page: Path) -> dict[Path, str]:
    """The page and its charts as the results have them."""
    lines = read_records(results) if results.exists() else []
    by_benchmark = latest(lines)
    parts: dict[str, str] = {}
    if lines:
        parts["conditions"] = _tell_conditions(lines)
    files: dict[Path, str] = {}
    for chapter in CHAPTERS:
        found = by_benchmark.get(chapter.benchmark)
        if not found:
            continue
        figures = _sorted(chapter, figures_of(found, chapter.against))
        image = page.parent / "images" / f"bench-{chapter.benchmark}.svg"
        files[image] = draw(chapter.title, _drawn(chapter, figures))
        link = f"![{chapter.title}](images/{image.name})"
        parts[chapter.benchmark] = f"{link}\n\n{tell_table(chapter, figures)}"

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}{parts.get(match[2], '')}{match[3]}"

    files[page] = MARKED.sub(fill, page.read_text())
    return files


def tell(path: Path) -> None:
    """Print the tables."""
    for benchmark, lines in latest(read_records(path)).items():
        chapter = next((one for one in CHAPTERS if one.benchmark == benchmark), None)
        if chapter is not None:
            figures = _sorted(chapter, figures_of(lines, chapter.against))
            sys.stdout.write(f"\n{chapter.title}\n\n{tell_table(chapter, figures)}")


def tell_table(chapter: Chapter, figures: Sequence[Figure]) -> str:
    """A table in Markdown."""
    columns = [*chapter.conditions, "median of the rounds (least to most)"]
    columns += [chapter.beside] if chapter.beside else []
    columns += ["goal", "reached"] if chapter.goals else []
    rows = [columns, ["---"] * len(columns)]
    for figure in figures:
        row = [_tell_condition(figure.conditions.get(name)) for name in chapter.conditions]
        row.append(f"{figure.values} {figure.unit}")
        if chapter.beside:
            row.append(str(figure.ratios or ""))
        if chapter.goals:
            row += _tell_goal(chapter, figure)
        rows.append(row)
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _tell_goal(chapter: Chapter, figure: Figure) -> list[str]:
    """The first goal that is for this figure; what has nothing to be held against has none."""
    for goal in chapter.goals:
        is_for_ratio = goal.ratio_at_least is not None or goal.ratio_at_most is not None
        is_alone = is_for_ratio and figure.ratios is None
        if not is_alone and goal.where.items() <= figure.conditions.items():
            return [str(goal), "yes" if goal.is_reached(figure) else "**no**"]
    return ["", ""]


def _tell_condition(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _sorted(chapter: Chapter, figures: list[Figure]) -> list[Figure]:
    """By the columns: numbers by size, names by the alphabet."""

    def place(figure: Figure) -> list[tuple[float, str]]:
        values = (figure.conditions.get(name, "") for name in chapter.conditions)
        return [
            (value, "") if isinstance(value, int | float) else (0.0, str(value)) for value in values
        ]

    return sorted(figures, key=place)


def _drawn(chapter: Chapter, figures: Sequence[Figure]) -> list[tuple[str, Figure]]:
    drawn = resolve(chapter.drawn, [figure.conditions for figure in figures])
    return [
        (", ".join(_label(chapter, figure)), figure)
        for figure in figures
        if drawn.items() <= {**figure.conditions, "unit": figure.unit}.items()
    ]


def _label(chapter: Chapter, figure: Figure) -> list[str]:
    return [
        f"{value:,} {name}" if isinstance(value, int) else str(value)
        for name in chapter.conditions
        if (value := figure.conditions.get(name)) is not None and name not in chapter.drawn
    ]


def _tell_conditions(lines: Sequence[Line]) -> str:
    """What the runs were run on."""
    told: dict[str, list[str]] = {}
    for line in lines:
        versions = ", ".join(f"{name} {number}" for name, number in line["versions"].items())
        settings = ", ".join(f"{name} {value}" for name, value in line["settings"].items())
        changed = " with changes" if line["changed"] else ""
        conditions = (
            f"commit {line['commit']}{changed}; {line['machine']['cores']} cores; {versions}; "
            f"PostgreSQL: {settings}"
        )
        runs = told.setdefault(conditions, [])
        if line["run"] not in runs:
            runs.append(line["run"])
    return "".join(f"- {', '.join(runs)}: {conditions}\n" for conditions, runs in told.items())


if __name__ == "__main__":
    sys.exit(main())
