"""``current_job``: what a running trigger sees and says of its job."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from celery.local import Proxy

from . import links, references, steering
from .checks import check_json, check_meta_key, check_reference
from .errors import JobAlreadyCompletedError, NoCurrentJobError, ReferenceTakenError
from .store import deliveries, kept

if TYPE_CHECKING:
    from .delivery import Delivery
    from .store.database import Transaction
    from .tokens import Action, Expires


class Meta(MutableMapping[str, Any]):
    """A job's meta inside its trigger: each assignment is saved at once.

    Values are copied as JSON on the way in and on the way out, so a nested value is changed by
    assigning it again.
    """

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def __getitem__(self, key: str) -> Any:
        return copy.deepcopy(self._kept[key])

    def __setitem__(self, key: str, value: Any) -> None:
        self._save({**self._kept, check_meta_key(key): check_json("meta", value)})

    def __delitem__(self, key: str) -> None:
        if key not in self._kept:
            raise KeyError(key)
        self._save({name: value for name, value in self._kept.items() if name != key})

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return repr(self._kept)

    @property
    def _kept(self) -> dict[str, Any]:
        kept: dict[str, Any] = self._delivery.row["meta"]
        return kept

    def _save(self, meta: dict[str, Any]) -> None:
        delivery = self._delivery
        with delivery.installation.database.alone() as tx:
            deliveries.save_meta(tx, delivery.row, delivery.claim, meta)
        delivery.row["meta"] = meta


class CurrentJob:
    """The job whose trigger is running."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._meta = Meta(delivery)

    def __repr__(self) -> str:
        return f"<CurrentJob {self.id} attempt {self.attempt}>"

    @property
    def id(self) -> str:
        """The task id."""
        return self._delivery.job_id

    @property
    def attempt(self) -> int:
        """Counted from 1; tell it to the outside system, and pass it on with its answer."""
        attempt: int = self._delivery.row["attempt"]
        return attempt

    @property
    def labels(self) -> tuple[str, ...]:
        """The task's labels and the call's."""
        return tuple(self._delivery.row["labels"])

    @property
    def meta(self) -> Meta:
        """What people see of the job; each assignment is saved at once."""
        return self._meta

    @property
    def reference(self) -> str | None:
        """The outside system's own id for the work; saved when it is set.

        Raises:
            ReferenceTakenError: Another job of this task has it.
        """
        reference: str | None = self._delivery.row["reference"]
        return reference

    @reference.setter
    def reference(self, value: str) -> None:
        delivery = self._delivery
        checked = check_reference(value)
        database = delivery.installation.database
        try:
            with database.transaction() as tx:
                self._save_reference(tx, checked)
        except Exception as exc:
            if database.is_integrity_error(exc):
                raise ReferenceTakenError(checked, delivery.task.name) from None
            raise
        delivery.row["reference"] = checked
        # The outside system may have been faster than this.
        claim = functools.partial(references.claim, delivery.installation, delivery.task.name)
        database.after_commit([], lambda _: claim(checked))

    def _save_reference(self, tx: Transaction, reference: str) -> None:
        delivery = self._delivery
        before = delivery.row["reference"]
        if not deliveries.save_reference(tx, delivery.row, delivery.claim, reference):
            # Another delivery carries on. What comes by this reference is for this attempt still.
            kept.keep_ended(tx, delivery.row, reference)
        elif before != reference:
            kept.keep_ended(tx, delivery.row, before)

    def token(self, action: Action, *, expires: Expires = None) -> str:
        """A signed token for this attempt; see :meth:`External.token`."""
        this_attempt = (self.id, self.attempt)
        return links.token(self._delivery.installation, this_attempt, action, expires)

    def callback_url(self, action: Action, *, expires: Expires = None) -> str:
        """Where the outside system, or a person, says how this attempt ended.

        See :meth:`External.callback_url`.
        """
        this_attempt = (self.id, self.attempt)
        return links.callback_url(self._delivery.installation, this_attempt, action, expires)

    def progress(
        self, current: float | None = None, total: float | None = None, message: str | None = None
    ) -> None:
        """Say how far the work is."""
        delivery = self._delivery
        steering.report_progress(
            delivery.installation, self.id, current, total, message, attempt=self.attempt
        )

    def raise_if_completed(self) -> None:
        """Stop here if somebody has completed the job meanwhile.

        Raises:
            JobAlreadyCompletedError: An outcome is recorded; nothing that follows would count.
        """
        job = steering.get(self._delivery.installation, self.id)
        if job.attempt != self.attempt or not job.is_open:
            raise JobAlreadyCompletedError(job, "triggered")


#: Set while a trigger runs.
running: ContextVar[CurrentJob | None] = ContextVar("celery_external_current_job", default=None)


def get_current_job() -> CurrentJob:
    """The job whose trigger runs here.

    Raises:
        NoCurrentJobError: No trigger runs here.
    """
    job = running.get()
    if job is None:
        raise NoCurrentJobError
    return job


class _CurrentJobProxy(Proxy):  # type: ignore[type-arg]  # generic in the stubs only
    """Has its class where no trigger runs, too: tools look at the names of a user's module."""

    def _get_class(self) -> type:
        return CurrentJob


#: The job whose trigger is running, as ``celery.current_task`` is the task.
current_job = cast("CurrentJob", _CurrentJobProxy(get_current_job))
