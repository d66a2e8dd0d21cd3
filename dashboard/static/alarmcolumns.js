// What the columns of each list on the alarm page say.

const { search } = new URL(import.meta.url);
const { StateBadge, clock, duration, el, times } = await import(`./dom.js${search}`);
const { priorityMark } = await import(`./listing.js${search}`);

export const SECTIONS = {
  alarms: "Alarms",
  shelved: "Shelved",
  suppressed: "Suppressed",
  out_of_service: "Out of service",
  sensors: "Sensor faults",
  groups: "Groups",
  past: "Past incidents",
  audit: "Audit trail",
};

const percent = (share) => (share === null ? "" : ` ${Math.round(100 * share)} %`);
const when = (s, now) => (s === null || s === undefined ? "–" : clock(s, now ?? s));

const STATE = {
  name: "standing",
  word: "State",
  node: ({ state, word }) => {
    const badge = new StateBadge();
    badge.set(state, word);
    return badge.node;
  },
};
const PRIORITY = { name: "urgency", word: "Priority", node: ({ priority }) => priorityMark(priority) };
const ASSET = {
  name: "asset",
  word: "Asset",
  node: ({ asset, incident, site }) => {
    const link = el("a", "", asset);
    const moment = incident ? `&incident=${encodeURIComponent(incident)}` : "";
    link.href = `asset?asset=${encodeURIComponent(asset)}${moment}`;
    return site ? [link, el("span", "site", site)] : link;
  },
  title: ({ asset }) => asset,
};
const DETECTOR = { name: "detector", word: "Detector", text: ({ detector }) => detector };
const CHANNELS = {
  name: "channels",
  word: "Channels",
  node: ({ channels }) =>
    channels.map(({ name, share }) =>
      el("span", "channel", el("span", "channel-name", name), el("span", "share", percent(share))),
    ),
  title: ({ channels }) => channels.map(({ name, share }) => name + percent(share)).join(", "),
};
const SINCE = {
  name: "since",
  word: "Since (UTC)",
  text: ({ since }, { plant }) =>
    `${when(since, plant)}${plant && since !== null && plant > since ? ` · ${duration(plant - since)}` : ""}`,
};
const PEAK = { name: "peak", word: "Peak", text: ({ peak }) => times(peak) };
const GROUP = {
  name: "group",
  word: "Group",
  node: ({ group }) => {
    if (!group) return el("span", "dim", "–");
    return group.first
      ? el("b", "", `Origin of ${group.size}`)
      : el("span", "", `1 of ${group.size}, after ${group.origin}`);
  },
};
const ACKNOWLEDGED = {
  name: "by",
  word: "Acknowledged by",
  text: ({ acknowledged_by, acknowledged_at }, { wall }) =>
    acknowledged_by ? `${acknowledged_by}, ${when(acknowledged_at, wall)}` : "–",
};
const LABEL = {
  name: "label",
  word: "Label",
  text: ({ label }) => ({ true: "True alarm", false: "False alarm" })[label] ?? "–",
};
const ANSWER = { name: "answer", word: "Command", text: answer, calm: ({ asked }) => asked?.answer === "accepted" };
const ASKED_BY = { name: "by", word: "By", text: ({ actor }) => actor || "–" };
const REASON = { name: "because", word: "Why", text: ({ reason }) => reason || "–" };
const UNDERNEATH = {
  name: "under",
  word: "Underneath",
  text: ({ active }) => (active ? "Over its limit" : "Normal"),
};
const LEFT = {
  name: "left",
  word: "Comes back",
  text: ({ until }, { wall }) =>
    until === null ? "–" : `${when(until, wall)} · ${until > wall ? `in ${duration(until - wall)}` : "now"}`,
};
const HIDDEN_SINCE = { name: "since", word: "Since (UTC)", text: ({ decided }, { wall }) => when(decided, wall) };

const COLUMNS = {
  alarms: [STATE, PRIORITY, ASSET, DETECTOR, CHANNELS, SINCE, PEAK, GROUP, ACKNOWLEDGED, LABEL, ANSWER],
  shelved: [STATE, PRIORITY, ASSET, DETECTOR, UNDERNEATH, LEFT, ASKED_BY, REASON, ANSWER],
  suppressed: [STATE, PRIORITY, ASSET, DETECTOR, UNDERNEATH, HIDDEN_SINCE, REASON, ANSWER],
  out_of_service: [STATE, PRIORITY, ASSET, DETECTOR, UNDERNEATH, HIDDEN_SINCE, ASKED_BY, REASON, ANSWER],
  past: [
    { ...STATE, word: "State now" },
    PRIORITY,
    ASSET,
    DETECTOR,
    CHANNELS,
    { name: "since", word: "Began (UTC)", text: ({ since }, { plant }) => when(since, plant) },
    { name: "lasted", word: "Lasted", text: ({ since, end }) => duration(end - since) },
    PEAK,
    ACKNOWLEDGED,
    LABEL,
    ANSWER,
  ],
  sensors: [
    {
      name: "standing",
      word: "Fault",
      node: ({ word }) => {
        const badge = new StateBadge();
        badge.set("sensor", word);
        return badge.node;
      },
    },
    { ...ASSET, node: (row) => ASSET.node({ ...row, incident: "" }) },
    { name: "channels", word: "Channel", text: ({ channel }) => channel || "the whole asset" },
    DETECTOR,
    SINCE,
    { name: "because", word: "What was seen", text: ({ detail }) => detail || "–" },
  ],
  audit: [
    { name: "since", word: "When (UTC)", text: ({ at }, { wall }) => when(at, wall) },
    { name: "by", word: "Who", text: ({ who, role }) => (role ? `${who} (${role})` : who || "–") },
    { name: "what", word: "What", text: ({ what }) => what },
    ASSET,
    DETECTOR,
    { name: "because", word: "Why", text: ({ why }) => why || "–" },
    { name: "left", word: "Until", text: ({ until }, { wall }) => when(until, wall) },
    {
      name: "answer",
      word: "Answer",
      text: ({ answer, detail }) => (detail ? `${answer}: ${detail}` : answer),
      calm: ({ answer }) => answer === "accepted",
    },
  ],
};

export function columnsOf(section) {
  return COLUMNS[section] ?? [];
}

/** What came of the newest command about a row, and of what this page has sent and not read back. */
function answer({ id, asked }, { wall, sent }) {
  const mine = sent.get(id);
  if (mine) return `${mine.action.replaceAll("_", " ")}: sending …`;
  if (!asked) return "";
  const by = `${asked.action}`;
  if (asked.answer === "asked") return `${by}: asked ${duration(Math.max(wall - asked.at, 1))} ago`;
  if (asked.answer === "rejected") return `${by}: rejected: ${asked.detail}`;
  return `${by}: ${asked.answer}`;
}
