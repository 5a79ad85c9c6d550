"""A robot description as the page draws it: primitives of each link, and the joints between them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transforms3d.euler import euler2mat

from apprentice_core.errors import ConfigError
from apprentice_core.urdf import UrdfTree

MAX_URDF = 8 << 20
"""characters; a longer description is refused (ours)"""
SOURCE = Path("robot_description")
GREY = (0.6, 0.6, 0.62, 1.0)
SHAPES = {"box": ("size", 3), "cylinder": ("radius length", 2), "sphere": ("radius", 1)}


def arm_model(text: str) -> dict[str, Any]:
    """URDF text -> {name, root, joints, links, skipped}.

    `joints`: name, type, parent, child and `matrix` (4x4 row-major, child in parent at position 0; where it stands now, tf tells).
    `links`: name to visuals, each with `shape` box (size x y z), cylinder (radius, length along z)
    or sphere (radius), `size`, `matrix` in the link, `rgba`. Metres. `skipped`: links with meshes, which are not drawn.
    ConfigError when the text is malformed.
    """
    if len(text) > MAX_URDF:
        raise ConfigError(str(SOURCE), "", f"{len(text)} characters, more than {MAX_URDF}")
    tree = UrdfTree(SOURCE, text)
    colours = {m.get("name", ""): _rgba(m) for m in tree.root.findall("material")}
    links: dict[str, list[dict[str, Any]]] = {}
    skipped: list[str] = []
    for link in tree.root.findall("link"):
        name = link.get("name", "")
        found = [_visual(v, name, colours) for v in link.findall("visual")]
        links[name] = [v for v in found if v is not None]
        if None in found:
            skipped.append(name)
    children = {j.child for j in tree.joints}
    unknown = {n for j in tree.joints for n in (j.parent, j.child)} - links.keys()
    if unknown:
        raise ConfigError(str(SOURCE), "joint", f"names links that do not exist: {', '.join(sorted(unknown))}")
    roots = [n for n in links if n not in children]
    if len(roots) != 1:
        raise ConfigError(str(SOURCE), "", f"has {len(roots)} root links, not one")
    joints = [
        {"name": j.name, "type": j.kind, "parent": j.parent, "child": j.child, "matrix": _matrix(j.rotation, j.position)}
        for j in tree.joints
    ]
    return {"name": tree.root.get("name", ""), "root": roots[0], "joints": joints, "links": links, "skipped": skipped}


def _matrix(rotation: np.ndarray, position: np.ndarray) -> list[float]:
    m = np.eye(4)
    m[:3, :3], m[:3, 3] = rotation, position
    return [float(x) for x in m.ravel()]


def _numbers(text: str, count: int, where: str) -> list[float]:
    try:
        values = [float(x) for x in text.split()]
    except ValueError as error:
        raise ConfigError(str(SOURCE), where, f"is not numeric ({error})") from error
    if len(values) != count or not np.isfinite(values).all():
        raise ConfigError(str(SOURCE), where, f"{text!r} is not {count} finite numbers")
    return values


def _visual(e: ET.Element, link: str, colours: dict[str, Sequence[float] | None]) -> dict[str, Any] | None:
    where = f"link {link!r}"
    shape = next((s for s in SHAPES if e.find(f"geometry/{s}") is not None), None)
    if shape is None:
        return None
    geometry = e.find(f"geometry/{shape}")
    assert geometry is not None
    attributes, count = SHAPES[shape]
    size = _numbers(" ".join(geometry.get(a, "") for a in attributes.split()), count, where)
    origin = e.find("origin")
    xyz, rpy = (("0 0 0", "0 0 0") if origin is None else (origin.get("xyz", "0 0 0"), origin.get("rpy", "0 0 0")))
    rotation = euler2mat(*_numbers(rpy, 3, where), "sxyz")
    material = e.find("material")
    colour = None if material is None else _rgba(material) or colours.get(material.get("name", ""))
    return {
        "shape": shape, "size": size, "matrix": _matrix(rotation, np.array(_numbers(xyz, 3, where))), "rgba": list(colour or GREY),
    }


def _rgba(material: ET.Element) -> Sequence[float] | None:
    colour = material.find("color")
    return None if colour is None else _numbers(colour.get("rgba", ""), 4, f"material {material.get('name', '')!r}")
