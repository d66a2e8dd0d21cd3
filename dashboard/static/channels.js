// The charts of an asset's channels: those that contribute most to the incident in view first, the others on demand.

const { search } = new URL(import.meta.url);
const { el, say, shape } = await import(`./dom.js${search}`);
const { Panel, EXPECTED, SHARE } = await import(`./panel.js${search}`);
const { verdictWord } = await import(`./tile.js${search}`);

const SHOWN_AT_FIRST = 8;

export class Channels {
  constructor(asset) {
    this.asset = asset;
    this.names = [];
    this.panels = [];
    this.faults = new Map();
    this.showsAll = false;
    this.legend = el("p", "facts legend");
    this.grid = el("div", "channels");
    this.more = el("button", "quiet");
    this.more.type = "button";
    this.more.addEventListener("click", () => this.#toggle());
    this.nodes = [this.legend, this.grid, this.more];
  }

  /** Whether there is a chart for each of these columns, and of their kind. */
  fits({ channels, kinds }) {
    return channels.length === this.panels.length && kinds.join() === this.kinds;
  }

  /** Give the charts their names; they are made anew only for other columns. */
  name(names, columns) {
    this.names = names;
    if (!this.fits(columns)) this.#make(columns.channels.length, columns.kinds.join());
    this.panels.forEach((panel, c) => {
      const { name, unit } = names[c] ?? { name: `channel ${c + 1}` };
      say(panel.name, unit ? `${name} (${unit})` : name);
      panel.name.title = name;
    });
    this.#mark();
    this.arrange(this.incident);
  }

  /** Say of channels with a sensor fault that they are not to be believed. */
  mark(sensors) {
    this.faults = new Map(sensors.map(({ channel, verdict }) => [channel, verdict]));
    this.#mark();
  }

  #mark() {
    this.panels.forEach((panel, c) => {
      const verdict = this.faults.get(this.names[c]?.name);
      if (panel.verdict === verdict) return;
      panel.verdict = verdict;
      panel.node.dataset.fault = verdict ?? "";
      panel.fault.replaceChildren(...(verdict ? [shape("sensor"), verdictWord(verdict)] : []));
    });
  }

  /** Channels that contribute most to the incident come first; the others keep the model's order. */
  arrange(incident) {
    this.incident = incident;
    const ranks = new Map(incident?.channels.map((channel, rank) => [channel.name, rank]));
    const rank = (c) => ranks.get(this.names[c]?.name) ?? ranks.size + c;
    const order = this.panels.map((_panel, c) => c).sort((a, b) => rank(a) - rank(b));
    order.forEach((c, place) => {
      const { node } = this.panels[c];
      if (this.grid.children[place] !== node) this.grid.insertBefore(node, this.grid.children[place] ?? null);
      node.hidden = !this.showsAll && place >= SHOWN_AT_FIRST;
    });
    this.more.hidden = this.panels.length <= SHOWN_AT_FIRST;
    const few = `Show ${SHOWN_AT_FIRST} channels`;
    say(this.more, this.showsAll ? few : `Show all ${this.panels.length} channels`);
  }

  shown() {
    return this.panels.filter((panel) => !panel.node.hidden);
  }

  draw({ time, channels }, range) {
    this.drawn = [{ time, channels }, range];
    this.panels.forEach((panel, c) => {
      if (panel.node.hidden || !channels[c]) return;
      const { seen, expected, shares } = channels[c];
      panel.show(shares ? [time, shares] : [time, expected, seen], range);
    });
  }

  destroy() {
    this.panels.forEach((panel) => panel.destroy());
  }

  #toggle() {
    this.showsAll = !this.showsAll;
    this.arrange(this.incident);
    if (this.drawn) this.draw(...this.drawn);
  }

  #make(count, kinds) {
    this.destroy();
    this.kinds = kinds;
    const isExpected = kinds !== "shares";
    const key = (kind, word) => el("span", "key", el("i", kind), word);
    const words = isExpected
      ? [key("seen", "seen"), key("expected", "expected by the model")]
      : [key("seen", "part in the score")];
    this.legend.replaceChildren(...words, key("open", "open incident"), key("past", "past incident"));
    this.panels = Array.from({ length: count }, () => new Panel(this.asset, isExpected ? EXPECTED : SHARE));
    this.grid.replaceChildren(...this.panels.map((panel) => panel.node));
  }
}
