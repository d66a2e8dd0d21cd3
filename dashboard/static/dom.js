// Elements, shapes and words. Names of assets and channels come in as text only: nothing here parses markup.

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

const SHAPES = {
  alarm: [
    ["path", { d: "M8 0.8 15.2 8 8 15.2 0.8 8Z", class: "solid" }],
    ["path", { d: "M8 4.4v4.4M8 10.8v1", class: "mark" }],
  ],
  over: [["path", { d: "M8 1.8 15 14H1Z", class: "line" }]],
  stale: [
    ["circle", { cx: 8, cy: 8, r: 6.2, class: "line dashed" }],
    ["path", { d: "M8 4.6V8.3l2.6 1.6", class: "line" }],
  ],
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

  set(state, word) {
    if (this.node.dataset.state === state) return;
    this.node.dataset.state = state;
    this.node.replaceChildren(shape(state), word);
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

/** The foot of a page: what is waited for, or how fresh the picture is. */
export class StatusLine {
  constructor() {
    this.node = el("footer", "status");
    this.node.setAttribute("role", "status");
  }

  set({ waiting_for, windows, broken, quiet_s, newest_s }) {
    const parts = waiting_for ? [`Waiting for ${waiting_for}`] : ["Live"];
    if (newest_s !== null)
      parts.push(`plant time ${new Date(newest_s * 1000).toISOString().slice(0, 10)} ${clock(newest_s)} UTC`);
    parts.push(`${windows.toLocaleString("en")} windows`);
    if (quiet_s !== null && quiet_s > 10) parts.push(`nothing new for ${duration(quiet_s)}`);
    if (broken) parts.push(`${broken} broken messages skipped`);
    say(this.node, parts.join("  ·  "));
    this.node.classList.toggle("waiting", Boolean(waiting_for));
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
