// The samples of a machine in a span of time, read as a stream and thinned on the way: memory is that of the chart.

/** @import { SampleEvent, Samples, Sensor } from './types.js' */

import { useEffect, useState } from './html.js';
import { ask, below, query } from './api.js';
import { millis, rfc3339 } from './time.js';
import { Thin } from './thin.js';

/** Sensors that are drawn; what more there are is counted. */
const SENSORS_MAX = 64;
// How long lines are read before the browser gets a turn, so that a click is answered within a few frames.
const TURN_MS = 8;
// How often a chart shows what came so far.
const SHOW_MS = 400;

/**
 * @param {ReadableStream<Uint8Array>} body
 * @returns {ReadableStream<string>}
 */
const decoded = (body) => body.pipeThrough(/** @type {TransformStream} */ (new TextDecoderStream()));

/**
 * Lines of a body, with pauses in which the browser draws.
 *
 * @param {ReadableStream<Uint8Array> | null} body
 */
export async function* lines(body) {
  if (!body) return;
  const reader = decoded(body).getReader();
  let rest = '';
  let turn = performance.now();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) {
      yield line;
      if (performance.now() - turn > TURN_MS) {
        await new Promise((resume) => setTimeout(resume));
        turn = performance.now();
      }
    }
  }
  if (rest) yield rest;
}

/**
 * The event time span as the API takes it: all of what happened in it, whenever it came.
 *
 * @param {string} machine
 * @param {number} from
 * @param {number} until
 */
const spanQuery = (machine, from, until) => query({
  subject: below(machine), type: 'sample', time: 'event', from: rfc3339(from), until: rfc3339(until), limit: 'all',
});

class Collected {
  /**
   * @param {[from: number, until: number]} span
   * @param {number} columns
   * @param {bigint | null} before the offset from which on nothing is known yet
   */
  constructor(span, columns, before) {
    this.span = span;
    this.columns = columns;
    this.before = before;
    /** @type {Map<string, Sensor>} */
    this.sensors = new Map();
    this.events = 0;
    this.beyond = 0;
    this.bad = 0;
    this.texts = 0;
  }

  /** @param {SampleEvent} event */
  take(event) {
    // As of an offset, what was appended behind it is not known yet.
    if (this.before != null && BigInt(event.offset) >= this.before) return;
    this.events += 1;
    const { unit, quality } = event.data;
    if (quality === 'bad') { this.bad += 1; return; }
    // A whole number that a double does not have comes as its digits.
    const value = event.data.valuetype === 'integer' ? BigInt(event.data.value) : event.data.value;
    if (typeof value === 'string') { this.texts += 1; return; }
    let sensor = this.sensors.get(event.subject);
    if (!sensor) {
      if (this.sensors.size >= SENSORS_MAX) { this.beyond += 1; return; }
      // Between on and off there is nothing: such a curve has steps.
      const steps = typeof value === 'boolean';
      sensor = { subject: event.subject, unit, steps, thin: new Thin(...this.span, this.columns) };
      this.sensors.set(event.subject, sensor);
    }
    sensor.thin.add(millis(event.time) ?? 0, Number(value), value);
  }

  /**
   * @param {boolean} done
   * @returns {Samples}
   */
  shown(done) {
    const sensors = [...this.sensors.values()].sort((a, b) => (a.subject < b.subject ? -1 : 1));
    const { events, beyond, bad, texts } = this;
    return { sensors, events, beyond, bad, texts, done };
  }
}

/**
 * The samples of `machine` from `from` until `until` (milliseconds) as of an offset, for a chart of `columns` pixels.
 *
 * @param {string} machine
 * @param {number} from
 * @param {number} until
 * @param {string | null} asOf
 * @param {number} columns
 */
export function useSamples(machine, from, until, asOf, columns) {
  const [shown, set] = useState(/** @type {Samples} */ ({ sensors: [], events: 0, done: false }));
  useEffect(() => {
    if (from == null || columns === 0) return undefined;
    const stop = new AbortController();
    const collected = new Collected([from, until], columns, asOf == null ? null : BigInt(asOf));
    const read = async () => {
      const { body } = await ask(`/v1/events${spanQuery(machine, from, until)}`, { signal: stop.signal });
      let next = performance.now() + SHOW_MS;
      for await (const line of lines(body)) {
        collected.take(JSON.parse(line));
        if (performance.now() > next) {
          set(collected.shown(false));
          next = performance.now() + SHOW_MS;
        }
      }
      set(collected.shown(true));
    };
    read().catch((error) => stop.signal.aborted || set({ ...collected.shown(true), error }));
    return () => stop.abort();
  }, [machine, from, until, asOf, columns]);
  return shown;
}
