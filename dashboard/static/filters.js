// The row above the tiles: search by name, and filters by state and site.

const { search } = new URL(import.meta.url);
const { el, say } = await import(`./dom.js${search}`);

const WORDS = {
  unacknowledged: "Alarm",
  acknowledged: "Acknowledged",
  returned: "Returned",
  latched: "Latched",
  latched_acknowledged: "Latched, acknowledged",
  over: "Over limit",
  stale: "Stale",
  suppressed: "Suppressed",
  shelved: "Shelved",
  out_of_service: "Out of service",
  normal: "Normal",
};
const FAULTY = "faulty";

export class Filters {
  /** The word of a state. */
  static word(state) {
    return WORDS[state] ?? state;
  }

  constructor(changed) {
    this.search = el("input", "search");
    Object.assign(this.search, { type: "search", placeholder: "Search assets", spellcheck: false });
    this.search.setAttribute("aria-label", "Search assets");
    this.state = this.#choice("State", changed);
    this.site = this.#choice("Site", changed);
    this.found = el("span", "facts");
    this.found.setAttribute("role", "status");
    this.search.addEventListener("input", changed);
    this.node = el("form", "filters", this.search, this.state, this.site, this.found);
    this.node.addEventListener("submit", (event) => event.preventDefault());
    this.node.setAttribute("role", "search");
    const states = Object.entries(WORDS).map(([state, word]) => option(word, state));
    this.state.replaceChildren(option("All states", ""), ...states, option("Sensor faults", FAULTY));
  }

  /** Offer the sites that there are. */
  offer(tiles) {
    const sites = [...new Set(tiles.map((tile) => tile.site).filter(Boolean))].sort();
    const text = JSON.stringify(sites);
    this.site.hidden = sites.length === 0;
    if (text === this.sites) return;
    this.sites = text;
    const chosen = this.site.value;
    this.site.replaceChildren(option("All sites", ""), ...sites.map((site) => option(site, site)));
    if (sites.includes(chosen)) this.site.value = chosen;
  }

  accepts({ asset, state, site, faulty }) {
    const text = this.search.value.trim().toLowerCase();
    const wanted = this.state.value;
    return (
      (text === "" || asset.toLowerCase().includes(text)) &&
      (wanted === "" || state === wanted || (wanted === FAULTY && faulty > 0)) &&
      (this.site.value === "" || site === this.site.value)
    );
  }

  count(shown, total) {
    say(this.found, shown === total ? "" : `${shown.toLocaleString("en")} of ${total.toLocaleString("en")}`);
  }

  #choice(name, changed) {
    const select = el("select");
    select.setAttribute("aria-label", name);
    select.addEventListener("change", changed);
    return select;
  }
}

function option(text, value) {
  const node = el("option", "", text);
  node.value = value;
  return node;
}
