// A view that is fed by the live route: it connects by itself, again and again, and says so while it is not.

const { search } = new URL(import.meta.url);
const { mounted, Sequence } = await import(`./mount.js${search}`);

const LOST = "tocsin-lost"; // on the document: Streamlit's own word about it would cover the page
const PROTOCOL = "tocsin.v1";
const SILENT_MS = 6000; // the server speaks every second: so long a silence is a connection that is gone
const RETRY_MS = [250, 500, 1000, 2000, 4000];
const BLINK_MS = 500;
const RENEW_SHARE = 0.5; // of a ticket's time, after which the page is asked for another

/**
 * A Streamlit component that is fed live. `create(root)` makes the view:
 *   show(payload, whole)   what changed, or everything where `whole`
 *   connection(since_s)    null while connected, else for how many seconds it has not been
 *   refresh(data)          optional: the theme or what the page handed over may have changed
 *   destroy()
 *   host                   its outermost element, by which the view can be found
 * Before anything else is called it is given trigger(name, value), which reaches the page's handlers, again(), which
 * asks for the whole picture, and ticket().
 */
export function live(create) {
  return mounted((root) => new Live(create(root)));
}

class Live {
  #socket = null;
  #attempts = 0;
  #heard = Date.now(); // the wall clock goes on while a laptop sleeps
  #lost = null;
  #renewed = 0;
  #timer;
  #wake;

  constructor(view) {
    this.view = view;
    view.host.view = view;
    view.ticket = () => this.ticket;
    view.again = () => this.#say({ again: true });
    this.sequence = new Sequence();
    this.#timer = setInterval(() => this.#look(), BLINK_MS);
    this.#wake = () => this.#look(true);
    window.addEventListener("online", this.#wake);
    document.addEventListener("visibilitychange", this.#wake);
  }

  /** The page ran: it brings a ticket, and perhaps another theme. */
  update({ data, setTriggerValue }) {
    this.trigger = setTriggerValue;
    this.view.trigger = (name, value) => setTriggerValue(name, value);
    this.view.refresh?.(data);
    if (data.ticket === this.ticket) return;
    this.ticket = data.ticket;
    this.address = data.address;
    this.expires = Date.now() + data.lasts_s * 1000;
    this.renewAt = Date.now() + data.lasts_s * 1000 * RENEW_SHARE;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#say({ ticket: this.ticket });
    else if (this.#socket === null) this.#connect();
  }

  destroy() {
    this.destroyed = true;
    clearInterval(this.#timer);
    document.documentElement.classList.remove(LOST);
    clearTimeout(this.retry);
    window.removeEventListener("online", this.#wake);
    document.removeEventListener("visibilitychange", this.#wake);
    this.#socket?.close();
    this.view.destroy();
  }

  #connect() {
    if (this.destroyed || this.#socket) return;
    clearTimeout(this.retry);
    const url = new URL(this.address, document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url.href, [PROTOCOL, this.ticket]);
    this.#socket = socket;
    this.#heard = Date.now();
    socket.onmessage = ({ data }) => this.#socket === socket && this.#take(data);
    socket.onclose = () => this.#socket === socket && this.#again();
  }

  #take(text) {
    this.#heard = Date.now();
    this.#attempts = 0;
    this.#lost = null;
    document.documentElement.classList.remove(LOST);
    const payload = JSON.parse(text);
    const kind = this.sequence.accept(payload, () => this.#say({ again: true }));
    if (kind !== null) {
      this.view.connection(null);
      this.view.show(payload, kind === "whole");
    }
    this.#say({ drawn: payload.seq });
  }

  #say(what) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(what));
  }

  /** The connection is gone: say so, ask for a ticket where this one may be the reason, and try again. */
  #again() {
    this.#socket = null;
    this.#lost ??= Date.now();
    document.documentElement.classList.add(LOST);
    const wait = RETRY_MS[Math.min(this.#attempts, RETRY_MS.length - 1)] * (0.75 + Math.random() / 2);
    this.#attempts += 1;
    if (this.#attempts > 1 || Date.now() > this.expires) this.#renew();
    this.retry = setTimeout(() => this.#connect(), wait);
    this.#tell();
  }

  #renew() {
    if (Date.now() - this.#renewed < 2000 && this.#renewed > 0) return;
    this.#renewed = Date.now();
    this.trigger("renew", Date.now());
  }

  /** Twice a second: is the connection silent, is the ticket half over? After a sleep both are at once. */
  #look(woken = false) {
    const now = Date.now();
    this.view.host.dataset.blink = Math.floor(now / BLINK_MS) % 2 ? "off" : "on";
    if (now > this.renewAt) {
      this.renewAt = now + 5000;
      this.#renew();
    }
    if (this.#socket && now - this.#heard > SILENT_MS) {
      const silent = this.#socket;
      this.#socket = null;
      silent.close();
      this.#again();
    } else if (woken && !this.#socket && this.address) this.#connect();
    if (this.#lost !== null) this.#tell();
  }

  #tell() {
    this.view.connection((Date.now() - this.#lost) / 1000);
  }
}
