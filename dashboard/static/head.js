// The head of an asset's page: which asset, in which state, how far from its limit, how old.

const { search } = new URL(import.meta.url);
const { StateBadge, clock, duration, el, say, short, times } = await import(`./dom.js${search}`);

export class Head {
  /** `trigger(name, value)` reaches the page; `tools` stand at the end of the line. */
  constructor(trigger, tools) {
    this.picker = picker("picker", "Asset", (asset) => trigger("open", asset));
    this.detectors = picker("detectors", "Detector", (detector) => trigger("detector", detector));
    this.badge = new StateBadge();
    this.facts = el("p", "facts");
    this.node = el(
      "header",
      "summary",
      el("h1", "", this.picker),
      this.badge.node,
      this.detectors,
      this.facts,
      tools,
    );
  }

  show(data, isEmpty) {
    list(this.picker, data.assets, data.asset);
    list(this.detectors, data.detectors, data.detector);
    this.detectors.hidden = data.detectors.length < 2;
    this.node.hidden = !data.asset;
    this.facts.hidden = this.badge.node.hidden = isEmpty;
    if (isEmpty) return;
    this.badge.set(data.state, data.word, data.priority);
    const parts = [`${times(data.ratio)} limit`, `p ${short(data.p)}`, age(data), hiding(data)];
    say(
      this.facts,
      [...parts, `${data.detector}, model ${data.model_version}`].filter(Boolean).join(" · "),
    );
  }
}

function age({ status, newest, stale }) {
  const age_s = Math.max((status.newest_s ?? newest) - newest, 0);
  if (stale) return `STALE, ${duration(age_s)} old`;
  return age_s < 1 ? "up to date" : `${duration(age_s)} behind the plant`;
}

/** What hides the alarm, where its state does not say so already, and until when. */
function hiding({ hidden, word, until }) {
  if (!hidden) return "";
  const end = until ? `until ${clock(until, Date.now() / 1000)} UTC` : "";
  return [hidden === word ? "" : hidden, end].filter(Boolean).join(" ");
}

/** The names to choose from, and which is on the screen. */
function list(select, names, chosen) {
  if (names !== select.listed) {
    select.listed = names;
    select.replaceChildren(
      ...names.map((name) => {
        const option = el("option", "", name);
        option.value = name;
        return option;
      }),
    );
  }
  if (select.value !== chosen) select.value = chosen;
}

function picker(className, label, chosen) {
  const select = el("select", className);
  select.setAttribute("aria-label", label);
  select.addEventListener("change", () => chosen(select.value));
  return select;
}
