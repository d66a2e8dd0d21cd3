// A chart of counts in ten minutes, by priority, with the most that is recommended as a line. Times are UTC.

const { search } = new URL(import.meta.url);
const { clock, el } = await import(`./dom.js${search}`);

const HEIGHT = 170;
const LEFT = 36;
const BOTTOM = 20;
const ORDER = ["low", "medium", "high"];
const LABEL_SPACE = 90;
const WALL = { from: 2600, scale: 1.8 }; // a wall is read from across a room

export class Bars {
  constructor() {
    this.canvas = el("canvas", "bars-chart");
    this.canvas.setAttribute("role", "img");
    this.canvas.style.display = "block";
    this.canvas.style.width = "100%";
    this.canvas.style.height = `${HEIGHT}px`;
    this.words = el("p", "facts");
    this.node = el("div", "", this.canvas, this.words);
    this.canvas.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.canvas.addEventListener("pointerleave", () => this.#say(this.#worst()));
    this.resize = new ResizeObserver(() => this.#draw());
    this.resize.observe(this.canvas);
  }

  show(bins, look) {
    Object.assign(this, { bins, look });
    this.totals = bins.time.map((_, i) => ORDER.reduce((sum, name) => sum + bins[name][i], 0));
    this.#say(this.#worst());
    this.#draw();
  }

  destroy() {
    this.resize.disconnect();
  }

  #worst() {
    return this.totals.indexOf(Math.max(...this.totals));
  }

  #say(i) {
    const { bins, totals } = this;
    if (!(i >= 0)) return;
    const begin = bins.time[i] - bins.bin_s / 2;
    const parts = [...ORDER].reverse().map((name) => `${bins[name][i]} ${name}`);
    const text = `${clock(begin, bins.time.at(-1)).slice(0, -3)} UTC: ${totals[i]} alarms (${parts.join(", ")}) · at most ${bins.bound} are recommended`;
    this.words.textContent = text;
    this.canvas.setAttribute("aria-label", text);
  }

  #point(x) {
    if (!this.bins) return;
    const width = (this.canvas.clientWidth / this.#scale - LEFT) / this.totals.length;
    this.#say(Math.max(0, Math.min(Math.floor((x / this.#scale - LEFT) / width), this.totals.length - 1)));
  }

  get #scale() {
    return this.canvas.clientWidth > WALL.from ? WALL.scale : 1;
  }

  #draw() {
    const { canvas, bins, look, totals } = this;
    const scale = this.#scale;
    const wide = canvas.clientWidth / scale;
    if (!bins || wide === 0) return;
    const ratio = (window.devicePixelRatio || 1) * scale;
    canvas.style.height = `${HEIGHT * scale}px`;
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(HEIGHT * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const most = Math.max(bins.bound * 1.3, ...totals);
    const y = (count) => 6 + (1 - count / most) * (HEIGHT - BOTTOM - 6);
    const step = (wide - LEFT) / totals.length;
    const width = Math.max(Math.min(step - 1, 26), 1);
    context.font = `11px ${look.font}`;
    context.textBaseline = "middle";
    context.fillStyle = look.faint;
    context.fillRect(LEFT, y(0), wide - LEFT, 1);
    totals.forEach((total, i) => {
      let below = 0;
      for (const name of ORDER) {
        const count = bins[name][i];
        if (!count) continue;
        // shades of grey by priority; colour only for what is above the recommended bound
        context.fillStyle = total > bins.bound ? look.alarm : { low: look.soft, medium: look.dim, high: look.ink }[name];
        context.globalAlpha = total > bins.bound ? { low: 0.45, medium: 0.7, high: 1 }[name] : 1;
        context.fillRect(LEFT + i * step, y(below + count), width, y(below) - y(below + count));
        below += count;
      }
    });
    context.globalAlpha = 1;
    context.strokeStyle = look.dim;
    context.setLineDash([5, 4]);
    context.beginPath();
    context.moveTo(LEFT, y(bins.bound));
    context.lineTo(wide, y(bins.bound));
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = look.dim;
    context.textAlign = "right";
    for (const count of new Set([0, bins.bound, Math.round(most)]))
      if (count === 0 || count === bins.bound || y(count) < y(bins.bound) - 16)
        context.fillText(String(count), LEFT - 6, y(count));
    this.#axis(context, wide, step);
  }

  #axis(context, wide, step) {
    const { time, bin_s } = this.bins;
    context.textAlign = "left";
    const every = Math.max(1, Math.ceil(LABEL_SPACE / step));
    const longer = time.length * bin_s > 2 * 86_400;
    for (let i = 0; i < time.length && LEFT + i * step < wide - 50; i += every) {
      const begin = time[i] - bin_s / 2;
      const text = longer ? new Date(begin * 1000).toISOString().slice(5, 16).replace("T", " ") : clock(begin).slice(0, 5);
      context.fillText(text, LEFT + i * step, HEIGHT - BOTTOM / 2 + 2);
    }
  }
}
