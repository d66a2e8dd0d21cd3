// One tile: an asset's state in shape, word and colour, its score over time within the normal band, and its age.

const { search } = new URL(import.meta.url);
const { StateBadge, clock, duration, el, say, shape, short, times } = await import(`./dom.js${search}`);

const SPARK_POINTS = 120;
const SPARK_LOW = -1.5; // decades under the limit at which the sparkline ends
const SPARK_HIGH = 0.5; // decades over it that are always in the picture
const VERDICTS = {
  stale: "silent",
  dead: "dead",
  flat: "flat",
  stuck: "stuck",
  out_of_range: "out of range",
  dropping_out: "dropping out",
  clock: "wrong clock",
  too_little: "too little left",
};

/** What a sensor verdict is called. */
export function verdictWord(verdict) {
  return VERDICTS[verdict] ?? verdict;
}

export class FleetTile {
  constructor(open) {
    this.data = {};
    this.values = [];
    this.name = el("span", "name");
    this.badge = new StateBadge();
    this.spark = el("canvas", "spark");
    this.why = el("span", "why");
    this.sensors = el("span", "sensors");
    this.ratio = el("span", "ratio");
    this.p = el("span", "p");
    this.age = el("span", "age");
    const top = el("span", "top", this.name, this.badge.node);
    const figures = el("span", "figures", this.ratio, this.p, this.age);
    this.link = el("a", "tile", top, this.spark, this.why, this.sensors, figures);
    this.node = el("li", "", this.link);
    this.node.tile = this;
    this.link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      open(this.data.asset);
    });
  }

  get key() {
    return `${this.data.detector}/${this.data.asset}`;
  }

  /** Take what changed; true where that may matter to a filter. */
  update({ spark, ...change }) {
    const { values } = this;
    if (spark) {
      for (const value of spark) values.push(value);
      if (values.length > SPARK_POINTS) values.splice(0, values.length - SPARK_POINTS);
      this.isSparkOld = true;
    }
    for (const name in change) this.data[name] = change[name];
    this.isOld = true;
    this.isSparkOld ||= "priority" in change;
    return "asset" in change || "state" in change || "site" in change || "faulty" in change;
  }

  forget() {
    this.values = [];
    this.data = {};
  }

  /** Write the tile's words, for one that is on the screen. */
  tell(newest_s) {
    const { data } = this;
    const age_s = Math.max((newest_s ?? data.newest) - data.newest, 0);
    const age = data.stale ? `STALE · ${duration(age_s)} old` : age_s < 1 ? "now" : `${duration(age_s)} old`;
    say(this.age, age);
    if (!this.isOld) return;
    this.isOld = false;
    const label = data.several ? `${data.asset} · ${data.detector}` : data.asset;
    say(this.name, label);
    this.name.title = label;
    this.link.setAttribute("href", `asset?asset=${encodeURIComponent(data.asset)}`);
    Object.assign(this.link.dataset, { state: data.state, priority: data.priority ?? "", stale: data.stale });
    this.link.classList.toggle("over", data.ratio > 1);
    this.badge.set(data.state, data.word, data.priority);
    say(this.ratio, `${times(data.ratio)} limit`);
    say(this.p, `p ${short(data.p)}`);
    say(this.why, this.#why(newest_s));
    this.#tellSensors();
  }

  #why(newest_s) {
    const { since, channels, hidden, until, active, state } = this.data;
    const parts = [];
    if (since !== null) parts.push(`since ${clock(since, newest_s)}`, channels.join(", "));
    if (hidden && state === "stale") parts.push(hidden);
    if (hidden && active) parts.push("condition stands");
    if (hidden && until) parts.push(`until ${clock(until, Date.now() / 1000)} UTC`);
    return parts.filter(Boolean).join(" · ");
  }

  #tellSensors() {
    const { faults, faulty } = this.data;
    this.sensors.hidden = faulty === 0;
    if (faulty === 0) return;
    const words = faults.map(([channel, verdict]) => `${channel || "all sensors"} ${verdictWord(verdict)}`);
    if (faulty > faults.length) words.push(`${faulty - faults.length} more`);
    const text = words.join(", ");
    if (this.sensors.title === text) return;
    this.sensors.title = text;
    this.sensors.replaceChildren(shape("sensor"), el("span", "", text));
  }

  /** Draw the score over its limit on a log scale; the band under the limit is what is normal. */
  draw(colours, force) {
    if (!(this.isSparkOld || force) || !colours) return;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.spark.clientWidth * ratio);
    const height = Math.round(this.spark.clientHeight * ratio);
    if (width === 0) return;
    this.isSparkOld = false;
    if (this.spark.width !== width) this.spark.width = width;
    if (this.spark.height !== height) this.spark.height = height;
    const context = this.spark.getContext("2d");
    context.clearRect(0, 0, width, height);
    const logs = this.values.map((v) =>
      v === null ? NaN : Math.max(Math.log10(Math.max(v, 1e-9)), SPARK_LOW),
    );
    const high = logs.reduce((most, v) => (v + 0.1 > most ? v + 0.1 : most), SPARK_HIGH);
    const pen = 1.5 * ratio;
    const y = (v) => pen + ((high - v) / (high - SPARK_LOW)) * (height - 2 * pen);
    const x = (i) => width - pen - (logs.length - 1 - i) * ((width - 2 * pen) / (SPARK_POINTS - 1));
    context.fillStyle = colours.band;
    context.fillRect(0, y(0), width, height - y(0));
    context.fillStyle = colours.faint;
    context.fillRect(0, Math.round(y(0)), width, Math.max(1, Math.round(ratio)));
    context.lineWidth = pen;
    context.lineJoin = "round";
    line(context, logs, x, y, colours.ink);
    if (high === SPARK_HIGH && !logs.some((v) => v > 0)) return;
    context.save();
    context.beginPath();
    context.rect(0, 0, width, y(0));
    context.clip();
    context.lineWidth = 1.6 * pen;
    line(context, logs, x, y, colours.priorities[this.data.priority] ?? colours.ink);
    context.restore();
  }
}

function line(context, logs, x, y, colour) {
  context.strokeStyle = colour;
  context.beginPath();
  let down = false;
  logs.forEach((value, i) => {
    if (Number.isFinite(value)) context[down ? "lineTo" : "moveTo"](x(i), y(value));
    down = Number.isFinite(value);
  });
  context.stroke();
}
