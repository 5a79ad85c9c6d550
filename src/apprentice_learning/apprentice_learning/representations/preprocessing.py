"""One image code for collection, training and acting, and a fingerprint that tells when it changes (X18)."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import torch

from apprentice_core.errors import BundleError
from apprentice_core.images import to_record_size
from apprentice_learning.networks.encoders import box_filter, to_input

PATTERN = 48
"""side of the image on which the code is tried"""


@functools.cache
def fingerprint() -> str:
    """16 hex digits over what this release makes of a fixed image: the camera's crop and resize, the box filter and the network's input.

    Collection writes it into an episode's metadata (`preprocessing`), bundles carry it, and data or bundles of another are refused.
    """
    y, x, c = np.indices((PATTERN, PATTERN + 6, 3))
    image = ((7 * y * y + 11 * x * (y + 1) + 85 * c) % 256).astype(np.uint8)
    recorded = to_record_size(image, (PATTERN // 2, PATTERN // 2))
    tensor = to_input(box_filter(torch.from_numpy(recorded)[None], 2))
    return hashlib.sha256(recorded.tobytes() + tensor.contiguous().numpy().tobytes()).hexdigest()[:16]


def check_fingerprint(given: object, where: str) -> None:
    """BundleError when a model was trained behind other image code."""
    if given != fingerprint():
        raise BundleError(f"{where}: preprocessing: trained behind image code {given!r}, this release's is {fingerprint()!r}")
