// One incident, and beside it those before that lie nearest in the model's latent space.

const { search } = new URL(import.meta.url);
const { live } = await import(`./live.js${search}`);
const { StatusLine, clock, duration, el, palette, say, short, times } = await import(`./dom.js${search}`);
const { priorityMark, styleSheet } = await import(`./listing.js${search}`);

const LABELS = { true: "True alarm", false: "False alarm" };

class Similar {
  constructor(root) {
    styleSheet(root);
    this.data = {};
    this.picker = el("select", "filter");
    this.picker.setAttribute("aria-label", "Incident");
    this.picker.addEventListener("change", () => this.trigger("choose", this.picker.value));
    this.note = el("p", "facts");
    this.own = el("div", "");
    this.list = el("ol", "panels matches");
    this.body = el("div", "", this.own, el("h2", "between", "Earlier incidents, nearest first"), this.list);
    this.empty = el("p", "empty small");
    this.status = new StatusLine();
    const head = el("header", "summary", el("h1", "", "Similar events"), this.picker);
    this.host = el("main", "tocsin similar", head, this.note, this.body, this.empty, this.status.node);
    root.append(this.host);
  }

  refresh(data) {
    this.status.who(data);
    palette(this.host);
  }

  show(payload) {
    Object.assign(this.data, payload);
    this.status.set(this.data.status);
    const { incident, matches, choices, note } = this.data;
    if (payload.choices || payload.incident) this.#offer(choices, incident);
    say(this.note, incident ? note : "");
    this.body.hidden = !incident;
    say(this.empty, incident ? "No earlier incident can be compared with this one." : note);
    this.empty.hidden = Boolean(incident) && matches.length > 0;
    this.list.previousSibling.hidden = matches.length === 0;
    if (!(payload.incident || payload.matches) || !incident) return;
    this.own.replaceChildren(this.#card(incident, null));
    this.list.replaceChildren(...matches.map((match) => this.#pair(incident, match)));
  }

  connection(since_s) {
    this.status.connection(since_s);
    this.host.classList.toggle("lost", since_s !== null);
  }

  destroy() {}

  #offer(choices, incident) {
    const options = choices.map(({ incident: id, asset, detector, start }) => {
      const option = el("option", "", `${asset} · ${detector} · ${moment(start)}`);
      option.value = id;
      return option;
    });
    this.picker.replaceChildren(...options);
    this.picker.hidden = options.length === 0;
    if (incident) this.picker.value = incident.incident;
  }

  #card(incident, distance) {
    const { asset, detector, model_version, start, lasted_s, peak, label, priority } = incident;
    const open = el("a", "", asset);
    open.href = `asset?asset=${encodeURIComponent(asset)}&incident=${encodeURIComponent(incident.incident)}`;
    open.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      this.trigger("open", { asset, incident: incident.incident });
    });
    const facts = [
      `${moment(start)} UTC`,
      lasted_s === null ? "still open" : `lasted ${duration(lasted_s)}`,
      `peak ${times(peak)} limit`,
      `${detector}, model ${model_version}`,
      LABELS[label] ?? "no label",
    ];
    const far = distance === null ? [] : [el("b", "distance", `distance ${short(distance)}`)];
    const title = el("h3", "name", open);
    return el("div", "panel", el("div", "title", title, ...far, priorityMark(priority)), el("p", "facts", facts.join(" · ")));
  }

  #pair(incident, match) {
    const card = this.#card(match, match.distance);
    const names = [...new Set([...incident.channels, ...match.channels].map(({ name }) => name))];
    const of = (one) => new Map(one.channels.map((channel) => [channel.name, channel]));
    const sides = [
      ["This incident", of(incident)],
      ["Then", of(match)],
    ];
    const columns = sides.map(([title, channels]) =>
      el("div", "", el("span", "sub", title), el("ol", "pair-bars", ...names.map((name) => bar(name, channels.get(name))))),
    );
    card.append(el("div", "match", ...columns));
    return el("li", "", card);
  }
}

function bar(name, channel) {
  const share = channel?.share ?? 0;
  const fill = el("span", "fill");
  fill.style.width = `${100 * Math.max(0, Math.min(share, 1))}%`;
  const label = el("span", "name", name);
  label.title = name;
  return el("li", "", label, el("span", "share", channel ? `${Math.round(100 * share)} %` : "–"), el("span", "track", fill));
}

function moment(s) {
  return `${new Date(s * 1000).toISOString().slice(0, 10)} ${clock(s)}`;
}

export default live((root) => new Similar(root));
