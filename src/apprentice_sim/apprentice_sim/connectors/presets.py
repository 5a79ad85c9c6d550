"""USB, D-Sub and Model-E in their order of difficulty (spec 001c section 3.1). Sizes follow the real parts; frictions, springs, chamfers
and the scatter of the grasp are ours, chosen so that a P-controller fares about as in the thesis's Table 3."""

from __future__ import annotations

from apprentice_sim.connectors.connector import Connector, Post, d_shape, pair, rectangle

CELL = (-0.021, 0.021, -0.016, 0.016)

USB = Connector(
    "usb", "slot", (Post(rectangle(0.0120, 0.0045), CELL),), depth=0.0118, clearance=2.5e-4, mouth=(5e-4, 7e-4), tip=(4e-4, 6e-4),
    friction=0.25, spring_friction=0.3, springs=(*pair(-0.003, 0.0045, 0.006, 2.5e4, 2.5e-4), *pair(0.003, 0.0045, 0.006, 2.5e4, 2.5e-4)),
    scatter=(2e-4, 1e-4, 0.004, 0.002),
)
DSUB = Connector(
    "dsub", "d_shape", (Post(d_shape(0.0166, 0.0080, 0.0014), CELL),), depth=0.0090, clearance=2.0e-4, mouth=(5e-4, 7e-4),
    tip=(4.5e-4, 6e-4), friction=0.3, spring_friction=0.3,
    springs=(*pair(-0.004, 0.0080, 0.005, 3e4, 2.5e-4), *pair(0.004, 0.0080, 0.005, 3e4, 2.5e-4)),
    scatter=(2e-4, 1e-4, 0.006, 0.003), socket_colour=(0.45, 0.46, 0.48, 1.0), handle_colour=(0.70, 0.70, 0.66, 1.0),
)
MODEL_E = Connector(
    "model_e", "square",
    (
        Post(rectangle(0.0110, 0.0090), (-0.021, 0.0066, -0.016, 0.016)),
        Post(rectangle(0.0020, 0.0040, (0.0087, 0.0)), (0.0066, 0.021, -0.016, 0.016)),
    ),
    depth=0.0140, clearance=1.5e-4, mouth=(8e-4, 9e-4), tip=(4e-4, 5e-4), friction=0.35, spring_friction=0.35,
    springs=(*pair(-0.003, 0.0090, 0.006, 3.5e4, 3.4e-4), *pair(0.003, 0.0090, 0.006, 3.5e4, 3.4e-4)),
    scatter=(4e-4, 1e-4, 0.008, 0.003), socket_colour=(0.10, 0.12, 0.14, 1.0), handle_colour=(0.16, 0.45, 0.30, 1.0),
    plug_colour=(0.62, 0.60, 0.56, 1.0),
)
PRESETS = {c.name: c for c in (USB, DSUB, MODEL_E)}
