"""`$(var name)`, `$(env NAME [default])` and `$(find-pkg-share package)` inside attribute values, nested as deep as one likes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from apprentice_core.errors import ApprenticeError
from apprentice_core.paths import share_dir

KNOWN = "$(var NAME), $(env NAME [DEFAULT]) and $(find-pkg-share PACKAGE)"


def prefixes() -> list[Path]:
    """The ament prefixes, in order of precedence."""
    return [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]


def package_share(package: str) -> Path:
    """share/<package> of the first prefix that has it; the checkout itself stands in for a bringup package that is not installed."""
    for prefix in prefixes():
        share = prefix / "share"
        if (share / package / "package.xml").is_file() or (share / "ament_index" / "resource_index" / "packages" / package).is_file():
            return share / package
    if package == "apprentice_bringup":
        return share_dir()
    raise ApprenticeError(f"package {package!r} is not installed in any of {os.environ.get('AMENT_PREFIX_PATH') or 'no AMENT_PREFIX_PATH'}")


def package_executable(package: str, executable: str) -> Path:
    """lib/<package>/<executable>; ApprenticeError lists what the package has."""
    known: list[str] = []
    for prefix in prefixes():
        folder = prefix / "lib" / package
        path = folder / executable
        if path.is_file() and os.access(path, os.X_OK):
            return path
        if folder.is_dir():
            known += sorted(p.name for p in folder.iterdir() if p.is_file() and os.access(p, os.X_OK))
    raise ApprenticeError(f"package {package!r} has no executable {executable!r}; it has: {', '.join(known) or 'none that is installed'}")


def substitute(text: str, variables: Mapping[str, str], fail: Callable[[str], Exception]) -> str:
    """`text` with its substitutions done; raises what `fail(message)` returns on an unknown, unset or unclosed one."""
    out, position = [], 0
    while position < len(text):
        at = text.find("$(", position)
        if at < 0:
            out.append(text[position:])
            break
        out.append(text[position:at])
        depth, end = 0, at + 1
        for end in range(at + 1, len(text)):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            if depth == 0:
                break
        if depth != 0:
            raise fail(f"unclosed substitution in {text!r}")
        out.append(_one(substitute(text[at + 2 : end], variables, fail), variables, fail))
        position = end + 1
    return "".join(out)


def _one(body: str, variables: Mapping[str, str], fail: Callable[[str], Exception]) -> str:
    name, *arguments = body.split(maxsplit=2) if body.strip() else [""]
    if name == "var" and len(arguments) == 1:
        if arguments[0] not in variables:
            raise fail(f"$(var {arguments[0]}): no such argument; known: {', '.join(sorted(variables)) or 'none'}")
        return variables[arguments[0]]
    if name == "env" and len(arguments) in {1, 2}:
        value = os.environ.get(arguments[0], arguments[1].strip("'\"") if len(arguments) == 2 else None)
        if value is None:
            raise fail(f"$(env {arguments[0]}): the environment variable is not set, and no default is given")
        return value
    if name == "find-pkg-share" and len(arguments) == 1:
        try:
            return str(package_share(arguments[0]))
        except ApprenticeError as error:
            raise fail(str(error)) from error
    raise fail(f"$({body}): this runner knows {KNOWN}")
