"""Frames from files and folders, and what is said when there is none."""

import cv2
import numpy as np
import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_core.images import decode_png, encode_png, to_record_size
from apprentice_perception.frame_sources import open_source


def _images(folder, n=3):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(n)]
    for i, frame in enumerate(frames):
        (folder / f"{i:03d}.png").write_bytes(encode_png(frame))
    return frames


def test_a_folder_gives_its_images_in_order(tmp_path):
    frames = _images(tmp_path)
    source = open_source(str(tmp_path), (48, 64), 20.0, loop=False)
    for frame in frames:
        np.testing.assert_array_equal(source.read(), frame)
    assert source.read() is None


def test_a_folder_loops(tmp_path):
    frames = _images(tmp_path, 2)
    source = open_source(str(tmp_path), (48, 64), 20.0, loop=True)
    for k in range(5):
        np.testing.assert_array_equal(source.read(), frames[k % 2])


def test_sixteen_bit_depth_survives(tmp_path):
    depth = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    (tmp_path / "0.png").write_bytes(encode_png(depth))
    frame = open_source(str(tmp_path), (48, 64), 20.0, loop=False).read()
    np.testing.assert_array_equal(frame, depth)
    np.testing.assert_array_equal(decode_png(encode_png(to_record_size(frame, (24, 32)))), to_record_size(depth, (24, 32)))


def test_a_video_file_is_rgb_and_loops(tmp_path):
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (64, 48))
    if not writer.isOpened():
        raise AssertionError("OpenCV cannot write MJPG here")
    red = np.zeros((48, 64, 3), np.uint8)
    red[:, :, 2] = 255
    for _ in range(3):
        writer.write(red)
    writer.release()
    source = open_source(str(path), (48, 64), 20.0, loop=True)
    for _ in range(7):
        frame = source.read()
        assert frame[:, :, 0].mean() > 200 and frame[:, :, 2].mean() < 50
    source.close()


@pytest.mark.parametrize(("source", "says"), [
    ("", "source"), ("/dev/video93", "does not exist"), ("/nowhere/film.mp4", "does not exist"), ("/dev/null", "cannot be opened"),
])
def test_an_absent_source_is_said_clearly(source, says):
    with pytest.raises(ApprenticeError, match=says):
        open_source(source, (48, 64), 20.0, loop=False)


def test_an_empty_folder_and_a_foreign_file(tmp_path):
    with pytest.raises(ApprenticeError, match="no images"):
        open_source(str(tmp_path), (48, 64), 20.0, loop=False)
    (tmp_path / "x.mp4").write_text("not a film")
    with pytest.raises(ApprenticeError, match="cannot be decoded"):
        open_source(str(tmp_path / "x.mp4"), (48, 64), 20.0, loop=False)
