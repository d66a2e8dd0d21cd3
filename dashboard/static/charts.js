// Charts over event time, drawn by uPlot: made once, then given new points. Times are UTC.

const { search } = new URL(import.meta.url);
const { default: uPlot } = await import(`./uPlot.esm.js${search}`);
const { clock, short } = await import(`./dom.js${search}`);

const AXIS_WIDTH = 56;
const WALL = 2600; // from this width of the page on everything is larger, as in the style sheet
const SCALE = 1.6;
const SCORE_FLOOR = 1e-3; // of the limit: what is lower is as good as nothing, and zero has no logarithm

/** One uPlot chart in `node`; `look()` gives the colours of now, `spans()` the incidents to shade. */
export class Chart {
  constructor(node, { series, height, log, sync, look, spans, onCursor, onZoom }) {
    this.node = node;
    const scale = (node.closest(".tocsin")?.clientWidth ?? 0) >= WALL ? SCALE : 1;
    this.height = height *= scale;
    const line = ({ stroke, fill, width = 1.25, ...more }) => ({
      stroke: () => stroke(look()),
      ...(fill && { fill: () => fill(look()), fillTo: (u) => u.scales.y.min }),
      width: width * scale,
      points: { show: false },
      ...more,
    });
    this.plot = new uPlot(
      {
        width: Math.max(node.clientWidth, 80),
        height,
        legend: { show: false },
        tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC"),
        padding: [8, 18, 0, 0],
        scales: { x: { time: true }, y: log ? { distr: 3, range: logRange } : { range: paddedRange } },
        axes: [xAxis(look, scale), yAxis(look, log, scale)],
        series: [{}, ...series.map(line)],
        cursor: {
          y: false,
          points: { size: 6, width: 1.5 },
          drag: { x: true, y: false, setScale: true },
          sync: { key: sync, scales: ["x", null] },
          bind: { dblclick: () => () => onZoom(null) },
        },
        hooks: {
          drawClear: [(u) => shade(u, spans(), look())],
          setCursor: [(u) => onCursor(u.cursor.idx ?? null)],
          setSelect: [
            (u) =>
              u.select.width > 0 &&
              onZoom([u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")]),
          ],
        },
      },
      [[], ...series.map(() => [])],
      node,
    );
  }

  /** Show columns within a range of time; the canvas stays and is drawn once. */
  set(columns, range) {
    this.plot.batch(() => {
      this.plot.setData(columns, false);
      this.zoom(range);
    });
  }

  zoom([min, max]) {
    this.plot.setScale("x", max > min ? { min, max } : { min: min - 30, max: max + 30 });
  }

  redraw() {
    this.plot.redraw(false, false);
  }

  /** Follow the width of the place that the chart stands in. */
  fit() {
    const width = this.node.clientWidth;
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
  }

  destroy() {
    this.plot.destroy();
  }
}

/** Score series: the normal band under the limit, the score, and what of it is over the limit. */
export const SCORE_SERIES = [
  { stroke: (look) => look.dim, fill: (look) => look.band, width: 1, dash: [5, 4] },
  { stroke: (look) => look.ink },
  { stroke: (look) => look.alarm, width: 2.25 },
];

/** Columns for SCORE_SERIES. */
export function scoreColumns({ time, score, limit }) {
  const floored = score.map((value, i) => (value === null ? null : Math.max(value, limit[i] * SCORE_FLOOR)));
  const isOver = (i) => score[i] !== null && score[i] > limit[i];
  const over = floored.map((value, i) => (isOver(i) || isOver(i - 1) || isOver(i + 1) ? value : null));
  return [time, limit, floored, over];
}

function xAxis(look, scale) {
  return {
    stroke: () => look().dim,
    font: `${11 * scale}px ${look().font}`,
    grid: { stroke: () => look().faint, width: 1 },
    ticks: { show: false },
    size: 22 * scale,
    gap: 4,
    space: 74 * scale,
    values: (_u, splits, _axis, _space, step) =>
      splits.map((s) => {
        const text = clock(s);
        if (step >= 86_400 || s % 86_400 === 0) return new Date(s * 1000).toISOString().slice(5, 10);
        return step >= 60 ? text.slice(0, 5) : text;
      }),
  };
}

function yAxis(look, log, scale) {
  return {
    stroke: () => look().dim,
    font: `${11 * scale}px ${look().font}`,
    grid: { stroke: () => look().faint, width: 1 },
    ticks: { show: false },
    size: AXIS_WIDTH * scale,
    gap: 6,
    space: log ? 30 : 26,
    values: (_u, splits) => splits.map((value) => (value === null ? "" : short(value))),
    ...(log
      ? { splits: (u) => logSplits(u.scales.y.min, u.scales.y.max), filter: (_u, splits) => splits }
      : {}),
  };
}

/** Powers of ten between two values; 1, 2, 5 of each where there are few, every n-th where there are many. */
function logSplits(min, max) {
  const decades = Math.log10(max / min);
  const steps = decades < 2.2 ? [1, 2, 5] : [1];
  const skip = Math.max(1, Math.ceil(decades / 5));
  const found = [];
  for (let power = Math.floor(Math.log10(min)); power <= Math.log10(max); power += 1) {
    if (steps.length === 1 && power % skip !== 0) continue;
    found.push(...steps.map((step) => step * 10 ** power));
  }
  return found.filter((value) => value >= min && value <= max);
}

function logRange(_u, low, high) {
  if (!(low > 0) || !Number.isFinite(high)) return [0.1, 10];
  return [low / 1.3, high * 1.3];
}

function paddedRange(_u, low, high) {
  if (low === null || high === null) return [0, 1];
  const pad = (high - low) * 0.08 || Math.max(Math.abs(high) * 0.05, 0.01);
  return [low - pad, high + pad];
}

/** Shade incidents from start to end; an open one to the newest window, and in colour: it needs a person. */
function shade(u, incidents, look) {
  const { left, top, width, height } = u.bbox;
  u.ctx.save();
  u.ctx.beginPath();
  u.ctx.rect(left, top, width, height);
  u.ctx.clip();
  for (const { start, end, open } of incidents) {
    const from = u.valToPos(start, "x", true);
    const to = open || end === null ? left + width : u.valToPos(end, "x", true);
    if (to < left || from > left + width) continue;
    u.ctx.fillStyle = open ? look.span : look.past;
    u.ctx.fillRect(from, top, Math.max(to - from, 2), height);
    u.ctx.fillStyle = open ? look.alarm : look.dim;
    u.ctx.fillRect(from, top, Math.max(to - from, 2), 2 * devicePixelRatio);
  }
  u.ctx.restore();
}
