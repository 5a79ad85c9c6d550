"""What pip cannot bring: a fitting Python, its headers; and the compiler, which it can."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from apprentice_setup.errors import SetupError

REFERENCE = (3, 11)
NEWEST = (3, 13)


def check_python() -> None:
    """SetupError where no wheels of ROS 2 exist; says so where PyBullet must be built first."""
    version = sys.version_info[:2]
    if version > NEWEST:
        raise SetupError(f"there are no ROS 2 wheels for Python {version[0]}.{version[1]}: use 3.11 (reference), 3.12 or 3.13")
    if platform.system() != "Linux" or platform.machine() not in {"x86_64", "AMD64"}:
        raise SetupError(
            f"the ROS 2 wheels are for Linux on x86-64, this is {platform.system()} on {platform.machine()}: "
            "source a ROS 2 distribution (Jazzy, Kilted or Lyrical) before you run this, or use docker/"
        )


def headers(include: str | None = None) -> Path | None:
    """The folder with Python.h, or None."""
    folder = Path(include or sysconfig.get_paths()["include"])
    return folder if (folder / "Python.h").is_file() else None


def check_headers() -> None:
    """SetupError that says how to get Python.h, without which no message package can be built."""
    if headers() is None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise SetupError(
            f"Python.h of Python {version} is missing (looked in {sysconfig.get_paths()['include']}), and pip cannot bring it.\n"
            f"  Debian, Ubuntu:  sudo apt install python{version}-dev    (python3-dev for the system's Python)\n"
            f"  Fedora:          sudo dnf install python{version}-devel\n"
            "  or use a Python from pyenv, uv or conda, which come with it"
        )


def compiler() -> str | None:
    """The C++ compiler that CMake would take: $CXX, c++, g++ or clang++; None where there is none."""
    named = os.environ.get("CXX", "")
    for name in [named] if named else ["c++", "g++", "clang++"]:
        found = shutil.which(name.split()[0]) if name.split() else None
        if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
            return name if name == named else found
    return None


ZIG_TOOLS = {"cc": "cc", "c++": "c++", "ar": "ar", "ranlib": "ranlib"}
ZIG_WRAPPER = """#!/bin/sh
# zig refuses -rpath-link, which CMake passes and its linker does not need.
for argument do
    shift
    case "$argument" in -Wl,-rpath-link,*) ;; *) set -- "$@" "$argument" ;; esac
done
exec "{python}" -m ziglang {tool} "$@"
"""


def write_zig_wrappers(folder: Path, python: Path) -> dict[str, str]:
    """Compiler commands around the `ziglang` wheel; returns the environment that makes CMake and setuptools use them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tool in ZIG_TOOLS.items():
        script = folder / f"zig-{name}"
        script.write_text(ZIG_WRAPPER.format(python=python, tool=tool), encoding="utf-8")
        script.chmod(0o755)
    return {
        "CC": str(folder / "zig-cc"),
        "CXX": str(folder / "zig-c++"),
        "AR": str(folder / "zig-ar"),
        "RANLIB": str(folder / "zig-ranlib"),
    }
