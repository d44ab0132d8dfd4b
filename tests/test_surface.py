"""The public surface: complete, sorted, documented, typed, and light to import."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from importlib.metadata import entry_points, files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import celery_external
from celery_external import api, errors, job, signals
from tests.processes import OUTSIDE_CACHE, REPOSITORY

PUBLIC = [getattr(celery_external, name) for name in celery_external.__all__]


# --- Names ----------------------------------------------------------------------------------------


def test_the_public_names_are_sorted_and_importable() -> None:
    names = celery_external.__all__
    assert names == sorted(set(names))
    assert [name for name in names if not hasattr(celery_external, name)] == []


def test_nothing_public_is_missing() -> None:
    shown = {
        name
        for name, value in vars(celery_external).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    }
    assert shown == set(celery_external.__all__)


def defined_in(module: ModuleType) -> dict[str, Any]:
    """The public classes and functions that a module defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


@pytest.mark.parametrize("module", [api, errors, job], ids=lambda module: module.__name__)
def test_what_these_modules_define_is_public(module: ModuleType) -> None:
    assert set(defined_in(module)) - set(celery_external.__all__) == set()


def test_the_names_of_the_design_are_there() -> None:
    named = """ExternalTask External get_external Job Page Receipt Succeeded Failed current_job
        signal_succeeded signal_failed signal_progress get_job find_jobs cancel_job rerun_job
        extend_job""".split()  # noqa: SIM905 - as it stands there
    assert set(named) - set(celery_external.__all__) == set()
    assert {"job_parked", "job_completed", "signal_refused", "sweep_ended"} <= set(vars(signals))


def test_every_error_is_an_external_error() -> None:
    for name, error in defined_in(errors).items():
        assert issubclass(error, celery_external.ExternalError), name
        assert name.endswith("Error") or name.startswith("ExternalJob"), name


@pytest.mark.parametrize("name", sorted(defined_in(errors)))
def test_an_error_survives_pickle(name: str) -> None:
    job = celery_external.Job("id", "default", "task", "SUCCESS", False, False, 1)  # noqa: FBT003
    given: dict[str, Any] = {
        "job": job,
        "jobs": [job],
        "attempt": 1,
        "current": 2,
        "found": "0001",
    }
    error = defined_in(errors)[name]
    # Without an __init__ of its own an error takes nothing.
    owner = next(base for base in error.__mro__ if "__init__" in base.__dict__)
    is_ours = owner.__module__ == errors.__name__
    parameters = inspect.signature(error).parameters.values() if is_ours else ()
    made = error(*(given.get(parameter.name, parameter.name) for parameter in parameters))

    copy = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own

    assert (type(copy), str(copy), copy.__dict__) == (type(made), str(made), made.__dict__)


# --- Words ----------------------------------------------------------------------------------------


def undocumented(owner: Any, names: list[str]) -> list[str]:
    return [name for name in names if not (inspect.getdoc(getattr(owner, name)) or "").strip()]


def test_every_public_name_has_a_docstring_of_its_own() -> None:
    assert undocumented(celery_external, celery_external.__all__) == []
    for value in PUBLIC:
        if inspect.isclass(value):
            # A class without one would show its base's, and a dataclass its signature.
            own = value.__dict__.get("__doc__") or ""
            assert own.strip(), value
            assert not own.startswith(f"{value.__name__}("), value


def test_every_public_method_has_a_docstring() -> None:
    for value in filter(inspect.isclass, PUBLIC):
        public = [name for name in value.__dict__ if not name.startswith("_")]
        called = [
            n
            for n in public
            if callable(getattr(value, n)) or isinstance(value.__dict__[n], property)
        ]
        assert undocumented(value, called) == [], value


def test_the_module_functions_are_the_methods_with_an_app() -> None:
    for name, function in defined_in(api).items():
        ours = inspect.signature(function).parameters
        theirs = inspect.signature(getattr(celery_external.External, name)).parameters
        assert list(ours) == [n for n in theirs if n not in {"self", "filters"}] + ["app"] + [
            n for n in theirs if n == "filters"
        ], name
        for parameter in set(ours) & set(theirs):
            assert ours[parameter] == theirs[parameter], (name, parameter)


# --- Types ----------------------------------------------------------------------------------------

SNIPPET = """
from datetime import timedelta
from typing import Any

from celery import Celery
from celery_external import (
    ExternalJobFailed, ExternalTask, External, Failed, Job, Page, Receipt, Succeeded, current_job,
    cancel_job, extend_job, find_jobs, get_external, get_job, rerun_job, signal_failed,
    signal_progress, signal_succeeded,
)
from celery_external.signals import job_completed

app = Celery("shop")

class Approval(ExternalTask):
    timeout = 7200
    labels = ("approval",)

    def run(self, request_id: str) -> None:
        self.job.meta["request"] = request_id
        self.job.reference = request_id
        self.job.progress(1, 2, "asked")
        current_job.raise_if_completed()

    def on_parked(self, job: Job) -> None:
        print(job.id, job.labels[0], job.meta["request"])

    def on_timeout(self, job: Job) -> Any:
        raise ExternalJobFailed(job.reason or "late")

receipt: Receipt = signal_succeeded("id", {"ok": True}, attempt=1, by="alice", reason="good")
status: str = receipt.status
signal_failed("id", ValueError("no"))
signal_progress("id", 1, 2)
cancelled: Receipt = cancel_job("id", app=app)
again: Job = rerun_job("id", by="bob")
later: Job = extend_job("id", timeout=timedelta(hours=1))
page: Page = find_jobs(state="PARKED", labels=["approval"], limit=10, order="-parked")
ids: list[str] = [job.id for job in page]
first: Job = page[0]
external: External = get_external(app)
receipts: list[Receipt] = external.signal_many([("id", Succeeded(1)), (first, Failed("no"))])
events: list[str] = [entry.event for entry in get_job("id").history]
swept: int = external.sweep()
job_completed.connect(print)
"""

WRONG = """
from celery_external import Receipt, find_jobs, signal_succeeded

receipt: Receipt = signal_succeeded("id", 1, 2)
signal_succeeded(5)
name: int = signal_succeeded("id").status
find_jobs(limit="10")
"""


def check_types(code: str, directory: Path) -> tuple[int, list[str]]:
    """Run mypy on a user's module, from outside the repository."""
    (directory / "snippet.py").write_text(code)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", OUTSIDE_CACHE, "snippet.py"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    return run.returncode, run.stdout.splitlines()


def test_a_users_module_is_typed(tmp_path: Path) -> None:
    assert check_types(SNIPPET, tmp_path) == (0, ["Success: no issues found in 1 source file"])


def test_a_users_mistakes_are_seen(tmp_path: Path) -> None:
    code, said = check_types(WRONG, tmp_path)
    assert code == 1
    lines = {int(line.split(":")[1]) for line in said if ": error: " in line}
    assert lines == {4, 5, 6, 7}


# --- What is shipped ------------------------------------------------------------------------------


def test_the_marker_of_typed_packages_is_shipped() -> None:
    assert (Path(celery_external.__file__).parent / "py.typed").read_text() == ""
    assert files("celery-external") is not None


def test_the_command_is_an_entry_point() -> None:
    (found,) = entry_points(group="celery.commands", name="external")
    assert found.load().name == "external"


# --- What an import costs -------------------------------------------------------------------------

#: Drivers, migrations and frameworks; kombu itself imports a little of Django where it is there.
HEAVY = {
    *("psycopg", "alembic", "flask", "django", "fastapi", "pydantic", "rich", "jinja2", "click"),
    *("prometheus_client", "itsdangerous"),
}
#: SQLite, and what links, forms and figures need.
FEW_NEED = {
    *("sqlite3", "celery_external.tokens", "celery_external.inputs"),
    *("celery_external.figures", "celery_external.overview", "celery_external.diagnosis"),
}
NEEDED = "import celery.app.base, celery.canvas, celery.result, sqlalchemy"


def imported(code: str) -> set[str]:
    """The modules that a process has after this code."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.split())


APP = """
from celery import Celery
from celery_external import ExternalTask, get_external
app = Celery(broker="memory://")
@app.task(base=ExternalTask)
def ask(): pass
ask.name
get_external(app).database_name
"""


@pytest.mark.parametrize("code", ["import celery_external", APP], ids=["import", "app"])
def test_only_who_needs_them_imports_drivers_and_frameworks(code: str) -> None:
    more = imported(code) - imported(NEEDED)
    assert {name for name in more if name.partition(".")[0] in HEAVY} == set()


def test_what_few_need_is_imported_by_them() -> None:
    assert imported("import celery_external") & FEW_NEED == set()


def test_what_is_imported_late_is_there_all_the_same() -> None:
    code = """
import celery_external
assert set(celery_external.__all__) <= set(dir(celery_external))
from celery_external import Finding, figures, testing
assert celery_external.Finding is Finding is figures.Finding
try:
    celery_external.Fining
except AttributeError as exc:
    print(exc)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert run.stdout == "module 'celery_external' has no attribute 'Fining'\n"


def test_every_module_can_be_imported_first() -> None:
    package = Path(celery_external.__file__).parent
    names = sorted(
        ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for path in package.rglob("*.py")
        if path.name not in {"__init__.py", "env.py"}
        and "versions" not in path.parts
        # Models need Django's settings.
        and path.name != "models.py"
        and "admin" not in path.parts
    )
    # The package's own __init__ comes before each, and imports most of them.
    code = """
import importlib, sys
import celery_external
always = set(sys.modules)
for name in sys.argv[1:]:
    for known in [n for n in sys.modules if n.startswith("celery_external") and n not in always]:
        del sys.modules[known]
    importlib.import_module(name)
"""
    subprocess.run([sys.executable, "-c", code, *names], cwd=REPOSITORY, check=True)
