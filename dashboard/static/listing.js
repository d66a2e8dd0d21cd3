// Parts that the pages with lists share: their style sheet, tabs, filters, marks of priority.

const { search } = new URL(import.meta.url);
const { el, say } = await import(`./dom.js${search}`);

const sheet = new CSSStyleSheet();
sheet.replaceSync(await (await fetch(new URL(`./pages.css${search}`, import.meta.url))).text());

/** Give a component's root the style sheet of these pages, which is there when this module is. */
export function styleSheet(root) {
  const scope = root.getRootNode();
  if (!scope.adoptedStyleSheets.includes(sheet)) scope.adoptedStyleSheets.push(sheet);
}

/** A row of tabs with counts; arrows move between them. */
export class Tabs {
  constructor(label, names, words, choose) {
    this.names = names;
    this.buttons = new Map();
    this.node = el("div", "tabs");
    this.node.setAttribute("role", "tablist");
    this.node.setAttribute("aria-label", label);
    for (const name of names) {
      const button = el("button", "tab", el("span", "", words[name]), el("b", ""));
      button.type = "button";
      button.dataset.name = name;
      button.setAttribute("role", "tab");
      button.addEventListener("click", () => choose(name));
      this.buttons.set(name, button);
      this.node.append(button);
    }
    this.node.addEventListener("keydown", (event) => this.#arrow(event, choose));
  }

  show(chosen, countOf = () => null) {
    this.chosen = chosen;
    for (const [name, button] of this.buttons) {
      button.setAttribute("aria-selected", String(name === chosen));
      button.tabIndex = name === chosen ? 0 : -1;
      const count = countOf(name);
      say(button.lastChild, count === null ? "" : String(count));
      button.classList.toggle("none", count === 0);
    }
  }

  #arrow(event, choose) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const at = this.names.indexOf(this.chosen) + step;
    const name = this.names[(at + this.names.length) % this.names.length];
    choose(name);
    this.buttons.get(name).focus();
  }
}

/** Get a file from the server with the ticket of this page and hand it to the browser; returns what went wrong. */
export async function download(address, name, ticket) {
  const { blob, problem } = await ask(address, ticket);
  if (problem) return problem;
  const link = el("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return "";
}

/** Ask the server for a file: {blob} or {problem}. */
export async function ask(address, ticket) {
  try {
    const answer = await fetch(new URL(address, document.baseURI), {
      headers: { authorization: `Bearer ${ticket}` },
    });
    return answer.ok ? { blob: await answer.blob() } : { problem: (await answer.text()).slice(0, 300) };
  } catch (error) {
    return { problem: `The server does not answer: ${error.message}` };
  }
}

const FILTERS = {
  site: { word: "All sites", of: (row) => row.site },
  priority: { word: "All priorities", of: (row) => row.priority },
  state: { word: "All states", of: (row) => row.word ?? row.answer },
};

/** Filters of a list; each is offered only where its rows differ in it. */
export class Filters {
  constructor(change) {
    this.text = el("input", "search");
    this.text.type = "search";
    this.text.placeholder = "Search";
    this.text.setAttribute("aria-label", "Search");
    this.text.addEventListener("input", change);
    this.selects = Object.fromEntries(
      Object.entries(FILTERS).map(([name, { word }]) => {
        const select = el("select", "filter");
        select.setAttribute("aria-label", word);
        select.addEventListener("change", change);
        return [name, select];
      }),
    );
    this.node = el("div", "filters", this.text, ...Object.values(this.selects));
    this.node.setAttribute("role", "search");
  }

  /** Each list has states of its own. */
  forgetState() {
    this.selects.state.value = "";
  }

  offer(rows) {
    for (const [name, { word, of }] of Object.entries(FILTERS)) {
      const select = this.selects[name];
      const values = [...new Set(rows.map(of).filter(Boolean))].sort();
      if (select.value && !values.includes(select.value)) values.push(select.value);
      const offered = JSON.stringify(values);
      select.hidden = values.length < 2 && !select.value;
      if (select.dataset.offered === offered) continue;
      select.dataset.offered = offered;
      const chosen = select.value;
      const option = (value, text) => Object.assign(el("option", "", text), { value });
      select.replaceChildren(option("", word), ...values.map((value) => option(value, capital(value))));
      select.value = chosen;
    }
  }

  through(rows) {
    const words = this.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = Object.entries(this.selects).filter(([, select]) => select.value);
    if (!words.length && !chosen.length) return rows;
    return rows.filter((row) => {
      if (!chosen.every(([name, select]) => FILTERS[name].of(row) === select.value)) return false;
      if (!words.length) return true;
      const text = textOf(row);
      return words.every((word) => text.includes(word));
    });
  }
}

/** All that a row says, for the search; computed once, since a row that changes is another object. */
const texts = new WeakMap();
function textOf(row) {
  if (!texts.has(row)) texts.set(row, JSON.stringify(Object.values(row)).toLowerCase());
  return texts.get(row);
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const SVG = "http://www.w3.org/2000/svg";
const MARKS = { high: "M3 8 8 3l5 5M3 13l5-5 5 5", medium: "M3 10.5 8 5.5l5 5", low: "M3 8h10" };

/** A priority's mark and word: chevrons, so that it is told without colour. */
export function priorityMark(priority) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "shape");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", MARKS[priority] ?? MARKS.low);
  path.setAttribute("class", "line");
  svg.append(path);
  const node = el("span", "priority", svg, capital(priority));
  node.dataset.priority = priority;
  return node;
}

/** Fill a table: heads, and rows of texts or elements; `numbers` are columns that stand to the right. */
export function fillTable(table, heads, rows, numbers = []) {
  const side = (node, c) => {
    if (numbers.includes(c)) node.classList.add("n");
    return node;
  };
  const head = el("thead", "", el("tr", "", ...heads.map((word, c) => side(el("th", "", word), c))));
  const body = el("tbody", "", ...rows.map((cells) => el("tr", "", ...cells.map((cell, c) => side(el("td", "", cell ?? "–"), c)))));
  table.replaceChildren(head, body);
}

/** A list of terms. */
export function pairs(entries) {
  const shown = entries.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return el("dl", "pairs", ...shown.flatMap(([name, value]) => [el("dt", "", name), el("dd", "", value)]));
}

/** A number of bytes as a person says it. */
export function bytes(n) {
  if (n < 1000) return `${n} B`;
  return n < 1e6 ? `${Math.round(n / 1000)} kB` : `${(n / 1e6).toFixed(1)} MB`;
}
