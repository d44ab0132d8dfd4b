"""Databases with so many parked jobs, each built once a run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence

from celery import Celery
from redis import Redis

from celery_external import get_external
from tests.benchmarks.rig import Rig
from tests.benchmarks.tables import Tables

STEPS = (1_000, 100_000, 1_000_000, 10_000_000)
UNITS = {"k": 1_000, "m": 1_000_000}
#: What a job takes on the disk with its indexes, with room to work in, and what the log takes.
BYTES_A_JOB = 2_500
BYTES_BESIDE = 3_000_000_000
#: As many jobs have a label at each size, spread over the table.
JOBS_A_LABEL = 50
#: Seconds until what is signalled, and not sent, is due: later than the run ends.
GRACE = 7 * 86400.0


def parse_size(text: str) -> int:
    """How many jobs ``1000``, ``100k`` and ``10m`` are.

    Raises:
        ValueError: It is no number.
    """
    lower = text.strip().lower()
    unit = UNITS.get(lower[-1:], 1)
    return int(lower if unit == 1 else lower[:-1]) * unit


def sizes_up_to(largest: int) -> list[int]:
    """The sizes that a run compares."""
    return [*(size for size in STEPS if size < largest), largest]


class Sized(Tables):
    """A database of its own with ``size`` parked jobs, and the variables by which it is reached."""

    def __init__(self, rig: Rig, given: str, size: int) -> None:
        url = rig.postgres.create_database()
        self.size = size
        self.env = {
            **rig.env,
            "DATABASE_URL": url,
            "BROKER_URL": rig.valkey.fresh_database(),
            "NOTES_URL": rig.valkey.fresh_database(),
        }
        self.notes = Redis.from_url(self.env["NOTES_URL"])
        app = Celery(f"bench-{size}", broker=self.env["BROKER_URL"], set_as_current=False)
        app.conf.update(external_database_url=url, external_resume_grace=GRACE)
        super().__init__(url, get_external(app))
        self.copy_from(rig, given)
        self._given = given
        self.ids = self.add(size - 1)
        self.settle_down()

    def add(self, number: int) -> Sequence[str]:
        """Add parked jobs; their ids."""
        labels = max(1, self.size // JOBS_A_LABEL)
        # Not n alone: the jobs of a label would lie at equal distances.
        label = f"'label-' || abs(hashint4(n)) %% {labels}"
        return self.fill(self._given, number, labels=f"jsonb_build_array('every', {label})")

    def label(self, number: int) -> str:
        """One of the labels."""
        return f"label-{number % max(1, self.size // JOBS_A_LABEL)}"


def build_sizes(rig: Rig) -> list[Sized]:
    """The databases of all sizes; those that another benchmark of the run has built are taken."""
    sizes = [size for size in sizes_up_to(rig.size) if size not in rig.sized]
    check_disk(sum(sizes))
    if sizes:
        given = rig.park_one()
        rig.sized.update((size, Sized(rig, given, size)) for size in sizes)
    return [rig.sized[size] for size in sizes_up_to(rig.size)]


def check_disk(jobs: int) -> None:
    """Refuse what would fill the disk.

    Raises:
        SystemExit: It says how much is needed, and how much there is.
    """
    where = tempfile.gettempdir()
    needed, free = jobs * BYTES_A_JOB + BYTES_BESIDE, shutil.disk_usage(where).free
    if needed > free:
        message = (
            f"{jobs:,} parked jobs need about {needed / 1e9:.0f} GB in {where}, where "
            f"{free / 1e9:.0f} GB are free: choose a smaller SIZE, or another TMPDIR"
        )
        raise SystemExit(message)
