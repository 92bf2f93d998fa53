// Thins samples to what a chart of a certain width can show: per pixel column the lowest and the highest value. A peak
// of one sample is never lost.

/** One subject's samples in `columns` columns between `from` and `until` (milliseconds). */
export class Thin {
  /**
   * @param {number} from
   * @param {number} until
   * @param {number} columns
   */
  constructor(from, until, columns) {
    this.from = from;
    this.width = (until - from) / columns;
    this.lowTime = new Float64Array(columns).fill(NaN);
    this.low = new Float64Array(columns).fill(NaN);
    this.highTime = new Float64Array(columns).fill(NaN);
    this.high = new Float64Array(columns).fill(NaN);
    this.count = 0;
    this.sum = 0;
    this.first = Infinity;
    this.last = -Infinity;
    /** @type {number | bigint | boolean | null} */
    this.lastValue = null;
  }

  /**
   * Takes a sample; order does not matter. Outside the span nothing changes. `whole` has digits that a double has not.
   *
   * @param {number} time
   * @param {number} value
   * @param {number | bigint | boolean} [whole]
   */
  add(time, value, whole = value) {
    const column = Math.floor((time - this.from) / this.width);
    if (!(column >= 0 && column < this.low.length) || !Number.isFinite(value)) return;
    this.count += 1;
    this.sum += value;
    if (time < this.first) this.first = time;
    if (time >= this.last) {
      this.last = time;
      this.lastValue = whole;
    }
    // Written so that a column without a value, NaN, takes the first one.
    if (!(value >= this.low[column])) {
      this.low[column] = value;
      this.lowTime[column] = time;
    }
    if (!(value <= this.high[column])) {
      this.high[column] = value;
      this.highTime[column] = time;
    }
  }

  /** `{times, values}` in the order of time, at most two a column; null where samples are missing for long. */
  points() {
    /** @type {[time: number, value: number][]} */
    const points = [];
    for (let column = 0; column < this.low.length; column += 1) {
      if (Number.isNaN(this.low[column])) continue;
      /** @type {[number, number]} */
      const low = [this.lowTime[column], this.low[column]];
      /** @type {[number, number]} */
      const high = [this.highTime[column], this.high[column]];
      if (low[0] === high[0]) points.push(low);
      else points.push(...(low[0] < high[0] ? [low, high] : [high, low]));
    }
    return broken(points, this.width);
  }

  /** Lowest and highest value. */
  range() {
    let low = Infinity;
    let high = -Infinity;
    for (let column = 0; column < this.low.length; column += 1) {
      if (this.low[column] < low) low = this.low[column];
      if (this.high[column] > high) high = this.high[column];
    }
    return { low, high };
  }

  /** The mean of all samples. */
  mean() {
    return this.sum / this.count;
  }
}

// A line over a time in which nothing was measured would tell what nobody knows: it is broken where samples are five
// times further apart than usual.
/**
 * @param {[time: number, value: number][]} points
 * @param {number} width
 */
function broken(points, width) {
  const steps = points.slice(1).map(([time], at) => time - points[at][0]).sort((a, b) => a - b);
  const usual = Math.max(steps[steps.length >> 1] ?? 0, width);
  /** @type {number[]} */
  const times = [];
  /** @type {(number | null)[]} */
  const values = [];
  points.forEach(([time, value], at) => {
    if (at > 0 && time - points[at - 1][0] > 5 * usual) {
      times.push((time + points[at - 1][0]) / 2);
      values.push(null);
    }
    times.push(time);
    values.push(value);
  });
  return { times, values };
}
