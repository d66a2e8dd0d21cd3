// Which time the charts show: the newest, a range that a person holds on to, or the past that is no longer held.

const { search } = new URL(import.meta.url);
const { clock, el } = await import(`./dom.js${search}`);

const READABLE_WINDOWS = 700; // the range shown at first is the longest with no more windows than this
const RANGES_S = [60, 600, 3600, 21_600, 86_400, 604_800];
const RANGE_WORDS = { 60: "1 min", 600: "10 min", 3600: "1 h", 21_600: "6 h", 86_400: "1 d", 604_800: "7 d" };

/** Buttons for ranges of time. `on` has follow(span_s), freeze(), earlier(), later() and live(). */
export class Ranges {
  constructor(on) {
    this.on = on;
    this.span_s = null; // how much of the past is followed; Infinity is all of it, null not yet decided
    this.node = el("span", "ranges");
    this.node.setAttribute("role", "group");
    this.node.setAttribute("aria-label", "Time shown");
  }

  /** The range that is followed at these times. */
  followed(time) {
    return [Math.max(time[0], time.at(-1) - this.span_s), time.at(-1)];
  }

  /** Offer the ranges that the past can fill; `held` is "Held", "Frozen" or "History" where none is followed. */
  offer(time, held, range) {
    const past = time.at(-1) - time[0];
    const step = past / Math.max(time.length - 1, 1);
    const offered = [...RANGES_S.filter((s) => s < past && s > 20 * step), Infinity];
    const readable = offered.filter((s) => Math.min(s, past) <= READABLE_WINDOWS * step);
    this.span_s ??= readable.at(-1) ?? offered[0];
    const words = held ? `${held} ${clock(range[0])} – ${clock(range[1], range[0])} UTC` : "";
    const state = JSON.stringify([offered, this.span_s, words]);
    if (state === this.state) return;
    this.state = state;
    const hadFocus = this.node.contains(this.node.getRootNode().activeElement);
    const label = this.node.getRootNode().activeElement?.textContent;
    const buttons = [
      button("◂ Earlier", false, this.on.earlier),
      ...(held === "History" ? [button("Later ▸", false, this.on.later)] : []),
      ...offered.map((s) =>
        button(s === Infinity ? "All" : RANGE_WORDS[s], !held && s === this.span_s, () => {
          this.span_s = s;
          this.on.follow(s);
        }),
      ),
      button("Freeze", held === "Frozen", this.on.freeze, "Keep the picture as it is, and go on again (F)"),
      ...(held ? [button("Live", false, this.on.live, "Follow the newest window again (Escape)")] : []),
    ];
    this.node.replaceChildren(...(held ? [el("span", "held", words)] : []), ...buttons);
    if (hadFocus) buttons.find((each) => each.textContent === label)?.focus();
  }
}

function button(text, pressed, act, title = "") {
  const node = el("button", "", text);
  node.type = "button";
  node.title = title;
  node.setAttribute("aria-pressed", String(pressed));
  node.addEventListener("click", () => act());
  return node;
}
