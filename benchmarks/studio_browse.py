"""A page of Studio over HTTP with 10,000 episodes in the catalogue (50 rows and their thumbnails), against the limit of 0.3 s."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import BenchResult, Measure, percentile, say, seconds
from benchmarks.sampler import record

if TYPE_CHECKING:
    import httpx

    from apprentice_store.catalogue import EpisodeRow
    from apprentice_store.store import Store

LIMIT = 0.3
"""seconds a page (the target)"""
PAGE = 50
QUERIES = {
    "all": "",
    "filtered": "task = 'lift' and tag = 'good' and steps >= 100",
    "sketched": "sketch = 'lift' and success = true",
    "not_tagged": "not tag = 'evaluate' and source in ('policy', 'random_watcher')",
}
TASKS = ("lift", "stack_green_on_red", "random_watcher", "lift_cloth")
SERVER = """
import sys
from pathlib import Path
from apprentice_store.store import Store
from apprentice_studio.app import create_app
from apprentice_studio.server import bound, serve
with bound("127.0.0.1", 0) as socket, Store(Path(sys.argv[1])) as store:
    app = create_app(store)
    print(socket.getsockname()[1], flush=True)
    serve(app, socket)
"""


def fill(store: Store, row: EpisodeRow, count: int) -> None:
    """`count` rows like `row`, each with two tags, one in five sketched, one in twenty judged, one in fifty hidden."""
    import numpy as np
    from sqlalchemy import insert, update

    from apprentice_core.episode import new_episode_id
    from apprentice_store import schema as s

    curve = np.linspace(0, 1, row.steps + 1, dtype="<f4").tobytes()
    ids = sorted(new_episode_id() for _ in range(count))
    tables: dict[str, list[dict]] = {k: [] for k in ("rows", "commits", "tags", "said", "sketches")}
    revision = store.catalogue.revision
    for i, episode_id in enumerate(ids):
        one = replace(
            row, episode_id=episode_id, data_path=episode_id, task=TASKS[i % 4], source=("policy", "expert", "random_watcher")[i % 3],
            steps=row.steps + i % 100, success=i % 3 == 0, started=row.started + i,
        )
        revision += 1
        tables["rows"].append(vars(one))
        tables["commits"].append({"episode_id": episode_id, "revision": revision, "success": one.success})
        told: list[tuple[str, str, object]] = [("tag", t, True) for t in ("rgb", "good" if i % 2 else "evaluate")]
        tables["tags"] += [{"episode_id": episode_id, "tag": t} for _, t, _ in told]
        if i % 20 == 0:
            told.append(("success", "", one.success))
        if i % 50 == 0:
            told.append(("hidden", "", True))
        if i % 5 == 0:
            told.append(("reward_sequence", "lift", episode_id))
            tables["sketches"].append({
                "episode_id": episode_id, "sequence_id": episode_id, "task": "lift", "type": "REWARD_SKETCH", "user": "ann",
                "values": curve, "revision": revision + len(told),
            })
        for kind, name, value in told:
            revision += 1
            tables["said"].append({
                "revision": revision, "episode_id": episode_id, "kind": kind, "name": name, "value": json.dumps(value), "author": "ann",
                "created": row.started,
            })
    with store.catalogue.transaction(writes=True) as c:
        c.execute(insert(s.episodes), tables["rows"])
        c.execute(insert(s.commits), tables["commits"])
        c.execute(insert(s.tags), [{"name": n} for n in ("rgb", "good", "evaluate")])
        c.execute(insert(s.episode_tags), tables["tags"])
        c.execute(insert(s.annotation_log), tables["said"])
        c.execute(insert(s.reward_sequences), tables["sketches"])
        c.execute(update(s.revision).values(value=revision))
    bag = store.folder / row.data_path
    for newest in store.episodes(limit=PAGE, newest_first=True):
        shutil.copytree(bag, store.folder / newest.data_path)


@contextmanager
def served(folder: Path) -> Iterator[httpx.Client]:
    """A client of Studio in a process of its own."""
    import httpx

    with subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                client.get("/api/session")
                yield client
        finally:
            server.terminate()


def run(quick: bool = False) -> BenchResult:
    from apprentice_store.store import Store

    count, rounds = (2_000, 5) if quick else (10_000, 40)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bags"
        say("recording one episode of the lift cell")
        record(folder, 1)
        with Store(folder) as store:
            [row] = store.episodes("kind = 'episode'")
            say(f"filling the catalogue with {count} episodes")
            fill(store, row, count)
        with served(folder) as client:
            measures, slowest = _measure(client, count, rounds)
    return BenchResult(
        bench="studio_browse",
        ratio=LIMIT / slowest,
        target=1.0,
        reference=f"{LIMIT} s, over the slowest 95th percentile of the pages below, with their thumbnails, by HTTP from another process",
        measures={"episodes": Measure(count, ""), **measures},
    )


def _measure(client: httpx.Client, count: int, rounds: int) -> tuple[dict[str, Measure], float]:
    def page(query: str, offset: int = 0) -> list[str]:
        answer = client.get("/api/episodes", params={"query": query, "offset": offset, "limit": PAGE})
        answer.raise_for_status()
        return [e["episode_id"] for e in answer.json()["episodes"]]

    def thumbnails(ids: list[str]) -> None:
        for episode_id in ids:
            client.get(f"/api/episodes/{episode_id}/thumbnail.png").raise_for_status()

    newest = page("")
    first = seconds(lambda: thumbnails(newest))
    # Made once: from now on they are files.
    kept = [seconds(lambda: thumbnails(newest)) for _ in range(max(3, rounds // 4))]
    pictures = percentile(kept, 95)
    measures, slowest = {"thumbnails_made": Measure(round(first, 4), "s"), "thumbnails": Measure(round(pictures, 4), "s")}, 0.0
    for name, (query, offset) in {**{n: (q, 0) for n, q in QUERIES.items()}, "last_page": ("", count - 2 * PAGE - count // 50)}.items():
        took = percentile([seconds(lambda q=query, o=offset: page(q, o)) for _ in range(rounds)], 95)  # type: ignore[misc]
        measures[f"page_{name}"] = Measure(round(took, 4), "s")
        slowest = max(slowest, took + pictures)
    start = time.perf_counter()
    client.get("/api/stats").raise_for_status()
    measures["statistics"] = Measure(round(time.perf_counter() - start, 4), "s")
    took = seconds(lambda: client.get("/api/queue", params={"task": "lift", "user": "bob", "mode": "random_watcher"}).raise_for_status())
    measures["queue"] = Measure(round(took, 4), "s")
    return measures, slowest
