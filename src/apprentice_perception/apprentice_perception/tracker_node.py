"""Block poses from the cameras that look at their markers (spec 001c section 1.3, checklist A25)."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseWithCovarianceStamped, Quaternion
from sensor_msgs.msg import CameraInfo, CompressedImage

from apprentice_core.camera_model import CameraModel
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.images import decode_png
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_qos import LATCHED, SPINE, sensor_publisher, sensor_subscriber
from apprentice_core.ros_time import to_time
from apprentice_core.streams import stamp_ns, tracked_stream
from apprentice_core.tracking import PoseTracker, TrackedPose, make_tracker
from apprentice_interfaces.msg import SafetyEvent
from apprentice_perception.frame_group import FrameGroup, Moment

PARAMETERS = (
    Param("cell", "sawyer_assembly_tracked", "cell config with the tracker's cameras"),
    Param("task", "assemble_blocks", "task config that says which markers are on which object"),
    Param("pace", "lockstep", "lockstep: cameras tell of the same moment; realtime: of nearly the same", choices=("lockstep", "realtime")),
    Param("slack", 0.05, "pictures that are taken within so long are one moment, at pace realtime, s", bounds=(0.001, 1.0)),
    Param("patience", 0.3, "a camera that is so far behind is left out, at pace realtime, s", bounds=(0.01, 10.0)),
)


class TrackerNode(ApprenticeNode):
    """Subscribes camera/<name>/image/compressed and camera_info; publishes tracked/<object>/pose in the base frame with the stamp of the
    pictures. An object that is lost falls silent, so that its stream is stale, and says so as a safety event."""

    def __init__(self) -> None:
        super().__init__("tracker_node", PARAMETERS)
        s = self.settings
        self._cell, self._task = load_cell(s["cell"]), load_task(s["task"])
        # What is wrong with cell or task is told at the start, not when the first calibration comes.
        names = make_tracker(self._cell, self._task).cameras
        lockstep = s["pace"] == "lockstep"
        slack, patience = (0, 0) if lockstep else (round(1e9 * s["slack"]), round(1e9 * s["patience"]))
        self._group: FrameGroup[np.ndarray] = FrameGroup(tuple(names), slack, patience)
        self._models: dict[str, CameraModel] = {}
        self._tracker: PoseTracker | None = None
        self._base = load_robot(self._cell.robot).base_frame
        self._publish = {
            n: self.create_publisher(PoseWithCovarianceStamped, tracked_stream(n).topic, sensor_publisher(20.0)) for n in self._task.markers
        }
        self._events = self.create_publisher(SafetyEvent, "safety/event", SPINE)
        self._lost: set[str] = set()
        self._known: set[str] = set()
        self._tracked = self._broken = 0
        self._seconds = 0.0
        for name in names:
            self.create_subscription(CameraInfo, f"camera/{name}/camera_info", partial(self._on_info, name), LATCHED)
            self.create_subscription(
                CompressedImage, f"camera/{name}/image/compressed", partial(self._on_image, name), sensor_subscriber(lockstep)
            )
        self.steady_timer(1.0, self._report)

    def _on_info(self, camera: str, m: CameraInfo) -> None:
        model = CameraModel(m.height, m.width, tuple(m.k), tuple(m.p), tuple(m.d), tuple(m.r), m.distortion_model)
        if self._models.get(camera) != model:
            self._models[camera] = model
            if len(self._models) == len(self._group.cameras):
                self._tracker = make_tracker(self._cell, self._task, self._models)

    def _on_image(self, camera: str, m: CompressedImage) -> None:
        moment = self._group.add(camera, stamp_ns(m.header.stamp), np.asarray(m.data, dtype=np.uint8))
        if moment is None or self._tracker is None:
            return
        began = time.monotonic()
        try:
            images = {n: decode_png(coded) for n, coded in moment.frames.items()}
        except ValueError as error:
            self._broken += 1
            self.get_logger().error(f"camera picture: {error}", throttle_duration_sec=5.0)
            return
        self._tell(self._tracker.update(images, 1e-9 * moment.stamp), moment)
        self._tracked += 1
        self._seconds += time.monotonic() - began

    def _tell(self, poses: dict[str, TrackedPose], moment: Moment[np.ndarray]) -> None:
        for name, tracked in poses.items():
            m = PoseWithCovarianceStamped()
            m.header.stamp, m.header.frame_id = to_time(moment.stamp), self._base
            x, y, z, qx, qy, qz, qw = tracked.pose.tolist()
            m.pose.pose = Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))
            m.pose.covariance = tracked.covariance.ravel()
            self._publish[name].publish(m)
        self._known |= poses.keys()
        lost = self._known - poses.keys()
        for name in sorted(lost - self._lost):
            event = SafetyEvent(code="tracker_lost", stage="tracker_node", outcome="hold", message=f"no camera sees the markers of {name}")
            event.header.stamp = to_time(moment.stamp)
            self._events.publish(event)
            self.get_logger().error(event.message)
        self._lost = lost

    def _report(self) -> None:
        seen = set() if self._tracker is None else {n for found in self._tracker.sightings.values() for n in found}
        uncalibrated = [c for c in self._group.cameras if c not in self._models]
        if uncalibrated:
            level, message = 3, f"no camera_info of {', '.join(uncalibrated)}"
        elif self._lost:
            level, message = 2, f"lost: {', '.join(sorted(self._lost))}"
        else:
            level, message = 0, "tracking"
        self.diagnose("tracker", level, message, {
            "tracked": self._tracked, "markers": " ".join(map(str, sorted(seen))), "broken_pictures": self._broken,
            "ms_a_moment": f"{1e3 * self._seconds / max(1, self._tracked):.2f}",
        })


def main() -> None:
    run_node(TrackerNode)


if __name__ == "__main__":
    main()
