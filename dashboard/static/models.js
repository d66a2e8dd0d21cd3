// A card for each detector: the model in service by its file's own words, the versions beside it, and its report.

const { search } = new URL(import.meta.url);
const { live } = await import(`./live.js${search}`);
const { StatusLine, duration, el, palette, say, short } = await import(`./dom.js${search}`);
const { ask, bytes, fillTable, pairs, styleSheet } = await import(`./listing.js${search}`);

const CHANNELS_SHOWN = 12;
// A report is shown and not trusted: beside the sandbox, nothing in it may load anything.
const POLICY = `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">`;

class Models {
  constructor(root) {
    styleSheet(root);
    this.data = {};
    this.opened = new Set(); // detectors whose channels are all shown
    this.cards = el("div", "panels");
    this.empty = el("p", "empty");
    this.title = el("h2", "");
    this.close = el("button", "quiet", "Close the report");
    this.close.type = "button";
    this.close.addEventListener("click", () => this.#closeReport());
    this.frame = el("iframe", "report");
    this.frame.setAttribute("sandbox", ""); // a report is a picture here: no scripts, no forms, no way out
    this.frame.title = "Training report";
    this.report = el("section", "panel apart", el("div", "title", this.title, this.close), this.frame);
    this.report.hidden = true;
    this.problem = el("p", "problem");
    this.problem.setAttribute("role", "alert");
    this.problem.hidden = true;
    this.status = new StatusLine();
    const head = el("header", "summary", el("h1", "", "Models"));
    this.host = el("main", "tocsin models", head, this.problem, this.report, this.cards, this.empty, this.status.node);
    root.append(this.host);
  }

  refresh(data) {
    palette(this.host);
    this.status.who(data);
    this.ticket = data.ticket;
  }

  show(payload) {
    Object.assign(this.data, payload);
    this.status.set(this.data.status);
    const { cards, ready } = this.data;
    say(this.empty, ready ? "The configuration has no detector." : "Reading the model files …");
    this.empty.hidden = cards.length > 0;
    if (payload.cards) this.cards.replaceChildren(...cards.map((card) => this.#card(card)));
  }

  connection(since_s) {
    this.status.connection(since_s);
    this.host.classList.toggle("lost", since_s !== null);
  }

  destroy() {}

  #card(card) {
    const serving = card.versions.find(({ serves }) => serves);
    const parts = [
      el("h2", "", card.detector),
      el("p", "facts", `watches ${card.watches}`),
      ...(card.problem ? [el("p", "problem", card.problem)] : []),
      ...(serving?.problem ? [el("p", "problem", `Version ${serving.version}: ${serving.problem}`)] : []),
      this.#seen(card),
      ...(serving?.model ? this.#model(card.detector, serving) : []),
      el("span", "sub", "Versions in the folder"),
      this.#versions(card),
    ];
    const node = el("article", "panel card", ...parts);
    node.dataset.detector = card.detector;
    return node;
  }

  #seen({ seen, current }) {
    const chips = seen.map(({ version, assets }) => {
      const chip = el("span", "chip", `version ${version}: ${assets} ${assets === 1 ? "asset" : "assets"}`);
      chip.classList.toggle("now", version === current);
      return chip;
    });
    const differs = seen.some(({ version }) => version !== current);
    return el(
      "div",
      "chips",
      el("span", "facts", "On live scores:"),
      ...(chips.length ? chips : [el("span", "facts", "none yet")]),
      ...(differs && current ? [el("span", "facts", `the pointer says ${current}`)] : []),
    );
  }

  #model(detector, { version, model, sha256, report, size }) {
    const { training, calibration, window, stride, period_ms } = model;
    const seconds = (buckets) => duration((buckets * period_ms) / 1000);
    const budget = `${short(model.budget)} false alarms per asset and day${model.kept_budget ? `; the calibration can promise ${short(model.kept_budget)}` : ""}`;
    const counted = calibration.counted_days === null ? "" : `, incidents counted over ${short(calibration.counted_days)} days`;
    const facts = [
      ["Version", `${version}, ${model.name}`],
      ["Family", `${model.family}, ${model.precision} precision`],
      ["Window", `${window} × ${short(period_ms / 1000)} s = ${seconds(window)}, every ${seconds(stride)}; scored when ${Math.round(100 * model.min_observed)} % is observed`],
      ["Trained on", `${training.rows.toLocaleString("en")} rows of ${training.assets.join(", ")}`],
      ["From, to", `${training.from} – ${training.to}`],
      ["Calibration", `${calibration.n.toLocaleString("en")} windows, worth ${short(calibration.effective_n)} independent ones${counted}`],
      ["Alarm budget", budget],
      ["Limit", `score ${short(model.limit)}, p ${short(model.limit_p)}`],
      ["Created", model.created + (model.revision ? `, revision ${model.revision}` : "")],
      ["Model file", `sha256 ${sha256.slice(0, 16)}…, ${bytes(size)}`],
      ["Data", `sha256 ${training.sha256.slice(0, 16)}…`],
      ["Measured", model.metrics.map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`).join(" · ")],
    ];
    return [pairs(facts), ...this.#channels(detector, model.channels), ...(report ? [this.#reportButton(detector, version)] : [])];
  }

  #channels(detector, channels) {
    const isWhole = this.opened.has(detector);
    const shown = isWhole ? channels : channels.slice(0, CHANNELS_SHOWN);
    const chips = shown.map(({ name, unit, low, high, drifting }) => {
      const range = low === null || high === null ? "" : ` ${short(low)} … ${short(high)}`;
      const chip = el("span", "chip", `${name}${unit ? ` (${unit})` : ""}${drifting ? ", drifts: not scored" : ""}`);
      chip.title = `${name}${range}`;
      return chip;
    });
    const more = el("button", "quiet", isWhole ? "Show fewer" : `Show all ${channels.length}`);
    more.type = "button";
    more.addEventListener("click", () => {
      this.opened[isWhole ? "delete" : "add"](detector);
      this.cards.replaceChildren(...this.data.cards.map((card) => this.#card(card)));
    });
    const rest = channels.length > CHANNELS_SHOWN ? [more] : [];
    return [el("span", "sub", `${channels.length} channels`), el("div", "chips", ...chips, ...rest)];
  }

  #reportButton(detector, version, word = "Training report") {
    const button = el("button", "quiet", word);
    button.type = "button";
    button.addEventListener("click", () => this.#openReport(detector, version));
    return button;
  }

  #versions({ detector, versions }) {
    const table = el("table", "table");
    const rows = versions.map(({ version, serves, model, problem, sha256, report }) => [
      serves ? el("b", "", `${version} in service`) : version,
      problem || model?.family,
      model?.created ?? "",
      sha256 ? `${sha256.slice(0, 12)}…` : "",
      report ? this.#reportButton(detector, version, "Report") : "",
    ]);
    fillTable(table, ["Version", "Family", "Created", "sha256", ""], rows);
    return versions.length ? el("div", "scroll", table) : el("p", "facts", "None.");
  }

  async #openReport(detector, version) {
    const query = new URLSearchParams({ detector, version });
    const { blob, problem } = await ask(`files/report?${query}`, this.ticket);
    say(this.problem, problem ?? "");
    this.problem.hidden = !problem;
    if (problem) return;
    this.frame.srcdoc = POLICY + (await blob.text());
    say(this.title, `Training report of ${detector}, version ${version}`);
    this.report.hidden = false;
    this.close.focus();
    this.report.scrollIntoView({ block: "start" });
  }

  #closeReport() {
    this.report.hidden = true;
    this.frame.removeAttribute("srcdoc");
  }
}

export default live((root) => new Models(root));
