"""The cameras of a cell, drawn in software: no GPU, no window, the same pixels in a mirror world."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import pybullet as p

from apprentice_core.camera_model import CameraModel
from apprentice_core.config import CameraConfig
from apprentice_core.errors import ConfigError
from apprentice_core.images import to_record_size
from apprentice_core.rotations import quaternion_to_matrix
from apprentice_sim.cloth.raster import ClothRaster
from apprentice_sim.raster import Raster
from apprentice_sim.world import World

NEAR, FAR = 0.02, 4.0
LIGHT = (0.5, -0.6, 1.6)
AMBIENT, DIFFUSE, SPECULAR = 0.55, 0.5, 0.05


@lru_cache(maxsize=4)
def _raster(n: int, colour: tuple[float, ...]) -> ClothRaster:
    return ClothRaster(n, colour, LIGHT, AMBIENT, DIFFUSE)


def camera_model(camera: CameraConfig) -> CameraModel:
    """The calibration of a simulated camera's pictures at the record size."""
    return CameraModel.from_fov(camera.raw, camera.fov).at_record_size(camera.record)


class Renderer:
    """Colour images of rigid bodies come from `Raster`, in half a millisecond; what that cannot draw (depth, cloths, meshes) comes from
    PyBullet's own renderer, which holds the interpreter for some 5 ms. Cameras are drawn at their raw size, best the record size."""

    def __init__(self, world: World, cameras: Mapping[str, CameraConfig]):
        self.world, self.cameras = world, dict(cameras)
        self._raster = Raster(world, LIGHT, AMBIENT, DIFFUSE + SPECULAR)
        self._projection = {}
        for name, camera in self.cameras.items():
            if camera.mount != "world" and camera.mount not in world.link_index:
                raise ConfigError(name, "mount", f"robot {world.profile.name} has no link {camera.mount!r}")
            aspect = camera.raw[1] / camera.raw[0]
            projection = list(p.computeProjectionMatrixFOV(camera.fov, aspect, NEAR, FAR))
            # PyBullet takes a pixel's corner for its centre, which brings the picture half a pixel to the right and up.
            projection[8], projection[9] = 1.0 / camera.raw[1], 1.0 / camera.raw[0]
            self._projection[name] = tuple(projection)

    def _view(self, camera: CameraConfig) -> tuple[float, ...]:
        eye, target, up = (np.array(v, dtype=np.float64) for v in (camera.position, camera.look_at, camera.up))
        if camera.mount != "world":
            position, quaternion = self.world.link_pose(camera.mount)
            rotation = quaternion_to_matrix(quaternion)
            eye, target, up = position + rotation @ eye, position + rotation @ target, rotation @ up
        return tuple(p.computeViewMatrix(eye.tolist(), target.tolist(), up.tolist()))

    def render(self, name: str) -> np.ndarray:
        """uint8 RGB [H, W, 3], or uint16 millimetres [H, W] for a depth camera (0: nothing within 4 m), at the record size."""
        camera = self.cameras[name]
        height, width = camera.raw
        view = self._view(camera)
        if self._raster.draws and not camera.depth:
            return to_record_size(self._raster.draw(camera.raw, camera.fov, NEAR, FAR, view), camera.record)
        _, _, rgba, depth, _ = p.getCameraImage(
            width, height, view, self._projection[name], lightDirection=LIGHT, lightAmbientCoeff=AMBIENT,
            lightDiffuseCoeff=DIFFUSE, lightSpecularCoeff=SPECULAR, shadow=0, flags=p.ER_NO_SEGMENTATION_MASK,
            renderer=p.ER_TINY_RENDERER, physicsClientId=self.world.client,
        )
        rgb, z = np.reshape(rgba, (height, width, 4))[:, :, :3], np.reshape(depth, (height, width))
        if self.world.cloth is not None:
            rgb, z = rgb.astype(np.uint8), z.astype(np.float32)
            seen = np.reshape(self._projection[name], (4, 4)).T @ np.reshape(view, (4, 4)).T
            cloth = self.world.cloth.cloth
            _raster(cloth.n, cloth.colour).draw(self.world.cloth.vertices, seen, rgb, z)
        if not camera.depth:
            return to_record_size(rgb, camera.record)
        z = z.astype(np.float64)
        metres = FAR * NEAR / (FAR - (FAR - NEAR) * z)
        millimetres = np.where(z < 1.0, np.rint(metres * 1000.0), 0.0).astype(np.uint16)
        return to_record_size(millimetres, camera.record)
