// One asset: its score against its limit, its channels against what the model expected, its incidents and sensors.

const { search } = new URL(import.meta.url);
const { live } = await import(`./live.js${search}`);
const { StatusLine, el, emptyText, palette, say } = await import(`./dom.js${search}`);
const { Columns } = await import(`./columns.js${search}`);
const { scoreColumns } = await import(`./charts.js${search}`);
const { Channels } = await import(`./channels.js${search}`);
const { Panel, SCORE } = await import(`./panel.js${search}`);
const { Contributions, IncidentList } = await import(`./incidents.js${search}`);
const { AlarmPanel, SensorPanel } = await import(`./alarm.js${search}`);
const { Head } = await import(`./head.js${search}`);
const { Ranges } = await import(`./ranges.js${search}`);
const { askPast, pastEnds } = await import(`./past.js${search}`);

const LONGEST_PAST_S = 86_400 * 7; // that one question for the past may span

class Asset {
  constructor(root) {
    this.data = {};
    this.given = {}; // what the page handed over
    this.columns = new Columns();
    this.past = null; // windows of the past that are shown instead
    this.incidents = [];
    this.chosen = null;
    this.zoomed = null; // a range of time [s, s] that a person holds on to, or null to follow the newest window
    this.frozen = false;
    this.sync = `tocsin-${crypto.randomUUID?.() ?? Math.random()}`;
    this.#build(root);
    this.resize = new ResizeObserver(() => this.#panelsShown().forEach((panel) => panel.chart?.fit()));
    this.resize.observe(this.host);
    this.keys = (event) => this.#key(event);
    document.addEventListener("keydown", this.keys);
  }

  #build(root) {
    this.ranges = new Ranges({
      follow: () => this.#live(),
      live: () => this.#live(),
      freeze: () => this.#freeze(),
      earlier: () => this.#step(-1),
      later: () => this.#step(1),
    });
    this.head = new Head((name, value) => this.trigger(name, value), this.ranges.node);
    this.told = el("p", "told");
    this.told.setAttribute("role", "status");
    this.score = new Panel(this, SCORE);
    say(this.score.name, "Score against its limit");
    this.channels = new Channels(this);
    this.alarm = new AlarmPanel((action) =>
      this.trigger(action, { incident: this.#openIncident()?.id ?? "", at: Date.now() }),
    );
    this.sensors = new SensorPanel();
    this.why = new Contributions();
    this.list = new IncidentList((incident) => this.#choose(incident));
    const charts = el("div", "charts", this.told, this.score.node, ...this.channels.nodes);
    const aside = el("aside", "", this.alarm.node, this.sensors.node, this.why.node, this.list.node);
    this.body = el("div", "body", charts, aside);
    this.empty = el("p", "empty");
    this.status = new StatusLine();
    this.host = el("main", "tocsin asset", this.head.node, this.body, this.empty, this.status.node);
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

  refresh(given) {
    this.given = given;
    this.status.who(given, () => this.trigger("log_out", Date.now()));
    if (given.incident !== this.asked) [this.asked, this.jump] = [given.incident, given.incident];
    const before = JSON.stringify(this.look);
    this.look = palette(this.host);
    if (JSON.stringify(this.look) !== before) this.#panelsShown().forEach((panel) => panel.chart?.redraw());
    if (this.columns.length) this.#actions();
  }

  connection(since_s) {
    this.status.connection(since_s);
    this.host.classList.toggle("lost", since_s !== null);
  }

  show(change, whole) {
    this.data = whole ? change : { ...this.data, ...change };
    if ((whole || change.reset) && !this.frozen) this.columns.clear();
    this.#take(change);
  }

  destroy() {
    this.resize.disconnect();
    document.removeEventListener("keydown", this.keys);
    this.score.destroy();
    this.channels.destroy();
  }

  /** Hold on to a range of time in all charts, or follow the newest window again. */
  zoom(range) {
    this.zoomed = range;
    this.#offerRanges();
    this.#panelsShown().forEach((panel) => panel.chart?.zoom(this.range));
  }

  /** The range of time that the charts show, and the windows in it. */
  get range() {
    if (this.zoomed) return this.zoomed;
    const { time } = this.shown;
    return this.past ? [time[0], time.at(-1)] : this.ranges.followed(time);
  }

  get shown() {
    return this.past ?? this.columns;
  }

  #offerRanges() {
    const held = this.frozen ? "Frozen" : this.past ? "History" : this.zoomed ? "Held" : "";
    if (this.ranges.span_s === null) this.ranges.offer(this.columns.time, "", null);
    this.ranges.offer(this.columns.time, held, this.range);
  }

  #take(change) {
    const { data } = this;
    const isEmpty = this.columns.length === 0 && !change.columns?.n;
    const fresh = change.columns && !this.frozen ? this.columns.append(change.columns, data.rows) : 0;
    this.#describe(data, isEmpty);
    if (isEmpty) return;
    const isRenamed = change.channels && !this.past;
    if (isRenamed || !this.channels.fits(this.shown))
      this.channels.name(this.past?.names ?? data.channels, this.shown);
    if (change.incidents) this.#takeIncidents(change.incidents);
    if (change.sensors) this.channels.mark(change.sensors);
    this.sensors.show(data.sensors, data.newest);
    this.#actions();
    if (this.jump) this.#jump();
    if ((fresh && !this.past) || isRenamed || change.incidents) this.#draw();
  }

  #actions() {
    this.alarm.show(this.data, this.given.may ?? [], this.given.notice);
  }

  #describe(data, isEmpty) {
    this.head.show(data, isEmpty);
    this.empty.hidden = !isEmpty;
    this.body.hidden = isEmpty;
    this.ranges.node.hidden = isEmpty;
    say(this.empty, emptyText(data.status));
    this.status.set(data.status);
    this.status.node.hidden = isEmpty && Boolean(data.status.waiting_for);
    if (isEmpty || (this.host.dataset.priority ?? null) === (data.priority ?? "")) return;
    this.host.dataset.priority = data.priority ?? "";
    this.look = palette(this.host);
  }

  #openIncident() {
    return this.incidents.find((incident) => incident.open);
  }

  #takeIncidents(incidents) {
    const openBefore = this.#openIncident()?.id;
    this.incidents = incidents;
    const open = this.#openIncident();
    // A new alarm takes the view; what a person has chosen stays otherwise.
    if (open && open.id !== openBefore && !this.jump) this.chosen = open.id;
    if (!incidents.some((incident) => incident.id === this.chosen)) this.chosen = incidents[0]?.id ?? null;
    this.#explain();
  }

  /** Go to the incident in the address, once it is known. */
  #jump() {
    const incident = this.incidents.find(({ id }) => id === this.jump);
    this.jump = null;
    if (incident) this.#choose(incident);
    else say(this.told, "The incident in the address is not known here any more.");
  }

  #choose(incident) {
    this.chosen = incident.id;
    this.#explain();
    const newest = this.columns.time.at(-1);
    const end = incident.end ?? newest;
    const pad = Math.max((end - incident.start) * 1.5, 60);
    this.#go([incident.start - pad, Math.min(end + pad, newest)], incident.start);
  }

  /** Show a range: of what is held where that reaches back to `needed`, else of the past. */
  async #go([from, to], needed = from) {
    const { time } = this.columns;
    if (needed >= time[0]) {
      this.past = null;
      this.zoomed = [Math.max(from, time[0]), Math.min(to, time.at(-1))];
      this.#redraw();
      return;
    }
    say(this.told, "Reading the past…");
    const turn = (this.turn = (this.turn ?? 0) + 1);
    try {
      const found = await askPast(this, this.data, [from, Math.max(to, from + 1)]);
      if (turn !== this.turn) return;
      if (found.columns.length === 0) {
        say(this.told, pastEnds(found.begins));
        return;
      }
      this.past = Object.assign(found.columns, { names: found.channels });
      this.zoomed = [from, to];
      say(this.told, found.cut ? "The past is shown in part: that range holds too much to read at once." : "");
      this.#redraw();
    } catch (error) {
      say(this.told, error.message);
    }
  }

  #step(direction) {
    const [from, to] = this.range;
    const span = Math.min(to - from, LONGEST_PAST_S) || 60;
    const next = [from + direction * span, to + direction * span];
    if (direction > 0 && next[1] >= this.columns.time.at(-1)) this.#live();
    else this.#go(next);
  }

  #freeze() {
    if (this.frozen) {
      this.#live();
      return;
    }
    this.zoomed = this.range;
    this.frozen = true;
    this.#offerRanges();
  }

  /** Follow the newest window again; what came while the picture was frozen is asked for. */
  #live() {
    const wasFrozen = this.frozen;
    [this.frozen, this.past, this.zoomed] = [false, null, null];
    this.turn = (this.turn ?? 0) + 1;
    say(this.told, "");
    this.#redraw();
    if (wasFrozen) this.again();
  }

  #key(event) {
    const field = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || /^(input|select|textarea)$/i.test(field.tagName)) return;
    if (event.key === "f" && this.columns.length) this.#freeze();
    else if (event.key === "Escape" && (this.zoomed || this.past)) this.#live();
    else return;
    event.preventDefault();
  }

  #explain() {
    const newest = this.columns.time.at(-1);
    this.why.show(this.incidents.find((incident) => incident.id === this.chosen) ?? null, newest);
    this.list.show(this.incidents, this.chosen, newest);
    this.channels.arrange(this.incidents.find((incident) => incident.id === this.chosen));
  }

  #panelsShown() {
    return [this.score, ...this.channels.shown()];
  }

  /** Draw what is now shown, of other windows than before. */
  #redraw() {
    if (!this.channels.fits(this.shown)) this.channels.name(this.past?.names ?? this.data.channels, this.shown);
    this.#draw();
  }

  #draw() {
    this.#offerRanges();
    this.score.show(scoreColumns(this.shown), this.range);
    this.channels.draw(this.shown, this.range);
  }
}

export default live((root) => new Asset(root));
