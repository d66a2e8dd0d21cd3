// Beside the charts: the alarm as it stands, what may be done about it, and sensors that are not to be believed.

const { search } = new URL(import.meta.url);
const { clock, duration, el, say, shape } = await import(`./dom.js${search}`);
const { verdictWord } = await import(`./tile.js${search}`);

const ANSWERS = { asked: "asked", done: "done", rejected: "rejected", "not confirmed": "not confirmed" };

/** What people have asked of this asset's alarm, and the button for the next; `ask(action)` reaches the page. */
export class AlarmPanel {
  constructor(ask) {
    this.acknowledge = el("button", "act", "Acknowledge");
    this.acknowledge.type = "button";
    this.acknowledge.addEventListener("click", () => ask("acknowledge"));
    this.notice = el("p", "notice");
    this.notice.setAttribute("role", "alert");
    this.list = el("ol", "decisions");
    this.node = el("section", "panel urgent");
  }

  /** `may` are the actions that this person may take; the button is in the page only where it may be pressed. */
  show({ state, decisions = [], newest }, may, notice) {
    const open = ["unacknowledged", "returned", "latched"].includes(state) && may.includes("acknowledge");
    say(this.notice, notice ?? "");
    const rows = decisions.map((decision) => row(decision, newest));
    const parts = [
      ...(open ? [this.acknowledge] : []),
      ...(notice ? [this.notice] : []),
      ...(rows.length ? [this.list] : []),
    ];
    const text = JSON.stringify([open, notice, decisions]);
    if (text === this.shown) return;
    this.shown = text;
    this.list.replaceChildren(...rows);
    this.node.replaceChildren(...(parts.length ? [el("h2", "", "Alarm"), ...parts] : []));
    this.node.hidden = parts.length === 0;
  }
}

function row({ what, user, at, answer, why }) {
  const end = why ? `${ANSWERS[answer]}: ${why}` : ANSWERS[answer];
  return el("li", "", `${clock(at, Date.now() / 1000)} UTC · ${what} · ${user} · `, el("b", "", end));
}

/** Sensors of this asset that are not to be believed; the scores go on without them. */
export class SensorPanel {
  constructor() {
    this.list = el("ol", "faults");
    this.node = el("section", "panel urgent", el("h2", "", "Sensor faults"), this.list);
    this.node.dataset.state = "sensor";
  }

  show(sensors, newest_s) {
    this.node.hidden = sensors.length === 0;
    this.list.replaceChildren(
      ...sensors.map(({ channel, verdict, since, detail }) => {
        const item = el(
          "li",
          "",
          shape("sensor"),
          el("b", "", channel || "All sensors"),
          el("span", "", `${verdictWord(verdict)} for ${duration(Math.max(newest_s - since, 0))}`),
        );
        item.title = detail;
        return item;
      }),
    );
  }
}
