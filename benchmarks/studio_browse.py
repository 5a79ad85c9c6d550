"""A page of Studio with 10,000 episodes in the store, against the limit of 0.3 s: in a real Chromium from the click until the list of 50
rows and every picture in sight are decoded and drawn, at the first visit (no picture was ever drawn) and at the second."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import BenchResult, Measure, percentile, say, seconds
from benchmarks.sampler import record

if TYPE_CHECKING:
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
        told: list[tuple[str, str, object]] = [("tag", t, True) for t in ("rgb", "good" if i // 4 % 2 else "evaluate")]
        tables["tags"] += [{"episode_id": episode_id, "tag": t} for _, t, _ in told]
        if i % 20 == 0:
            told.append(("success", "", one.success))
        if i % 50 == 0:
            told.append(("hidden", "", True))
        if i % 5 == 0:
            told.append(("reward_sequence", "lift", episode_id))
            tables["sketches"].append({
                "episode_id": episode_id, "sequence_id": episode_id, "task": "lift", "type": "REWARD_SKETCH", "user": "u1",
                "values": curve, "revision": revision + len(told),
            })
        for kind, name, value in told:
            revision += 1
            tables["said"].append({
                "revision": revision, "episode_id": episode_id, "kind": kind, "name": name, "value": json.dumps(value), "author": "u1",
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
    # Every episode has a bag; of one file, or the disk would be full.
    for episode_id in ids:
        shutil.copytree(store.folder / row.data_path, store.folder / episode_id, copy_function=os.link)


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Callable[[], float]]]:
    """The address of Studio in a process of its own, and the processor seconds that the process has used."""
    import psutil

    with subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            process = psutil.Process(server.pid)
            yield f"http://127.0.0.1:{port}", lambda: sum(process.cpu_times()[:2])
        finally:
            server.terminate()


def run(quick: bool = False) -> BenchResult:
    from apprentice_store.store import Store

    count, rounds = (2_000, 2) if quick else (10_000, 6)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bags"
        say("recording one episode of the lift cell")
        record(folder, 1)
        with Store(folder) as store:
            [row] = store.episodes("kind = 'episode'")
            say(f"filling the store with {count} episodes")
            fill(store, row, count)
        with served(folder) as (url, used):
            say("asking for lists by HTTP")
            measures = _lists(url, used, count, 5 * rounds)
            say(f"looking at {len(_visits(count))} pages in Chromium, {rounds} times each")
            seen = _pages(url, used, folder / "cache" / "thumbnails", count, rounds)
    slowest = max(percentile(taken, 95) for taken, _ in seen.values())
    for visit, (taken, costs) in seen.items():
        measures[f"{visit}_visit"] = Measure(round(percentile(taken, 95), 4), "s")
        measures[f"{visit}_visit_median"] = Measure(round(statistics.median(taken), 4), "s")
        # On a busy machine the wall clock says little; this is what a page costs, all that follows it included.
        for part, cost in zip(("server", "browser"), zip(*costs, strict=True), strict=True):
            measures[f"{visit}_visit_{part}_processor"] = Measure(round(statistics.median(cost), 4), "s")
    return BenchResult(
        bench="studio_browse",
        ratio=LIMIT / slowest,
        target=1.0,
        reference=f"{LIMIT} s, over the 95th percentile of the pages in Chromium, list and pictures in sight, first or second visit",
        measures={"episodes": Measure(count, ""), "pages": Measure(sum(len(t) for t, _ in seen.values()), ""), **measures},
    )


def _lists(url: str, used: Callable[[], float], count: int, rounds: int) -> dict[str, Measure]:
    """The 95th percentile of each list, and what the dearest costs the server."""
    import httpx

    measures, dearest = {}, 0.0
    with httpx.Client(base_url=url, timeout=60) as client:
        for name, (query, offset) in {**{n: (q, 0) for n, q in QUERIES.items()}, "last_page": ("", _last(count))}.items():
            asked = {"query": query, "offset": offset, "limit": PAGE}
            begun = used()
            taken = [seconds(lambda a=asked: client.get("/api/episodes", params=a).raise_for_status()) for _ in range(rounds)]  # type: ignore[misc]
            dearest = max(dearest, (used() - begun) / rounds)
            measures[f"list_{name}"] = Measure(round(percentile(taken, 95), 4), "s")
        measures["list_server_processor"] = Measure(round(dearest, 4), "s")
        measures["statistics"] = Measure(round(seconds(lambda: client.get("/api/stats").raise_for_status()), 4), "s")
        asked = {"task": "lift", "user": "u2", "mode": "random_watcher"}
        measures["queue"] = Measure(round(seconds(lambda: client.get("/api/queue", params=asked).raise_for_status()), 4), "s")
    return measures


def _last(count: int) -> int:
    """Offset of the last whole page; one episode in fifty is hidden."""
    return count - 2 * PAGE - count // 50


OLDER = ".paging a.turn:last-of-type"


def _visits(count: int) -> list[tuple[str, str, str]]:
    """(where a person is, the query that she types there, what she clicks on then)."""
    turned = [(f"browse?from={k * PAGE}", "", OLDER) for k in (0, 1, 2, 9)] + [(f"browse?from={_last(count) - PAGE}", "", OLDER)]
    return [("evaluations", "", "#nav a[data-page=browse]"), *turned, *(("browse", q, ".query-form .main") for q in QUERIES.values() if q)]


WHOLE = """([selector]) => new Promise((done, failed) => {
    // From the click to the frame after every picture in sight is decoded, in seconds.
    const before = document.querySelector("table.episodes"), begun = performance.now();
    document.querySelector(selector).click();
    setTimeout(() => failed(new Error(`not whole: ${document.querySelector("main").innerText.slice(0, 200)}`)), 60000);
    const look = async () => {
        const table = document.querySelector("table.episodes");
        const sight = table && table !== before ? [...table.querySelectorAll(".thumbnail")].filter((e) => {
            const box = e.getBoundingClientRect();
            return box.bottom > 0 && box.top < innerHeight;
        }) : [];
        if (!sight.length || !sight.every((e) => e.naturalWidth)) return setTimeout(look, 2);
        await Promise.all(sight.map((e) => e.decode()));
        requestAnimationFrame(() => setTimeout(() => done({
            took: (performance.now() - begun) / 1000, pictures: sight.length, rows: table.querySelectorAll("tbody tr").length,
        })));
    };
    look();
})"""


Costs = tuple[list[float], list[tuple[float, float]]]


def _pages(url: str, used: Callable[[], float], drawn: Path, count: int, rounds: int) -> dict[str, Costs]:
    """For the first and the second visit: the seconds that each page took, and processor seconds (server, browser) until all is quiet."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from studio_browser import chromium, open_browser, person

    if chromium() is None:
        raise RuntimeError("no Chromium: install one, or name one in $APPRENTICE_CHROMIUM")
    out: dict[str, Costs] = {"first": ([], []), "second": ([], [])}
    with open_browser() as browser:
        for _ in range(rounds):
            for start, query, click in _visits(count):
                for visit, (taken, cost) in out.items():
                    # A new person each time, whose browser has kept nothing. At the second visit the server has.
                    context = person(browser, "u1", (1920, 1080))
                    context.set_default_timeout(60_000)
                    page = context.new_page()
                    page.goto(f"{url}/#/{start}")
                    page.wait_for_load_state("networkidle")
                    if query:
                        page.fill("input.query", query)
                    if visit == "first":
                        shutil.rmtree(drawn, ignore_errors=True)
                    begun, browsing = used(), _browser_processor()
                    told = page.evaluate(WHOLE, [click])
                    page.wait_for_load_state("networkidle")
                    if told["rows"] != PAGE or told["pictures"] < 8:
                        raise RuntimeError(f"{start} {query}: {told}, expected {PAGE} rows and the pictures in sight")
                    taken.append(told["took"])
                    cost.append((used() - begun, _browser_processor() - browsing))
                    context.close()
    return out


def _browser_processor() -> float:
    """Processor seconds of all Chromium processes below this one."""
    import psutil

    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "chrom" in process.name():
                total += sum(process.cpu_times()[:2])
    return total
