// The standard's figures of the alarm system, each beside what is recommended, and where the load comes from.

const { search } = new URL(import.meta.url);
const { live } = await import(`./live.js${search}`);
const { StatusLine, duration, el, palette, say, shape, short } = await import(`./dom.js${search}`);
const { Tabs, fillTable, styleSheet } = await import(`./listing.js${search}`);
const { Bars } = await import(`./bars.js${search}`);

const VERDICTS = { good: "as recommended", fair: "manageable", bad: "not as recommended", unknown: "nothing counted" };
const MOST_OPERATORS = 10;

class Performance {
  constructor(root) {
    styleSheet(root);
    this.data = {};
    this.cards = new Map();
    this.periods = new Tabs("Period", ["1", "2", "7"], { 1: "Today (UTC)", 2: "Since yesterday", 7: "7 days" }, (days) =>
      this.trigger("choose", { days: Number(days), operators: this.data.choice?.operators ?? 1 }),
    );
    this.operators = el("select", "filter");
    this.operators.setAttribute("aria-label", "Operators who share the alarms");
    for (let n = 1; n <= MOST_OPERATORS; n += 1) {
      const option = el("option", "", n === 1 ? "1 operator" : `${n} operators`);
      option.value = String(n);
      this.operators.append(option);
    }
    this.operators.addEventListener("change", () =>
      this.trigger("choose", { days: this.data.choice.days, operators: Number(this.operators.value) }),
    );
    this.facts = el("span", "facts");
    this.figures = el("div", "figures-grid");
    this.now = el("dl", "pairs");
    this.chart = new Bars();
    this.top = el("table", "table");
    this.lists = el("section", "panel");
    const head = el("header", "summary", el("h1", "", "Performance"), this.facts, this.operators);
    const chart = el("section", "panel apart", el("h2", "", "Alarms in ten minutes"), this.chart.node);
    const top = el("section", "panel", el("h2", "", "Most frequent alarms"), this.top);
    const now = el("section", "panel", el("h2", "", "Now, and how operators answered"), this.now);
    this.body = el("div", "", this.figures, chart, el("div", "panels", top, now, this.lists));
    this.empty = el("p", "empty", "No alarm has been told of in the time that is held.");
    this.status = new StatusLine();
    this.host = el("main", "tocsin performance", head, this.periods.node, this.body, this.empty, this.status.node);
    root.append(this.host);
  }

  refresh(data) {
    this.status.who(data);
    this.look = palette(this.host);
    if (this.data.bins) this.chart.show(this.data.bins, this.look);
  }

  show(payload) {
    Object.assign(this.data, payload);
    const { ready, choice, bins } = this.data;
    this.empty.hidden = ready;
    this.body.hidden = !ready;
    this.periods.show(String(choice.days));
    this.operators.value = String(choice.operators);
    this.status.set(this.data.status);
    if (!ready) return;
    if (payload.figures) this.#figures(payload.figures);
    if (payload.facts) this.#facts(payload.facts);
    if (payload.top) this.#top(payload.top);
    if (payload.lists) this.#lists(payload.lists);
    if (payload.bins) this.chart.show(bins, this.look);
  }

  connection(since_s) {
    this.status.connection(since_s);
    this.host.classList.toggle("lost", since_s !== null);
  }

  destroy() {
    this.chart.destroy();
  }

  #figures(figures) {
    const cards = figures.map(({ name, title, value, unit, recommended, verdict, source }) => {
      const isBad = verdict === "bad";
      const mark = el("span", "verdict", ...(isBad ? [shape("over")] : []), VERDICTS[verdict]);
      const card = el(
        "article",
        "figure",
        el("span", "of", title),
        el("span", "value", figure(value, unit)),
        mark,
        el("span", "bound", `recommended: ${recommended}`),
      );
      card.dataset.bad = String(isBad);
      card.dataset.name = name;
      card.title = source;
      return card;
    });
    this.figures.replaceChildren(...cards);
  }

  #facts(facts) {
    const hours = facts.observed_hours;
    const lost = facts.dropped ? `, ${facts.dropped} older events left out` : "";
    say(this.facts, `${facts.annunciations} alarms in ${short(hours)} h observed${lost}`);
    const answered = facts.median_s === null ? "–" : `${duration(facts.median_s)}, nine of ten within ${duration(facts.p90_s)}`;
    const pairs = [
      ["Last hour", `${short(facts.last_hour)} alarms per operator${facts.flooding ? ", in flood" : ""}`],
      ["Standing", `${facts.standing}, ${facts.unacknowledged} to acknowledge`],
      ["Shelved", String(facts.shelved)],
      ["Suppressed by design", String(facts.suppressed)],
      ["Out of service", String(facts.out_of_service)],
      ["Time to acknowledge", answered],
      ["Fleeting", `${facts.fleeting} gone before anybody could act`],
    ];
    this.now.replaceChildren(...pairs.flatMap(([name, value]) => [el("dt", "", name), el("dd", "", value)]));
  }

  #top(top) {
    const most = Math.max(...top.map(({ count }) => count), 1);
    const rows = top.map(({ asset, detector, count, share }) => {
      const fill = el("i");
      fill.style.width = `${(100 * count) / most}%`;
      return [asset, detector, el("span", "bar", fill), String(count), `${Math.round(100 * (share ?? 0))} %`];
    });
    fillTable(this.top, ["Asset", "Detector", "", "Alarms", "Share"], rows, [3, 4]);
  }

  #lists(lists) {
    const parts = lists.flatMap(({ title, what, alarms, more }) => {
      const names = alarms.map(({ asset, detector }) => el("span", "chip", `${asset} · ${detector}`));
      const rest = more ? [el("span", "facts", `and ${more} more`)] : [];
      const none = alarms.length ? [] : [el("span", "facts", "None.")];
      return [el("h2", "", title), el("p", "facts", what), el("div", "chips", ...names, ...rest, ...none)];
    });
    this.lists.replaceChildren(...parts);
  }
}

/** A figure as it is read: a share in per cent, a rate with its unit. */
function figure(value, unit) {
  if (value === null) return "–";
  if (unit === "share") return `${short(100 * value)} %`;
  return unit ? `${short(value)} ${unit}` : short(value);
}

export default live((root) => new Performance(root));
