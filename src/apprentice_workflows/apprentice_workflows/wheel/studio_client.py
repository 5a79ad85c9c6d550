"""Studio over HTTP, as a browser uses it: the queue of episodes, the saved curves, and saving one (spec 000 lines 37 to 41)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx
import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_store.store import Store

START_TIME = 20.0
"""s that a server in this process may take to answer (ours)"""
TIMEOUT = 30.0


@dataclass(frozen=True)
class SavedSketch:
    """What the store made of a sketch: its id and revision."""

    episode_id: str
    sequence_id: str
    revision: int


class StudioClient:
    """One annotator at one Studio; ApprenticeError says what Studio refused, and why."""

    def __init__(self, base_url: str, user: str, token: str = ""):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.user = user
        self._http = httpx.Client(base_url=base_url, timeout=TIMEOUT, headers=headers)

    def __enter__(self) -> StudioClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **request)
            data = answer.json()
        except httpx.HTTPError as error:
            raise ApprenticeError(f"Studio at {self._http.base_url} does not answer: {error}") from error
        except ValueError as error:
            raise ApprenticeError(f"Studio answered {method} {path} with something that is not JSON") from error
        if answer.status_code >= 400 or not isinstance(data, dict):
            said = data.get("error", "") if isinstance(data, Mapping) else ""
            raise ApprenticeError(f"Studio refused {method} {path} ({answer.status_code}): {said}")
        return data

    def queue(self, task: str, mode: str, limit: int, query: str = "") -> list[str]:
        """Ids of episodes of a mode that this annotator has not sketched for `task`."""
        more = {"query": query} if query else {}
        data = self._ask("GET", "/api/queue", params={"task": task, "user": self.user, "mode": mode, "limit": limit, **more})
        return [str(row["episode_id"]) for row in data["episodes"]]

    def own_sketch(self, episode_id: str, task: str) -> SavedSketch | None:
        """This annotator's newest sketch of an episode."""
        data = self._ask("GET", f"/api/episodes/{episode_id}/curves", params={"task": task})
        own = [c for c in data["curves"] if c["kind"] == "sketch" and c["user"] == self.user]
        newest = max(own, key=lambda c: int(c["revision"]), default=None)
        return None if newest is None else SavedSketch(episode_id, str(newest["sequence_id"]), int(newest["revision"]))

    def save(self, episode_id: str, task: str, values: np.ndarray, base: int = 0) -> SavedSketch:
        """Saves one value a frame, drawn over the sketch of revision `base` (0: none)."""
        body = {"task": task, "user": self.user, "values": [float(v) for v in values], "filled": [], "base": base}
        data = self._ask("PUT", f"/api/episodes/{episode_id}/sketch", json=body)
        return SavedSketch(episode_id, str(data["sequence_id"]), int(data["revision"]))


@contextmanager
def local_studio(store: Store) -> Iterator[str]:
    """Studio over `store` in a thread of this process, on a free port of this machine alone; its base URL."""
    import uvicorn

    from apprentice_studio.app import create_app
    from apprentice_studio.server import bound

    with bound("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(store), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="studio", daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + START_TIME
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise ApprenticeError("Studio did not start")
                time.sleep(0.02)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(START_TIME)
