// Depth frames are 16-bit PNG in millimetres. Browsers cut them to 8 bits, which leaves a cell black; so these are decoded here.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const NEAR = 50;
const FAR = 2000;
/** Millimetres shown from bright to dark, by the logarithm: near the gripper a centimetre counts (ours). */
const MAX_PIXELS = 1 << 24;

/** {width, height} of a 16-bit grey PNG, or null if these bytes are another picture. */
export function depthHeader(bytes) {
  if (bytes.length < 33 || SIGNATURE.some((b, i) => bytes[i] !== b)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const grey16 = bytes[24] === 16 && bytes[25] === 0 && bytes[28] === 0;
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  return grey16 && width * height > 0 && width * height <= MAX_PIXELS ? { width, height } : null;
}

/** Millimetres, row by row. */
export async function decodeDepth(bytes) {
  const { width, height } = depthHeader(bytes);
  const data = await inflate(pixelChunks(bytes));
  const stride = width * 2;
  if (data.length < (stride + 1) * height) throw new Error("a depth picture is cut short");
  const rows = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) unfilter(rows, y, stride, data[y * (stride + 1)], data.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1)));
  const depth = new Uint16Array(width * height);
  for (let i = 0; i < depth.length; i++) depth[i] = (rows[2 * i] << 8) | rows[2 * i + 1];
  return { width, height, depth };
}

/** Near is bright; where nothing was measured (0), dark blue. */
export function depthPicture({ width, height, depth }) {
  const picture = new ImageData(width, height);
  for (let i = 0; i < depth.length; i++) {
    const grey = 255 - (225 * Math.log(Math.min(FAR, Math.max(NEAR, depth[i])) / NEAR)) / Math.log(FAR / NEAR);
    picture.data.set(depth[i] === 0 ? [20, 24, 60, 255] : [grey, grey, grey, 255], i * 4);
  }
  return picture;
}

function pixelChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const parts = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
    if (kind === "IEND") break;
    at += 12 + length;
  }
  return new Blob(parts);
}

async function inflate(blob) {
  const stream = blob.stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The five row filters of PNG; two bytes to a pixel. */
function unfilter(rows, y, stride, filter, line) {
  const at = y * stride;
  for (let x = 0; x < stride; x++) {
    const left = x >= 2 ? rows[at + x - 2] : 0;
    const up = y > 0 ? rows[at + x - stride] : 0;
    const corner = x >= 2 && y > 0 ? rows[at + x - stride - 2] : 0;
    rows[at + x] = line[x] + predicted(filter, left, up, corner);
  }
}

function predicted(filter, left, up, corner) {
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  if (filter !== 4) return 0;
  const estimate = left + up - corner;
  const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
