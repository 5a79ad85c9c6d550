"""Plain data between arm_node and the process of its control loop: msgpack in frames over a local socket, never waiting."""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import msgpack
import numpy as np

ARRAY = 0
"""extension code of an array; those of the dataclasses follow in the order of `types`"""
LENGTH = 4
"""bytes of a frame's length"""


class Wire:
    """One end of a stream socket. Carries numbers, strings, tuples, arrays and the dataclasses in `types` (equal at both ends).

    What the socket does not take at once waits in memory (`backlog` bytes) for the next `send` or `flush`. EOFError: the other
    end is gone; all that it had sent before is received first. Nothing that is received is executed.
    """

    def __init__(self, end: socket.socket, types: Sequence[type]):
        end.setblocking(False)
        self._socket, self._types = end, tuple(types)
        self._codes = {t: i for i, t in enumerate(self._types, ARRAY + 1)}
        self._fields = {t: tuple(f.name for f in fields(t)) for t in self._types}
        self._out, self._in = bytearray(), bytearray()

    @property
    def backlog(self) -> int:
        return len(self._out)

    def send(self, *messages: Any) -> None:
        body = msgpack.packb(messages, default=self._pack)
        self._out += len(body).to_bytes(LENGTH, "little") + body
        self.flush()

    def flush(self) -> None:
        while self._out:
            try:
                sent = self._socket.send(self._out)
            except BlockingIOError:
                return
            except OSError as error:
                raise EOFError("the other end is gone") from error
            del self._out[:sent]

    def receive(self, timeout: float = 0.0) -> list[Any]:
        """All messages that are there; waits up to `timeout` s for the first bytes."""
        if timeout > 0:
            select.select([self._socket], [], [], timeout)
        gone = False
        while True:
            try:
                part = self._socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError:
                part = b""
            if not part:
                gone = True
                break
            self._in += part
        messages = self._frames() if self._in else []
        if gone and not messages:
            raise EOFError("the other end is gone")
        return messages

    def close(self) -> None:
        self._socket.close()

    def _frames(self) -> list[Any]:
        messages: list[Any] = []
        while len(self._in) >= LENGTH:
            end = LENGTH + int.from_bytes(self._in[:LENGTH], "little")
            if len(self._in) < end:
                break
            messages += msgpack.unpackb(self._in[LENGTH:end], ext_hook=self._unpack, use_list=False)
            del self._in[:end]
        return messages

    def _pack(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return msgpack.ExtType(ARRAY, msgpack.packb((value.dtype.str, value.shape, value.tobytes())))
        if isinstance(value, np.generic):
            return value.item()
        kind = type(value)
        if kind not in self._codes:
            raise TypeError(f"{kind.__name__} does not go over the wire")
        values = [getattr(value, name) for name in self._fields[kind]]
        return msgpack.ExtType(self._codes[kind], msgpack.packb(values, default=self._pack))

    def _unpack(self, code: int, data: bytes) -> Any:
        if code == ARRAY:
            dtype, shape, body = msgpack.unpackb(data)
            return np.frombuffer(body, dtype=dtype).reshape(shape)
        return self._types[code - 1 - ARRAY](*msgpack.unpackb(data, ext_hook=self._unpack, use_list=False))
