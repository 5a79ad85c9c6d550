// The arm in 3D on a plain canvas: primitives of the URDF, sorted by depth and painted. It needs no WebGL, which many robot-side
// machines and every headless browser lack, and a robot has a few hundred faces.

import { sheet } from "./canvas.js";

const SIDES = 18;
const RINGS = 7;
const LIGHT = normal([0.45, -0.35, 0.85]);
const FRUSTUM = 0.09;

const identity = () => [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

/** Row-major 4x4 product of two rigid transforms. */
export function multiply(a, b) {
  const out = new Array(16);
  for (let r = 0; r < 4; r += 1) {
    for (let c = 0; c < 4; c += 1) {
      out[4 * r + c] = a[4 * r] * b[c] + a[4 * r + 1] * b[4 + c] + a[4 * r + 2] * b[8 + c] + a[4 * r + 3] * b[12 + c];
    }
  }
  return out;
}

export function apply(m, [x, y, z]) {
  return [
    m[0] * x + m[1] * y + m[2] * z + m[3],
    m[4] * x + m[5] * y + m[6] * z + m[7],
    m[8] * x + m[9] * y + m[10] * z + m[11],
  ];
}

function normal([x, y, z]) {
  const n = Math.hypot(x, y, z) || 1;
  return [x / n, y / n, z / n];
}

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

export function fromQuaternion([x, y, z, w], [px, py, pz]) {
  return [
    1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), px,
    2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), py,
    2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), pz,
    0, 0, 0, 1,
  ];
}

/** Link name to its transform in the root link. `moving`: child link to its frame as tf tells it; one that is not told stands at 0. */
export function forward(model, moving) {
  const below = new Map();
  for (const joint of model.joints) below.set(joint.parent, [...(below.get(joint.parent) ?? []), joint]);
  const links = new Map([[model.root, identity()]]);
  const stack = [model.root];
  while (stack.length) {
    const parent = stack.pop();
    for (const joint of below.get(parent) ?? []) {
      const told = moving.get(joint.child);
      const local = told?.parent === parent ? fromQuaternion(told.quaternion, told.position) : joint.matrix;
      links.set(joint.child, multiply(links.get(parent), local));
      stack.push(joint.child);
    }
  }
  return links;
}

// Faces of a primitive: lists of points, outward by the right-hand rule.
function faces({ shape, size }) {
  if (shape === "box") return boxFaces(size.map((s) => s / 2));
  if (shape === "cylinder") return cylinderFaces(size[0], size[1] / 2);
  return sphereFaces(size[0]);
}

function boxFaces([x, y, z]) {
  return [
    [[x, -y, -z], [x, y, -z], [x, y, z], [x, -y, z]],
    [[-x, y, -z], [-x, -y, -z], [-x, -y, z], [-x, y, z]],
    [[x, y, -z], [-x, y, -z], [-x, y, z], [x, y, z]],
    [[-x, -y, -z], [x, -y, -z], [x, -y, z], [-x, -y, z]],
    [[-x, -y, z], [x, -y, z], [x, y, z], [-x, y, z]],
    [[-x, y, -z], [x, y, -z], [x, -y, -z], [-x, -y, -z]],
  ];
}

const around = (r, z, i, n = SIDES) => [r * Math.cos((2 * Math.PI * i) / n), r * Math.sin((2 * Math.PI * i) / n), z];

function cylinderFaces(r, half) {
  const out = [];
  const rim = [...Array(SIDES).keys()];
  for (const i of rim) out.push([around(r, -half, i), around(r, -half, i + 1), around(r, half, i + 1), around(r, half, i)]);
  out.push(rim.map((i) => around(r, half, i)), rim.map((i) => around(r, -half, SIDES - i)));
  return out;
}

function sphereFaces(r) {
  const out = [];
  const ring = (j) => [r * Math.sin((Math.PI * j) / RINGS), -r * Math.cos((Math.PI * j) / RINGS)];
  for (let j = 0; j < RINGS; j += 1) {
    const [[r0, z0], [r1, z1]] = [ring(j), ring(j + 1)];
    for (let i = 0; i < SIDES; i += 1) {
      const quad = [around(r0, z0, i), around(r0, z0, i + 1), around(r1, z1, i + 1), around(r1, z1, i)];
      out.push(j === 0 ? quad.slice(1) : j === RINGS - 1 ? quad.slice(0, 3) : quad);
    }
  }
  return out;
}

const HOME = { azimuth: -1.05, elevation: 0.3 };
const NO_MODEL = { low: [-0.5, -0.5, 0], high: [0.5, 0.5, 1] };

/** Drag turns, Shift-drag moves, the wheel zooms, a double click goes home; arrows and + - do the same from the keyboard. */
export class ArmView {
  constructor(canvas) {
    this.canvas = canvas;
    this.model = null;
    this.solids = [];
    this.box = NO_MODEL;
    this.frames = [];
    this.moving = new Map();
    this.stale = false;
    this.waiting = 0;
    this.eye = this.front();
    this.touched = false;
    this.observer = new ResizeObserver(() => this.redraw());
    this.observer.observe(canvas);
    canvas.tabIndex = 0;
    this.listen();
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.waiting);
  }

  setModel(model) {
    this.model = model;
    this.solids = model ? Object.entries(model.links).flatMap(([link, visuals]) =>
      visuals.map((v) => ({ link, matrix: v.matrix, rgba: v.rgba, faces: faces(v) }))) : [];
    this.fitted = false;
    this.redraw();
  }

  /** The box around the robot as it stands now, in the world. */
  bounds(links) {
    const [low, high] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
    for (const s of this.solids) {
      const m = multiply(links.get(s.link), s.matrix);
      for (const face of s.faces) {
        for (const p of face) {
          apply(m, p).forEach((v, i) => {
            low[i] = Math.min(low[i], v);
            high[i] = Math.max(high[i], v);
          });
        }
      }
    }
    return low[0] < high[0] ? { low, high } : NO_MODEL;
  }

  /** The whole robot seen from its front right. */
  front() {
    const { low, high } = this.box;
    return { ...HOME, target: low.map((v, i) => (v + high[i]) / 2), distance: 1.35 * Math.hypot(...sub(high, low)) };
  }

  setFrames(frames) {
    this.frames = frames;
    this.redraw();
  }

  /** The newest frames of tf. */
  setMoving(frames) {
    for (const frame of frames) if (![...frame.position, ...frame.quaternion].includes(null)) this.moving.set(frame.child, frame);
    this.redraw();
  }

  setStale(stale) {
    if (stale === this.stale) return;
    this.stale = stale;
    this.redraw();
  }

  redraw() {
    this.waiting ||= requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      if (event.shiftKey || event.buttons === 4) this.pan(event.movementX, event.movementY);
      else this.turn(-0.01 * event.movementX, 0.01 * event.movementY);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(0.001 * event.deltaY));
    }, { passive: false });
    canvas.addEventListener("dblclick", () => this.home());
    canvas.addEventListener("keydown", (event) => {
      const act = {
        ArrowLeft: () => this.turn(0.1, 0), ArrowRight: () => this.turn(-0.1, 0), ArrowUp: () => this.turn(0, 0.1),
        ArrowDown: () => this.turn(0, -0.1), "+": () => this.zoom(0.9), "-": () => this.zoom(1.1), Home: () => this.home(),
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  turn(azimuth, elevation) {
    this.touched = true;
    this.eye.azimuth += azimuth;
    this.eye.elevation = Math.min(1.5, Math.max(-1.2, this.eye.elevation + elevation));
    this.redraw();
  }

  zoom(factor) {
    this.touched = true;
    this.eye.distance = Math.min(12, Math.max(0.3, this.eye.distance * factor));
    this.redraw();
  }

  pan(dx, dy) {
    this.touched = true;
    const { right, up } = this.axes();
    const k = this.eye.distance / (this.canvas.clientHeight || 1);
    this.eye.target = this.eye.target.map((t, i) => t - k * (dx * right[i] - dy * up[i]));
    this.redraw();
  }

  home() {
    this.eye = this.front();
    this.touched = false;
    this.redraw();
  }

  axes() {
    const { azimuth: a, elevation: e } = this.eye;
    const back = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
    const right = [-Math.sin(a), Math.cos(a), 0];
    return { back, right, up: cross(back, right) };
  }

  /** A function from a point of the world to [x, y, depth] on the canvas; null behind the eye. */
  projector(width, height) {
    const { back, right, up } = this.axes();
    const { target, distance } = this.eye;
    const focal = 1.25 * Math.min(width, height * 1.2);
    return (p) => {
      const d = [p[0] - target[0], p[1] - target[1], p[2] - target[2]];
      const depth = distance - (d[0] * back[0] + d[1] * back[1] + d[2] * back[2]);
      if (depth < 0.05) return null;
      const k = focal / depth;
      return [
        width / 2 + k * (d[0] * right[0] + d[1] * right[1] + d[2] * right[2]),
        height / 2 - k * (d[0] * up[0] + d[1] * up[1] + d[2] * up[2]), depth,
      ];
    };
  }

  draw() {
    const canvas = this.canvas;
    const shown = sheet(canvas);
    if (!shown) return;
    const { pen, width, height } = shown;
    const ink = getComputedStyle(canvas).color;
    const known = new Map();
    for (const f of this.frames) known.set(f.child, f);
    const base = this.model && known.get(this.model.root);
    const world = base ? fromQuaternion(base.quaternion, base.position) : identity();
    const links = new Map();
    if (this.model) for (const [name, m] of forward(this.model, this.moving)) links.set(name, multiply(world, m));
    this.box = this.bounds(links);
    if (!this.fitted && this.model) {
      this.fitted = this.moving.size > 0;
      if (!this.touched) this.eye = this.front();
    }
    const project = this.projector(width, height);
    this.floor(pen, project, ink);
    this.paint(pen, project, links);
    this.cameras(pen, project, ink, links, width);
  }

  floor(pen, project, ink) {
    // The floor is under the lowest link, so that a robot on a pedestal stands and does not hang.
    const z = this.box.low[2];
    const [x, y] = [0, 1].map((i) => (this.box.low[i] + this.box.high[i]) / 2);
    pen.strokeStyle = ink;
    pen.globalAlpha = 0.16;
    pen.lineWidth = 1;
    for (let i = -4; i <= 4; i += 1) {
      line(pen, project, [[x - 1, y + i / 4, z], [x + 1, y + i / 4, z]]);
      line(pen, project, [[x + i / 4, y - 1, z], [x + i / 4, y + 1, z]]);
    }
    pen.globalAlpha = 1;
  }

  paint(pen, project, links) {
    const drawn = [];
    const { back } = this.axes();
    const { target, distance } = this.eye;
    const eye = target.map((t, i) => t + distance * back[i]);
    for (const solid of this.solids) {
      const m = multiply(links.get(solid.link), solid.matrix);
      for (const face of solid.faces) {
        const points = face.map((p) => apply(m, p));
        const n = normal(cross(sub(points[1], points[0]), sub(points[2], points[0])));
        if (dot(n, sub(eye, points[0])) <= 0) continue;
        const seen = points.map(project);
        if (seen.includes(null)) continue;
        const depth = seen.reduce((sum, p) => sum + p[2], 0) / seen.length;
        drawn.push({ seen, depth, colour: shade(solid.rgba, n, this.stale) });
      }
    }
    drawn.sort((a, b) => b.depth - a.depth);
    pen.lineWidth = 0.6;
    pen.lineJoin = "round";
    for (const { seen, colour } of drawn) {
      pen.beginPath();
      seen.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      pen.fillStyle = pen.strokeStyle = colour; // the edge closes the hairline between two faces
      pen.fill();
      pen.stroke();
    }
  }

  /** Frames that end in _optical are cameras: z forward, x right, y down. */
  cameras(pen, project, ink, links, width) {
    pen.font = "11px system-ui, sans-serif";
    const written = [];
    for (const frame of this.frames) {
      const parent = links.get(frame.parent);
      if (!frame.child.endsWith("_optical") || !parent) continue;
      const m = multiply(parent, fromQuaternion(frame.quaternion, frame.position));
      const eye = apply(m, [0, 0, 0]);
      const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) => apply(m, [0.55 * FRUSTUM * x, 0.42 * FRUSTUM * y, FRUSTUM]));
      pen.strokeStyle = pen.fillStyle = ink;
      pen.globalAlpha = 0.55;
      pen.lineWidth = 1;
      line(pen, project, [...corners, corners[0]]);
      for (const corner of corners) line(pen, project, [eye, corner]);
      const at = project(eye);
      // Cameras of one mount are a few millimetres apart: one name is read, three over each other are not.
      if (at && written.every(([x, y]) => Math.abs(x - at[0]) > 90 || Math.abs(y - at[1]) > 13)) {
        const name = frame.child.slice(0, -"_optical".length);
        pen.fillText(name, Math.min(at[0] + 5, width - pen.measureText(name).width - 2), at[1] - 5);
        written.push(at);
      }
      pen.globalAlpha = 1;
    }
  }
}

const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

function shade([r, g, b, alpha], n, stale) {
  const light = 0.42 + 0.58 * Math.max(0, dot(n, LIGHT));
  const grey = 0.3 * r + 0.59 * g + 0.11 * b;
  const [p, q, s] = (stale ? [grey, grey, grey].map((v) => 0.5 + 0.35 * v) : [r, g, b])
    // Black parts would be holes in a dark page.
    .map((v) => Math.round(255 * Math.min(1, (0.12 + 0.88 * v) * light)));
  return `rgba(${p},${q},${s},${alpha})`;
}

function line(pen, project, points) {
  const seen = points.map(project);
  if (seen.includes(null)) return;
  pen.beginPath();
  seen.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
}
