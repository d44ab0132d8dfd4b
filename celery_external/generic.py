"""A task with type parameters: for type checkers; at run time Celery's own, of any version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from celery import Task

if TYPE_CHECKING:
    from celery.canvas import Signature
    from celery.result import AsyncResult
    from typing_extensions import ParamSpec, TypeVar

    #: What the trigger takes.
    P = ParamSpec("P", default=...)
    #: The job's result, which is not what the trigger returns.
    R = TypeVar("R", default=Any)

    class GenericTask(Task[P, Any], Generic[P, R]):
        """Celery's Task, whose ``run()`` is a trigger and returns anything; its jobs give R."""

        def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
            """As Celery's, with the trigger's own arguments."""
            raise NotImplementedError

        def s(self, *args: Any, **kwargs: Any) -> Signature[R]:
            """As Celery's."""
            raise NotImplementedError

        def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
            """As Celery's."""
            raise NotImplementedError

else:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

    class GenericTask(Task):
        """Celery's Task, which may be subscripted and remains a class that ``base=`` takes."""

        abstract = True

        def __class_getitem__(cls, _parameters: Any) -> type[GenericTask]:
            return cls
