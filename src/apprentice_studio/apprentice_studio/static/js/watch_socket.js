// The live connection: JSON and pictures in, an acknowledgement for each out. The server sends no more than two ahead of them.

const WAIT = [500, 1000, 2000, 5000];
/** ms without a word after which a connection that is open counts as silent; the server speaks twice a second. */
export const SILENT = 2500;

export class WatchSocket {
  /** `item(i)`, `picture(header, blob)`, `changed()` when the connection came or went. */
  constructor({ item, picture, changed }) {
    Object.assign(this, { item, picture, changed });
    this.open = false;
    this.heard = 0;
    this.missed = 0;
    this.failures = 0;
    this.closed = false;
    this.pending = null;
    this.connect();
  }

  connect() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/watch`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.open = true;
      this.failures = 0;
      this.heard = performance.now();
      this.changed();
    };
    socket.onmessage = (event) => this.take(socket, event.data);
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.open = false;
      this.pending = null;
      this.changed();
      if (!this.closed) this.timer = setTimeout(() => this.connect(), WAIT[Math.min(this.failures++, WAIT.length - 1)]);
    };
    this.socket = socket;
  }

  take(socket, data) {
    this.heard = performance.now();
    if (typeof data === "string") {
      const told = JSON.parse(data);
      this.missed = told.missed;
      for (const item of told.items) this.item(item);
      this.pending = { turn: told.turn, pictures: told.pictures };
    } else {
      const size = new DataView(data).getUint16(0);
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 2, size)));
      this.picture(header, data.slice(2 + size));
      if (this.pending) this.pending.pictures -= 1;
    }
    if (this.pending?.pictures === 0) {
      socket.send(JSON.stringify({ ack: this.pending.turn }));
      this.pending = null;
    }
  }

  get silent() {
    return this.open && performance.now() - this.heard > SILENT;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket.close();
  }
}
