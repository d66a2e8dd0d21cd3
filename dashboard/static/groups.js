// Incidents that rang together: one entry a group, opened to its members with the suspected origin first.

const { search } = new URL(import.meta.url);
const { clock, duration, el, say, shape } = await import(`./dom.js${search}`);
const { priorityMark } = await import(`./listing.js${search}`);

export class Groups {
  constructor(open) {
    this.open = open;
    this.groups = new Map();
    this.node = el("ol", "groups");
    this.node.setAttribute("aria-label", "Groups of incidents");
  }

  show(groups, { plant }) {
    const keep = new Set(groups.map(({ id }) => id));
    for (const [id, { node }] of this.groups) {
      if (keep.has(id)) continue;
      node.remove();
      this.groups.delete(id);
    }
    groups.forEach((group, place) => {
      let shown = this.groups.get(group.id);
      if (!shown) this.groups.set(group.id, (shown = this.#make()));
      this.#update(shown, group, plant);
      if (this.node.children[place] !== shown.node)
        this.node.insertBefore(shown.node, this.node.children[place] ?? null);
    });
  }

  #make() {
    const title = el("b", "");
    const facts = el("span", "facts");
    const mark = el("span", "");
    const list = el("ol", "members");
    const details = el("details", "panel", el("summary", "", mark, title, facts), list);
    return { node: el("li", "", details), details, title, facts, mark, list };
  }

  #update(shown, group, plant) {
    const { members, open, start, end, shared } = group;
    const origin = members[0]?.asset ?? "";
    say(shown.title, `${members.length} incidents, suspected origin ${origin}`);
    const past = end === null ? `for ${duration(Math.max((plant ?? start) - start, 0))}` : `lasted ${duration(end - start)}`;
    say(shown.facts, `${shared} · since ${clock(start, plant ?? start)} UTC · ${open ? past : `over, ${past}`}`);
    const key = JSON.stringify(group);
    if (shown.key === key) return;
    shown.key = key;
    shown.details.dataset.state = open ? "alarm" : "normal";
    shown.mark.replaceChildren(priorityMark(group.priority));
    shown.list.replaceChildren(...members.map((member) => this.#member(member, start)));
  }

  #member(member, start) {
    const late = member.start - start;
    const button = el(
      "button",
      "member",
      shape(member.active ? "unacknowledged" : "normal"),
      el("span", "name", member.asset),
      el("span", "facts", member.detector),
      el("span", "facts", member.origin ? "first: suspected origin" : `${duration(late)} later`),
      el("span", "facts", member.active ? "still over its limit" : "back to normal"),
    );
    button.type = "button";
    button.addEventListener("click", () => this.open(member));
    return el("li", "", button);
  }
}
