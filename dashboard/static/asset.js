// One asset: its score against its limit, its channels against what the model expected, its incidents.

const { search } = new URL(import.meta.url);
const { mounted, Sequence } = await import(`./mount.js${search}`);
const { StateBadge, StatusLine, duration, el, emptyText, palette, say, short, times } = await import(`./dom.js${search}`);
const { Columns } = await import(`./columns.js${search}`);
const { Chart, SCORE_SERIES, scoreColumns } = await import(`./charts.js${search}`);
const { Contributions, IncidentList } = await import(`./incidents.js${search}`);

const SHOWN_AT_FIRST = 8;
const SCORE_HEIGHT = 210;
const CHANNEL_HEIGHT = 128;
const EXPECTED_SERIES = [
  { stroke: (look) => look.dim, width: 1.25, dash: [4, 3] },
  { stroke: (look) => look.ink },
];
const SHARE_SERIES = [{ stroke: (look) => look.ink }];

/** A chart with its name and the values under the pointer, or the newest. */
class Panel {
  constructor(asset, { height, series, log, read }) {
    this.read = read;
    this.name = el("h3", "name");
    this.values = el("span", "values");
    this.place = el("div", "plot");
    this.node = el("section", "chart", el("div", "title", this.name, this.values), this.place);
    this.options = { height, series, log, ...asset.chartOptions() };
  }

  show(columns, zoom) {
    this.chart ??= new Chart(this.place, { ...this.options, onCursor: (index) => this.point(index) });
    this.columns = columns;
    this.chart.set(columns, zoom);
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

class Asset {
  constructor(root) {
    this.sequence = new Sequence();
    this.columns = new Columns();
    this.names = [];
    this.incidents = [];
    this.chosen = null;
    this.zoomed = null;
    this.showsAll = false;
    this.panels = [];
    this.sync = `tocsin-${crypto.randomUUID?.() ?? Math.random()}`;
    this.#build(root);
    this.resize = new ResizeObserver(() => this.#panelsShown().forEach((panel) => panel.chart?.fit()));
    this.resize.observe(this.host);
  }

  #build(root) {
    this.name = el("h1");
    this.badge = new StateBadge();
    this.facts = el("p", "facts");
    this.live = el("button", "quiet", "Back to live");
    this.live.addEventListener("click", () => this.zoom(null));
    this.head = el("header", "summary", this.name, this.badge.node, this.facts, this.live);
    this.score = new Panel(this, { height: SCORE_HEIGHT, series: SCORE_SERIES, log: true, read: readScore });
    say(this.score.name, "Score against its limit");
    this.grid = el("div", "channels");
    this.more = el("button", "quiet");
    this.more.addEventListener("click", () => this.#toggleAll());
    this.why = new Contributions();
    this.list = new IncidentList((incident) => this.#choose(incident));
    const charts = el("div", "charts", this.score.node, this.grid, this.more);
    this.body = el("div", "body", charts, el("aside", "", this.why.node, this.list.node));
    this.empty = el("p", "empty");
    this.status = new StatusLine();
    this.host = el("main", "tocsin asset", this.head, this.body, this.empty, this.status.node);
    root.append(this.host);
  }

  chartOptions() {
    return {
      sync: this.sync,
      look: () => this.look,
      spans: () => this.incidents,
      onZoom: (range) => this.zoom(range),
    };
  }

  update({ data, setTriggerValue }) {
    const before = JSON.stringify(this.look);
    this.look = palette(this.host);
    const kind = this.sequence.accept(data, setTriggerValue);
    if (kind) this.#take(data, kind === "whole");
    else if (JSON.stringify(this.look) !== before) this.#panelsShown().forEach((panel) => panel.chart?.redraw());
  }

  destroy() {
    this.resize.disconnect();
    [this.score, ...this.panels].forEach((panel) => panel.destroy());
  }

  /** Show a range of time in all charts, or all of it again. */
  zoom(range) {
    this.zoomed = range;
    this.live.hidden = range === null;
    this.#panelsShown().forEach((panel) => panel.chart?.zoom(range));
  }

  #take(data, whole) {
    const isEmpty = data.columns === undefined || (this.columns.length === 0 && data.columns.n === 0);
    this.#describe(data, isEmpty);
    if (isEmpty) return;
    if (whole) this.columns.clear();
    const fresh = this.columns.append(data.columns, data.rows);
    if (data.channels) this.#nameChannels(data.channels);
    if (data.incidents) this.#takeIncidents(data.incidents);
    if (fresh || whole || data.channels || data.incidents) this.#draw();
  }

  #describe(data, isEmpty) {
    say(this.name, data.asset ?? "");
    this.empty.hidden = !isEmpty;
    this.body.hidden = isEmpty;
    this.live.hidden = this.zoomed === null;
    say(this.empty, emptyText(data.status));
    this.status.set(data.status);
    this.status.node.hidden = isEmpty && Boolean(data.status.waiting_for);
    this.badge.node.hidden = isEmpty;
    if (isEmpty) return;
    this.badge.set(data.state, data.word);
    const age = data.age_s < 1 ? "up to date" : `${duration(data.age_s)} behind the plant`;
    say(this.facts, `${times(data.ratio)} limit · p ${short(data.p)} · ${age} · ${data.detector}, model ${data.model_version}`);
  }

  #nameChannels(channels) {
    this.names = channels;
    const kinds = this.columns.kinds.join();
    if (this.panels.length !== channels.length || this.kinds !== kinds) this.#makePanels(channels.length, kinds);
    this.panels.forEach((panel, c) => {
      const { name, unit } = channels[c];
      say(panel.name, unit ? `${name} (${unit})` : name);
      panel.name.title = name;
    });
    this.#arrange();
  }

  #makePanels(count, kinds) {
    this.panels.forEach((panel) => panel.destroy());
    this.kinds = kinds;
    const isExpected = kinds !== "shares";
    const series = isExpected ? EXPECTED_SERIES : SHARE_SERIES;
    const read = isExpected ? readExpected : readShare;
    this.panels = Array.from({ length: count }, () => new Panel(this, { height: CHANNEL_HEIGHT, series, log: false, read }));
    this.grid.replaceChildren(...this.panels.map((panel) => panel.node));
  }

  #takeIncidents(incidents) {
    const openBefore = this.incidents.find((incident) => incident.open)?.id;
    this.incidents = incidents;
    const open = incidents.find((incident) => incident.open);
    // A new alarm takes the view; what a person has chosen stays otherwise.
    if (open && open.id !== openBefore) this.chosen = open.id;
    if (!incidents.some((incident) => incident.id === this.chosen)) this.chosen = incidents[0]?.id ?? null;
    this.#explain();
  }

  #choose(incident) {
    this.chosen = incident.id;
    this.#explain();
    const newest = this.columns.time.at(-1);
    const end = incident.end ?? newest;
    const pad = Math.max((end - incident.start) * 1.5, 60);
    this.zoom([Math.max(incident.start - pad, this.columns.time[0]), Math.min(end + pad, newest)]);
    this.#draw();
  }

  #explain() {
    this.why.show(this.incidents.find((incident) => incident.id === this.chosen) ?? null);
    this.list.show(this.incidents, this.chosen);
    this.#arrange();
  }

  #toggleAll() {
    this.showsAll = !this.showsAll;
    this.#arrange();
    this.#draw();
  }

  /** Channels that contribute most to the incident in view come first; the others keep the model's order. */
  #arrange() {
    const chosen = this.incidents.find((incident) => incident.id === this.chosen);
    const ranks = new Map(chosen?.channels.map((channel, rank) => [channel.name, rank]));
    const rank = (c) => ranks.get(this.names[c]?.name) ?? ranks.size + c;
    const order = this.panels.map((_panel, c) => c).sort((a, b) => rank(a) - rank(b));
    this.order = order;
    order.forEach((c, place) => {
      const { node } = this.panels[c];
      if (this.grid.children[place] !== node) this.grid.insertBefore(node, this.grid.children[place] ?? null);
      node.hidden = !this.showsAll && place >= SHOWN_AT_FIRST;
    });
    this.more.hidden = this.panels.length <= SHOWN_AT_FIRST;
    say(this.more, this.showsAll ? `Show ${SHOWN_AT_FIRST} channels` : `Show all ${this.panels.length} channels`);
  }

  #panelsShown() {
    return [this.score, ...this.panels.filter((panel) => !panel.node.hidden)];
  }

  #draw() {
    const { time, channels } = this.columns;
    this.score.show(scoreColumns(this.columns), this.zoomed);
    this.panels.forEach((panel, c) => {
      if (panel.node.hidden || !channels[c]) return;
      const { seen, expected, shares } = channels[c];
      panel.show(shares ? [time, shares] : [time, expected, seen], this.zoomed);
    });
  }
}

function readScore([, limit, score], row) {
  return `score ${short(score[row])} · limit ${short(limit[row])}`;
}

function readExpected([, expected, seen], row) {
  return `seen ${short(seen[row])} · expected ${short(expected[row])}`;
}

function readShare([, share], row) {
  return `${Math.round(100 * (share[row] ?? 0))} % of the score`;
}

export default mounted((root) => new Asset(root));
