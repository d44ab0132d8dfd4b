"""The result backend as an external task sees it: it knows when Celery has been told.

A delegate, not a backend: everything goes to the app's own. Celery's tracer tells it how a
delivery ended, after the next steps were published, and that is the moment to settle the row.
And where Celery would turn a failed *publish* of the next step into a FAILURE of this task, the
delegate refuses: the outcome is decided and stays owed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from celery import _state
from celery import states as celery_states
from celery.exceptions import Reject
from kombu.exceptions import EncodeError

from .begin import begin
from .broker import telling
from .delivery import Delivery, Superseded, delivery_of
from .installation import installation_of
from .keepers import is_from
from .parts import counted_once

logger = logging.getLogger("celery_external")

_REDIS = "celery.backends.redis"


class Undelivered(Reject):
    """Leaves Celery's tracer without a trace: the outcome stays owed, the sweep sends it again."""

    def __init__(self, problem: BaseException) -> None:
        super().__init__(repr(problem), requeue=False)
        self.problem = problem


class _ChordClaimedError(Exception):
    def __init__(self, group_id: str) -> None:
        super().__init__(f"chord {group_id} is claimed, and its body not started yet")


class SettlingBackend:
    """Delegates to a result backend and settles external jobs."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name == "_backend":  # a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self._backend, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._backend,)

    def mark_as_done(
        self,
        task_id: str,
        result: Any,
        request: Any = None,
        store_result: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        state: str = celery_states.SUCCESS,
    ) -> None:
        """Store a success; then the job is settled."""
        delivery = delivery_of(request)
        try:
            if delivery is not None:
                self._refuse_claimed_chord(request)
            with telling(delivery), counted_once(self._backend, request):
                self._backend.mark_as_done(task_id, result, request, store_result, state)
        except EncodeError:
            raise
        except Exception as exc:
            if delivery is None:
                raise
            raise self._undelivered(delivery, exc) from exc
        if delivery is not None:
            delivery.settle()

    def mark_as_failure(  # noqa: PLR0917 - Celery's signature
        self,
        task_id: str,
        exc: BaseException,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,  # noqa: FBT001, FBT002
        call_errbacks: bool = True,  # noqa: FBT001, FBT002
        state: str = celery_states.FAILURE,
    ) -> None:
        """Store a failure and call the errbacks, if it is this job's; then it is settled."""
        delivery = delivery_of(request) or self._begin_late(request, exc)
        if delivery is not None and not delivery.may_fail_with(exc):
            raise self._undelivered(delivery, exc) from exc
        try:
            if delivery is not None:
                self._refuse_claimed_chord(request)
                self._forget_half_told(request)
            with telling(delivery), counted_once(self._backend, request):
                self._backend.mark_as_failure(
                    task_id,
                    exc,
                    traceback=traceback,
                    request=request,
                    store_result=store_result,
                    call_errbacks=call_errbacks,
                    state=state,
                )
        except Exception as problem:
            if delivery is None or not delivery.row:
                raise
            raise self._undelivered(delivery, problem) from problem
        if delivery is not None:
            delivery.settle()

    def mark_as_retry(self, task_id: str, exc: BaseException, *args: Any, **kwargs: Any) -> Any:
        """Store a retry; where that fails, the next attempt is under way all the same."""
        delivery = delivery_of(kwargs.get("request"))
        try:
            return self._backend.mark_as_retry(task_id, exc, *args, **kwargs)
        except Exception as problem:
            if delivery is None:
                raise
            raise self._undelivered(delivery, problem) from problem

    def _begin_late(self, request: Any, exc: BaseException) -> Delivery | None:
        """``before_start`` or a ``__call__`` raised before ``run``: still the row decides.

        A trigger that was not reached has failed; an outcome stays owed.
        """
        task = _state.get_current_task()
        if task is None or request is None or task.request is not request or request.is_eager:
            return None
        try:
            delivery = begin(installation_of(task.app), task, request)
        except Superseded as superseded:
            raise Undelivered(superseded) from exc
        if delivery.kind is not None:
            raise self._undelivered(delivery, exc) from exc
        return delivery

    def _refuse_claimed_chord(self, request: Any) -> None:
        """See that Celery will take notice of a chord's member that comes once more.

        On Redis it does nothing for a part that it has, while somebody has the chord's claim. That
        worker may be gone, and the claim runs out without anybody looking.
        """
        if not is_from(self._backend, _REDIS):
            return
        client, key = self._backend.client, self._backend.get_key_for_group
        for group_id, task_id, index in _parts_of(request):
            part = f"{task_id}:{'+inf' if index is None else index}"
            is_held = client.get(key(group_id, ".c")) not in {None, b"done", "done"}
            if is_held and client.sismember(key(group_id, ".d"), part):
                raise _ChordClaimedError(group_id)

    def _forget_half_told(self, request: Any) -> None:
        """See that Celery fails the chord of a chain that fails once more.

        It stores that the chain's last step has failed and then returns its part; where it finds
        the one, it takes the other for done. A worker may have been killed between them.
        """
        if is_from(self._backend, _REDIS):
            for _, task_id, _ in _parts_of(request):
                if task_id != request.id:
                    self._backend.delete(self._backend.get_key_for_task(task_id))

    def _undelivered(self, delivery: Delivery, problem: BaseException) -> Undelivered:
        logger.warning(
            "Celery could not be told how job %s ended; it will be tried again: %r",
            delivery.job_id,
            problem,
            extra=delivery.extra,
        )
        delivery.release()
        return Undelivered(problem)


def _parts_of(request: Any) -> Iterator[tuple[str, str, int | None]]:
    """The chord parts that end with this delivery, or with its chain: group, task and index."""
    if request is None:
        return
    if request.chord:
        yield request.group, request.id, request.group_index
    for step in request.chain or ():
        options = step.get("options") or {}
        if "chord" in options:
            yield options["group_id"], options["task_id"], options.get("group_index")
