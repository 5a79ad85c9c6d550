"""The colcon workspace: built where its sources changed, and the environment that `source install/setup.bash` would give."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from apprentice_setup.console import Progress, run
from apprentice_setup.environment import Environment
from apprentice_setup.errors import SetupError
from apprentice_setup.stamps import Stamps, digest

BUILD_FILES = {"package.xml", "setup.py", "setup.cfg", "CMakeLists.txt", "colcon.meta"}
BUILD_SUFFIXES = {".msg", ".srv", ".action"}
SHARED = ("config", "launch", "urdf")
PATHS = ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH", "LD_LIBRARY_PATH", "PATH", "PKG_CONFIG_PATH", "PYTHONPATH")


class Workspace:
    """`build/` and `install/` of one checkout. Python sources are linked, so only what colcon reads itself makes it stale."""

    def __init__(self, root: Path, environment: Environment, stamps: Stamps, progress: Progress):
        self.root, self.environment, self.stamps, self.progress = root, environment, stamps, progress
        self.saved = root / ".apprentice" / "environment.json"

    def sources(self) -> Iterator[Path]:
        """What a build depends on: package descriptions and interfaces by content."""
        for top in (self.root / "src", self.root / "underlay", self.root):
            walker = sorted(top.rglob("*")) if top != self.root else sorted(top.glob("colcon.meta"))
            yield from (p for p in walker if p.is_file() and (p.name in BUILD_FILES or p.suffix in BUILD_SUFFIXES))

    def layout(self) -> list[str]:
        """Names only: files that a package installs by link, and packages' modules."""
        shared = [str(p.relative_to(self.root)) for top in SHARED for p in sorted((self.root / top).rglob("*")) if p.is_file()]
        return [*shared, *(str(p.relative_to(self.root)) for p in sorted((self.root / "src").glob("*/*/__init__.py")))]

    @property
    def wanted(self) -> str:
        return digest([self.environment.wanted, str(self.root), *self.layout(), *self.sources(), Path(__file__)])

    def fresh(self) -> bool:
        return (self.root / "install" / "setup.bash").is_file() and self.saved.is_file() and self.stamps.fresh("workspace", self.wanted)

    def prepare(self) -> bool:
        """Builds what is stale; stamp last. Returns whether anything was done."""
        wanted = self.wanted
        if self.fresh():
            return False
        self.stamps.clear("workspace")
        self._remove_foreign_builds()
        env = self.build_environment()
        count = sum(1 for _ in (self.root / "src").glob("*/package.xml"))
        self.progress.start(f"colcon build of {count} packages")
        finished = 0

        def note(line: str) -> str | None:
            nonlocal finished
            if line.startswith("Finished <<<"):
                finished += 1
                return f"{finished} done, last {line.split()[2]}"
            return line if line.startswith("Starting >>>") else None

        command = [
            str(self.environment.python),
            "-m",
            "colcon",
            "--log-base",
            str(self.root / "log"),
            "build",
            "--base-paths",
            *self._base_paths(),
            "--symlink-install",
            "--event-handlers",
            "console_cohesion+",
            "--cmake-args",
            "-GNinja",
            "-DBUILD_TESTING=OFF",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DPython3_EXECUTABLE={self.environment.python}",
        ]
        if self.environment.zig:
            command += [f"-DCMAKE_AR={env['AR']}", f"-DCMAKE_RANLIB={env['RANLIB']}"]
        run(command, self.root / ".apprentice" / "log" / "colcon.log", self.progress, env, self.root, note)
        self._save_environment(env)
        self.progress.done()
        self.stamps.write("workspace", wanted)
        return True

    def _base_paths(self) -> list[str]:
        """`underlay/` only where nothing else brings its packages."""
        missing = (
            [
                str(p)
                for p in sorted((self.root / "underlay").iterdir())
                if p.is_dir() and not any((Path(prefix) / "share" / p.name / "package.xml").is_file() for prefix in self._prefixes())
            ]
            if (self.root / "underlay").is_dir()
            else []
        )
        return ["src", *missing]

    def _prefixes(self) -> list[str]:
        if self.environment.system_ros:
            return os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        return [str(self.environment.folder)]

    def build_environment(self) -> dict[str, str]:
        """The caller's environment, without what another workspace or Python left in it (on a ROS machine: with the distribution's)."""
        env = {k: v for k, v in os.environ.items() if k not in {"PYTHONHOME", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}}
        env["VIRTUAL_ENV"] = str(self.environment.folder)
        env["PATH"] = f"{self.environment.folder / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
        env["PYTHONWARNINGS"] = "ignore"
        if not self.environment.system_ros:
            for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH", "PYTHONPATH", "LD_LIBRARY_PATH"):
                env.pop(name, None)
            env["AMENT_PREFIX_PATH"] = env["CMAKE_PREFIX_PATH"] = str(self.environment.folder)
        if self.environment.zig:
            tools = self.environment.folder / "bin"
            env.update({"CC": f"{tools}/zig-cc", "CXX": f"{tools}/zig-c++", "AR": f"{tools}/zig-ar", "RANLIB": f"{tools}/zig-ranlib"})
        return env

    def _remove_foreign_builds(self) -> None:
        """CMake refuses a cache that was made in another folder, as after a move or a copy of the checkout."""
        for cache in (self.root / "build").glob("*/CMakeCache.txt"):
            lines = cache.read_text(encoding="utf-8", errors="replace").splitlines()
            home = next((x.split("=", 1)[1] for x in lines if x.startswith("CMAKE_HOME_DIRECTORY:")), "")
            python = next((x.split("=", 1)[1] for x in lines if x.startswith("Python3_EXECUTABLE:")), "")
            if not home.startswith(str(self.root) + os.sep) or (python and python != str(self.environment.python)):
                shutil.rmtree(cache.parent)

    def _save_environment(self, env: dict[str, str]) -> None:
        """Asks the workspace's own setup file which paths it adds, once, so that a start costs no shell."""
        setup = self.root / "install" / "setup.bash"
        bash = shutil.which("bash")
        if bash is None:
            raise SetupError("bash is missing: colcon's setup files need it")
        script = 'source "$1" >/dev/null && exec env -0'
        answer = subprocess.run([bash, "-c", script, "bash", str(setup)], env=env, capture_output=True, check=False)
        if answer.returncode != 0:
            raise SetupError(f"{setup} failed: {answer.stderr.decode(errors='replace').strip()}")
        after = dict(item.split("=", 1) for item in answer.stdout.decode(errors="surrogateescape").split("\0") if "=" in item)
        added: dict[str, list[str]] = {}
        for name in PATHS:
            before = set(os.environ.get(name, "").split(os.pathsep))
            added[name] = [p for p in after.get(name, "").split(os.pathsep) if p and p not in before]
        self.saved.parent.mkdir(parents=True, exist_ok=True)
        partial = self.saved.with_suffix(".partial")
        partial.write_text(json.dumps({"paths": added, "distro": self.environment.distro}, indent=2), encoding="utf-8")
        partial.replace(self.saved)

    def run_environment(self) -> dict[str, str]:
        """The environment for the command line and every node that it starts."""
        saved = json.loads(self.saved.read_text(encoding="utf-8"))
        env = dict(os.environ)
        if not self.environment.system_ros:
            # The guard of ros_wheels_bootstrapper: were it kept from an outer environment, the wheels' libraries would not be found.
            env.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
            env.pop("PYTHONHOME", None)
        for name, paths in saved["paths"].items():
            rest = [p for p in env.get(name, "").split(os.pathsep) if p and p not in paths]
            if paths or rest:
                env[name] = os.pathsep.join([*paths, *rest])
        env["VIRTUAL_ENV"] = str(self.environment.folder)
        env["APPRENTICE_ROOT"] = str(self.root)
        env.setdefault("ROS_DISTRO", saved["distro"])
        # Discovery stays on this machine unless a user asks otherwise: faster, and no stranger's robot moves.
        env.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        return env


def announce_ready(root: Path) -> None:
    print(f"[setup] ready: {root}", file=sys.stderr, flush=True)
