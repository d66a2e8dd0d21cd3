// The column beside the charts: why the incident in view rang, and the incidents before it.

const { search } = new URL(import.meta.url);
const { clock, duration, el, say, shape, short, times } = await import(`./dom.js${search}`);

const BARS = 8;
const SMALLEST_SHARE = 0.005; // less would read as 0 %

/** Contributions of one incident as bars, with what was seen and what was expected at the peak. */
export class Contributions {
  constructor() {
    this.title = el("h2");
    this.facts = el("p", "facts");
    this.bars = el("ol", "bars");
    this.runbook = el("a", "runbook", "Runbook");
    this.runbook.rel = "noopener noreferrer";
    this.runbook.target = "_blank";
    this.similar = el("a", "runbook", "Similar events");
    this.node = el("section", "panel", this.title, this.facts, this.bars, this.runbook, this.similar);
  }

  show(incident, newest_s) {
    this.node.hidden = incident === null;
    if (incident === null) return;
    const word = incident.open ? "Why it rings" : "Why it rang";
    say(this.title, word);
    this.node.dataset.state = incident.open ? "alarm" : "normal";
    // an open incident was last told of when it was raised: what came since is in the chart
    const peak = `${incident.open ? "raised with" : "peak"} ${times(incident.ratio)} limit at ${clock(incident.peak_time, incident.start)}`;
    say(
      this.facts,
      `${clock(incident.start, newest_s)} UTC · ${peak} · p ${short(incident.p)} · model ${incident.model_version}`,
    );
    const shown = incident.channels
      .slice(0, BARS)
      .filter(({ share }, i) => i === 0 || share >= SMALLEST_SHARE);
    const largest = Math.max(...shown.map((channel) => channel.share ?? 0), 1e-9);
    this.bars.replaceChildren(...shown.map((channel) => bar(channel, largest)));
    this.similar.href = `similar?incident=${encodeURIComponent(incident.id)}`;
    this.runbook.hidden = !incident.runbook;
    if (incident.runbook) this.runbook.href = incident.runbook;
  }
}

function bar({ name, share, seen, expected, unit }, largest) {
  const fill = el("span", "fill");
  fill.style.width = `${(100 * Math.max(share ?? 0, 0)) / largest}%`;
  const label = el("span", "name", name);
  label.title = name;
  const percent = el("span", "share", `${Math.round(100 * (share ?? 0))} %`);
  const suffix = unit ? ` ${unit}` : "";
  const text = seen === null ? "" : `seen ${short(seen)}${suffix}, expected ${short(expected)}${suffix}`;
  return el("li", "", label, percent, el("span", "track", fill), el("span", "values", text));
}

/** The incidents of the asset, newest first; choosing one shows its reasons and its moment. */
export class IncidentList {
  constructor(choose) {
    this.choose = choose;
    this.list = el("ol", "incidents");
    this.none = el("p", "facts", "No incident in the time shown.");
    this.node = el("section", "panel", el("h2", "", "Incidents"), this.list, this.none);
  }

  show(incidents, chosen, newest_s) {
    this.none.hidden = incidents.length > 0;
    this.list.replaceChildren(
      ...incidents.map((incident) => this.#row(incident, incident.id === chosen, newest_s)),
    );
  }

  #row(incident, isChosen, newest_s) {
    const { open, start, end, ratio, channels } = incident;
    const lasted = open || end === null ? "open" : duration(end - start);
    const first = channels[0]?.name ?? "";
    const when = el("span", "when", shape(open ? "unacknowledged" : "normal"), clock(start, newest_s));
    const row = el(
      "button",
      "incident",
      when,
      el("span", "lasted", lasted),
      el("span", "ratio", times(ratio)),
      el("span", "name", first),
    );
    row.type = "button";
    row.dataset.state = open ? "alarm" : "normal";
    row.setAttribute("aria-pressed", String(isChosen));
    row.addEventListener("click", () => this.choose(incident));
    return el("li", "", row);
  }
}
