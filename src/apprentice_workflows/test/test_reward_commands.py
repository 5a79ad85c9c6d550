"""`apprentice reward-train`, `relabel` and `delusions` as a person uses them: train, label, look, go on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from apprentice_core.bundle import read_manifest
from apprentice_core.errors import ApprenticeError
from apprentice_store.store import Store
from apprentice_store.testing import make_episode
from apprentice_workflows.cli.app import app

CONFIG = {
    "name": "tiny", "preset": "small", "cameras": ["camera/front"], "proprio": ["tool/pose"], "hidden": [8], "steps": 3, "episodes": 2,
    "frames": 4, "validation": 0.4,
}


def run(*arguments: str, code: int = 0):
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, ApprenticeError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    with Store(tmp_path / "bags") as store:
        for seed in range(3):
            made = make_episode(store, steps=5, seed=seed, success=seed > 0)
            if seed:
                store.catalogue.add_reward_sequence(made.episode_id, "lift", np.linspace(0, 1, 6), "ann")
    return tmp_path / "bags"


def test_train_relabel_and_look_for_delusions(data: Path) -> None:
    folder = str(data)
    trained = json.loads(run("reward-train", "lift", "-d", folder, "-c", "tiny.yaml", "--members", "2", "--json").stdout.splitlines()[-1])
    assert trained["sketches"] == 2 and Path("runs/reward_lift_tiny/member_1/checkpoints").is_dir()
    assert read_manifest(Path(trained["bundle"])).network["members"] == 2
    labelled = json.loads(run("relabel", "lift", "-d", folder, "--json").stdout.splitlines()[-1])
    assert (labelled["episodes"], labelled["frames"], labelled["model_id"]) == (3, 18, trained["bundle_id"])
    assert labelled["frames_per_s"] > 0
    assert "3 were already" in run("relabel", "lift", "-d", folder, "--model", trained["bundle_id"]).stdout
    found = json.loads(run("delusions", "lift", "-d", folder, "--json").stdout.splitlines()[-1])["delusions"]
    with Store(data) as store:
        failed = store.episodes("success = false")[0].episode_id
    assert [d["episode_id"] for d in found] == [failed] and 0 < found[0]["score"] < 1
    assert failed in run("delusions", "lift", "-d", folder, "--mode", "ensemble").stdout
    # More updates go on from the checkpoints, with the sketches of that run; the older model stays beside.
    more = run("reward-train", "lift", "-d", folder, "-c", "tiny.yaml", "--members", "2", "--steps", "5", "--resume", "--json")
    assert json.loads(more.stdout.splitlines()[-1])["members"][0]["steps"] == 5
    assert len(list((data / "models" / "reward" / "lift").iterdir())) == 2


@pytest.mark.parametrize(("arguments", "message"), [
    (("reward-train", "stack", "-c", "tiny.yaml"), "no episode is sketched for task 'stack'"),
    (("relabel", "lift"), "apprentice reward-train lift"),
    (("delusions", "lift"), "apprentice relabel lift"),
    (("reward-train", "lift", "-c", "nothing"), "no rewards config named 'nothing'; known: sketch"),
])
def test_what_is_missing_is_told_with_what_to_do(data: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ApprenticeError, match=message):
        run(*arguments, "-d", str(data))


@pytest.mark.parametrize("command", ["reward-train", "relabel", "delusions"])
def test_help_has_examples(command: str) -> None:
    assert f"apprentice {command} lift" in run(command, "--help").stdout
