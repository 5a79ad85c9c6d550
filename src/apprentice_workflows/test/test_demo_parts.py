"""The demo's parts without its nodes: what is resumed, what is judged, what the report holds."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from apprentice_core.cell import EpisodeRef
from apprentice_core.config import load_task
from apprentice_core.errors import ApprenticeError
from apprentice_workflows.demo.report import judge
from apprentice_workflows.demo.settings import FULL, QUICK
from apprentice_workflows.demo.state import DemoState
from apprentice_workflows.demo.training import metric_curves, newest_metrics
from apprentice_workflows.episodes import COLLECTION_SEED, EVALUATION_SEED, Tally, as_dict, named_starts, seeded_starts


def ref(success: bool, steps: int = 10, lost: int = 0) -> EpisodeRef:
    return EpisodeRef("id", "path", steps, success, success, not success, "success" if success else "horizon", lost)


def facts(best: int, random: int, lost: int = 0, n: int = 25) -> dict:
    tallies = [Tally("bc", [ref(i < best) for i in range(n)]), Tally("random_watcher", [ref(i < random) for i in range(n)])]
    return {"policies": [as_dict(t) for t in tallies], "observations_lost": lost, "damaged": [], "store_check": {"ok": True}}


def test_targets() -> None:
    assert judge(facts(21, 0), FULL) == []
    assert "best learned policy bc: 76 %" in judge(facts(19, 0), FULL)[0]
    assert "interval is not above" in judge(facts(22, 20), FULL)[0]
    assert "3 observations lost" in judge(facts(25, 0, lost=3), FULL)[0]
    assert judge(facts(0, 0, n=2), QUICK) == [] and judge(facts(0, 0, lost=1, n=2), QUICK) != []
    assert "fewer than" in judge(facts(2, 0, n=2), FULL)[0]


def test_as_dict_has_the_stable_keys() -> None:
    report = as_dict(Tally("bc", [ref(True, 7), ref(False, 80, 1)]))
    assert {"name", "successes", "episodes", "wilson_low", "wilson_high"} <= set(report)
    assert (report["steps"], report["observations_lost"], report["reasons"]) == (87, 1, {"horizon": 1, "success": 1})


def test_collection_and_evaluation_never_share_a_start() -> None:
    used = {s.seed for s in seeded_starts(FULL.expert_episodes, COLLECTION_SEED)} | {
        s.seed for s in seeded_starts(FULL.random_episodes, 500_000)
    }
    assert not used & {s.seed for s in seeded_starts(FULL.evaluation_episodes, EVALUATION_SEED)}
    assert FULL.expert_episodes + FULL.random_episodes >= 60


def test_named_starts() -> None:
    task = load_task("lift")
    assert len(named_starts(task, ["normal"])) == 10
    assert [s.initial_state for s in named_starts(task, ["normal/n1"], 2)] == ["normal/n1"] * 2
    assert named_starts(task, ["normal", "hard"], 12)[11].initial_state.startswith("hard/")
    with pytest.raises(ApprenticeError, match="it has: normal"):
        named_starts(task, ["nomral"])


def test_state_adds_up_over_interruptions_and_refuses_other_settings(tmp_path: Path) -> None:
    state = DemoState(tmp_path, FULL)
    with pytest.raises(KeyboardInterrupt), state.stage("record"):
        raise KeyboardInterrupt
    first = DemoState(tmp_path, FULL)
    assert "record" in first.stages
    before = first.stages["record"]
    with first.stage("record"):
        time.sleep(0.01)
    assert DemoState(tmp_path, FULL).stages["record"] >= before + 0.01
    with pytest.raises(ApprenticeError, match="other settings"):
        DemoState(tmp_path, QUICK)
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(ApprenticeError, match="not readable"):
        DemoState(tmp_path, FULL)


def test_metrics_of_a_running_training(tmp_path: Path) -> None:
    assert newest_metrics(tmp_path) == {}
    rows = [{"step": 1, "train/loss": 2.0}, {"step": 2, "train/loss": 1.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"step": 3, "tr')
    assert newest_metrics(tmp_path)["step"] == 2
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert metric_curves(tmp_path) == {"train/loss": [(1, 2.0), (2, 1.0)]}


def test_report_is_self_contained(tmp_path: Path) -> None:
    """From two real episodes to the page: every picture inside, nothing to load from elsewhere."""
    from apprentice_core.cell import EpisodeRequest
    from apprentice_store.store import Store
    from apprentice_workflows.cells import CellChoice, open_cell
    from apprentice_workflows.demo.report import write_report
    from apprentice_workflows.episodes import run_episodes

    with open_cell(CellChoice(True, "lift_demo", data=tmp_path / "episodes")) as cell:
        refs = list(run_episodes(cell, seeded_starts(2, 1), EpisodeRequest("lift_demo", "expert", steps=4)))
    refs = [ref(True) if i == 0 else r for i, r in enumerate(refs)]
    refs[0] = EpisodeRef(**{**vars(refs[0]), "episode_id": refs[1].episode_id})
    with Store(tmp_path / "episodes") as store:
        written = write_report(tmp_path, store, QUICK, DemoState(tmp_path, QUICK), [Tally("bc", refs), Tally("random_watcher", [])])
    assert written["steps_recorded"] == 8 and written["observations_lost"] == 0 and written["store_check"]["ok"]
    saved = json.loads((tmp_path / "report.json").read_text())
    assert {"policies", "steps_recorded", "observations_lost", "wall_s", "stages"} <= set(saved)
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 3
    assert "http" not in page and "<script" not in page


def test_strip_shows_every_colour_camera() -> None:
    import base64

    from apprentice_core.images import decode_png
    from apprentice_workflows.demo.pictures import FRAMES, GAP, camera_strip

    class Short:
        observations = {
            "camera/a": np.zeros((3, 20, 30, 3), np.uint8),
            "camera/depth": np.zeros((3, 20, 30), np.uint16),
            "tool/pose": np.zeros((3, 7)),
        }

        def __len__(self) -> int:
            return 2

    image = decode_png(np.frombuffer(base64.b64decode(camera_strip(Short()).split(",")[1]), np.uint8))  # type: ignore[arg-type]
    assert image.shape == (20 + GAP, FRAMES * (30 + GAP), 3)


def test_cell_process_ends_its_nodes_and_reports_a_lost_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from apprentice_workflows.demo.cell_process import CellProcess

    folder = tmp_path / "prefix" / "lib" / "p"
    folder.mkdir(parents=True)
    (folder / "dies").write_text("#!/bin/bash\nsleep 0.2\nexit 3\n")
    (folder / "lives").write_text("#!/bin/bash\ntrap 'exit 0' INT\nwhile :; do sleep 0.05; done\n")
    for path in folder.iterdir():
        path.chmod(0o755)
    file = tmp_path / "t.launch.xml"
    file.write_text('<launch><arg name="x"/><node pkg="p" exec="lives"/><node pkg="p" exec="dies"/></launch>')
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "prefix"))
    with CellProcess({"x": "1"}, tmp_path / "cell.log", str(file)) as process:
        until = time.monotonic() + 20
        with pytest.raises(ApprenticeError, match="lost a node"):
            while time.monotonic() < until:
                process.check()
                time.sleep(0.02)
        assert process.process is not None
    assert process.process.poll() is not None
    assert subprocess.run(["pgrep", "-f", str(folder / "lives")], check=False, capture_output=True).returncode == 1, sys.platform
