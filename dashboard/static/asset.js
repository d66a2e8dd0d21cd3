// One asset: its score against its limit, its channels against what the model expected, its incidents.

const { search } = new URL(import.meta.url);
const { live } = await import(`./live.js${search}`);
const { StateBadge, StatusLine, duration, el, emptyText, palette, say, short, times } = await import(
  `./dom.js${search}`
);
const { Columns } = await import(`./columns.js${search}`);
const { scoreColumns } = await import(`./charts.js${search}`);
const { Panel, SCORE, EXPECTED, SHARE } = await import(`./panel.js${search}`);
const { Contributions, IncidentList } = await import(`./incidents.js${search}`);

const SHOWN_AT_FIRST = 8;
const READABLE_WINDOWS = 700; // the range shown at first is the longest with no more windows than this
const RANGES_S = [60, 600, 3600, 21_600, 86_400, 604_800];
const RANGE_WORDS = { 60: "1 min", 600: "10 min", 3600: "1 h", 21_600: "6 h", 86_400: "1 d", 604_800: "7 d" };

class Asset {
  constructor(root) {
    this.data = {};
    this.columns = new Columns();
    this.names = [];
    this.incidents = [];
    this.chosen = null;
    this.zoomed = null; // a range of time [s, s] that a person holds on to, or null to follow the newest window
    this.span_s = null; // how much of the past is followed; Infinity is all of it, null not yet decided
    this.showsAll = false;
    this.panels = [];
    this.sync = `tocsin-${crypto.randomUUID?.() ?? Math.random()}`;
    this.#build(root);
    this.resize = new ResizeObserver(() => this.#panelsShown().forEach((panel) => panel.chart?.fit()));
    this.resize.observe(this.host);
  }

  #build(root) {
    this.picker = el("select", "picker");
    this.picker.setAttribute("aria-label", "Asset");
    this.picker.addEventListener("change", () => this.trigger("open", this.picker.value));
    this.badge = new StateBadge();
    this.facts = el("p", "facts");
    this.ranges = el("span", "ranges");
    this.ranges.setAttribute("role", "group");
    this.ranges.setAttribute("aria-label", "Time shown");
    this.head = el("header", "summary", el("h1", "", this.picker), this.badge.node, this.facts, this.ranges);
    this.score = new Panel(this, SCORE);
    say(this.score.name, "Score against its limit");
    this.legend = el("p", "facts legend");
    this.grid = el("div", "channels");
    this.more = el("button", "quiet");
    this.more.addEventListener("click", () => this.#toggleAll());
    this.why = new Contributions();
    this.list = new IncidentList((incident) => this.#choose(incident));
    const charts = el("div", "charts", this.score.node, this.legend, this.grid, this.more);
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

  refresh(data) {
    this.status.who(data);
    const before = JSON.stringify(this.look);
    this.look = palette(this.host);
    if (JSON.stringify(this.look) !== before) this.#panelsShown().forEach((panel) => panel.chart?.redraw());
  }

  connection(since_s) {
    this.status.connection(since_s);
    this.host.classList.toggle("lost", since_s !== null);
  }

  show(change, whole) {
    this.data = whole ? change : { ...this.data, ...change };
    if (whole || change.reset) this.columns.clear();
    this.#take(change);
  }

  destroy() {
    this.resize.disconnect();
    [this.score, ...this.panels].forEach((panel) => panel.destroy());
  }

  /** Hold on to a range of time in all charts, or follow the newest window again. */
  zoom(range) {
    this.zoomed = range;
    this.#offerRanges();
    this.#panelsShown().forEach((panel) => panel.chart?.zoom(this.range));
  }

  /** The range of time that the charts show. */
  get range() {
    if (this.zoomed) return this.zoomed;
    const { time } = this.columns;
    return [Math.max(time[0], time.at(-1) - this.span_s), time.at(-1)];
  }

  /** Buttons for the ranges that the past can fill; none is pressed while a person holds on to another. */
  #offerRanges() {
    const { time } = this.columns;
    const past = time.at(-1) - time[0];
    const step = past / Math.max(time.length - 1, 1);
    const offered = [...RANGES_S.filter((s) => s < past && s > 20 * step), Infinity];
    this.span_s ??= offered.filter((s) => Math.min(s, past) <= READABLE_WINDOWS * step).at(-1) ?? offered[0];
    const state = JSON.stringify([offered, this.span_s, this.zoomed !== null]);
    if (state === this.offered) return;
    this.offered = state;
    const buttons = offered.map((s) => {
      const button = el("button", "", s === Infinity ? "All" : RANGE_WORDS[s]);
      button.type = "button";
      button.setAttribute("aria-pressed", String(this.zoomed === null && s === this.span_s));
      button.addEventListener("click", () => {
        this.span_s = s;
        this.zoom(null);
      });
      return button;
    });
    this.ranges.replaceChildren(...(this.zoomed ? [el("span", "held", "Held")] : []), ...buttons);
  }

  #take(change) {
    const { data } = this;
    const isEmpty = this.columns.length === 0 && !change.columns?.n;
    const fresh = change.columns ? this.columns.append(change.columns, data.rows) : 0;
    this.#describe(data, isEmpty);
    if (isEmpty) return;
    if (change.channels || this.panels.length !== data.channels.length) this.#nameChannels(data.channels);
    if (change.incidents) this.#takeIncidents(change.incidents);
    if (fresh || change.channels || change.incidents) this.#draw();
  }

  #describe(data, isEmpty) {
    this.#listAssets(data);
    this.empty.hidden = !isEmpty;
    this.body.hidden = isEmpty;
    this.head.hidden = !data.asset;
    this.ranges.hidden = isEmpty;
    this.facts.hidden = isEmpty;
    say(this.empty, emptyText(data.status));
    this.status.set(data.status);
    this.status.node.hidden = isEmpty && Boolean(data.status.waiting_for);
    this.badge.node.hidden = isEmpty;
    if (isEmpty) return;
    this.badge.set(data.state, data.word, data.priority);
    const age_s = Math.max((data.status.newest_s ?? data.newest) - data.newest, 0);
    const age = age_s < 1 ? "up to date" : `${duration(age_s)} behind the plant`;
    say(
      this.facts,
      `${times(data.ratio)} limit · p ${short(data.p)} · ${age} · ${data.detector}, model ${data.model_version}`,
    );
  }

  /** The asset on screen, and the others to choose from. */
  #listAssets({ asset, assets }) {
    if (assets === this.listed) return;
    this.listed = assets;
    const options = assets.map((name) => {
      const option = el("option", "", name);
      option.value = name;
      return option;
    });
    this.picker.replaceChildren(...options);
    this.picker.value = asset;
  }

  #nameChannels(channels) {
    this.names = channels;
    const kinds = this.columns.kinds.join();
    if (this.panels.length !== channels.length || this.kinds !== kinds)
      this.#makePanels(channels.length, kinds);
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
    const key = (kind, word) => el("span", "key", el("i", kind), word);
    const words = isExpected
      ? [key("seen", "seen"), key("expected", "expected by the model")]
      : [key("seen", "part in the score")];
    this.legend.replaceChildren(...words, key("open", "open incident"), key("past", "past incident"));
    this.panels = Array.from({ length: count }, () => new Panel(this, isExpected ? EXPECTED : SHARE));
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
    const newest = this.columns.time.at(-1);
    this.why.show(this.incidents.find((incident) => incident.id === this.chosen) ?? null, newest);
    this.list.show(this.incidents, this.chosen, newest);
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
    say(
      this.more,
      this.showsAll ? `Show ${SHOWN_AT_FIRST} channels` : `Show all ${this.panels.length} channels`,
    );
  }

  #panelsShown() {
    return [this.score, ...this.panels.filter((panel) => !panel.node.hidden)];
  }

  #draw() {
    const { time, channels } = this.columns;
    this.#offerRanges();
    const range = this.range;
    this.score.show(scoreColumns(this.columns), range);
    this.panels.forEach((panel, c) => {
      if (panel.node.hidden || !channels[c]) return;
      const { seen, expected, shares } = channels[c];
      panel.show(shares ? [time, shares] : [time, expected, seen], range);
    });
  }
}

export default live((root) => new Asset(root));
