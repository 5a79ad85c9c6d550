// Scrub and draw are one gesture: the frame follows the pointer, and with a button down the curve does too.

/**
 * Listens on the plot's canvas. `editor` has erasing, moveTo(frame), strokeBegan(), strokeTo(from, to, erase) and strokeEnded().
 * Returns how to stop listening.
 */
export function bindPointer(plot, editor) {
  const canvas = plot.canvas;
  let before = null;
  let erase = false;

  function down(event) {
    if (event.button !== 0 && event.button !== 2) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    erase = event.button === 2 || editor.erasing;
    before = plot.locate(event.clientX, event.clientY);
    editor.strokeBegan();
    editor.strokeTo(before, before, erase);
  }

  function move(event) {
    if (before === null) return editor.moveTo(plot.locate(event.clientX, event.clientY).x);
    // A fast hand makes several samples between two pictures of the screen; each is a corner of the curve.
    const samples = event.getCoalescedEvents?.() ?? [];
    for (const sample of samples.length ? samples : [event]) {
      const now = plot.locate(sample.clientX, sample.clientY);
      editor.strokeTo(before, now, erase);
      before = now;
    }
  }

  function up(event) {
    if (before === null) return;
    if (event.type === "pointerup") move(event);
    before = null;
    editor.strokeEnded();
  }

  const handlers = { pointerdown: down, pointermove: move, pointerup: up, pointercancel: up, lostpointercapture: up };
  for (const [name, handler] of Object.entries(handlers)) canvas.addEventListener(name, handler);
  const menu = (event) => event.preventDefault();
  canvas.addEventListener("contextmenu", menu);
  return () => {
    for (const [name, handler] of Object.entries(handlers)) canvas.removeEventListener(name, handler);
    canvas.removeEventListener("contextmenu", menu);
  };
}
