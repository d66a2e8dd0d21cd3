// The alarm list as operators know it, what is hidden from it, and what people decided.

const { search } = new URL(import.meta.url);
const { live } = await import(`./live.js${search}`);
const { StatusLine, el, palette, say } = await import(`./dom.js${search}`);
const { Filters, Tabs, download, styleSheet } = await import(`./listing.js${search}`);
const { Rows } = await import(`./rows.js${search}`);
const { columnsOf, SECTIONS } = await import(`./alarmcolumns.js${search}`);
const { Groups } = await import(`./groups.js${search}`);
const { Actions } = await import(`./alarmactions.js${search}`);

const NOTHING = {
  alarms: "No alarm is waiting and none is open.",
  shelved: "Nothing is shelved.",
  suppressed: "Nothing is suppressed by design.",
  out_of_service: "Nothing is out of service.",
  sensors: "All sensors are believed.",
  groups: "No incidents rang together.",
  past: "No incident has ended in the time that is held.",
  audit: "Nobody has decided anything in the time that is held.",
};
const EXPIRES_S = 12; // what was sent and is not even in the log after so long is not shown as sent any more

class Alarms {
  constructor(root) {
    styleSheet(root);
    this.data = {};
    this.given = { may: {} };
    this.section = "alarms";
    this.sent = new Map(); // by row: what this page has asked and not yet read back
    this.counts = el("span", "facts counts");
    this.tabs = new Tabs("Lists", Object.keys(SECTIONS), SECTIONS, (section) => this.#open(section));
    this.filters = new Filters(() => this.#draw());
    this.actions = new Actions(this);
    this.problem = el("p", "problem");
    this.problem.setAttribute("role", "alert");
    this.problem.hidden = true;
    this.rows = new Rows({
      label: "Alarms",
      onSelect: () => this.actions.refresh(this),
      onOpen: (row) => this.openAsset(row),
      onKey: (key) => this.actions.key(key, this),
    });
    this.groups = new Groups((row) => this.openAsset(row));
    this.none = el("p", "empty small");
    this.status = new StatusLine();
    this.csv = el("button", "quiet", "Download CSV");
    this.csv.type = "button";
    this.csv.addEventListener("click", () => this.#csv());
    const head = el("header", "summary", el("h1", "", "Alarms"), this.counts);
    const tools = el("div", "tools", this.filters.node, this.csv, this.actions.node);
    this.list = el("section", "list", this.rows.node, this.groups.node, this.none);
    this.host = el("main", "tocsin alarms", head, this.tabs.node, tools, this.problem, this.list, this.status.node);
    this.host.addEventListener("keydown", (event) => this.#slash(event));
    root.append(this.host);
  }

  /** The page ran: who looks, what that person may do, and what went wrong with what was asked. */
  refresh(data) {
    palette(this.host);
    this.given = data;
    const { text, number } = data.problem ?? {};
    if (number !== this.told) {
      this.told = number;
      if (text) this.sent.clear();
      this.#tell(text ?? "");
    }
    this.status.who(data);
    if (this.data.status) this.#draw();
  }

  show(payload) {
    Object.assign(this.data, payload);
    this.#forgetAnswered();
    this.#draw();
  }

  connection(since_s) {
    this.status.connection(since_s);
    this.host.classList.toggle("lost", since_s !== null);
  }

  destroy() {
    this.actions.destroy();
  }

  /** Rows that commands would go to: those that are selected, else the one that has the focus. */
  get targets() {
    return this.rows.chosen;
  }

  /** Rows that the filters let through. */
  get shown() {
    return this.#filtered();
  }

  /** Ask for something to be done; the script behind the page checks who asks. */
  ask(action, rows, more = {}) {
    if (rows.length === 0) return;
    const at = Date.now() / 1000;
    for (const row of rows) this.sent.set(row.id, { action, at, before: row.asked?.id ?? null });
    const targets = rows.map(({ asset, detector, incident }) => ({ asset, detector, incident }));
    this.#tell("");
    this.trigger("act", { id: String(Date.now()), action, targets, ...more });
    this.rows.clearSelection();
    this.#draw();
  }

  openAsset({ asset, incident }) {
    if (asset) this.trigger("open", { asset, incident: incident ?? "" });
  }

  #open(section) {
    this.section = section;
    this.filters.forgetState();
    this.rows.clearSelection();
    this.#draw();
  }

  #forgetAnswered() {
    const now = Date.now() / 1000;
    const rows = ["alarms", "shelved", "suppressed", "out_of_service", "past"].flatMap((s) => this.data[s] ?? []);
    const asked = new Map(rows.map((row) => [row.id, row.asked?.id ?? null]));
    for (const [id, { at, before }] of this.sent) {
      const isAnswered = asked.has(id) && asked.get(id) !== before;
      if (isAnswered || now - at > EXPIRES_S) this.sent.delete(id);
    }
  }

  #tell(problem) {
    say(this.problem, problem);
    this.problem.hidden = !problem;
  }

  async #csv() {
    const problem = await download("files/audit.csv", "tocsin-audit.csv", this.given.ticket);
    this.#tell(problem);
  }

  #slash(event) {
    if (event.key !== "/" || event.composedPath()[0].matches?.("input, textarea, select")) return;
    event.preventDefault();
    this.filters.text.focus();
  }

  #filtered() {
    return this.filters.through(this.data[this.section] ?? [], this.section);
  }

  #draw() {
    const { data, section } = this;
    const counted = (name) => (name === "past" || name === "audit" ? null : this.#count(name));
    this.tabs.show(section, counted);
    this.#summarise();
    this.filters.offer(data[section] ?? [], section);
    const shown = this.#filtered();
    const now = { wall: data.now, plant: data.status.newest_s, sent: this.sent };
    const isGroups = section === "groups";
    this.groups.node.hidden = !isGroups;
    this.rows.node.hidden = isGroups || shown.length === 0;
    if (isGroups) this.groups.show(shown, now);
    else this.rows.show(section, columnsOf(section), shown, now, this.actions.any(section, this.given.may));
    const left = section === "alarms" && data.left_out ? `${data.left_out} more are not shown.` : "";
    const isFiltered = shown.length < (data[section] ?? []).length;
    say(this.none, shown.length ? left : isFiltered ? "Nothing passes the filters." : NOTHING[section]);
    this.none.hidden = !this.none.textContent;
    this.csv.hidden = section !== "audit";
    this.actions.refresh(this);
    this.status.set(data.status);
  }

  #count(name) {
    const rows = this.data[name] ?? [];
    return name === "groups" ? rows.filter((group) => group.open).length : rows.length;
  }

  #summarise() {
    const rows = this.data.alarms ?? [];
    const waiting = rows.filter((row) => row.waits).length;
    const high = rows.filter((row) => row.waits && row.priority === "high").length;
    const text = waiting
      ? `${waiting} to acknowledge${high ? `, ${high} of high priority` : ""}`
      : "nothing to acknowledge";
    say(this.counts, text);
    this.counts.classList.toggle("waits", waiting > 0);
  }
}

export default live((root) => new Alarms(root));
