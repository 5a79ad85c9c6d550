"""Image messages, for the camera node and the render node alike."""

from __future__ import annotations

from array import array

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from apprentice_core.camera_model import CameraModel


def _encoding(image: np.ndarray) -> str:
    if image.dtype == np.uint16:
        return "16UC1"
    return "rgb8" if image.ndim == 3 else "mono8"


def compressed_image(png: bytes, image: np.ndarray, stamp: Time, frame: str) -> CompressedImage:
    """PNG of `image`. The format names the raw encoding first, as image_transport writes it."""
    encoding = _encoding(image)
    coded = "bgr8" if encoding == "rgb8" else ""
    message = CompressedImage(format=f"{encoding}; png compressed {coded}".rstrip(), data=array("B", png))
    message.header.stamp, message.header.frame_id = stamp, frame
    return message


def raw_image(image: np.ndarray, stamp: Time, frame: str) -> Image:
    h, w = image.shape[:2]
    data = np.ascontiguousarray(image)
    message = Image(height=h, width=w, encoding=_encoding(image), step=data.strides[0], data=array("B", data.tobytes()))
    message.header.stamp, message.header.frame_id = stamp, frame
    return message


def camera_info(model: CameraModel, stamp: Time, frame: str) -> CameraInfo:
    message = CameraInfo(
        height=model.height, width=model.width, distortion_model=model.distortion_model, d=array("d", model.d),
        k=list(model.k), r=list(model.r), p=list(model.p),
    )
    message.header.stamp, message.header.frame_id = stamp, frame
    return message
