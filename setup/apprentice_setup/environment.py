"""The virtual environment: made, filled from the lock, and its ROS wheels repaired."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from apprentice_setup import checks
from apprentice_setup.console import Progress, run
from apprentice_setup.errors import SetupError
from apprentice_setup.stamps import Stamps, digest

DISTROS = {"jazzy": "requirements.lock", "kilted": "requirements-kilted.lock"}
ROS_PIN = re.compile(r"^(ros-|rclpy|lark==|empy==)")
"""pins that a sourced distribution brings itself"""
ZIG_PIN = "ziglang==0.15.2"
BUILT_ON = re.compile(r"/opt/python/cp\d+-cp\d+t?/(include/python\d+\.\d+t?|lib/python\d+\.\d+t?/site-packages/numpy/_core/include)")


def sourced_distro() -> str:
    """Name of the ROS distribution that is sourced and whose rclpy the system's Python can import; '' otherwise."""
    distro = os.environ.get("ROS_DISTRO", "")
    if not distro or os.environ.get("APPRENTICE_ROS_DISTRO"):
        return ""
    found = subprocess.run([sys.executable, "-c", "import rclpy"], capture_output=True, check=False)
    return distro if found.returncode == 0 and sys.prefix == sys.base_prefix else ""


class Environment:
    """`.venv` of one checkout; `prepare()` brings it up to date and returns whether anything was done."""

    def __init__(self, root: Path, stamps: Stamps, progress: Progress):
        self.root, self.stamps, self.progress = root, stamps, progress
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"
        self.logs = root / ".apprentice" / "log"
        self.system_ros = sourced_distro()
        distro = self.system_ros or os.environ.get("APPRENTICE_ROS_DISTRO", "jazzy")
        if not self.system_ros and distro not in DISTROS:
            raise SetupError(f"APPRENTICE_ROS_DISTRO={distro}: there are wheels of {' and '.join(DISTROS)} only")
        self.distro = distro
        self.lock = root / DISTROS.get(distro, DISTROS["jazzy"])
        self.zig = checks.compiler() is None

    @property
    def wanted(self) -> str:
        """Changes with the lock, the distribution, the Python and the compiler."""
        kind = "system" if self.system_ros else "wheels"
        machine = f"{sys.version_info[:3]} {sys.base_prefix} {kind} {self.distro} zig={self.zig}"
        return digest([machine, self.lock, Path(__file__), Path(checks.__file__)])

    def fresh(self) -> bool:
        return self.python.exists() and self.stamps.fresh("packages", self.wanted)

    def prepare(self) -> bool:
        """Makes and fills the environment where it is stale. Safe to interrupt: the stamp is written last."""
        if self.fresh():
            return False
        self.stamps.clear("packages")
        if not self.system_ros:
            checks.check_python()
        checks.check_headers()
        self._make()
        self._fill()
        if not self.system_ros:
            self._repair()
        self.stamps.write("packages", self.wanted)
        return True

    def _make(self) -> None:
        """A new folder, unless a working environment of this very Python is there."""
        probe = "import sys; print(sys.version_info[:2], sys.base_prefix)"
        if self.python.exists():
            answer = subprocess.run([str(self.python), "-c", probe], capture_output=True, text=True, check=False)
            if answer.returncode == 0 and answer.stdout.strip() == f"{sys.version_info[:2]} {sys.base_prefix}" and not self._other_distro():
                return
            shutil.rmtree(self.folder)
        self.progress.start("virtual environment .venv")
        options = ["--system-site-packages"] if self.system_ros else []
        run([sys.executable, "-m", "venv", *options, str(self.folder)], self.logs / "venv.log", self.progress)
        self.progress.done()

    def _other_distro(self) -> bool:
        """The two sets of wheels share package names and must never meet in one environment."""
        others = [d for d in DISTROS if d != self.distro] if not self.system_ros else list(DISTROS)
        return any(next(self.folder.glob(f"lib/python*/site-packages/ros_{other}_rclpy-*"), None) for other in others)

    def _fill(self) -> None:
        if sys.version_info[:2] != checks.REFERENCE:
            print(
                f"[setup] Python {sys.version_info[0]}.{sys.version_info[1]}: PyBullet has no wheel for it and is built once, "
                "which takes about 8 minutes (pip keeps the result). With Python 3.11 there is nothing to build.",
                file=sys.stderr,
                flush=True,
            )
        pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
        env = {**os.environ, "PYTHONWARNINGS": "ignore"}
        if self.zig:
            self.progress.start(f"no C++ compiler here: taking {ZIG_PIN} from pip")
            run([*pip, ZIG_PIN], self.logs / "zig.log", self.progress, env)
            self.progress.done()
            env.update(checks.write_zig_wrappers(self.folder / "bin", self.python))
        pins = [line for line in self.lock.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        if self.system_ros:
            pins = [p for p in pins if not ROS_PIN.match(p)]
        listed = self.root / ".apprentice" / "pins.txt"
        listed.write_text("\n".join(pins) + "\n", encoding="utf-8")
        self.progress.start(f"{len(pins)} pinned packages")
        seen = 0

        def note(line: str) -> str | None:
            nonlocal seen
            if line.startswith(("Collecting ", "Requirement already satisfied")):
                seen += 1
                return f"{min(seen, len(pins))}/{len(pins)} {line.split()[1] if line.startswith('C') else ''}"
            if line.startswith("Building wheel"):
                return line
            return "installing" if line.startswith("Installing collected") else None

        # The lock names every package, so pip need not look for more; it would bring MuJoCo for a test that reads one file of metaworld.
        run([*pip, "--no-deps", "--requirement", str(listed)], self.logs / "pip.log", self.progress, env, note=note)
        self.progress.done()

    def _repair(self) -> None:
        """The wheels' CMake exports name the include folders of the machine that built them; make them name ours."""
        ask = "import sysconfig, numpy; print(sysconfig.get_paths()['include']); print(numpy.get_include())"
        include, numpy_include = subprocess.run([str(self.python), "-c", ask], capture_output=True, text=True, check=True).stdout.split(
            "\n"
        )[:2]
        for path in (self.folder / "share").rglob("*"):
            if path.suffix not in {".cmake", ".in", ".pc", ".txt", ".sh", ".dsv"} or not path.is_file():
                continue
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
            if "/opt/python/cp" not in text:
                continue
            fixed = BUILT_ON.sub(lambda m: numpy_include if "numpy" in m.group(1) else include, text)
            path.write_text(fixed, encoding="utf-8", errors="surrogateescape")
