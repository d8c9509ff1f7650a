"""Jobs: work that is split into tasks, done by workers, paid for by the second and merged into one result.

>>> market.register_task("square", lambda payload: payload["x"] ** 2)
>>> job = wallet.submit(task="square", payload={"x": [1, 2, 3]}, fan_out={"by": "x"}, max_budget=4.00)
>>> receipt = job.wait()
>>> job.result
[1, 4, 9]

What a task reads and gives is JSON as Python has it: None, bool, int, float, str, list and dict. An amount that is
to stand in it is text; a ``Decimal`` is refused, since no float has its digits.
"""

from __future__ import annotations

import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, takewhile
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from . import _native
from .artifacts import Artifact
from .errors import Error, Invalid
from .money import Amount, Flops, micro
from .receipt import Receipt
from .wallet import Wallet, gpu_types_in, key_in, maybe_text_in, pages, text_in, wallet_id_in, whole_in

if TYPE_CHECKING:
    from .commands import Commands
    from .market import Market, Session

__all__ = [
    "Job",
    "JobEstimate",
    "JobEvent",
    "JobFailed",
    "JobNews",
    "JobProgress",
    "JobResults",
    "JobState",
    "JobTask",
    "Lease",
    "Prices",
    "Recipe",
    "TaskCall",
    "Worker",
]

#: One task, as its function sees it: ``job_id``, ``index``, ``attempt``, ``stopped()`` (whether to end: the job was
#: cancelled, the task's time is over, or the worker stops) and ``progress({...})``.
TaskCall = _native.TaskCall

_TERMINAL = frozenset({"completed", "partial", "failed", "cancelled"})
_SLICE_MS = 200  # a wait looks up this often: for signals, its deadline, and the market's clock


class JobFailed(Error):
    """A job that ended without a result: it failed or was cancelled.

    ``reason`` is the word for why (``task_failed``, ``budget_exhausted``, ``cancelled``, …), ``message`` the first
    error in words, ``job`` the job.
    """

    status = "failed"
    #: None on a copy from elsewhere.
    job: Job | None = None


# What comes out.


@dataclass(frozen=True)
class JobEstimate:
    """What a job may come to."""

    tasks: int
    #: What a second of one task costs.
    rate_per_second: Flops
    #: Each task with every try and every second; None when that is beyond an amount.
    worst_case: Flops | None
    #: What is held: the worst case, or the budget if that is less.
    hold: Flops


@dataclass(frozen=True)
class JobProgress:
    """How many tasks a job has, and how many of them stand where."""

    tasks: int
    completed: int
    failed: int
    running: int
    queued: int


@dataclass(frozen=True)
class JobState:
    """A job as it stood at one instant."""

    id: str
    #: ``planning``, ``queued``, ``running``, ``completed``, ``partial``, ``failed`` or ``cancelled``.
    status: str
    #: ``structured_runner``, ``sweep``, ``map_reduce`` or ``benchmark``.
    type: str
    #: ``task``, ``recipe`` or ``command``, and which.
    work: str
    name: str
    project: str | None
    wallet_id: str | None
    priority: str
    tags: list[str]
    depends_on: list[str]
    progress: JobProgress
    #: What was held for it, and what it has cost.
    hold: Flops
    cost: Flops
    #: The word for why it failed, and in words.
    failure: str | None
    error: str | None
    recommended_action: str | None
    #: Of what its tasks are made from.
    input_hash: str
    output_hash: str | None
    #: The first of ``receipt_ids``, which are one for each host that was paid.
    receipt_id: str | None
    receipt_ids: list[str]
    retry_of: str | None
    resume_from: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether it is over; then nothing of it changes any more."""
        return self.status in _TERMINAL


@dataclass(frozen=True)
class JobTask:
    """One task of a job: what it read, what it gave, and how it went."""

    index: int
    #: ``queued``, ``running``, ``completed``, ``failed`` or ``cancelled``.
    status: str
    attempts: int
    #: How its last attempt ended that did not go well; None of a task that has completed.
    failure: str | None
    error: str | None
    payload: Any
    result: Any
    progress: Any
    #: What it left in its artifact folder; and what of that was not kept, each with ``name`` and ``why``.
    artifacts: list[Artifact]
    artifacts_skipped: list[dict[str, Any]]


@dataclass(frozen=True)
class JobResults:
    """What a job came to: the merged ``result``, what it leaves out (``notes``), and each task's."""

    status: str
    result: Any
    notes: dict[str, Any]
    tasks: list[JobTask]


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job; ``data["event"]`` says what."""

    number: int
    at: datetime
    data: dict[str, Any]


@dataclass(frozen=True)
class JobNews:
    """What a stream tells of a job: an event, or how it stands."""

    #: ``event``; ``snapshot``, in place of events that were too many; ``end``, behind which there is nothing.
    kind: str
    job_id: str
    #: The place in the job's events: a stream with this as ``after`` goes on behind it.
    number: int
    #: When, and what (``data["event"]``): of an event.
    at: datetime | None
    data: dict[str, Any] | None
    #: Of the others.
    state: JobState | None


@dataclass(frozen=True)
class Prices:
    """What a second of a task costs: for itself, a core, a gigabyte of memory, a GPU by its model (``*``: any other)."""

    base: Flops
    cpu: Flops
    memory_gb: Flops
    gpus: dict[str, Flops]


@dataclass(frozen=True)
class Recipe:
    """Work that anybody can name: ``wallet.submit(recipe=name, payload=…)``."""

    name: str
    summary: str
    #: The payload, as JSON Schema 2020-12.
    payload_schema: Any
    operations: list[str]
    artifact_inputs: list[str]
    #: What it promises of a payload's result: ``exact`` (the same bytes everywhere), ``bounded`` or ``open``.
    result_class: str


@dataclass(frozen=True)
class Lease:
    """Tasks that were handed to a worker, ``first`` and those behind it: their payloads, in that order."""

    token: int
    job_id: str
    first: int
    attempt: int
    work: str
    name: str
    operation: str | None
    command: list[str]
    image: str | None
    project: str | None
    timeout_s: int
    expires_at: datetime
    payloads: list[Any]


def state_of(raw: dict[str, Any]) -> JobState:
    fields = dict(raw)
    fields["progress"] = JobProgress(**fields["progress"])
    return JobState(**fields)


def _news_of(raw: dict[str, Any]) -> JobNews:
    return JobNews(**{**raw, "state": None if raw["state"] is None else state_of(raw["state"])})


def _task_of(raw: dict[str, Any]) -> JobTask:
    return JobTask(**{**raw, "artifacts": [Artifact(**one) for one in raw["artifacts"]]})


def results_of(raw: dict[str, Any]) -> JobResults:
    return JobResults(raw["status"], raw["result"], raw["notes"], [_task_of(task) for task in raw["tasks"]])


# What comes in.


def _listed(name: str, value: Any) -> Any:
    return [text_in(one, f"/{name}/{at}") for at, one in enumerate(_sequence_in(name, value))]


def _sequence_in(name: str, value: Any) -> Sequence[Any]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise Invalid("field_type", f"takes a list, not {type(value).__name__}", {"field": f"/{name}"})
    return value


def body_of(
    *,
    task: str | None = None,
    payload: Any = None,
    image: str | None = None,
    command: str | Sequence[str] | None = None,
    gpu_type: str | None = None,
    max_budget: Amount | None = None,
    **members: Any,
) -> dict[str, Any]:
    """The members of a job as ``POST /api/v1/jobs`` has them. What calyx does not know here the engine judges."""
    body: dict[str, Any] = {name: value for name, value in members.items() if value is not None}
    for name, text in (("task", task), ("image", image)):
        if text is not None:
            body[name] = text_in(text, f"/{name}")
    if command is not None:
        body["command"] = command if isinstance(command, str) else _listed("command", command)
    if payload is not None:
        body["payload"] = payload
    if gpu_type is not None:
        # Who names a GPU rents one: with a count of none the job would run on a CPU and say so.
        requirements = body.get("requirements", {})
        if not isinstance(requirements, Mapping):
            raise Invalid("field_type", "must be an object", {"field": "/requirements"})
        given = requirements.get("gpu_type")
        if given is not None and given != gpu_type:
            raise Invalid("field_value", "differs from gpu_type", {"field": "/requirements/gpu_type"})
        body["requirements"] = {"gpu_count": 1, **requirements, "gpu_type": text_in(gpu_type, "/gpu_type")}
    for name, amount in (("max_budget", max_budget), ("max_cost", body.pop("max_cost", None))):
        if amount is not None:
            body[name] = _native.money_text(micro(amount, f"/{name}"))
    return body


class Job:
    """A job that was submitted. Its properties are live: each asks the market; :meth:`state` gives them at once.

    Any thread may use a job at any time. A call about somebody else's job is ``NotFound`` (``job_unknown``).
    """

    __slots__ = ("__weakref__", "_session", "id", "replayed")

    #: ``job_…``
    id: str
    #: The first answer to the same submit, again.
    replayed: bool

    def __init__(self, session: Session, job_id: str, replayed: bool = False) -> None:
        self._session = session
        self.id = job_id
        self.replayed = replayed

    # What it is.

    def state(self) -> JobState:
        """All of the job as it stands now."""
        return state_of(self._session._native.job(self.id))

    @property
    def status(self) -> str:
        """``planning``, ``queued``, ``running``, ``completed``, ``partial``, ``failed`` or ``cancelled``."""
        return self.state().status

    @property
    def hold(self) -> Flops:
        """What was held for it when it was submitted."""
        return self.state().hold

    @property
    def cost(self) -> Flops:
        """What it has cost: final once it has ended."""
        return self.state().cost

    @property
    def error(self) -> str | None:
        """Why it failed, in words."""
        return self.state().error

    @property
    def progress(self) -> JobProgress:
        """How many of its tasks stand where."""
        return self.state().progress

    @property
    def result(self) -> Any:
        """The merged result; None until the job has ended with one."""
        return self._session._native.job_results(self.id, "", 1)["result"]

    def results(self) -> JobResults:
        """The merged result, and that of each task."""
        native = self._session._native
        page_max = 1000
        raw = native.job_results(self.id, "", page_max)
        after = raw["next"]
        while after:  # their pages alone, since each page of the results merges all of them
            tasks, after = native.job_tasks(self.id, after, page_max)
            raw["tasks"] += tasks
        return results_of(raw)

    @property
    def receipt(self) -> Receipt | None:
        """The signed receipt, the first where several hosts were paid; None until the job has ended, and for one
        that cost nothing.
        """
        receipt_id = self.state().receipt_id
        return None if receipt_id is None else self._session.receipt(receipt_id)

    @property
    def receipts(self) -> list[Receipt]:
        """The signed receipts, one for each host wallet that was paid; empty until the job has ended."""
        return [self._session.receipt(receipt_id) for receipt_id in self.state().receipt_ids]

    def tasks(self, limit: int | None = None) -> Iterator[JobTask]:
        """Its tasks in the order of their index."""
        native = self._session._native
        return pages(lambda after, size: native.job_tasks(self.id, after, size), _task_of, limit)

    def events(self, limit: int | None = None, *, follow: bool = False) -> Iterator[JobEvent]:
        """What happened to it so far, in order; with ``follow`` also what happens from then on, until it has ended.

        Following it does tasks as :meth:`wait` does.
        """
        if not follow:
            return self._events(0, limit)
        if limit is not None and whole_in(limit, "limit") < 1:
            raise Invalid("field_value", f"is {limit}, takes 1 or more", {"field": "limit"})
        return islice(self._followed(self.stream()), limit)

    def _events(self, after: int, limit: int | None = None) -> Iterator[JobEvent]:
        native, first = self._session._native, str(after)
        return pages(
            lambda after, size: native.job_events(self.id, after or first, size), lambda raw: JobEvent(**raw), limit
        )

    def _followed(self, stream: Iterator[JobNews]) -> Iterator[JobEvent]:
        told = 0
        for news in stream:
            if news.at is not None and news.data is not None:
                yield JobEvent(news.number, news.at, news.data)
            elif news.kind == "snapshot":  # the log has them all, so none is left out
                yield from takewhile(lambda event: event.number <= news.number, self._events(told))
            told = news.number

    def stream(self, after: int = 0) -> Iterator[JobNews]:
        """What happens to it behind its event ``after``, as it happens, until it has ended.

        Who is more than 1,000 events behind gets a ``snapshot`` in their place. Walking it does tasks as :meth:`wait`
        does. Raises ``Invalid`` (``field_value``) for a place that it does not have yet.
        """
        return self._session.watch([self], after={self.id: after})

    def output(self, task: int = 0) -> str:
        """What the last try of a task printed. Raises ``NotFound`` (``task_unknown``)."""
        return self._output(whole_in(task, "task"))["stdout"]  # type: ignore[no-any-return]

    def _output(self, task: int) -> dict[str, Any]:
        if task < 0:
            raise Invalid("field_value", f"is {task}, takes 0 or more", {"field": "task"})
        return self._session._native.job_output(self.id, task)

    # What can be done with it.

    def cancel(self) -> JobState:
        """Ends it: what runs is charged for its time, the rest of the hold comes back. One that has ended stays so."""
        return state_of(self._session._native.cancel_job(self.id))

    def retry(self, **members: Any) -> Job:
        """Runs again what failed or never ran, as a job of its own that takes the finished results over, uncharged.

        Work, shape and terms are this job's; ``members`` are as in :meth:`Session.submit` and stand in their place.
        Raises: ``Invalid`` (``field_value``) while the job has not ended, or when all of it has completed; as
        :meth:`Session.submit`.
        """
        return self._session.submit(**{"wallet": self.state().wallet_id, **members, "retry_of": self.id})

    def _step(self, most_ms: int) -> JobState:
        """Waits a while; with no worker in this process, does tasks on this thread meanwhile."""
        native = self._session._native
        if self._session._engine.has_workers:
            return state_of(native.wait_job(self.id, most_ms))
        return state_of(native.run_job(self.id, most_ms, None))

    def wait(self, timeout: float | None = None, progress: bool = False) -> Receipt | None:
        """Waits until the job has ended, and gives its signed receipt: None for a job that cost nothing.

        With no :class:`Worker` started in this process, this thread does the tasks of this process's functions and
        recipes meanwhile, and commands where the market was opened with ``commands``. ``timeout`` is in seconds; a task that has begun is let to its end. ``progress`` shows a
        bar, of tqdm where there is one.

        Raises :class:`TimeoutError`, and :class:`JobFailed` when the job failed or was cancelled; one that ended
        ``partial`` has a result and a receipt, and raises nothing.
        """
        until = None if timeout is None else time.monotonic() + timeout
        bar = _bar_of(self) if progress else None
        try:
            while True:
                left_ms = _SLICE_MS if until is None else max(0, round((until - time.monotonic()) * 1000))
                state = self._step(min(_SLICE_MS, left_ms))
                if bar is not None:
                    bar(state.progress)
                if state.ended:
                    break
                if until is not None and time.monotonic() >= until:
                    raise TimeoutError(f"{self.id} is {state.status} after {timeout} s")
        finally:
            if bar is not None:
                bar(None)
        if state.status in ("failed", "cancelled"):
            raised = JobFailed(state.failure or state.status, state.error or state.status, {"job_id": self.id})
            raised.job = self
            raise raised
        return None if state.receipt_id is None else self._session.receipt(state.receipt_id)

    def logs(self) -> Iterator[str]:
        """What its tasks print, a line at a time, as it comes; task after task, in the order of their index.

        Ends with the job. Walking it does tasks as :meth:`wait` does, but on a thread of its own: a line comes while
        its task runs, about a second after it was printed, and later the more there is. Who stops walking stops a command,
        which is given back; a function goes on to its end. Of a
        task that prints faster than is kept of it, a line ``[… 39,737,767 bytes dropped …]`` stands for the rest.
        """
        native = self._session._native
        task, printed, rest = 0, _Followed(), ""
        state = self.state()
        with _Doing(self) as doing:
            while task < state.progress.tasks:
                # Asked before its output is: what it printed to its end is then in that.
                tasks, _ = native.job_tasks(self.id, str(task) if task else "", 1)
                over = state.ended or (bool(tasks) and tasks[0]["status"] not in ("queued", "running"))
                *lines, rest = (rest + printed.news(native.job_output(self.id, task))).split("\n")
                yield from lines
                if not over:
                    state = doing.step()
                    continue
                if rest:
                    yield rest
                task, printed, rest = task + 1, _Followed(), ""
            while not state.ended:
                state = doing.step()

    def dataframe(self) -> Any:
        """Its completed tasks as a pandas ``DataFrame``: a row each, by index, of what it read and what it gave.

        The members of a payload and of a result are columns, and so is a result that is no object (``result``); a
        member of the result whose name the payload has too is ``result.name``. Raises :class:`ImportError` without
        pandas.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("job.dataframe() needs pandas, which is not installed: pip install pandas") from None
        rows, indices = [], []
        for task in self.tasks():
            if task.status != "completed":
                continue
            for payload, result in _units_of(task):
                row = dict(payload) if isinstance(payload, dict) else {"payload": payload}
                given = result if isinstance(result, dict) else {"result": result}
                row.update({f"result.{name}" if name in row else name: value for name, value in given.items()})
                rows.append(row)
                indices.append(task.index)
        return pandas.DataFrame(rows, index=pandas.Index(indices, name="task"))

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Job) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a job belongs to an open market and cannot be pickled: send its id")


class _Doing:
    """Does tasks for who reads meanwhile: on a thread, a while at a time, so that nothing goes on unwatched."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._raised: BaseException | None = None

    def __enter__(self) -> _Doing:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _do(self) -> None:
        try:
            self._job._session._native.run_job(self._job.id, _SLICE_MS, self._stop.is_set)
        except BaseException as error:  # for the thread that walks
            self._raised = error

    def step(self) -> JobState:
        if self._job._session._engine.has_workers:
            return state_of(self._job._session._native.wait_job(self._job.id, _SLICE_MS))
        if self._thread is None:
            self._thread = threading.Thread(target=self._do, name=f"calyx {self._job.id}")
            self._thread.start()
        self._thread.join(_SLICE_MS / 1000)
        if not self._thread.is_alive():
            self._thread = None
        if self._raised is not None:
            raise self._raised
        return self._job.state()


class _Followed:
    """The output of a task, as it is asked for again and again: what of it is new."""

    def __init__(self) -> None:
        self._attempt, self._text, self._end = 0, b"", 0

    def news(self, output: dict[str, Any]) -> str:
        attempt, text, dropped = output["attempt"], output["stdout"].encode(), output["stdout_dropped_bytes"]
        before, seen = self._text, self._end
        gap = f"\n[… {dropped:,} bytes dropped …]\n".encode() if dropped else b"\0"
        head, line, tail = text.partition(gap)
        tail_at = len(head) + dropped
        new: bytes | None = None
        if attempt != self._attempt:
            pass
        elif not line:
            new = text[len(before) :] if text.startswith(before) else None
        elif seen <= len(head):
            new = text[seen:]
        elif seen < tail_at:
            new = f"\n[… {tail_at - seen:,} bytes dropped …]\n".encode() + tail
        elif seen <= tail_at + len(tail):
            new = tail[seen - tail_at :]
        if new is None:  # another's, from its beginning; the line that the one before broke off in is a line
            new = text if before[-1:] in (b"", b"\n") else b"\n" + text
        self._attempt, self._text, self._end = attempt, text, tail_at + len(tail)
        return new.decode(errors="ignore")


def _units_of(task: JobTask) -> list[tuple[Any, Any]]:
    """What a task stands for: with a ``batch_size`` several units, where its result has one for each."""
    items = task.payload.get("items") if isinstance(task.payload, dict) and len(task.payload) == 1 else None
    results = task.result.get("results") if isinstance(task.result, dict) else None
    if isinstance(items, list) and isinstance(results, list) and len(items) == len(results):
        return list(zip(items, results))
    return [(task.payload, task.result)]


def _bar_of(job: Job) -> Callable[[JobProgress | None], None]:
    """What shows how far a job is, and with None ends."""
    try:
        from tqdm import tqdm
    except ImportError:

        def tell(progress: JobProgress | None) -> None:
            if progress is not None:
                print(f"\r{job.id} {progress.completed + progress.failed}/{progress.tasks}", end="", file=sys.stderr)
            else:
                print(file=sys.stderr)

        return tell

    bar = tqdm(total=job.progress.tasks, unit="task")

    def show(progress: JobProgress | None) -> None:
        if progress is None:
            bar.close()
        else:
            bar.update(progress.completed + progress.failed - bar.n)

    return show


# Tasks that are Python functions, and who runs them.


def task_function(function: Callable[..., Any]) -> Callable[[Any, TaskCall], Any]:
    """``function`` as the engine calls it: with the payload, and with the call where it takes two arguments."""
    if not callable(function):
        raise Invalid("field_type", f"takes a function, not {type(function).__name__}", {"field": "function"})
    with suppress(TypeError, ValueError):  # of some that are written in C nobody can tell: they get the payload
        places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(function).parameters.values()
        if sum(one.kind in places and one.default is inspect.Parameter.empty for one in parameters) >= 2:
            return function
    return lambda payload, _: function(payload)


class Worker:
    """Does tasks of the market's functions and recipes, on threads of its own: those of every job in the file.

    A context manager that starts and stops it::

        with calyx.Worker(market, threads=2):
            job.wait()

    ``name`` is how it is known; ``threads`` is 1 to 1,024 and ``tasks_max``, what a thread leases at once, 1 to
    4,096. ``host`` is the wallet that is paid (absent: the market's own). A job whose ``requirements`` are more than
    ``cpu``, ``memory_mb``, ``gpu_count``, ``gpu_memory_mb``, ``storage_gb``, ``profile`` and ``gpu_types`` is not for
    it. Functions of Python share the GIL: threads help those that wait or let go of it. ``commands`` says how jobs'
    commands run; absent, as the market was opened with.

    A worker runs until it is stopped or the market is closed, also when nobody holds it any more.
    """

    __slots__ = ("_arguments", "_market", "_native")

    def __init__(
        self,
        market: Market,
        *,
        name: str = "local",
        threads: int = 1,
        tasks_max: int = 256,
        host: Wallet | str | None = None,
        gpu_types: Sequence[str] = (),
        cpu: int = 0,
        memory_mb: int = 0,
        gpu_count: int = 0,
        gpu_memory_mb: int = 0,
        storage_gb: int = 0,
        profile: str = "",
        commands: Commands | None = None,
    ) -> None:
        has = {
            "cpu": whole_in(cpu, "cpu"),
            "memory_mb": whole_in(memory_mb, "memory_mb"),
            "gpu_count": whole_in(gpu_count, "gpu_count"),
            "gpu_memory_mb": whole_in(gpu_memory_mb, "gpu_memory_mb"),
            "storage_gb": whole_in(storage_gb, "storage_gb"),
            "profile": text_in(profile, "profile"),
        }
        self._market = market
        self._arguments = (
            text_in(name, "name"),
            _count_in(threads, "threads"),
            _count_in(tasks_max, "tasks_max"),
            None if host is None else wallet_id_in(host, "host"),
            has,
            gpu_types_in(gpu_types, "gpu_types") or [],
            None if (how := commands or market._commands) is None else how._native(),
        )
        self._native: _native.Worker | None = None

    def start(self) -> Worker:
        """Starts its threads; one that runs goes on. Raises ``Invalid`` (``field_value``)."""
        if not self.running:
            self._native = self._market._engine.start_worker(*self._arguments)
        return self

    def stop(self) -> None:
        """Waits for the tasks that run, which ``TaskCall.stopped`` asks to end, and gives the rest back.

        Stopping again does nothing. Raises ``Invalid`` (``handle_invalid``) in a worker's own task.
        """
        if self._native is not None:
            self._native.stop()
            self._native = None

    @property
    def running(self) -> bool:
        """Whether it was started and not yet stopped."""
        return self._native is not None and self._native.running

    def __enter__(self) -> Worker:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Worker {self._arguments[0]!r}, {'running' if self.running else 'stopped'}>"


def _count_in(value: object, name: str) -> int:
    count = whole_in(value, name, 2**31 - 1)
    if count < 1:
        raise Invalid("field_value", f"is {count}, takes 1 or more", {"field": f"/{name}"})
    return count


# What a session says of jobs: Session and Wallet take these in.


class JobsOfSession:
    """What a session may do with jobs."""

    __slots__ = ()

    if TYPE_CHECKING:
        _engine: _native.Engine
        _native: _native.Session

    def submit(
        self,
        *,
        task: str | None = None,
        recipe: str | None = None,
        payload: Any = None,
        image: str | None = None,
        command: str | Sequence[str] | None = None,
        gpu_type: str | None = None,
        max_budget: Amount | None = None,
        wallet: Wallet | str | None = None,
        idempotency_key: str | None = None,
        **members: Any,
    ) -> Job:
        """Takes a job in and holds its budget, in one commit.

        What runs is a ``task`` (a function of :meth:`Market.register_task`), a ``recipe``, or a ``command`` in an
        ``image``. ``payload`` is what it reads; ``gpu_type`` rents one GPU of that model; ``max_budget`` is the most
        that is held, else the worst case is. The other members are those of ``POST /api/v1/jobs``: ``type``,
        ``fan_out``, ``parameters``, ``timeout_s``, ``max_retries``, ``priority``, ``depends_on``, ``tags``,
        ``requirements``, …

        ``wallet`` pays; a wallet's own session pays itself, and a job that costs nothing needs none. With an
        ``idempotency_key`` the same submit again gives the first job.

        Raises, in the order checked: ``Invalid`` (``field_…``, ``amount_…``); ``NotFound`` (``recipe_unknown``);
        ``Refused`` (``not_your_wallet``); ``Conflict`` (``key_reused``); ``NotFound`` (``job_unknown``: a
        dependency); then as :meth:`Wallet.spend` of the hold.
        """
        body = body_of(
            task=task, payload=payload, image=image, command=command, gpu_type=gpu_type, max_budget=max_budget, **members
        )
        raw = self._native.submit_job(
            body,
            None if wallet is None else wallet_id_in(wallet),
            "" if recipe is None else text_in(recipe, "recipe"),
            key_in(idempotency_key, "Idempotency-Key"),
        )
        return Job(self, raw["id"], raw["replayed"])  # type: ignore[arg-type]

    def estimate(
        self, *, recipe: str | None = None, wallet: Wallet | str | None = None, **members: Any
    ) -> JobEstimate:
        """What :meth:`submit` of the same would hold, with nothing written."""
        raw = self._native.estimate_job(
            body_of(**members),
            None if wallet is None else wallet_id_in(wallet),
            "" if recipe is None else text_in(recipe, "recipe"),
        )
        return JobEstimate(**raw)

    def job(self, job_id: str) -> Job:
        """The job of that id. Raises ``NotFound`` (``job_unknown``)."""
        job = Job(self, text_in(job_id, "job_id"))  # type: ignore[arg-type]
        job.state()
        return job

    def jobs(
        self,
        limit: int | None = None,
        *,
        status: str | None = None,
        project: str | None = None,
        tag: str | None = None,
    ) -> Iterator[JobState]:
        """The jobs that this principal may read, the youngest first, as they stand."""
        asked = (
            maybe_text_in(status, "status") or "",
            maybe_text_in(project, "project") or "",
            maybe_text_in(tag, "tag") or "",
        )
        return pages(lambda after, size: self._native.jobs(*asked, after, size), state_of, limit)

    def watch(self, jobs: Sequence[Job | str], *, after: Mapping[str, int] | None = None) -> Iterator[JobNews]:
        """What happens to 1 to 100 jobs, as it happens, until all have ended.

        ``after`` says for a job's id behind which of its events to begin. Walking it does tasks as :meth:`Job.wait`
        does; it ends with ``Refused`` (``unauthorized``) when the key is revoked, and with ``Unavailable`` (``closed``)
        when the market is closed. One thread walks it at a time.

        Raises ``Invalid`` (``too_many_operations``, ``field_value``) and ``NotFound`` (``job_unknown``).
        """
        ids = [text_in(one.id if isinstance(one, Job) else one, "jobs") for one in _sequence_in("jobs", jobs)]
        begins = after or {}
        cursors = [(one, whole_in(begins.get(one, 0), "after")) for one in ids]  # type: ignore[arg-type]
        return self._walk(self._native.stream_jobs(cursors), ids)  # type: ignore[arg-type]

    def _walk(self, stream: _native.JobStream, ids: list[str]) -> Iterator[JobNews]:
        most_ms = 0
        while not stream.ended:
            for raw in stream.next(most_ms):
                yield _news_of(raw)
            most_ms = _SLICE_MS
            if ids and not stream.ended and not self._engine.has_workers:
                most_ms = 0
                if self._native.run_job(ids[0], _SLICE_MS, None)["status"] in _TERMINAL:
                    ids.pop(0)

    def recipes(self) -> list[Recipe]:
        """The recipes of this process."""
        return [Recipe(**raw) for raw in self._native.recipes()]

    def prices(self) -> Prices:
        """What a second of a task costs."""
        return Prices(**self._native.prices())

    def set_prices(
        self,
        *,
        base: Amount = 0,
        cpu: Amount = 0,
        memory_gb: Amount = 0,
        gpus: Mapping[str, Amount] | None = None,
    ) -> Prices:
        """Sets the prices of jobs submitted from now on (operator). Units: FLOPS a second of a task.

        What is not named is free.
        """
        return Prices(
            **self._native.set_prices(
                micro(base, "/prices/base"),
                micro(cpu, "/prices/cpu"),
                micro(memory_gb, "/prices/memory_gb"),
                {text_in(model, "/prices/gpus"): micro(price, f"/prices/gpus/{model}") for model, price in (gpus or {}).items()},
            )
        )

    # For workers that are written in Python from the ground up.

    def lease(
        self,
        worker: str,
        *,
        tasks: Sequence[str] = (),
        recipes: Sequence[str] = (),
        commands: bool = False,
        images: Sequence[str] = (),
        host: Wallet | str | None = None,
        gpu_types: Sequence[str] = (),
        tasks_max: int = 1,
        **has: Any,
    ) -> Lease | None:
        """Tasks to do, of one job and best first, or None when there is nothing (operator).

        ``has`` is what the worker has: ``cpu``, ``memory_mb``, ``gpu_count``, ``gpu_memory_mb``, ``storage_gb``,
        ``profile``. ``commands`` is whether it runs those without an image, and ``images`` names the others (``*``:
        all). The lease is lost 30 seconds after the last :meth:`report`.
        """
        raw = self._native.lease_tasks(
            text_in(worker, "worker"),
            None if host is None else wallet_id_in(host, "host"),
            gpu_types_in(tasks, "tasks") or [],
            gpu_types_in(recipes, "recipes") or [],
            bool(commands),
            gpu_types_in(images, "images") or [],
            has,
            gpu_types_in(gpu_types, "gpu_types") or [],
            _count_in(tasks_max, "tasks_max"),
        )
        return None if raw is None else Lease(**raw)

    def report(self, lease: Lease | int, outcomes: Sequence[Mapping[str, Any]] = (), *, gives_back: bool = False) -> int:
        """How tasks at the front of a lease went; with none it keeps the lease alive. Gives how many are left.

        An outcome has ``status`` (``completed``, or a failure's word), ``result`` or ``message``, ``ran_ms``, and
        what the task printed as ``stdout`` and ``stderr``. Raises ``Conflict`` (``lease_lost``).
        """
        token = lease.token if isinstance(lease, Lease) else whole_in(lease, "lease")
        left: int = self._native.report_tasks(token, [dict(one) for one in outcomes], bool(gives_back))["left"]
        return left

