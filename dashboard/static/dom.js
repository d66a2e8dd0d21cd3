// Elements, shapes and words. Names of assets and channels come in as text only: nothing here parses markup.

const NO_LOGIN = "no login: everyone at this machine may do everything";
const SVG = "http://www.w3.org/2000/svg";

/** An element with a class, attributes and children; a string child is text. */
export function el(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** Set an element's text only where it changed, to leave the page alone otherwise. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const DIAMOND = "M8 1 15 8 8 15 1 8Z";
const SQUARE = "M2.5 2.5h11v11h-11Z";
const RING = { cx: 8, cy: 8, r: 6.2 };
const line = (d, more = "") => ["path", { d, class: `line ${more}` }];

const SHAPES = {
  unacknowledged: [
    ["path", { d: "M8 0.8 15.2 8 8 15.2 0.8 8Z", class: "solid" }],
    ["path", { d: "M8 4.4v4.4M8 10.8v1", class: "mark" }],
  ],
  acknowledged: [line(DIAMOND), line("M8 4.6v4M8 10.6v0.8")],
  returned: [line(DIAMOND, "dashed")],
  latched: [line(SQUARE), line("M8 5v3.6M8 10.6v0.6")],
  latched_acknowledged: [line(SQUARE, "dashed")],
  over: [line("M8 1.8 15 14H1Z")],
  stale: [["circle", { ...RING, class: "line dashed" }], line("M8 4.6V8.3l2.6 1.6")],
  suppressed: [["circle", { ...RING, class: "line" }], line("M3.8 12.2 12.2 3.8")],
  shelved: [["circle", { ...RING, class: "line" }], line("M6.2 5.6v4.8M9.8 5.6v4.8")],
  out_of_service: [["circle", { ...RING, class: "line" }], line("M5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2")],
  sensor: [line("M4.6 2h6.8L15 8l-3.6 6H4.6L1 8Z"), line("M6.3 6.4a1.8 1.8 0 1 1 2.4 1.7q-.7.3-.7 1.1M8 11.4v.2")],
  normal: [["circle", { cx: 8, cy: 8, r: 3.2, class: "line" }]],
};

/** The shape of a state; its word always stands beside it. */
export function shape(state) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "shape");
  svg.setAttribute("aria-hidden", "true");
  for (const [tag, attributes] of SHAPES[state] ?? SHAPES.normal) {
    const part = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
    svg.append(part);
  }
  return svg;
}

/** A state's shape and word, changed only when the state does. */
export class StateBadge {
  constructor() {
    this.node = el("span", "state");
  }

  /** `priority` colours what was annunciated, and is said beside the word. */
  set(state, word, priority = null) {
    const text = priority ? `${word} · ${priority}` : word;
    if (this.state === state && this.text === text) return;
    [this.state, this.text] = [state, text];
    this.node.dataset.state = state;
    this.node.dataset.priority = priority ?? "";
    this.node.replaceChildren(shape(state), el("span", "", text));
    this.node.title = text;
  }
}

/** Colours of the page as the theme has them now; `dark` is told by the brightness of the background. */
export function palette(host) {
  const style = getComputedStyle(host);
  const read = (name) => style.getPropertyValue(name).trim();
  const dark = luminance(read("--st-background-color")) < 0.4;
  host.dataset.theme = dark ? "dark" : "light";
  const of = (name) => getComputedStyle(host).getPropertyValue(name).trim();
  return {
    dark,
    ink: of("--ink"),
    dim: of("--dim"),
    faint: of("--faint"),
    soft: of("--soft"),
    band: of("--band"),
    alarm: of("--alarm"),
    priorities: { high: of("--high"), medium: of("--medium"), low: of("--low") },
    span: of("--span"),
    past: of("--past"),
    font: read("--st-font") || "sans-serif",
  };
}

function luminance(colour) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = colour || "#fff";
  context.fillRect(0, 0, 1, 1);
  const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}

/** The foot of a page: what is waited for, or how fresh the picture is, and who looks at it. */
export class StatusLine {
  #status = null;
  #lost_s = null;

  constructor() {
    this.text = el("span", "", "Connecting");
    this.user = el("span", "who");
    this.node = el("footer", "status", this.text, this.user);
    this.node.setAttribute("role", "status");
  }

  /** What the server says of its feed. */
  set(status) {
    this.#status = status;
    this.#write();
  }

  /** For how many seconds the server has not been heard; null while it is. */
  connection(since_s) {
    if (since_s === this.#lost_s) return;
    this.#lost_s = since_s;
    this.#write();
  }

  /** Who looks at the page, as the page itself was told; `leave` logs that person out. */
  who({ user, role, login }, leave = null) {
    const text = login ? `${user} · ${role}` : NO_LOGIN;
    if (this.user.firstChild?.textContent === text) return;
    this.user.replaceChildren(el("span", "", text));
    if (!login || !leave) return;
    const button = el("button", "leave", "Log out");
    button.type = "button";
    button.addEventListener("click", leave);
    this.user.append(button);
  }

  #write() {
    if (this.#status === null && this.#lost_s === null) return;
    const { waiting_for, windows, broken, quiet_s, newest_s } = this.#status ?? {};
    const parts = [];
    if (this.#lost_s !== null)
      parts.push(`Connection lost: what is shown is ${duration(this.#lost_s)} old, trying again`);
    else parts.push(waiting_for ? `Waiting for ${waiting_for}` : "Live");
    if (newest_s)
      parts.push(`plant time ${new Date(newest_s * 1000).toISOString().slice(0, 10)} ${clock(newest_s)} UTC`);
    if (windows !== undefined) parts.push(`${windows.toLocaleString("en")} windows`);
    if (quiet_s > 10) parts.push(`nothing new for ${duration(quiet_s)}`);
    if (broken) parts.push(`${broken} broken messages skipped`);
    say(this.text, parts.join("  ·  "));
    this.node.classList.toggle("waiting", Boolean(waiting_for) || this.#lost_s !== null);
  }
}

/** The sentence that stands where there is nothing to show yet. */
export function emptyText({ waiting_for }) {
  return waiting_for
    ? `Waiting for ${waiting_for}`
    : "No scores yet: the broker answers, and no window has been scored.";
}

// ---------------------------------------------------------------------------------------------- numbers as text

/** Seconds as a person says them. */
export function duration(s) {
  if (s < 1) return "0 s";
  if (s < 100) return `${Math.round(s)} s`;
  if (s < 6000) return `${Math.round(s / 60)} min`;
  if (s < 172_800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} d`;
}

/** A number in three digits. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e5))
    return value.toExponential(1).replace(".0", "").replace("e+", "e");
  return String(Number(value.toPrecision(3)));
}

/** A ratio of score to limit. */
export function times(ratio) {
  return ratio === null ? "–" : `${ratio >= 10 ? Math.round(ratio).toLocaleString("en") : ratio.toFixed(2)}×`;
}

/** Time of day in UTC, with the date where it is not that of `today_s`. */
export function clock(s, today_s = s) {
  const text = new Date(s * 1000).toISOString();
  const day =
    text.slice(0, 10) === new Date(today_s * 1000).toISOString().slice(0, 10) ? "" : `${text.slice(5, 10)} `;
  return day + text.slice(11, 19);
}
