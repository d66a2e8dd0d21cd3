// Is the monitor itself well: daemons by their own figures, this dashboard's feed, and messages nobody could read.

const { search } = new URL(import.meta.url);
const { live } = await import(`./live.js${search}`);
const { StatusLine, clock, duration, el, palette, say, shape, short } = await import(`./dom.js${search}`);
const { bytes, fillTable, pairs, styleSheet } = await import(`./listing.js${search}`);

class Health {
  constructor(root) {
    styleSheet(root);
    this.data = {};
    this.facts = el("span", "facts");
    this.daemons = el("div", "panels");
    this.versions = el("table", "table");
    this.drift = el("div", "chips");
    this.reasons = el("div", "chips");
    this.letters = el("table", "table letters");
    this.noLetters = el("p", "facts");
    const side = el(
      "div",
      "panels",
      el("section", "panel", el("h2", "", "Models on live scores"), el("div", "scroll", this.versions)),
      el("section", "panel", el("h2", "", "Drift"), this.drift),
    );
    const dead = el("section", "panel", el("h2", "", "Dead letters"), this.reasons, el("div", "scroll", this.letters), this.noLetters);
    this.none = el("p", "facts");
    this.status = new StatusLine();
    const head = el("header", "summary", el("h1", "", "Health"), this.facts);
    this.host = el("main", "tocsin health", head, this.daemons, this.none, side, dead, this.status.node);
    root.append(this.host);
  }

  refresh(data) {
    this.status.who(data);
    palette(this.host);
  }

  show(payload) {
    Object.assign(this.data, payload);
    const { data } = this;
    this.status.set(data.status);
    const speed = data.windows_per_s === null ? "" : `${short(data.windows_per_s)} windows a second arrive here`;
    say(this.facts, speed);
    say(this.none, noDaemon(data));
    this.none.hidden = data.daemons.length > 0;
    if (payload.daemons) this.daemons.replaceChildren(...data.daemons.map((each) => this.#daemon(each)));
    if (payload.seen) {
      const rows = data.seen.map(({ detector, version, assets }) => [detector, version, String(assets)]);
      fillTable(this.versions, ["Detector", "Version", "Assets"], rows, [2]);
    }
    if (payload.drift || payload.daemons) {
      const chips = data.drift.map(({ what, assets }) => el("span", "chip", `${what}: ${assets}`));
      this.drift.replaceChildren(...(chips.length ? chips : [el("span", "facts", this.#noDrift())]));
    }
    this.#letters(data, payload);
  }

  connection(since_s) {
    this.status.connection(since_s);
    this.host.classList.toggle("lost", since_s !== null);
  }

  destroy() {}

  #noDrift() {
    return this.data.daemons.some(({ problem }) => !problem) ? "No asset drifts." : "Not known without a daemon's metrics.";
  }

  #daemon(daemon) {
    const title = el("h2", "", daemon.address);
    if (daemon.problem) {
      const mark = el("span", "state", shape("stale"), "No answer");
      mark.dataset.state = "stale";
      const node = el("section", "panel", el("div", "title", title, mark), el("p", "facts", daemon.problem));
      node.dataset.state = "stale";
      return node;
    }
    const seconds = (s) => (s === null ? "–" : s < 1 ? `${Math.round(s * 1000)} ms` : duration(s));
    const dead = Object.entries(daemon.dead).map(([reason, n]) => `${n} ${reason}`);
    const commands = Object.entries(daemon.commands).map(([outcome, n]) => `${n} ${outcome}`);
    const faults = Object.entries(daemon.faults).map(([word, n]) => `${n} ${word}`);
    const facts = [
      ["Lag", `${short(daemon.lag)} messages, newest ${seconds(daemon.lag_s)} old`],
      ["Reading to score", `half within ${seconds(daemon.latency_p50_s)}, 99 of 100 within ${seconds(daemon.latency_p99_s)}`],
      ["Readings", daemon.readings_per_s === null ? "–" : `${short(daemon.readings_per_s)} a second`],
      ["Windows", daemon.windows_per_s === null ? "–" : `${short(daemon.windows_per_s)} a second`],
      ["Step", `99 of 100 within ${seconds(daemon.batch_p99_s)}`],
      ["Watches", `${short(daemon.assets)} assets on ${short(daemon.partitions)} partitions`],
      ["Late readings", short(daemon.late)],
      ["Windows not scored", short(daemon.not_scored)],
      ["Commands", commands.join(", ") || "none"],
      ["Dead letters", dead.join(", ") || "none"],
      ["Faults", faults.join(", ") || "none"],
    ];
    return el("section", "panel", el("div", "title", title), pairs(facts));
  }

  #letters(data, payload) {
    const { letters, letters_problem } = data;
    const none = letters === null ? "Reading the dead letters …" : letters.length ? "" : "No message was unreadable.";
    say(this.noLetters, letters_problem ? `Cannot be read: ${letters_problem}` : none);
    this.noLetters.hidden = !this.noLetters.textContent;
    if (payload.reasons)
      this.reasons.replaceChildren(...Object.entries(data.reasons).map(([reason, n]) => el("span", "chip", `${reason}: ${n}`)));
    if (!payload.letters) return;
    const rows = letters.map(({ at, reason, detail, where, key, size, truncated }) => [
      clock(at, data.now),
      reason,
      detail,
      where,
      key,
      bytes(size) + (truncated ? `, cut: ${truncated}` : ""),
    ]);
    this.letters.hidden = rows.length === 0;
    fillTable(this.letters, ["When (UTC)", "Reason", "Detail", "Topic-partition-offset", "Key", "Size"], rows);
  }
}

function noDaemon({ ready, daemons }) {
  if (daemons.length) return "";
  return ready
    ? "The configuration names no daemon to ask: [dashboard] daemons = [\"http://127.0.0.1:9464\"]. What the topics say is below."
    : "Asking the daemons …";
}

export default live((root) => new Health(root));
