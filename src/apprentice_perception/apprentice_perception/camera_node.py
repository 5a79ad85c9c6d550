"""A camera of the cell: captures, crops and resizes once to the record size, publishes PNG with its calibration."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from apprentice_core.camera_model import CameraModel, load_calibration
from apprentice_core.config import load_cell
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.images import encode_png, to_record_size
from apprentice_core.ros_images import camera_info, compressed_image, raw_image
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_qos import LATCHED, sensor_publisher
from apprentice_core.ros_time import to_time
from apprentice_perception.frame_sources import open_source
from apprentice_perception.stream_health import ERROR, StreamHealth

PARAMETERS = (
    Param("cell", "sawyer_lift", "cell config that names the camera and its sizes"),
    Param("camera", "", "name of the camera in the cell config; topics are camera/<name>/..."),
    Param("source", "", "V4L2 device, video file or folder of images"),
    Param("rate", 20.0, "frames per second asked of a device, kept for files, Hz", bounds=(0.1, 240.0)),
    Param("loop", True, "start a file or folder again at its end; otherwise the node ends there"),
    Param("calibration", "", "camera calibration YAML as ROS calibration writes it; empty: ideal pinhole from the cell's fov"),
    Param("image_raw", False, "also publish camera/<name>/image_raw, for people"),
    Param("max_age", 0.2, "silence after which diagnostics say STALE, s", bounds=(0.01, 60.0)),
)


class CameraNode(ApprenticeNode):
    """Capture and coding run in a thread of their own; the executor only serves parameters and diagnostics."""

    def __init__(self) -> None:
        super().__init__("camera_node", PARAMETERS)
        name, cell = self.settings["camera"], load_cell(self.settings["cell"])
        if name not in cell.cameras:
            raise ApprenticeError(f"camera_node: parameter 'camera': {name!r} is not in cell {cell.name}; known: {', '.join(cell.cameras)}")
        self._config, self._frame = cell.cameras[name], f"{name}_optical"
        rate = self.settings["rate"]
        self._source = open_source(self.settings["source"], self._config.raw, rate, self.settings["loop"])
        self._calibration = load_calibration(Path(self.settings["calibration"])) if self.settings["calibration"] else None
        self._image = self.create_publisher(CompressedImage, f"camera/{name}/image/compressed", sensor_publisher(rate))
        self._info = self.create_publisher(CameraInfo, f"camera/{name}/camera_info", LATCHED)
        self._raw = self.create_publisher(Image, f"camera/{name}/image_raw", sensor_publisher(rate)) if self.settings["image_raw"] else None
        self._health = StreamHealth(rate, self.settings["max_age"])
        self._model: CameraModel | None = None
        self._seen = 0
        self._error = ""
        self.steady_timer(1.0, self._report)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._capture, name="capture", daemon=True)
        self._thread.start()

    def _record_model(self, height: int, width: int) -> CameraModel:
        model = self._calibration or CameraModel.from_fov((height, width), self._config.fov)
        if (model.height, model.width) != (height, width):
            raise ConfigError(
                self.settings["calibration"], "image_height, image_width",
                f"calibrated at {model.height}x{model.width}, but the camera gives {height}x{width}",
            )
        return model.at_record_size(self._config.record)

    def _publish(self, frame: np.ndarray, stamp_ns: int) -> None:
        stamp = to_time(stamp_ns)
        image = to_record_size(frame, self._config.record)
        if self._model is None:
            self._model = self._record_model(*frame.shape[:2])
            self._info.publish(camera_info(self._model, stamp, self._frame))
        self._image.publish(compressed_image(encode_png(image), image, stamp, self._frame))
        if self._raw is not None:
            self._raw.publish(raw_image(image, stamp, self._frame))

    def _capture(self) -> None:
        period = 1.0 / self.settings["rate"]
        due = time.monotonic()
        try:
            while not self._ending.is_set():
                frame = self._source.read()
                stamp = self.get_clock().now().nanoseconds
                if frame is not None:
                    self._publish(frame, stamp)
                    self._health.add(time.monotonic())
                    self._seen += 1
                elif not self._source.live:
                    self.get_logger().info("end of the file")
                    return self.request_stop()
                if not self._source.live or frame is None:
                    due = max(due + period, time.monotonic() - period)
                    self._ending.wait(max(0.0, due - time.monotonic()))
        except (ApprenticeError, ValueError) as error:
            self._error = str(error)
            self.get_logger().error(self._error)
            self.request_stop(2)

    def _report(self) -> None:
        health = self._health.check(time.monotonic())
        level, message = (ERROR, self._error) if self._error else (health.level, health.message)
        self.diagnose(self.settings["camera"], level, message, {
            "rate": f"{health.rate:.2f}", "age": f"{health.age:.3f}", "frames": self._seen,
        })

    def close(self) -> None:
        self._ending.set()
        self._thread.join(2.0)
        self._source.close()


def main() -> None:
    run_node(CameraNode)


if __name__ == "__main__":
    main()
