// The socket to the server: opens it, opens it again, sorts what comes.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

export class Link {
  // onEvent(event): a JSON event. onPicture(jpeg, rateHz): a live picture.
  // onState(isOpen): the connection came or went.
  constructor({ onEvent, onPicture, onState }) {
    Object.assign(this, { onEvent, onPicture, onState });
    this.waitMs = FIRST_WAIT_MS;
    this.open();
  }

  open() {
    const address = new URL("/socket", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    let wasOpen = false;
    this.socket.onopen = () => {
      wasOpen = true;
      this.waitMs = FIRST_WAIT_MS;
      this.onState(true);
    };
    this.socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.onEvent(JSON.parse(data));
      else this.show(data);
    };
    this.socket.onclose = ({ code, reason }) => {
      this.onState(false, code === 1008 ? reason : "");
      setTimeout(() => this.retry(wasOpen), this.waitMs);
      this.waitMs = Math.min(2 * this.waitMs, LONGEST_WAIT_MS);
    };
  }

  // A console that was started anew does not know this browser: ask for the page, which gives a new
  // cookie, or wants the token again.
  async retry(wasOpen) {
    if (!wasOpen) {
      try {
        const reply = await fetch("/", { cache: "no-store" });
        if (reply.status === 401) {
          location.reload();
          return;
        }
      } catch (error) {
        console.info("the console does not answer yet", error);
      }
    }
    this.open();
  }

  show(buffer) {
    const view = new DataView(buffer);
    const jpeg = new Blob([new Uint8Array(buffer, 4)], { type: "image/jpeg" });
    this.onPicture(jpeg, view.getFloat32(0, true));
  }

  send(message) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }
}
