// A canvas as large as it is shown, in the screen's own pixels.

/** {pen, width, height} in CSS pixels, cleared; null while it is not shown. `most`: at most so many pixels a CSS pixel. */
export function sheet(canvas, most = 2) {
  const scale = Math.min(most, devicePixelRatio || 1);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return null;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  return { pen, width, height };
}
