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
"""An array is a map of this key to (dtype, shape, bytes), a dataclass one of its place in `types` (from 1) to its fields"""
LENGTH = 4
"""bytes of a frame's length"""


class Wire:
    """One end of a stream socket. Carries numbers, strings, tuples, maps with text keys, arrays, and `types` (equal at both ends).

    What the socket does not take at once waits in memory (`backlog` bytes) for the next `send` or `flush`. EOFError: the other
    end is gone; all that it had sent before is received first. Nothing that is received is executed.
    """

    def __init__(self, end: socket.socket, types: Sequence[type]):
        end.setblocking(False)
        self._socket = end
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)
        self._types: dict[int, type] = dict(enumerate(types, ARRAY + 1))
        self._fields = {t: (code, [f.name for f in fields(t)]) for code, t in self._types.items()}
        self._packer = msgpack.Packer(default=self._pack)
        self._out, self._in = bytearray(), bytearray()

    @property
    def backlog(self) -> int:
        return len(self._out)

    def send(self, *messages: Any) -> None:
        body = self._packer.pack(messages)
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
        # Asked first: a loop that finds nothing nearly always should not pay for an exception.
        if not self._poll.poll(1e3 * timeout):
            return []
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
            messages += msgpack.unpackb(self._in[LENGTH:end], object_hook=self._unpack, use_list=False, strict_map_key=False)
            del self._in[:end]
        return messages

    def _pack(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {ARRAY: (value.dtype.str, value.shape, value.tobytes())}
        if isinstance(value, np.generic):
            return value.item()
        if type(value) not in self._fields:
            raise TypeError(f"{type(value).__name__} does not go over the wire")
        code, names = self._fields[type(value)]
        return {code: [getattr(value, name) for name in names]}

    def _unpack(self, found: dict[Any, Any]) -> Any:
        code: Any
        content: Any
        code, content = next(iter(found.items()), ("", ()))
        if code == ARRAY:
            dtype, shape, body = content
            return np.frombuffer(body, dtype=dtype).reshape(shape)
        return self._types[code](*content) if code in self._types else found
