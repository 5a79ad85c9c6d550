// Plays frames in the pace of the recording. It counts frames of the bag; there is no video and no video time.

export const SPEEDS = [0.5, 1, 2, 4, 8];

export class Player {
  #timer = 0;

  /** `period`: seconds between frames; `advance()` goes on by one frame and returns false at the end. */
  constructor(period, advance, onChange = () => {}) {
    Object.assign(this, { period, advance, onChange, speed: 1 });
  }

  get playing() {
    return this.#timer !== 0;
  }

  toggle() {
    if (this.playing) this.stop();
    else this.#start();
  }

  #start() {
    let due = performance.now();
    const tick = (now) => {
      // After a hitch at most a few frames are made up for, one by one: none is jumped over.
      for (let n = 0; n < 4 && now >= due; n++) {
        due = Math.max(due, now - 500) + (1000 * this.period) / this.speed;
        if (!this.advance()) return this.stop();
      }
      this.#timer = requestAnimationFrame(tick);
    };
    this.#timer = requestAnimationFrame(tick);
    this.onChange();
  }

  stop() {
    if (!this.playing) return;
    cancelAnimationFrame(this.#timer);
    this.#timer = 0;
    this.onChange();
  }

  faster(by) {
    const at = SPEEDS.indexOf(this.speed) + by;
    this.speed = SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, at))];
    this.onChange();
  }
}
