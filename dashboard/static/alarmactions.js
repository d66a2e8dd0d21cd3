// What a person may do with alarms: buttons, keys, and the questions that some of it needs answered first.

const { search } = new URL(import.meta.url);
const { el } = await import(`./dom.js${search}`);

const MINUTES = { 30: "30 minutes", 60: "1 hour", 240: "4 hours", 480: "8 hours", 720: "12 hours" };
const AT_FIRST = 60;
const SHELVABLE = ["unacknowledged", "returned", "latched", "acknowledged", "latched_acknowledged", "normal"];

/** Buttons in their order: which lists have them, and the rows that they can be for; `view` only shows something. */
const ACTIONS = [
  { action: "similar", word: "Similar events", view: true, in: ["alarms", "past"], fits: ({ incident }) => incident },
  { action: "acknowledge", word: "Acknowledge", key: "a", in: ["alarms"], fits: ({ waits }) => waits },
  { action: "acknowledge", word: "Acknowledge all shown", in: ["alarms"], fits: ({ waits }) => waits, all: true },
  { action: "shelve", word: "Shelve …", key: "s", in: ["alarms", "past"], fits: ({ state }) => SHELVABLE.includes(state) },
  { action: "unshelve", word: "Unshelve", key: "u", in: ["shelved"], fits: ({ state }) => state === "shelved" },
  { action: "reset", word: "Reset", in: ["alarms"], fits: ({ state }) => state.startsWith("latched") },
  { action: "label", word: "True alarm", label: "true", in: ["alarms", "past"], fits: ({ incident }) => incident },
  { action: "label", word: "False alarm", label: "false", in: ["alarms", "past"], fits: ({ incident }) => incident },
  { action: "accept", word: "Accept as normal …", in: ["alarms"], fits: ({ active }) => active },
  {
    action: "take_out_of_service",
    word: "Take out of service …",
    in: ["alarms", "shelved", "suppressed", "past"],
    fits: ({ state }) => state !== "out_of_service",
  },
  {
    action: "return_to_service",
    word: "Return to service",
    in: ["out_of_service"],
    fits: ({ state }) => state === "out_of_service",
  },
];

export class Actions {
  constructor(page) {
    this.page = page;
    this.node = el("div", "actions");
    this.node.setAttribute("role", "toolbar");
    this.node.setAttribute("aria-label", "What to do with the chosen alarms");
    this.buttons = ACTIONS.map((each) => {
      const button = el("button", "quiet", each.word);
      button.type = "button";
      if (each.key) button.title = `Key: ${each.key}`;
      button.addEventListener("click", () => this.#start(each));
      return button;
    });
    this.node.append(...this.buttons);
    this.form = new Question();
    this.node.append(this.form.node);
  }

  /** Whether this viewer can do anything in a list. */
  any(section, may) {
    return ACTIONS.some(({ action, in: lists }) => lists.includes(section) && action in may);
  }

  #has({ action, in: lists, view }, page) {
    return lists.includes(page.section) && (view || action in page.given.may);
  }

  refresh(page) {
    ACTIONS.forEach((each, i) => {
      const { fits, all } = each;
      const button = this.buttons[i];
      button.hidden = !this.#has(each, page);
      if (!button.hidden) button.disabled = !(all ? page.shown : page.targets).some(fits);
    });
    this.node.hidden = this.buttons.every((button) => button.hidden) && !this.form.node.open;
  }

  key(key, page) {
    const each = ACTIONS.find((one) => one.key === key && one.in.includes(page.section));
    if (!each || !this.#has(each, page)) return false;
    this.#start(each);
    return true;
  }

  destroy() {
    this.form.node.close();
  }

  #start({ action, word, fits, label, all }) {
    const rows = (all ? this.page.shown : this.page.targets).filter(fits);
    if (rows.length === 0) return;
    if (action === "similar") return this.page.trigger("similar", rows[0].incident);
    if (!this.page.given.may[action].reason) return this.page.ask(action, rows, label ? { label } : {});
    const names = rows.length === 1 ? `${rows[0].asset} · ${rows[0].detector}` : `${rows.length} alarms`;
    this.form.ask(word.replace(" …", ""), names, action === "shelve", (more) => this.page.ask(action, rows, more));
  }
}

/** A dialog for the reason, and for how long where that is asked. */
class Question {
  constructor() {
    this.title = el("h2");
    this.what = el("p", "facts");
    this.reason = el("textarea");
    this.reason.rows = 2;
    this.reason.required = true;
    this.reason.maxLength = 2000;
    this.times = el("fieldset", "times", el("legend", "", "For how long"));
    for (const [minutes, word] of [...Object.entries(MINUTES), ["until", "Until …"]]) {
      const radio = el("input");
      Object.assign(radio, { type: "radio", name: "time", value: minutes, checked: Number(minutes) === AT_FIRST });
      this.times.append(el("label", "", radio, word));
    }
    this.until = el("input");
    this.until.type = "datetime-local";
    this.until.setAttribute("aria-label", "Until, in UTC");
    this.utc = el("label", "until", this.until, "UTC");
    this.times.append(this.utc);
    this.times.addEventListener("change", () => this.#untilOrNot());
    const cancel = el("button", "quiet", "Cancel");
    cancel.type = "button";
    cancel.addEventListener("click", () => this.node.close());
    this.submit = el("button", "quiet strong");
    const form = el(
      "form",
      "",
      this.title,
      this.what,
      el("label", "reason", "Reason", this.reason),
      this.times,
      el("div", "buttons", cancel, this.submit),
    );
    form.method = "dialog";
    form.addEventListener("submit", () => this.#answer());
    form.addEventListener("keydown", (event) => event.stopPropagation());
    this.node = el("dialog", "question", form);
  }

  ask(word, what, withTime, done) {
    this.done = done;
    this.withTime = withTime;
    this.title.textContent = word;
    this.submit.textContent = word;
    this.what.textContent = what;
    this.reason.value = "";
    this.times.hidden = !withTime;
    this.until.value = new Date(Date.now() + 3_600_000).toISOString().slice(0, 16);
    this.#untilOrNot();
    this.node.showModal();
    this.reason.focus();
  }

  #untilOrNot() {
    const isUntil = this.times.querySelector("input:checked")?.value === "until";
    this.utc.hidden = !isUntil;
    this.until.required = isUntil && this.withTime;
  }

  #answer() {
    const more = { reason: this.reason.value.trim() };
    const time = this.times.querySelector("input:checked").value;
    if (this.withTime && time === "until") more.until = Date.parse(`${this.until.value}Z`) / 1000;
    else if (this.withTime) more.minutes = Number(time);
    this.done(more);
  }
}
