// The page's own copy of an asset's past: plain columns, appended to and cut at the front.

/** Floats from the base64 of their little-endian bytes. */
export function unpack(text, Kind = Float32Array) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Kind(bytes.buffer);
}

/** Windows in order of time: `time`, `score`, `limit`, and for each channel `seen` and `expected`, or `shares`. */
export class Columns {
  constructor() {
    this.clear();
  }

  clear() {
    this.time = [];
    this.score = [];
    this.limit = [];
    this.channels = [];
    this.kinds = [];
  }

  get length() {
    return this.time.length;
  }

  /** Add windows after those that are held; of what came before, `rows` are kept in all. */
  append(packed, rows) {
    const { n, width } = packed;
    if (n === 0) return 0;
    this.kinds = packed.seen === undefined ? ["shares"] : ["seen", "expected"];
    if (this.channels.length !== width) {
      this.channels = Array.from({ length: width }, () =>
        Object.fromEntries(this.kinds.map((kind) => [kind, []])),
      );
    }
    const time = unpack(packed.time, Float64Array);
    const last = this.time.at(-1) ?? -Infinity;
    const first = time.findIndex((t) => t > last);
    if (first < 0) return 0;
    extend(this.time, time, first, n, 1, 0);
    extend(this.score, unpack(packed.score), first, n, 1, 0);
    extend(this.limit, unpack(packed.limit), first, n, 1, 0);
    for (const kind of this.kinds) {
      const matrix = unpack(packed[kind]);
      this.channels.forEach((channel, c) => extend(channel[kind], matrix, first, n, width, c));
    }
    this.#cut(this.time.length - rows);
    return n - first;
  }

  #cut(surplus) {
    if (surplus <= 0) return;
    const all = [
      this.time,
      this.score,
      this.limit,
      ...this.channels.flatMap((channel) => Object.values(channel)),
    ];
    for (const column of all) column.splice(0, surplus);
  }
}

/** Append rows `first` to `n` of a column of a row-major matrix; what is missing is null, which draws a gap. */
function extend(column, values, first, n, width, offset) {
  for (let row = first; row < n; row += 1) {
    const value = values[row * width + offset];
    column.push(Number.isNaN(value) ? null : value);
  }
}
