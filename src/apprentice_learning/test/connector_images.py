"""A small drawn family for tests: a plug above a socket; colours say which connector and robot it is, heights whether it is in."""

from __future__ import annotations

import numpy as np

from apprentice_learning.representations.dataset import ConnectorData, EpisodeFacts

SIZE, STEPS, REACH = 32, 10, 0.02


def draw(offset: np.ndarray, height: float, look: np.random.Generator, noise: np.random.Generator) -> np.ndarray:
    """uint8 [32, 32, 3]; offset in metres (x sideways, y as depth, drawn as the plug's width), height 0 (in) to 1."""
    background, socket, plug = look.integers(30, 225, (3, 3))
    image = np.broadcast_to(background, (SIZE, SIZE, 3)).copy()
    image[22:30, 8:24] = socket
    x = 16 - round(offset[0] / REACH * 8)
    half = 3 + round(2 * offset[1] / REACH)
    bottom = 26 - round(height * 16)
    image[max(bottom - 10, 0) : bottom, max(x - half, 0) : x + half] = plug
    return np.clip(image + noise.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def make_data(connectors: int = 6, episodes: int = 4, robots: tuple[str, ...] = ("left",), seed: int = 0, names: tuple[str, ...] = ()):
    """Scripted insertions: sideways to the centre-line, then down; every third one stays up. ConnectorData."""
    noise = np.random.default_rng(seed)
    frames, actions, success, offsets, starts, facts = [], [], [], [], [0], []
    for c in range(connectors):
        name = names[c] if c < len(names) else f"c{c}"
        for r, robot in enumerate(robots):
            for e in range(episodes):
                offset, height = noise.uniform(-REACH, REACH, 2), 1.0
                for t in range(STEPS + 1):
                    look = np.random.default_rng([c, r])
                    frames.append(draw(offset, height, look, noise))
                    success.append(height <= 0.0)
                    offsets.append(offset.copy())
                    centred = np.abs(offset).max() < 1e-3
                    action = np.array([*np.clip(offset / 0.01, -1, 1), -1.0 if centred and e % 3 else 0.0])
                    actions.append(action if t < STEPS else np.zeros(3))
                    offset = offset - 0.01 * action[:2]
                    height = max(height + 0.25 * action[2], 0.0)
                starts.append(len(frames))
                facts.append(EpisodeFacts(name, robot, "plain"))
    return ConnectorData(
        np.stack(frames), np.array(actions, dtype=np.float32), np.array(success), np.array(offsets, dtype=np.float32), np.array(starts),
        tuple(facts),
    )
