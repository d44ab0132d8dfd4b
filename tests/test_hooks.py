"""Every place where we hook into Celery is where it was; docs/hooks.md lists them."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import celery
import celery.app.trace
import pytest
from billiard.einfo import ExceptionInfo
from celery import Celery, Task, _state
from celery.app.trace import TraceInfo, build_tracer, get_actual_ignore_result, trace_ok_t  # type: ignore[attr-defined]
from celery.backends.base import Backend
from celery.backends.database import DatabaseBackend
from celery.backends.redis import RedisBackend
from celery.beat import Scheduler
from celery.exceptions import Ignore
from celery.result import AsyncResult, GroupResult
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.request import Request

from celery_external import ExternalTask, get_external
from celery_external.backend import SettlingBackend
from celery_external.delivery import Superseded
from celery_external.trigger import Parked
from celery_external.unlock import TASK_NAME
from tests.processes import REPOSITORY


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_methods_we_override_are_celerys_own() -> None:
    ours: dict[Any, tuple[str, ...]] = {
        Task: (
            "apply_async",
            "apply",
            "retry",
            "on_replace",
            "backend",
            "on_bound",
            "__trace__",
            "AsyncResult",
        ),
        Request: ("revoked", "on_timeout", "on_failure"),
        AsyncResult: ("revoke",),
    }
    for base, names in ours.items():
        for name in names:
            assert hasattr(base, name), name
    assert "run" in vars(Task)
    assert Task.Request == "celery.worker.request:Request"


def test_celery_calls_them_as_we_expect() -> None:
    assert parameters(Task.apply_async)[:8] == [
        "self", "args", "kwargs", "task_id", "producer", "link", "link_error", "shadow",
    ]  # fmt: skip
    assert parameters(Task.retry)[:5] == ["self", "args", "kwargs", "exc", "throw"]
    assert parameters(Request.on_timeout) == ["self", "soft", "timeout"]
    assert parameters(Request.on_failure)[:4] == [
        "self", "exc_info", "send_failed_event", "return_ok",
    ]  # fmt: skip
    assert parameters(Celery.send_task)[:2] == ["self", "name"]


def test_the_backend_is_told_with_the_request() -> None:
    backend = Celery(set_as_current=False).backend
    for name in ("mark_as_done", "mark_as_failure"):
        theirs, ours = getattr(type(backend), name), getattr(SettlingBackend, name)
        assert parameters(theirs) == parameters(ours), name
    assert "request" in parameters(type(backend).mark_as_retry)


def test_the_tracer_is_set_on_the_task_and_called_with_its_four_arguments() -> None:
    source = inspect.getsource(Consumer.update_strategies)
    assert "task.__trace__ = build_tracer(" in source
    app = Celery(set_as_current=False)
    app.conf.external_database_url = "sqlite:///unused.db"

    @app.task(base=ExternalTask, shared=False)
    def task() -> None:
        """Park."""

    task.__trace__ = build_tracer(task.name, task, app=app)
    assert parameters(task.__trace__) == ["uuid", "args", "kwargs", "request"]
    assert trace_ok_t._fields == ("retval", "info", "runtime", "retstr")
    assert TraceInfo("IGNORED", Ignore()).state == "IGNORED"


@pytest.mark.parametrize("ours", [Parked("1"), Superseded("it is over")])
def test_a_tracer_tells_of_a_delivery_that_is_no_error_in_one_frame(ours: Ignore) -> None:
    def trace(exc: Exception) -> Any:
        module: Any = celery.app.trace
        try:
            raise exc  # noqa: TRY301 - as the tracer sees it
        except Exception:  # noqa: BLE001 - as the tracer does
            return module.ExceptionInfo(internal=True)

    assert "ExceptionInfo(internal=True)" in inspect.getsource(build_tracer)
    told, others = trace(ours), trace(Ignore("another's"))
    assert told.tb.tb_next is None
    assert told.tb.tb_frame.f_code.co_name == "_describe_briefly"
    assert others.tb.tb_frame.f_code.co_name == "trace"
    assert type(told) is type(others) is ExceptionInfo
    assert pickle.loads(pickle.dumps(told)).exception.args == ours.args  # noqa: S301 - our own


def test_the_private_names_we_use_are_there() -> None:
    assert callable(get_actual_ignore_result)
    assert callable(_state._get_active_apps)  # type: ignore[attr-defined]  # noqa: SLF001
    assert callable(_state.get_current_app)
    assert callable(_state.get_current_task)
    assert callable(state.task_ready)
    assert hasattr(state, "revoked_stamps")
    assert callable(Scheduler.update_from_dict)


def test_chord_unlock_takes_its_interval_from_its_arguments() -> None:
    app = Celery(set_as_current=False)
    app.conf.update(external_database_url="sqlite:///unused.db", result_chord_retry_interval=7)
    get_external(app)
    unlock: Any = app.tasks[TASK_NAME]
    assert parameters(unlock.run.__wrapped__)[:5] == [
        "group_id", "callback", "interval", "max_retries", "result",
    ]  # fmt: skip
    assert unlock.default_retry_delay == 7
    assert parameters(Backend.fallback_chord_unlock)[:3] == ["self", "header_result", "body"]
    assert "(header_result.id, body,), kwargs" in inspect.getsource(Backend.fallback_chord_unlock)


def test_the_backends_keep_groups_where_the_keepers_look() -> None:
    for name in ("get_key_for_task", "get_key_for_group", "decode", "client"):
        assert hasattr(RedisBackend, name), name
    assert parameters(RedisBackend.get_key_for_group) == ["self", "group_id", "key"]
    for suffix in (".j", ".t", ".s"):
        assert f"'{suffix}'" in inspect.getsource(RedisBackend.on_chord_part_return)
    assert DatabaseBackend.task_cls.date_done is not None
    assert DatabaseBackend.taskset_cls.date_done is not None
    assert "cache" in parameters(Backend.restore_group)
    app = Celery(set_as_current=False)
    parent: AsyncResult[Any] = AsyncResult("b", app=app)
    result: Any = GroupResult("g", [AsyncResult("a", parent=parent, app=app)], app=app)
    assert result.as_tuple() == (("g", None), [(("a", (("b", None), None)), None)])


def test_the_document_names_the_supported_versions() -> None:
    document = (REPOSITORY / "docs" / "hooks.md").read_text()
    assert ".".join(celery.__version__.split(".")[:2]) in document
