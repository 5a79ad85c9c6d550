"""Where bags are scored: in this process, in N local processes, or on a Ray cluster. All yield results to one writer, as they come."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from apprentice_core.errors import ApprenticeError
from apprentice_learning.rewards.scoring import BagScorer, Job, Scored

_scorer: BagScorer | None = None
"""of a worker process"""


class Engine(Protocol):
    """Scores jobs; used as a context manager. The order of results is free."""

    def __enter__(self) -> Engine: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def run(self, jobs: Iterable[Job]) -> Iterator[Scored]: ...


class _Closing:
    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends what was started."""


class InProcess(_Closing):
    """One model here; the next bags are decoded on a second thread."""

    def __init__(self, bundle: Path, device: str):
        self.scorer = BagScorer(bundle, device)

    def run(self, jobs: Iterable[Job]) -> Iterator[Scored]:
        return self.scorer.stream(jobs)


class LocalProcesses(_Closing):
    """`workers` processes with a model each. A worker ends with its parent, however that ends."""

    def __init__(self, bundle: Path, device: str, workers: int):
        self.workers = workers
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(workers, context, _start_worker, (str(bundle), device))

    def run(self, jobs: Iterable[Job]) -> Iterator[Scored]:
        waiting: set[Future[Scored]] = set()
        source = iter(jobs)
        try:
            while True:
                while len(waiting) < 2 * self.workers and (job := next(source, None)) is not None:
                    waiting.add(self.pool.submit(_score, job))
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(bundle: str, device: str) -> None:
    import signal

    global _scorer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    parent = multiprocessing.parent_process()
    if parent is not None:
        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
    _scorer = BagScorer(bundle, device)


def _score(job: Job) -> Scored:
    assert _scorer is not None
    return _scorer.score(job)


class RayCluster(_Closing):
    """`workers` Ray actors with a model each. The bags and the bundle must lie under the same path on every machine.

    `address`: of a running cluster (or $RAY_ADDRESS); empty starts one on 127.0.0.1 that ends with us.
    """

    def __init__(self, bundle: Path, device: str, workers: int, address: str = ""):
        try:
            import ray
        except ImportError as error:
            raise ApprenticeError("the engine `ray` needs the package ray: pip install ray, or use --engine process") from error
        self.ray = ray
        named = address or os.environ.get("RAY_ADDRESS", "")
        self.started = not ray.is_initialized()
        if self.started:
            local: dict[str, Any] = {} if named else {"num_cpus": workers, "_node_ip_address": "127.0.0.1"}
            ray.init(address=named or "local", include_dashboard=None if named else False, log_to_driver=False, **local)
        gpus = 1 if device.startswith("cuda") else 0
        actor = ray.remote(num_cpus=1, num_gpus=gpus)(BagScorer)
        self.actors: list[Any] = [actor.remote(str(bundle.resolve()), device) for _ in range(workers)]

    def run(self, jobs: Iterable[Job]) -> Iterator[Scored]:
        source = iter(jobs)
        busy: dict[Any, Any] = {}

        def give(actor: Any) -> None:
            if (job := next(source, None)) is not None:
                busy[actor.score.remote(job)] = actor

        for actor in self.actors * 2:  # one at work and one waiting, so that no actor idles while its answer travels
            give(actor)
        while busy:
            (done, *_), _ = self.ray.wait(list(busy))
            actor = busy.pop(done)
            give(actor)
            yield self.ray.get(done)

    def close(self) -> None:
        for actor in self.actors:
            self.ray.kill(actor)
        if self.started:
            self.ray.shutdown()


def make_engine(name: str, bundle: Path, device: str = "cpu", workers: int = 1, address: str = "") -> Engine:
    """`process` (one worker: in this process) or `ray`; ApprenticeError for another name, BundleError for a wrong bundle."""
    if workers < 1:
        raise ApprenticeError(f"workers: {workers}, needs at least 1")
    if name == "ray":
        return RayCluster(bundle, device, workers, address)
    if name != "process":
        raise ApprenticeError(f"no engine named {name!r}; known: process, ray")
    return InProcess(bundle, device) if workers == 1 else LocalProcesses(bundle, device, workers)
