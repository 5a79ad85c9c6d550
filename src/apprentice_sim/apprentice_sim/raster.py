"""A world's rigid bodies drawn by Panda3D's software rasteriser: twenty times as fast as PyBullet's, without a window or a GPU."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pybullet as p
from panda3d.core import (
    AmbientLight,
    Camera,
    CullBinManager,
    DirectionalLight,
    FrameBufferProperties,
    Geom,
    GeomNode,
    GeomTriangles,
    GeomVertexData,
    GeomVertexFormat,
    GraphicsEngine,
    GraphicsOutput,
    GraphicsPipe,
    GraphicsPipeSelection,
    LColor,
    LMatrix4,
    LQuaternion,
    LVector3,
    Material,
    NodePath,
    PerspectiveLens,
    RenderState,
    Texture,
    TransformState,
    WindowProperties,
)
from scipy.spatial import ConvexHull

from apprentice_sim.bodies import Body, Part, triangles
from apprentice_sim.world import World

OVERSAMPLING = 2
"""pixels drawn for each of the image along either axis: the rasteriser moves corners to whole pixels (ours)"""
BACKGROUND = (1.0, 1.0, 1.0, 1.0)
SEGMENTS = 24
"""of the round parts of a robot (ours)"""
PRIMITIVES = (p.GEOM_SPHERE, p.GEOM_BOX, p.GEOM_CYLINDER)
BIN = "in_order"
"""everything is drawn in the order in which it is in the world: of two surfaces in one place the same one is seen in every process"""

log = logging.getLogger(__name__)
_drawing = threading.RLock()
CullBinManager.get_global_ptr().add_bin(BIN, CullBinManager.BT_fixed, 0)


@cache
def _pipe() -> Any:
    """None where the rasteriser's library cannot be loaded: it is linked to libX11, of which it uses nothing here."""
    pipe = GraphicsPipeSelection.get_global_ptr().make_pipe("TinyOffscreenGraphicsPipe", "p3tinydisplay")
    if pipe is None:
        log.warning("Panda3D's rasteriser cannot be loaded (is libX11.so.6 there?): PyBullet draws instead, 5 ms an image")
    return pipe


def _mesh(faces: np.ndarray, normals: np.ndarray, colour: Sequence[float], order: int) -> NodePath:
    """Triangles [M, 3, 3], outward, with a normal for each corner [M, 3, 3]; RGBA in [0, 1]."""
    data = GeomVertexData("mesh", GeomVertexFormat.get_v3n3(), Geom.UH_static)
    data.unclean_set_num_rows(3 * len(faces))
    rows = np.concatenate([faces.reshape(-1, 3), normals.reshape(-1, 3)], axis=1).astype(np.float32)
    data.modify_array(0).modify_handle().copy_data_from(rows.tobytes())
    corners = GeomTriangles(Geom.UH_static)
    corners.add_consecutive_vertices(0, 3 * len(faces))
    corners.close_primitive()
    geom = Geom(data)
    geom.add_primitive(corners)
    node = GeomNode("mesh")
    node.add_geom(geom)
    path = NodePath(node)
    material = Material()
    material.set_ambient(LColor(*colour))
    material.set_diffuse(LColor(*colour))
    path.set_material(material)
    path.set_bin(BIN, order)
    return path


def _flat(parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray]:
    pieces = [triangles(part) for part in parts]
    return np.concatenate([f for f, _ in pieces]), np.concatenate([np.repeat(n[:, None], 3, axis=1) for _, n in pieces])


def _ball(radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A sphere, shaded smoothly."""
    t, a = np.meshgrid(np.linspace(0.0, np.pi, SEGMENTS // 2 + 1), np.arange(SEGMENTS) * (2 * np.pi / SEGMENTS))
    points = np.stack([np.sin(t) * np.cos(a), np.sin(t) * np.sin(a), np.cos(t)], axis=-1).reshape(-1, 3)
    hull = ConvexHull(np.unique(points.round(9), axis=0))
    faces = hull.points[hull.simplices]
    inward = np.einsum("mi,mi->m", np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0]), hull.equations[:, :3]) < 0
    faces[inward] = faces[inward][:, ::-1]
    return radius * faces, faces


def _tube(length: float, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A cylinder along z, its side shaded smoothly."""
    faces, normals = triangles(Part("cylinder", (radius, length)), SEGMENTS)
    shading = np.repeat(normals[:, None], 3, axis=1)
    side = np.abs(normals[:, 2]) < 0.5
    shading[side] = faces[side] * [1.0 / radius, 1.0 / radius, 0.0]
    return faces, shading


class Raster:
    """Draws one world; `light`: where it comes from [3]. A surface towards it has `ambient` + `diffuse` times its colour.

    What it cannot draw (`draws` False: meshes of a robot, cloths, markers, or all where its library is not to be had) is left to PyBullet.
    Not for several threads at once on one world.
    """

    def __init__(self, world: World, light: Sequence[float], ambient: float, diffuse: float):
        self.world = world
        self._version = -1
        self._root = NodePath("world")
        self._order = 0
        fill = AmbientLight("ambient")
        fill.set_color(LColor(ambient, ambient, ambient, 1.0))
        self._root.set_light(self._root.attach_new_node(fill))
        sun = DirectionalLight("light")
        sun.set_color(LColor(diffuse, diffuse, diffuse, 1.0))
        sun.set_direction(-LVector3(*light))
        self._root.set_light(self._root.attach_new_node(sun))
        self._engine = GraphicsEngine()
        weakref.finalize(self, _release, self._root, self._engine)
        shapes = p.getVisualShapeData(world.robot, physicsClientId=world.client)
        self._known = _pipe() is not None and all(shape[2] in PRIMITIVES for shape in shapes)
        self._links: dict[int, NodePath] = {}
        for shape in shapes if self._known else ():
            self._add_shape(*shape[1:4], *shape[5:8])
        self._bodies: dict[str, tuple[Body, NodePath]] = {}
        self._views: dict[tuple[int, int, float], tuple[Any, Any, NodePath]] = {}

    @property
    def draws(self) -> bool:
        return self._known and self.world.cloth is None and not any(body.markers for body in self.world.bodies)

    def _add_shape(
        self, link: int, kind: int, size: Sequence[float], position: Sequence[float], quaternion: Sequence[float], colour: Sequence[float],
    ) -> None:
        if kind == p.GEOM_BOX:
            mesh = _flat([Part("box", tuple(size))])
        elif kind == p.GEOM_CYLINDER:
            mesh = _tube(size[0], size[1])
        else:
            mesh = _ball(size[0])
        if link not in self._links:
            self._links[link] = self._root.attach_new_node(f"link {link}")
        self._order += 1
        path = _mesh(*mesh, colour, self._order)
        path.reparent_to(self._links[link])
        _place(path, position, quaternion)

    def _set_bodies(self) -> None:
        """Makes the picture hold the world's bodies; equal ones are taken over."""
        old, self._bodies = self._bodies, {}
        for i, body in enumerate(self.world.bodies):
            known, path = old.pop(body.name, (None, None))
            if known is None or path is None or (known.parts, known.colour) != (body.parts, body.colour):
                if path is not None:
                    path.remove_node()
                path = self._root.attach_new_node(body.name)
                _mesh(*_flat(body.parts), body.colour, 0).reparent_to(path)
            path.get_child(0).set_bin(BIN, self._order + 1 + i)
            self._bodies[body.name] = (body, path)
        for _, path in old.values():
            path.remove_node()
        self._version = self.world.version

    def _take_poses(self) -> None:
        world = self.world
        if self._version != world.version:
            self._set_bodies()
        links = [index for index in self._links if index >= 0]
        states = p.getLinkStates(world.robot, links, computeForwardKinematics=1, physicsClientId=world.client)
        for index, state in zip(links, states, strict=True):
            _place(self._links[index], state[4], state[5])
        for name, (_, path) in self._bodies.items():
            _place(path, *p.getBasePositionAndOrientation(world.uid(name), physicsClientId=world.client))

    def draw(self, size: tuple[int, int], fov: float, near: float, far: float, view: Sequence[float]) -> np.ndarray:
        """uint8 RGB [2 H, 2 W, 3] for an image of `size` (H, W): vertical field of view in degrees, clipping planes in m, OpenGL's view
        matrix by columns [16]. A view of the frame buffer, which holds until the next image is drawn."""
        camera = np.linalg.inv(np.reshape(view, (4, 4)))
        with _drawing:
            self._take_poses()
            output, texture, eye = self._view(size, fov, near, far)
            # Panda's cameras look along y with z up, OpenGL's along -z with y up.
            eye.set_mat(LMatrix4(*_turned(camera)))
            output.set_active(True)
            self._engine.render_frame()
            output.set_active(False)
            height, width = size[0] * OVERSAMPLING, size[1] * OVERSAMPLING
            pixels = np.frombuffer(texture.get_ram_image(), np.uint8).reshape(height, width, -1)
            return pixels[::-1, :, 2::-1]

    def _view(self, size: tuple[int, int], fov: float, near: float, far: float) -> tuple[Any, Any, NodePath]:
        key = (*size, fov)
        if key not in self._views:
            height, width = size
            form = FrameBufferProperties()
            form.set_rgba_bits(8, 8, 8, 0)
            form.set_depth_bits(24)
            window = WindowProperties.size(width * OVERSAMPLING, height * OVERSAMPLING)
            output = self._engine.make_output(_pipe(), "image", 0, form, window, GraphicsPipe.BF_refuse_window)
            if output is None:
                raise RuntimeError("Panda3D's software rasteriser gives no image buffer")
            output.set_clear_color(LColor(*BACKGROUND))
            texture = Texture()
            output.add_render_texture(texture, GraphicsOutput.RTM_copy_ram, GraphicsOutput.RTP_color)
            lens = PerspectiveLens()
            lens.set_near_far(near, far)
            across = 2.0 * np.degrees(np.arctan(np.tan(np.radians(fov) / 2) * width / height))
            lens.set_fov(float(across), fov)
            eye = self._root.attach_new_node(Camera("camera", lens))
            output.make_display_region().set_camera(eye)
            output.set_active(False)
            self._views[key] = (output, texture, eye)
        return self._views[key]


def _release(root: NodePath, engine: GraphicsEngine) -> None:
    """The lights hold their root and the root its lights, outside of what Python collects."""
    with _drawing:
        engine.remove_all_windows()
        root.clear_light()
        RenderState.garbage_collect()
        TransformState.garbage_collect()


def _turned(camera: np.ndarray) -> list[float]:
    """The camera's pose [4, 4] (rows: its axes and place) with Panda's axes in place of OpenGL's."""
    x, y, z, place = camera
    return [*x, *-z, *y, *place]


def _place(path: NodePath, position: Sequence[float], quaternion: Sequence[float]) -> None:
    """xyz, xyzw."""
    x, y, z, w = quaternion
    path.set_pos_quat(LVector3(*position), LQuaternion(w, x, y, z))
