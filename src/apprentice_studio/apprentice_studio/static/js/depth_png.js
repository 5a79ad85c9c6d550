// Depth pictures are PNGs of 16 bits, which a browser would cut to 8: millimetres are read here and shown as grey, near ones bright.

const FAR = 2000;

/** Bytes of a 16-bit grey PNG without interlace (as the cameras write it) -> ImageData. */
export async function depthPixels(bytes) {
  const view = new DataView(bytes);
  const parts = [];
  let [width, height] = [0, 0];
  for (let at = 8; at + 8 <= view.byteLength;) {
    const size = view.getUint32(at);
    const kind = String.fromCharCode(...new Uint8Array(bytes, at + 4, 4));
    if (kind === "IHDR") {
      [width, height] = [view.getUint32(at + 8), view.getUint32(at + 12)];
      if (view.getUint8(at + 16) !== 16 || view.getUint8(at + 17) !== 0 || view.getUint8(at + 20) !== 0) throw new Error("not a 16-bit grey PNG");
    } else if (kind === "IDAT") {
      parts.push(new Uint8Array(bytes, at + 8, size));
    }
    at += size + 12;
  }
  const inflated = new Response(new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate")));
  return grey(unfilter(new Uint8Array(await inflated.arrayBuffer()), 2 * width, height), width, height);
}

/** Undoes PNG's line filters in place; two bytes a pixel. The result still has the filter byte in front of each line. */
function unfilter(data, stride, height) {
  const pixel = 2;
  for (let row = 0; row < height; row += 1) {
    const start = row * (stride + 1) + 1;
    const above = start - stride - 1;
    const filter = data[start - 1];
    for (let i = 0; i < stride; i += 1) {
      const left = i >= pixel ? data[start + i - pixel] : 0;
      const up = row ? data[above + i] : 0;
      const corner = row && i >= pixel ? data[above + i - pixel] : 0;
      const guess = [0, left, up, (left + up) >> 1, filter === 4 ? paeth(left, up, corner) : 0][filter];
      data[start + i] += guess; // wraps at 256, as it should
    }
  }
  return data;
}

function paeth(left, up, corner) {
  const p = left + up - corner;
  const [a, b, c] = [Math.abs(p - left), Math.abs(p - up), Math.abs(p - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

function grey(lines, width, height) {
  const image = new ImageData(width, height);
  for (let row = 0; row < height; row += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = row * (2 * width + 1) + 1 + 2 * x;
      const mm = 256 * lines[at] + lines[at + 1];
      const v = mm === 0 ? 0 : 255 * Math.max(0.08, 1 - mm / FAR);
      image.data.set([v, v, v, 255], 4 * (row * width + x));
    }
  }
  return image;
}
