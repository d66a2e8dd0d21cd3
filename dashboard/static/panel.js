// A chart with its name and values in the page, and the three kinds of them that an asset has.

const { search } = new URL(import.meta.url);
const { el, say, short } = await import(`./dom.js${search}`);
const { Chart, SCORE_SERIES } = await import(`./charts.js${search}`);

/** A chart with its name and the values under the pointer, or the newest. */
export class Panel {
  constructor(asset, { read, ...kind }) {
    this.read = read;
    this.name = el("h3", "name");
    this.fault = el("span", "fault");
    this.values = el("span", "values");
    this.place = el("div", "plot");
    this.node = el("section", "chart", el("div", "title", this.name, this.fault, this.values), this.place);
    this.options = { ...kind, ...asset.chartOptions() };
  }

  show(columns, range) {
    this.chart ??= new Chart(this.place, { ...this.options, onCursor: (index) => this.point(index) });
    this.columns = columns;
    this.chart.set(columns, range);
    this.point(this.index);
  }

  point(index) {
    this.index = index ?? null;
    const row = this.index ?? (this.columns?.[0].length ?? 0) - 1;
    say(this.values, row < 0 || !this.columns ? "" : this.read(this.columns, row));
  }

  destroy() {
    this.chart?.destroy();
    this.node.remove();
  }
}

/** The score and its limit, on a log scale: an anomaly is often a hundred times what is normal. */
export const SCORE = {
  height: 210,
  log: true,
  series: SCORE_SERIES,
  read: ([, limit, score], row) => `score ${short(score[row])} · limit ${short(limit[row])}`,
};

/** A channel as it was seen, on the broad line of what the model expected. */
export const EXPECTED = {
  height: 128,
  log: false,
  series: [
    { stroke: (look) => look.soft, width: 6, cap: "round" },
    { stroke: (look) => look.ink, width: 1.5 },
  ],
  read: ([, expected, seen], row) => `seen ${short(seen[row])} · expected ${short(expected[row])}`,
};

/** A channel's part in the score, where seen and expected values are not published. */
export const SHARE = {
  height: 128,
  log: false,
  series: [{ stroke: (look) => look.ink }],
  read: ([, share], row) => `${Math.round(100 * (share[row] ?? 0))} % of the score`,
};
