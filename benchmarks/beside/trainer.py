"""A process of its own for the `control` bench: updates of SAC on one thread until standard input closes; then their number."""

import sys
import threading

import torch

from benchmarks.online import SIZES, make_ours


def main() -> None:
    torch.set_num_threads(1)
    update, done, closed = make_ours(SIZES["sac"]), 0, threading.Event()
    update()
    print("ready", flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), closed.set()), daemon=True).start()
    while not closed.is_set():
        update()
        done += 1
    print(done, flush=True)


main()
