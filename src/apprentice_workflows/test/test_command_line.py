"""The commands as a shell runs them: exit codes, JSON that programs read, one line for a mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from apprentice_core.paths import config_path

COMMANDS = ["demo", "launch", "collect", "train", "evaluate", "store", "bundle", "replay", "bench", "doctor", "test", "lint"]


def apprentice(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apprentice_workflows", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, check=False, timeout=110
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real episodes, recorded in process."""
    folder = tmp_path_factory.mktemp("bags")
    answer = apprentice(
        "collect",
        "-n",
        "2",
        "-t",
        "lift_demo",
        "--in-process",
        "--end-on-success",
        "--tag",
        "good",
        "-d",
        str(folder),
        "--steps",
        "6",
    )
    assert answer.returncode == 0, answer.stderr
    assert "2 episodes, 12 steps" in answer.stdout and "0 observations lost" in answer.stdout
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    answer = apprentice(command, "--help", COLUMNS="120")
    assert answer.returncode == 0
    group = command in {"store", "bundle"}
    assert group or f"apprentice {command}" in answer.stdout


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "pybullet", "rclpy", "sqlalchemy")
    script = f"import sys; from apprentice_workflows.cli import app; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("store", "ls", "-d", "/no/such/folder"), "does not exist"),
        (("bundle", "show", "/no/such/bundle"), "bundle.json: cannot be read"),
        (("train", "no_such_config"), "no learning config named 'no_such_config'"),
        (("bench", "no_such_bench"), "no bench named 'no_such_bench'"),
        (("launch", "no_such.launch.xml"), "no launch file no_such.launch.xml"),
        (("evaluate", "--in-process", "-t", "lift", "--starts", "no_such_set"), "no evaluation starts 'no_such_set'"),
        (("evaluate", "-n", "0"), "name a set with --starts"),
        (("launch", "cell.launch.xml", "pace"), "arguments are given as name:=value"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    answer = apprentice(*arguments)
    assert answer.returncode == 2, answer.stderr
    assert message in answer.stderr and len(answer.stderr.strip().splitlines()) == 1


def test_unknown_options_are_wrong_use() -> None:
    assert apprentice("store", "ls", "--colour").returncode == 2
    assert apprentice("dance").returncode == 2


def test_store_commands(data: Path) -> None:
    stats = json.loads(apprentice("store", "stats", "-d", str(data), "--json").stdout.splitlines()[-1])
    assert (stats["episodes"], stats["steps"], stats["lost"]) == (2, 12, 0)
    rows = json.loads(apprentice("store", "ls", "-d", str(data), "--json", "-w", "tag = 'good'").stdout)["episodes"]
    assert [r["source"] for r in rows] == ["expert", "expert"]
    episode = rows[0]["episode_id"]
    shown = json.loads(apprentice("store", "show", episode, "-d", str(data), "--json").stdout)
    assert shown["digest_mismatches"] == 0 and shown["actors"] == {"expert": 6}
    assert apprentice("store", "tag", episode, "best", "-d", str(data)).returncode == 0
    pinned = json.loads(apprentice("store", "manifest", "-d", str(data), "-w", "tag = 'best'", "--json").stdout)
    assert pinned["episodes"] == 1 and (data / "manifests" / f"{pinned['hash']}.json").is_file()


def test_check_finds_and_exits_1(data: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    assert json.loads(apprentice("store", "check", "-d", str(copy), "--json").stdout)["ok"] is True
    bag = next(copy.glob("*/*.mcap"))
    raw = bytearray(bag.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    bag.write_bytes(raw)
    answer = apprentice("store", "check", "-d", str(copy), "--json")
    assert answer.returncode == 1
    report = json.loads(answer.stdout)
    assert report["ok"] is False and report["findings"][0]["name"] == bag.parent.name


def test_train_then_evaluate_a_bundle(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "any.yaml"  # six steps are too short for the successes that the demo asks for
    config.write_text(config_path("learning", "bc_demo").read_text().replace("outcome: success", "outcome: any"))
    answer = apprentice("train", str(config), "-d", str(data), "-o", str(tmp_path / "run"), "--steps", "2", "-w", "tag = 'good'")
    assert answer.returncode == 0, answer.stderr
    bundle = tmp_path / "run" / "bundle"
    facts = json.loads(apprentice("bundle", "show", str(bundle), "--json").stdout)
    assert facts["lineage"]["query"] == "tag = 'good'" and facts["lineage"]["episodes"] == 2
    judged = apprentice("evaluate", "-b", str(bundle), "-n", "1", "-t", "lift_demo", "--in-process", "--json")
    report = json.loads(judged.stdout.splitlines()[-1])
    assert report["episodes"] == 1 and 0 <= report["wilson_low"] <= report["wilson_high"] <= 1


def test_doctor_json() -> None:
    answer = apprentice("doctor", "--json", ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST", ROS_DOMAIN_ID=str(1 + os.getpid() % 100))
    report = json.loads(answer.stdout.splitlines()[-1])
    checks = {c["check"]: c for c in report["checks"]}
    assert {"python", "headers", "compiler", "wheels", "dds", "disk", "clock", "cameras"} <= set(checks)
    assert checks["dds"]["status"] != "bad", checks["dds"]
    assert answer.returncode == (0 if report["good"] else 1)
