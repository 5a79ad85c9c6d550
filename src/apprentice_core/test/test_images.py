import numpy as np
import pytest

from apprentice_core.images import box_reduce, decode_png, encode_png, to_record_size

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("image", [
    RNG.integers(0, 256, (80, 128, 3), dtype=np.uint8),
    RNG.integers(0, 65536, (17, 23), dtype=np.uint16),
    RNG.integers(0, 256, (5, 7), dtype=np.uint8),
])
def test_png_is_lossless(image):
    assert np.array_equal(decode_png(encode_png(image)), image)


def test_red_stays_red_on_the_wire():
    import cv2

    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    as_bgr = cv2.imdecode(np.frombuffer(encode_png(red), np.uint8), cv2.IMREAD_COLOR)
    assert as_bgr[0, 0].tolist() == [0, 0, 255]


def test_box_filter_is_the_rounded_mean():
    image = np.array([[0, 1], [1, 1]], np.uint8)
    assert box_reduce(image, 2).tolist() == [[1]]
    assert box_reduce(np.array([[0, 0], [0, 1]], np.uint8), 2).tolist() == [[0]]
    assert box_reduce(np.full((4, 4, 3), 65535, np.uint16), 4).tolist() == [[[65535] * 3]]


def test_record_size_crops_the_centre_and_reduces():
    image = np.zeros((20, 40), np.uint8)
    image[2:18, 4:36] = 200
    assert np.array_equal(to_record_size(image, (8, 16)), np.full((8, 16), 200, np.uint8))


def test_images_are_never_enlarged():
    with pytest.raises(ValueError, match="smaller than the record size 80x128"):
        to_record_size(np.zeros((48, 64, 3), np.uint8), (80, 128))


@pytest.mark.parametrize("data", [b"", b"not an image", encode_png(np.zeros((8, 8, 3), np.uint8))[:20]])
def test_a_torn_png_is_an_error(data):
    with pytest.raises(ValueError, match="PNG"):
        decode_png(data)
