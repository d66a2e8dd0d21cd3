// The wall of tiles: one for each asset and detector, worst first.

const { search } = new URL(import.meta.url);
const { mounted, Sequence } = await import(`./mount.js${search}`);
const { StateBadge, StatusLine, clock, duration, el, emptyText, palette, say, short, times } = await import(
  `./dom.js${search}`
);

const SPARK_POINTS = 120;
const FEW_TILES = 6; // so many have room for larger tiles
const SPARK_LOW = -1.5; // decades under the limit at which the sparkline ends
const SPARK_HIGH = 0.5; // decades over it that are always in the picture

class Tile {
  constructor(open) {
    this.values = [];
    this.total = 0;
    this.name = el("span", "name");
    this.badge = new StateBadge();
    this.spark = el("canvas", "spark");
    this.why = el("span", "why");
    this.ratio = el("span", "ratio");
    this.p = el("span", "p");
    this.age = el("span", "age");
    const top = el("span", "top", this.name, this.badge.node);
    this.link = el(
      "a",
      "tile",
      top,
      this.spark,
      this.why,
      el("span", "figures", this.ratio, this.p, this.age),
    );
    this.node = el("li", "", this.link);
    this.link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      open(this.asset);
    });
  }

  update(data, newest_s) {
    this.asset = data.asset;
    const label = data.detectors > 1 ? `${data.asset} · ${data.detector}` : data.asset;
    say(this.name, label);
    this.name.title = label;
    this.link.setAttribute("href", `asset?asset=${encodeURIComponent(data.asset)}`);
    this.link.dataset.state = data.state;
    this.link.classList.toggle("over", data.ratio > 1);
    this.badge.set(data.state, data.word);
    say(this.ratio, `${times(data.ratio)} limit`);
    say(this.p, `p ${short(data.p)}`);
    say(this.age, data.age_s < 1 ? "now" : `${duration(data.age_s)} old`);
    const names = data.channels.join(", ");
    say(this.why, data.since === null ? "" : `since ${clock(data.since, newest_s)} · ${names}`);
    this.#append(data);
  }

  #append({ spark, total }) {
    const fresh = Math.min(Math.max(total - this.total, 0), spark.length);
    this.total = total;
    if (fresh === 0) return;
    this.values = this.values.concat(spark.slice(spark.length - fresh)).slice(-SPARK_POINTS);
    this.stale = true;
  }

  /** Draw the score over its limit on a log scale; the band under the limit is what is normal. */
  draw(colours, force) {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.spark.clientWidth * ratio);
    const height = Math.round(this.spark.clientHeight * ratio);
    if (!(this.stale || force) || width === 0) return;
    this.stale = false;
    if (this.spark.width !== width) this.spark.width = width;
    if (this.spark.height !== height) this.spark.height = height;
    const context = this.spark.getContext("2d");
    context.clearRect(0, 0, width, height);
    const logs = this.values.map((v) =>
      v === null ? NaN : Math.max(Math.log10(Math.max(v, 1e-9)), SPARK_LOW),
    );
    const high = Math.max(SPARK_HIGH, ...logs.filter(Number.isFinite).map((v) => v + 0.1));
    const pen = 1.5 * ratio;
    const y = (v) => pen + ((high - v) / (high - SPARK_LOW)) * (height - 2 * pen);
    const x = (i) => width - pen - (logs.length - 1 - i) * ((width - 2 * pen) / (SPARK_POINTS - 1));
    context.fillStyle = colours.band;
    context.fillRect(0, y(0), width, height - y(0));
    context.fillStyle = colours.faint;
    context.fillRect(0, Math.round(y(0)), width, Math.max(1, Math.round(ratio)));
    context.lineWidth = pen;
    context.lineJoin = "round";
    this.#line(context, logs, x, y, colours.ink);
    context.save();
    context.beginPath();
    context.rect(0, 0, width, y(0));
    context.clip();
    this.#line(context, logs, x, y, colours.alarm);
    context.restore();
  }

  #line(context, logs, x, y, colour) {
    context.strokeStyle = colour;
    context.beginPath();
    let down = false;
    logs.forEach((value, i) => {
      if (Number.isFinite(value)) context[down ? "lineTo" : "moveTo"](x(i), y(value));
      down = Number.isFinite(value);
    });
    context.stroke();
  }
}

class Fleet {
  constructor(root) {
    this.sequence = new Sequence();
    this.tiles = new Map();
    this.summary = el("header", "summary");
    this.list = el("ol", "tiles");
    this.empty = el("p", "empty");
    this.status = new StatusLine();
    this.host = el("main", "tocsin fleet", this.summary, this.list, this.empty, this.status.node);
    this.host.setAttribute("aria-label", "Fleet, worst first");
    root.append(this.host);
    this.resize = new ResizeObserver(() => this.draw(true));
    this.resize.observe(this.host);
  }

  update({ data, setTriggerValue }) {
    this.open = (asset) => setTriggerValue("open", asset);
    const kind = this.sequence.accept(data, setTriggerValue);
    if (kind) this.#show(data, kind === "whole");
    this.draw(kind === null);
  }

  draw(force = false) {
    const colours = palette(this.host);
    for (const tile of this.tiles.values()) tile.draw(colours, force);
  }

  destroy() {
    this.resize.disconnect();
  }

  #show(data, whole) {
    if (whole) this.#forget(data);
    this.#summarise(data);
    data.tiles.forEach((shown, place) => {
      let tile = this.tiles.get(shown.key);
      if (!tile) this.tiles.set(shown.key, (tile = new Tile((asset) => this.open(asset))));
      tile.update(shown, data.status.newest_s);
      // Only tiles that change places are moved, so that focus and hover stay where they are.
      if (this.list.children[place] !== tile.node)
        this.list.insertBefore(tile.node, this.list.children[place] ?? null);
    });
    this.empty.hidden = data.tiles.length > 0;
    this.list.hidden = !this.empty.hidden;
    this.summary.hidden = !this.empty.hidden;
    this.list.classList.toggle("few", data.tiles.length <= FEW_TILES);
    say(this.empty, emptyText(data.status));
    this.status.set(data.status);
    this.status.node.hidden = !this.empty.hidden && Boolean(data.status.waiting_for);
  }

  /** A whole picture takes the place of what was there; tiles that are in both keep their elements. */
  #forget(data) {
    const kept = new Set(data.tiles.map((tile) => tile.key));
    for (const [key, tile] of this.tiles) {
      tile.values = [];
      tile.total = 0;
      if (kept.has(key)) continue;
      tile.node.remove();
      this.tiles.delete(key);
    }
  }

  #summarise({ counts, tiles }) {
    const text = JSON.stringify(counts);
    if (this.summarised === text) return;
    this.summarised = text;
    const assets = new Set(tiles.map((tile) => tile.asset)).size;
    const parts = Object.entries(counts).map(([word, n]) => {
      const badge = new StateBadge();
      const state = { Alarm: "alarm", "Over limit": "over", Stale: "stale" }[word] ?? "normal";
      badge.set(n > 0 ? state : "normal", word);
      const part = el("span", n > 0 ? "count" : "count none", el("b", "", String(n)), badge.node);
      return part;
    });
    this.summary.replaceChildren(
      el("h1", "", "Fleet"),
      el("span", "count", el("b", "", String(assets)), assets === 1 ? "asset" : "assets"),
      ...parts,
    );
  }
}

export default mounted((root) => new Fleet(root));
