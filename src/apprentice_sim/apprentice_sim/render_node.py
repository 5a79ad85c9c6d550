"""Draws the simulated cameras in a mirror world, in a process of its own: drawing holds the interpreter for milliseconds an image."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from apprentice_core.config import load_cell
from apprentice_core.errors import ApprenticeError
from apprentice_core.images import encode_png
from apprentice_core.ros_images import camera_info, compressed_image, raw_image
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_qos import LATCHED, sensor_publisher, sensor_subscriber
from apprentice_core.streams import stamp_ns
from apprentice_interfaces.msg import SceneState
from apprentice_sim.renderer import Renderer, camera_model
from apprentice_sim.world import World

PARAMETERS = (
    Param("cell", "sawyer_lift", "cell config that describes the cameras"),
    Param("cameras", [""], "names of the cameras that this node draws, one after the other"),
    Param("pace", "lockstep", "lockstep draws every snapshot, realtime the newest", choices=("lockstep", "realtime")),
    Param("rate", 20.0, "images per second at pace realtime, Hz", bounds=(0.1, 240.0)),
    Param("image_raw", False, "also publish camera/<name>/image_raw, for people"),
)


class RenderNode(ApprenticeNode):
    """Subscribes scene/state; publishes camera/<name>/image/compressed with the stamp of the snapshot, and camera_info (latched)."""

    def __init__(self) -> None:
        super().__init__("render_node", PARAMETERS)
        cell = load_cell(self.settings["cell"])
        names = [n for n in self.settings["cameras"] if n]
        unknown = [n for n in names if n not in cell.cameras]
        if unknown or not names:
            wrong = f"{unknown[0]!r} is not in cell {cell.name}" if unknown else "names no camera"
            raise ApprenticeError(f"render_node: parameter 'cameras': {wrong}; known: {', '.join(cell.cameras)}")
        self._cameras = {n: cell.cameras[n] for n in names}
        self._lockstep = self.settings["pace"] == "lockstep"
        self._world: World | None = None
        self._renderer: Renderer | None = None
        self._version = -1
        self._description = ""
        self._drawn = 0
        self._foreign = 0
        self._last_stamp = 0
        self._last_draw = 0.0
        self._seconds = 0.0
        rate = self.settings["rate"]
        self._publish: dict[str, Callable[[np.ndarray, SceneState], None]] = {}
        for name in names:
            info = self.create_publisher(CameraInfo, f"camera/{name}/camera_info", LATCHED)
            image = self.create_publisher(CompressedImage, f"camera/{name}/image/compressed", sensor_publisher(rate))
            raw = self.create_publisher(Image, f"camera/{name}/image_raw", sensor_publisher(rate)) if self.settings["image_raw"] else None
            info.publish(camera_info(camera_model(self._cameras[name]), self.get_clock().now().to_msg(), f"{name}_optical"))
            self._publish[name] = partial(self._send, f"{name}_optical", image, raw)
        self.create_subscription(SceneState, "scene/state", self._on_scene, sensor_subscriber(self._lockstep))
        self.steady_timer(1.0, self._report)

    def _on_scene(self, m: SceneState) -> None:
        stamp = stamp_ns(m.header.stamp)
        if m.description:
            self._describe(m)
        if self._renderer is None or self._world is None or m.scene_version != self._version:
            self._foreign += 1
            return
        if stamp <= self._last_stamp:
            return
        now = time.monotonic()
        # A tenth of tolerance: the snapshots come at about the rate that is asked for.
        if not self._lockstep and now - self._last_draw < 0.9 / self.settings["rate"]:
            return
        self._last_stamp, self._last_draw = stamp, now
        self._world.apply_snapshot(np.asarray(m.joint_positions), np.asarray(m.base_poses))
        for name, publish in self._publish.items():
            publish(self._renderer.render(name), m)
        self._drawn += 1
        self._seconds += time.monotonic() - now

    def _describe(self, m: SceneState) -> None:
        if m.description != self._description:
            try:
                if self._world is None:
                    self._world = World.mirror(m.description)
                    self._renderer = Renderer(self._world, self._cameras)
                else:
                    self._world.redescribe(m.description)
            except ApprenticeError as error:
                self.get_logger().error(f"scene/state: {error}")
                return
            self._description = m.description
        self._version = m.scene_version

    def _send(self, frame: str, image: Publisher, raw: Publisher | None, pixels: np.ndarray, m: SceneState) -> None:
        image.publish(compressed_image(encode_png(pixels), pixels, m.header.stamp, frame))
        if raw is not None:
            raw.publish(raw_image(pixels, m.header.stamp, frame))

    def _report(self) -> None:
        mean = 1e3 * self._seconds / self._drawn if self._drawn else 0.0
        level, message = (0, "drawing") if self._renderer is not None else (3, "no scene description yet")
        values = {"drawn": self._drawn, "without_description": self._foreign, "ms_per_snapshot": f"{mean:.2f}"}
        self.diagnose("render", level, message, values)

    def close(self) -> None:
        if self._world is not None:
            self._world.close()


def main() -> None:
    run_node(RenderNode)


if __name__ == "__main__":
    main()
