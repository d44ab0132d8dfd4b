"""What each peer's figures stand for, as its documentation or source says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Guarantees(NamedTuple):
    """One peer's, a sentence or two beside each figure."""

    #: What is measured, and what holds when the call that creates returns.
    create: str
    #: What is measured, and what holds when the call that completes returns.
    complete: str = "-"
    #: What a second, different outcome meets.
    second: str = "-"
    #: What is kept of it.
    history: str = "-"
    #: How the next step is found and run, and how often it may run.
    proceed: str = "-"
    #: What one that waits costs.
    waiting: str = "-"


GUARANTEES: Mapping[str, Guarantees] = {
    "floor": Guarantees(
        "`INSERT … RETURNING` of one row. Committed; nothing else.",
        "`UPDATE … RETURNING` of one row by its key. Committed; nobody is told.",
    ),
    "ours": Guarantees(
        "A chain's `apply_async`: row committed, message with the broker.",
        "`signal_succeeded(…, attempt=1, by=…)`: outcome and history committed, resume message "
        "with the broker, or owed to the sweep.",
        "`JobAlreadyCompletedError`, with the winner; an equal one is a `duplicate`",
        "outcome, who, when, each refusal",
        "A worker that blocks on the broker. Once; again only if a worker dies while it hands on.",
        "one row; one query each 10 s for all",
    ),
    "by-hand": Guarantees(
        "Row committed, then `send_task`: a crash between loses the message.",
        "`UPDATE … WHERE state = 'waiting'` committed, then `send_task`: a crash between, or a "
        "broker away, **loses the next step for good**.",
        "zero rows, if one looks",
        "the row's last state",
        "A worker that blocks on the broker. At most once, see left; with `acks_late` also twice.",
        "one row; nothing wakes it at a deadline",
    ),
    "dbos": Guarantees(
        "`DBOSClient.enqueue`: workflow row committed.",
        "`DBOSClient.send`: message row committed, `NOTIFY` by trigger.",
        "accepted as one more message; `recv` takes the oldest, the others stay (an "
        "`idempotency_key` has an equal one ignored)",
        "messages, and the output of each step",
        "`LISTEN`; each waiting `recv` looks itself once a minute. Message consumed and recorded "
        "in one transaction: once; steps at least once.",
        "a row, and a thread of an executor (async: a coroutine)",
    ),
    "absurd": Guarantees(
        "`spawn`: task and run committed, in one function call.",
        "`emit_event`: event, run, checkpoint and task committed, in one function call.",
        "ignored without a word (first write wins); an event belongs to a queue, not to a task",
        "the event, checkpoints; not by whom",
        "Workers poll, by default each 0.25 s. The task runs again from its start, steps that are "
        "recorded are not repeated: steps at least once.",
        "rows of four tables, no worker",
    ),
    "awa": Guarantees(
        "`Client.insert`: job committed, `NOTIFY`.",
        "`complete_external` of a job that returned `WaitForCallback`: lease removed, receipt "
        "closed, done entry written, in one transaction. The job ends, no code of it goes on.",
        "`CallbackNotFound`",
        "the job's last entry, and its attempts' errors",
        "`resume_external` of a handler that sits in `wait_for_callback`: it asks the database "
        "each 0.2 s, for each job. When its worker dies, the job runs again from its start.",
        "parked: a row; with code to go on: also a place of its worker",
    ),
    "procrastinate": Guarantees(
        "`defer`: job committed, `NOTIFY`. It cannot be completed from outside, so no more is "
        "measured."
    ),
    "restate": Guarantees(
        "HTTP `…/send`: in the server's own log, not in PostgreSQL.",
        "HTTP `/restate/awakeables/…/resolve`: in the server's own log, not in PostgreSQL.",
        "202, and ignored without a word",
        "the invocation's journal, by default for a day",
        "The server pushes to the service over an open stream. Recorded steps are not repeated: "
        "steps at least once.",
        "journal entries; a stream for the first minute, after it nothing",
    ),
}
