// The wall of tiles: one for each asset and detector, worst first; what is off the screen costs nothing.

const { search } = new URL(import.meta.url);
const { live } = await import(`./live.js${search}`);
const { FleetTile } = await import(`./tile.js${search}`);
const { Filters } = await import(`./filters.js${search}`);
const { arrange } = await import(`./arrange.js${search}`);
const { StateBadge, StatusLine, el, emptyText, palette, say } = await import(`./dom.js${search}`);

const FEW_TILES = 6; // so many have room for larger tiles
const NEAR = "300px"; // so far from the screen a tile is kept drawn

class Fleet {
  constructor(root) {
    this.tiles = new Map();
    this.order = [];
    this.seen = new Set();
    this.summary = el("header", "summary");
    this.filters = new Filters(() => this.#filter());
    this.list = el("ol", "tiles");
    this.none = el("p", "nothing", "No asset fits these filters.");
    this.empty = el("p", "empty");
    this.status = new StatusLine();
    this.host = el("main", "tocsin fleet", this.summary, this.filters.node, this.list, this.none, this.empty, this.status.node);
    this.host.setAttribute("aria-label", "Fleet, worst first");
    root.append(this.host);
    this.visible = new IntersectionObserver((entries) => this.#look(entries), { rootMargin: NEAR });
    this.resize = new ResizeObserver(() => this.draw(true));
    this.resize.observe(this.host);
    this.list.addEventListener("keydown", (event) => this.#move(event));
  }

  refresh(data) {
    this.status.who(data, () => this.trigger("log_out", Date.now()));
    this.draw(true);
  }

  connection(since_s) {
    this.status.connection(since_s);
    this.host.classList.toggle("lost", since_s !== null);
  }

  show(data, whole) {
    if (whole) this.#forget(data);
    for (const number of data.gone ?? []) this.#remove(number);
    const newest_s = data.status.newest_s;
    let isFilterOld = whole;
    for (const change of data.tiles) isFilterOld = this.#tile(change.i).update(change) || isFilterOld;
    if (data.order) this.#arrange(data.order);
    if (data.counts) this.#summarise(data.counts);
    this.newest_s = newest_s;
    for (const tile of this.seen) tile.tell(newest_s);
    this.status.set(data.status);
    this.#emptiness(data.status);
    if (isFilterOld || data.order) this.#filter();
    this.draw();
  }

  draw(force = false) {
    if (force) this.colours = palette(this.host);
    for (const tile of this.seen) tile.draw(this.colours, force);
  }

  destroy() {
    this.resize.disconnect();
    this.visible.disconnect();
  }

  #tile(number) {
    let tile = this.tiles.get(number);
    if (!tile) {
      tile = new FleetTile((asset) => this.trigger("open", asset));
      this.tiles.set(number, tile);
      this.visible.observe(tile.node);
    }
    return tile;
  }

  #remove(number) {
    const tile = this.tiles.get(number);
    if (!tile) return;
    this.visible.unobserve(tile.node);
    this.seen.delete(tile);
    tile.node.remove();
    this.tiles.delete(number);
  }

  /** A whole picture takes the place of what was there; numbers may mean other assets after a restart. */
  #forget(data) {
    const names = new Map(data.tiles.map((tile) => [`${tile.detector}/${tile.asset}`, tile.i]));
    const kept = new Map();
    for (const [number, tile] of this.tiles) {
      const now = names.get(tile.key);
      if (now === undefined) this.#remove(number);
      else kept.set(now, tile);
      tile.forget();
    }
    this.tiles = kept;
  }

  #arrange(order) {
    this.order = order;
    const nodes = order.flatMap((number) => this.tiles.get(number)?.node ?? []);
    arrange(this.list, nodes);
    this.list.classList.toggle("few", nodes.length <= FEW_TILES);
  }

  #look(entries) {
    for (const { target, isIntersecting } of entries) {
      const tile = target.tile;
      if (!isIntersecting) {
        this.seen.delete(tile);
        continue;
      }
      this.seen.add(tile);
      tile.tell(this.newest_s);
      tile.draw(this.colours, true);
    }
  }

  #filter() {
    const tiles = [...this.tiles.values()];
    this.filters.offer(tiles.map((tile) => tile.data));
    let shown = 0;
    for (const tile of tiles) {
      const hidden = !this.filters.accepts(tile.data);
      if (tile.node.hidden !== hidden) tile.node.hidden = hidden;
      shown += !hidden;
    }
    this.none.hidden = shown > 0 || tiles.length === 0;
    this.filters.count(shown, tiles.length);
  }

  /** Arrows go from tile to tile, as they lie on the screen. */
  #move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: "up", ArrowDown: "down" }[event.key];
    const here = event.target.closest(".tile")?.parentElement;
    if (!step || !here) return;
    const nodes = [...this.list.children].filter((node) => !node.hidden);
    const perRow = nodes.findIndex((node) => node.offsetTop > nodes[0].offsetTop);
    const by = step === "up" ? -perRow : step === "down" ? perRow : step;
    const next = nodes[nodes.indexOf(here) + by];
    if (!next) return;
    event.preventDefault();
    next.firstElementChild.focus();
  }

  #emptiness(status) {
    const isEmpty = this.tiles.size === 0;
    this.empty.hidden = !isEmpty;
    this.list.hidden = this.summary.hidden = this.filters.node.hidden = isEmpty;
    if (isEmpty) this.none.hidden = true;
    say(this.empty, emptyText(status));
    this.status.node.hidden = isEmpty && Boolean(status.waiting_for);
  }

  #summarise(counts) {
    const assets = new Set([...this.tiles.values()].map((tile) => tile.data.asset)).size;
    const always = ["unacknowledged", "over", "stale", "normal"];
    const parts = Object.entries(counts)
      .filter(([state, n]) => n > 0 || always.includes(state))
      .map(([state, n]) => {
        const badge = new StateBadge();
        badge.set(n > 0 ? state : "normal", Filters.word(state));
        return el("span", n > 0 ? "count" : "count none", el("b", "", String(n)), badge.node);
      });
    const total = el("span", "count", el("b", "", String(assets)), assets === 1 ? "asset" : "assets");
    this.summary.replaceChildren(el("h1", "", "Fleet"), total, ...parts);
  }
}

export default live((root) => new Fleet(root));
