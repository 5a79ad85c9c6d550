"""Messages of constant layout, patched in serialised form: no conversion and no serialisation per message."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rclpy.serialization import serialize_message

BILLION = 1_000_000_000
STAMP_AT = 4
"""a header's stamp comes first, after the four bytes that name the encoding"""


class MessageTemplate:
    """A stamped message of which only the stamp and runs of float64 change.

    `set_runs(message, runs)` writes the runs (lists of floats of the given `sizes`) into a message; it is called once, with marks
    that are then looked for in the serialised form. ValueError when a run is not found there whole, once.
    """

    def __init__(self, message: Any, sizes: Sequence[int], set_runs: Callable[[Any, list[list[float]]], None]):
        marks = [[1000.0 * (i + 1) + j + 0.5 for j in range(n)] for i, n in enumerate(sizes)]
        set_runs(message, marks)
        self._raw = bytearray(serialize_message(message))
        if not self._raw[1] & 1:
            raise ValueError("this middleware serialises big-endian")
        self._views: list[np.ndarray] = []
        for run in marks:
            packed = struct.pack(f"<{len(run)}d", *run)
            if self._raw.count(packed) != 1:
                raise ValueError(f"{type(message).__name__}: a run of {len(run)} numbers is not found once in the serialised message")
            self._views.append(np.frombuffer(self._raw, dtype="<f8", count=len(run), offset=self._raw.index(packed)))

    def fill(self, stamp: int, *runs: np.ndarray) -> bytes:
        """The serialised message at node time `stamp`, ns; ValueError when a run has another size than it was made for."""
        struct.pack_into("<iI", self._raw, STAMP_AT, *divmod(stamp, BILLION))
        for view, run in zip(self._views, runs, strict=True):
            if run.shape != view.shape:
                raise ValueError(f"a run of {run.shape} where {view.shape} belongs")
            view[:] = run
        return bytes(self._raw)
