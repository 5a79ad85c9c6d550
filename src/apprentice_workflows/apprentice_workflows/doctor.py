"""Checks of the machine: each says what it found and, where that is not good, what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

DISK_WANTED = 5.0
"""GiB free: some 60 demo episodes, checkpoints and caches take under 1, torch and the wheels 3 (ours)"""
MATCH_WANTED = 2.0
"""s within which two processes must find each other; 0.06 to 0.17 is usual with discovery on this machine (ours)"""


@dataclass(frozen=True)
class Finding:
    """`status`: good, warning (works, but) or bad (will not work)."""

    check: str
    status: Literal["good", "warning", "bad"]
    found: str
    advice: str = ""


def check_python() -> Finding:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info[:2] == (3, 11):
        return Finding("python", "good", found)
    return Finding("python", "warning", found, "3.11 is the reference: with any other PyBullet is built from source, some 8 minutes, once")


def check_headers() -> Finding:
    path = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if path.is_file():
        return Finding("headers", "good", str(path))
    return Finding("headers", "bad", f"{path} is missing", f"install python{sys.version_info[0]}.{sys.version_info[1]}-dev")


def check_compiler() -> Finding:
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        path = shutil.which(name.split()[0]) if name else None
        if path:
            answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            if answer.returncode == 0:
                return Finding("compiler", "good", answer.stdout.splitlines()[0])
    try:
        return Finding("compiler", "good", f"ziglang {version('ziglang')}, from pip")
    except PackageNotFoundError:
        return Finding("compiler", "bad", "no C++ compiler", "run ./apprentice setup again: it takes one from pip; or install g++")


def check_wheels() -> Finding:
    """Imports what the suite cannot do without, in a process of its own, as a node would."""
    names = (
        "rclpy",
        "rmw_dds_common",
        "apprentice_interfaces.msg",
        "tf2_msgs.msg",
        "torch",
        "pybullet",
        "pinocchio",
        "rosbags",
        "mcap",
        "cv2",
    )
    script = f"import importlib, sys\nfor n in {names!r}:\n    importlib.import_module(n)\nimport rclpy\nrclpy.init()\nrclpy.shutdown()"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if answer.returncode == 0:
        return Finding("wheels", "good", f"ROS 2 {os.environ.get('ROS_DISTRO', '')}, {len(names)} packages import, rclpy starts")
    last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
    return Finding("wheels", "bad", last, "run ./apprentice setup; if that changes nothing, delete .venv and .apprentice and run it again")


def check_dds() -> Finding:
    """Two processes, one message each way: publisher and subscriber must find each other."""
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    scope = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    script = [sys.executable, "-m", "apprentice_workflows.ros_ping"]
    token = f"doctor_{os.getpid()}"
    other = subprocess.Popen([*script, "answer", token], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answer = subprocess.run([*script, "ask", token], capture_output=True, text=True, check=False, timeout=20)
    except subprocess.TimeoutExpired:
        answer = None
    finally:
        other.terminate()
        other.wait(10)
    where = f"domain {domain}, discovery {scope}"
    if answer is None or answer.returncode != 0:
        return Finding(
            "dds",
            "bad",
            f"two processes did not find each other ({where})",
            "check ROS_DOMAIN_ID and a firewall on UDP 7400 and up; ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST stays on this machine",
        )
    match, trip = json.loads(answer.stdout.splitlines()[-1]).values()
    found = f"matched in {match:.2f} s, a message there and back in {1000 * trip:.1f} ms ({where})"
    if match > MATCH_WANTED:
        return Finding("dds", "warning", found, "slow: set ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST where all nodes run on this machine")
    return Finding("dds", "good", found)


def check_disk(folder: Path) -> Finding:
    there = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    free = shutil.disk_usage(there).free / 2**30
    probe = there / f".doctor_{os.getpid()}"
    try:
        with probe.open("wb") as file:
            began = time.monotonic()
            file.write(b"\0" * (1 << 24))
            os.fsync(file.fileno())
            rate = 16 / (time.monotonic() - began)
    except OSError as error:
        return Finding("disk", "bad", f"{there} cannot be written ({error.strerror})", "set APPRENTICE_DATA to a folder on a local disk")
    finally:
        probe.unlink(missing_ok=True)
    found = f"{free:.1f} GiB free at {there}, {rate:.0f} MiB/s with fsync"
    if free < DISK_WANTED:
        return Finding(
            "disk",
            "bad" if free < 1 else "warning",
            found,
            f"free some space ({DISK_WANTED:.0f} GiB are comfortable) or set APPRENTICE_DATA",
        )
    if rate < 20:
        return Finding("disk", "warning", found, "six cameras write some 2 MiB/s, but commits will be slow here")
    return Finding("disk", "good", found)


def check_clock() -> Finding:
    """The wall clock stamps bags: it must be sane, run with the steady clock, and (for several hosts) be synchronised."""
    wall, steady = time.time(), time.monotonic()
    time.sleep(0.2)
    drift = abs((time.time() - wall) - (time.monotonic() - steady))
    year = time.gmtime().tm_year
    if year < 2024 or drift > 0.05:
        return Finding(
            "clock",
            "bad",
            f"year {year}, {1000 * drift:.0f} ms off the steady clock within 0.2 s",
            "set the clock; a stepping clock breaks stamps",
        )
    synchronised = Path("/run/systemd/timesync/synchronized").exists() or shutil.which("chronyc") is not None
    if synchronised:
        return Finding("clock", "good", f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')}, synchronised")
    return Finding(
        "clock",
        "good",
        f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')}; no sign of NTP here (needed only where robot or cameras stamp on another host)",
    )


def check_cameras() -> Finding:
    devices = sorted(Path("/sys/class/video4linux").glob("video*")) if Path("/sys/class/video4linux").is_dir() else []
    names = [f"/dev/{d.name} ({(d / 'name').read_text(encoding='utf-8').strip()})" for d in devices if (d / "name").is_file()]
    blocked = [f"/dev/{d.name}" for d in devices if not os.access(f"/dev/{d.name}", os.R_OK | os.W_OK)]
    if blocked:
        return Finding(
            "cameras",
            "warning",
            ", ".join(names),
            f"no permission for {', '.join(blocked)}: sudo usermod -aG video $USER, then log in again",
        )
    return Finding("cameras", "good", ", ".join(names) or "no V4L2 device (simulated cells need none; camera_node also reads files)")


def check_processor() -> Finding:
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    found = f"{cores} cores, load {load:.1f}"
    if cores < 2:
        return Finding("processor", "warning", found, "the demo trains two policies side by side and takes about twice as long here")
    if load > cores:
        return Finding("processor", "warning", found, "busy: timings taken now say little")
    return Finding("processor", "good", found)


def examine(data: Path, report: Callable[[Finding], None] = lambda finding: None) -> list[Finding]:
    """All checks in order; `report` is told of each as soon as it is known."""
    findings = []
    for check in (
        check_python,
        check_headers,
        check_compiler,
        check_wheels,
        check_dds,
        lambda: check_disk(data),
        check_clock,
        check_cameras,
        check_processor,
    ):
        findings.append(check())
        report(findings[-1])
    return findings


def as_json(findings: list[Finding]) -> dict[str, object]:
    return {"good": all(f.status != "bad" for f in findings), "checks": [asdict(f) for f in findings]}
