"""Draws a cloth into a finished image of the software renderer, by its depth buffer.

PyBullet has no way to move the vertices of a visual mesh in a rigid world, and a body made anew for every image would leave its old shapes
behind and unsettle saved states. The light is the renderer's own.
"""

from __future__ import annotations

import numpy as np

STRIPE = 0.72
"""brightness of the two rows along each edge against the rest, so that folds and turns can be seen (ours)"""


class ClothRaster:
    """Triangles and colours of a cloth of n x n vertices; `draw` needs no state, so equal vertices give equal pixels."""

    def __init__(self, n: int, colour: tuple[float, ...], light: tuple[float, ...], ambient: float, diffuse: float):
        index = np.arange(n * n).reshape(n, n)
        a, b, c, d = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel()
        self._triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([c, b, d], axis=1)])
        band = max(1, n // 6)
        shade = np.full((n, n), STRIPE)
        shade[band:-band, band:-band] = 1.0
        self._colour = shade.reshape(-1, 1) * (255.0 * np.array(colour[:3]))
        self._light = np.array(light) / np.linalg.norm(light)
        self._ambient, self._diffuse, self._n = ambient, diffuse, n

    def _lit(self, vertices: np.ndarray) -> np.ndarray:
        """Colours of the vertices [n n, 3] in 0..255; a cloth is bright on the side that the light falls on, seen from either."""
        grid = vertices.reshape(self._n, self._n, 3)
        u, v = np.gradient(grid, axis=0), np.gradient(grid, axis=1)
        normal = np.cross(u, v).reshape(-1, 3)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        return self._colour * (self._ambient + self._diffuse * np.abs(normal @ self._light))[:, None]

    def draw(self, vertices: np.ndarray, camera: np.ndarray, rgb: np.ndarray, depth: np.ndarray) -> None:
        """Paints vertices [n n, 3] (m) into rgb (uint8 [H, W, 3]) and depth (float32 [H, W], 0 near to 1 far), in place. `camera` [4, 4]:
        projection times view."""
        height, width = depth.shape
        clip = np.c_[vertices, np.ones(len(vertices))] @ camera.T
        w = clip[:, 3]
        safe = np.where(w > 1e-6, w, 1.0)
        x, y = (clip[:, 0] / safe * 0.5 + 0.5) * width, (0.5 - clip[:, 1] / safe * 0.5) * height
        z = clip[:, 2] / safe * 0.5 + 0.5
        tri = self._triangles
        tri = tri[(w > 1e-6)[tri].all(axis=1)]
        tx, ty = x[tri], y[tri]
        # Pixels whose centres may lie in a triangle, all triangles at once.
        x0, x1 = (np.clip(f(e - 0.5), 0, width) for f, e in ((np.ceil, tx.min(axis=1)), (lambda e: np.floor(e) + 1, tx.max(axis=1))))
        y0, y1 = (np.clip(f(e - 0.5), 0, height) for f, e in ((np.ceil, ty.min(axis=1)), (lambda e: np.floor(e) + 1, ty.max(axis=1))))
        columns, rows = np.maximum(x1 - x0, 0).astype(np.intp), np.maximum(y1 - y0, 0).astype(np.intp)
        count = columns * rows
        t = np.repeat(np.arange(len(tri)), count)
        if not len(t):
            return
        k = np.arange(len(t)) - np.repeat(np.cumsum(count) - count, count)
        px, py = x0[t].astype(np.intp) + k % columns[t], y0[t].astype(np.intp) + k // columns[t]
        ax, ay = tx[:, 0], ty[:, 0]
        bx, by, cx, cy = tx[:, 1] - ax, ty[:, 1] - ay, tx[:, 2] - ax, ty[:, 2] - ay
        area = bx * cy - by * cx
        area[np.abs(area) < 1e-9] = np.inf
        dx, dy = px + 0.5 - ax[t], py + 0.5 - ay[t]
        second = (dx * cy[t] - dy * cx[t]) / area[t]
        third = (dy * bx[t] - dx * by[t]) / area[t]
        inside = (second >= -1e-9) & (third >= -1e-9) & (second + third <= 1 + 1e-9) & np.isfinite(area[t])
        t, px, py, second, third = t[inside], px[inside], py[inside], second[inside], third[inside]
        corners = tri[t]
        weight = np.stack([1.0 - second - third, second, third], axis=1)
        pz = np.einsum("pi,pi->p", weight, z[corners])
        seen = np.flatnonzero((pz < depth[py, px]) & (pz > 0.0))
        # Far to near, so that the nearest is written last.
        order = seen[np.argsort(-pz[seen], kind="stable")]
        py, px, corners, weight = py[order], px[order], corners[order], weight[order]
        # What is linear on the triangle is so on the screen once divided by depth.
        weight = weight / w[corners]
        colours = np.einsum("pi,pic->pc", weight / weight.sum(axis=1, keepdims=True), self._lit(vertices)[corners])
        rgb[py, px] = np.clip(np.rint(colours), 0, 255).astype(np.uint8)
        depth[py, px] = pz[order]
