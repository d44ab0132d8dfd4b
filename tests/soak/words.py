"""What was said of the jobs, what the speakers were told, and what the rows say was decided."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from celery_external import Job, states
from tests.soak.notes import Notes

#: What a job's history says when an attempt was decided.
OUTCOMES = (
    states.SUCCEEDED, states.FAILED, states.CANCELLED, states.TIMED_OUT, states.LOST,
    states.CONTINUED,
)  # fmt: skip
MEANING = {"succeed": states.SUCCEEDED, "fail": states.FAILED, "cancel": states.CANCELLED}

Decision = Mapping[str, Any]


class Words:
    """Each outcome the first signal's: receipts, history and rows tell the same story."""

    def __init__(self, notes: Notes) -> None:
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._said = {(line["by"], line["job"]): line for line in notes.read("said")}
        self._heard = {(line["by"], line["job"]): line for line in notes.read("heard")}
        self.counts["signals"] = len(self._said)
        for line in self._heard.values():
            self.counts[f"signals {line['status']}"] += 1
        self.counts["signals whose process was killed"] = len(self._said) - len(self._heard)

    def check(self, jobs: Mapping[str, Job], decisions: Iterable[Decision]) -> None:
        """Compare what was said with what was decided, both ways."""
        decided: defaultdict[tuple[str, int], list[Decision]] = defaultdict(list)
        for decision in decisions:
            decided[decision["job_id"], decision["attempt"]].append(decision)
        for (job_id, attempt), entries in decided.items():
            if len(entries) > 1:
                self.faults.append(f"{job_id} attempt {attempt} was decided twice: {entries}")
            self._check_decision(jobs[job_id], entries[0])
        for (by, job_id), line in self._heard.items():
            entries = decided[job_id, line["attempt"]]
            if line["status"] == "applied" and [entry["by"] for entry in entries] != [by]:
                self.faults.append(f"{by} was told that it decided {job_id}, but: {entries}")

    def _check_decision(self, job: Job, decision: Decision) -> None:
        by, event = decision["by"], decision["event"]
        is_last = job.attempt == decision["attempt"]
        if is_last and job.kind != event:
            self.faults.append(f"{job.id}: decided as {event}, and the row is {job.kind}")
        if by is None:
            return
        said = self._said.get((by, job.id))
        if said is None or MEANING[said["word"]] != event:
            self.faults.append(f"{by} did not say that {job.id} {event}")
            return
        if is_last and job.state == states.SUCCESS and job.result != said["value"]:
            self.faults.append(f"{job.id}: {by} said {said['value']!r}, the row {job.result!r}")
        self._check_heard(by, job)

    def _check_heard(self, by: str, job: Job) -> None:
        status = self._heard.get((by, job.id), {}).get("status", "nothing")
        if status == "unavailable":
            self.counts["signals that counted, the database broke off before it said so"] += 1
        elif status == "nothing":
            self.counts["signals that counted, their process was killed before it knew"] += 1
        elif status != "applied":
            self.faults.append(f"{by} was told {status}, but decided {job.id}")
