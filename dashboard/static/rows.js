// A list of rows that a keyboard can walk and select: rows keep their elements, and only what changed is drawn.

const { search } = new URL(import.meta.url);
const { el, say } = await import(`./dom.js${search}`);

/** One row; `columns` are [{name, word, text(row, now) or node(row, now), title(row), calm(row)}]. */
class Row {
  constructor(columns, select) {
    this.columns = columns;
    this.check = el("input", "check");
    this.check.type = "checkbox";
    this.check.tabIndex = -1;
    this.check.addEventListener("click", (event) => event.stopPropagation());
    this.check.addEventListener("change", () => select(this.data.id, this.check.checked));
    this.cells = columns.map(({ name, word }) => {
      const cell = el("span", `cell ${name}`);
      cell.setAttribute("role", "gridcell");
      cell.dataset.word = word;
      return cell;
    });
    const first = el("span", "cell pick", this.check);
    first.setAttribute("role", "gridcell");
    this.node = el("li", "row", first, ...this.cells);
    this.node.setAttribute("role", "row");
    this.node.tabIndex = -1;
  }

  update(data, now) {
    const key = data === this.data ? this.key : JSON.stringify(data);
    const isNew = key !== this.key;
    this.key = key;
    this.data = data;
    if (isNew) {
      for (const name of ["state", "priority", "active", "waits"]) this.node.dataset[name] = String(data[name] ?? "");
      this.check.setAttribute("aria-label", `Select ${data.asset ?? ""}`);
    }
    this.columns.forEach(({ text, node, title, calm }, c) => {
      const cell = this.cells[c];
      if (text) say(cell, text(data, now));
      else if (isNew) cell.replaceChildren(...[node(data, now)].flat());
      if (text || isNew) cell.classList.toggle("unsaid", cell.textContent === "–");
      if (isNew && title) cell.title = title(data);
      if (isNew && calm) cell.classList.toggle("calm", calm(data));
    });
  }
}

/** The list; `now` is {wall, plant, sent} and given to every cell. */
export class Rows {
  constructor({ label, onSelect, onOpen, onKey }) {
    Object.assign(this, { onSelect, onOpen, onKey });
    this.rows = new Map();
    this.selected = new Set();
    this.order = [];
    this.pointed = false; // whether a person has been at the row in focus, which is the first one before
    this.all = el("input", "check");
    this.all.type = "checkbox";
    this.all.setAttribute("aria-label", "Select all shown");
    this.all.addEventListener("change", () => this.#selectAll(this.all.checked));
    this.head = el("div", "row head");
    this.head.setAttribute("role", "row");
    this.list = el("ol", "rows");
    this.list.setAttribute("role", "presentation");
    this.node = el("div", "grid", this.head, this.list);
    this.node.setAttribute("role", "grid");
    this.node.setAttribute("aria-label", label);
    this.node.setAttribute("aria-multiselectable", "true");
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.list.addEventListener("focusin", (event) => this.#focused(event));
    this.list.addEventListener("dblclick", () => this.onOpen(this.rows.get(this.focus)?.data ?? {}));
  }

  show(section, columns, data, now, canSelect) {
    if (this.section !== section) this.#become(section, columns);
    this.node.classList.toggle("picks", canSelect);
    const keep = new Set(data.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (keep.has(id)) continue;
      row.node.remove();
      this.rows.delete(id);
      this.selected.delete(id);
    }
    const lost = this.focus !== undefined && !keep.has(this.focus) ? this.order.indexOf(this.focus) : -1;
    this.order = data.map(({ id }) => id);
    data.forEach((shown, place) => {
      let row = this.rows.get(shown.id);
      if (!row) this.rows.set(shown.id, (row = new Row(columns, (id, on) => this.#select(id, on))));
      row.update(shown, now);
      if (this.list.children[place] !== row.node) this.#place(row.node, place);
    });
    if (lost >= 0) this.#moveTo(Math.min(lost, this.order.length - 1), this.hadFocus);
    if (!this.order.includes(this.focus)) this.focus = this.order[0];
    this.#marks();
  }

  /** Rows that are selected, else the one that a person has pointed at: what nobody chose, no button acts on. */
  get chosen() {
    const pointed = this.pointed ? [this.focus] : [];
    const ids = this.selected.size ? this.order.filter((id) => this.selected.has(id)) : pointed;
    return ids.map((id) => this.rows.get(id)?.data).filter(Boolean);
  }

  clearSelection() {
    this.selected.clear();
    this.#marks();
  }

  /** Moving an element takes the focus away from it: it is given back. */
  #place(node, place) {
    const hadFocus = node.contains(node.getRootNode().activeElement);
    this.list.insertBefore(node, this.list.children[place] ?? null);
    if (hadFocus) node.focus({ preventScroll: true });
  }

  #become(section, columns) {
    this.section = section;
    this.rows.clear();
    this.selected.clear();
    this.focus = undefined;
    this.pointed = false;
    this.list.replaceChildren();
    this.node.dataset.section = section;
    const heads = columns.map(({ name, word }) => {
      const cell = el("span", `cell ${name}`, word);
      cell.setAttribute("role", "columnheader");
      return cell;
    });
    const pick = el("span", "cell pick", this.all);
    pick.setAttribute("role", "columnheader");
    this.head.replaceChildren(pick, ...heads);
  }

  #select(id, on) {
    this.selected[on ? "add" : "delete"](id);
    this.#marks();
    this.onSelect();
  }

  #selectAll(on) {
    this.selected = new Set(on ? this.order : []);
    this.#marks();
    this.onSelect();
  }

  #marks() {
    for (const [id, row] of this.rows) {
      const on = this.selected.has(id);
      row.check.checked = on;
      row.node.setAttribute("aria-selected", String(on));
      row.node.tabIndex = id === this.focus ? 0 : -1;
      row.node.classList.toggle("pointed", this.pointed && id === this.focus && !this.selected.size);
    }
    this.all.checked = this.order.length > 0 && this.selected.size === this.order.length;
    this.all.indeterminate = this.selected.size > 0 && !this.all.checked;
  }

  #focused(event) {
    const node = event.target.closest(".row");
    const id = this.order.find((each) => this.rows.get(each).node === node);
    if (id === undefined) return;
    this.focus = id;
    this.hadFocus = true;
    this.pointed = true;
    this.#marks();
    this.onSelect();
  }

  #moveTo(place, withFocus) {
    this.focus = this.order[place];
    const row = this.rows.get(this.focus);
    if (row && withFocus) row.node.focus();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inControl = event.target.matches("a, button, input:not(.check), select");
    const at = this.order.indexOf(this.focus);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: this.order.length - 1 }[event.key];
    if (to !== undefined) {
      if (event.shiftKey) this.#select(this.focus, true);
      this.#moveTo(Math.max(0, Math.min(to, this.order.length - 1)), true);
      if (event.shiftKey) this.#select(this.focus, true);
    } else if (event.key === " " && !inControl) this.#select(this.focus, !this.selected.has(this.focus));
    else if (event.key === "Enter" && !inControl) this.onOpen(this.rows.get(this.focus)?.data ?? {});
    else if (event.key === "Escape" && this.selected.size) this.clearSelection();
    else if (!this.onKey(event.key)) return;
    event.preventDefault();
  }
}
