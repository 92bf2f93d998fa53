// The place in the log that all views show: now, or the log as it was up to an offset.

/** @import { Failure, Place } from './types.js' */

import { html, useEffect, useRef, useState } from './html.js';
import { ask, askJson, query } from './api.js';
import { Problem } from './bits.js';
import { place, requery } from './place.js';
import { lines } from './samples.js';
import { Time, fieldOf, local, millis, ofField, rfc3339, zone } from './time.js';
import { measured } from './measure.js';
import { count } from './words.js';

/**
 * The offset in a place's query, or null for now.
 *
 * @param {Place} at
 */
export function asOfOf(at) {
  const text = at.query.get('as_of') ?? '';
  return /^\d{1,20}$/.test(text) ? text : null;
}

/** @typedef {{ first: number, end: number }} Log */

const SECOND_MS = 1000;
const DAY_S = 86_400;
// How far back from a time something that happened is looked for: near first, since much happens in a long time.
const BACK_S = [1, 10, 60, 600, 3600, 6 * 3600, DAY_S, 10 * DAY_S, 100 * DAY_S, 3000 * DAY_S, Infinity];

/**
 * The offset behind the last event that had happened by then, whenever it came to the log; null when there is none.
 *
 * @param {number} at
 */
async function behind(at) {
  const until = rfc3339(at + SECOND_MS);
  for (const back of BACK_S) {
    const from = rfc3339(Math.max(0, at + SECOND_MS - back * SECOND_MS));
    const answer = await ask(`/v1/events${query({ time: 'event', from, until, limit: 'all' })}`);
    /** @type {[time: string, offset: bigint] | null} */
    let last = null;
    for await (const line of lines(answer.body)) {
      const { time, offset } = JSON.parse(line);
      // Times are texts of one form, which compare as they follow each other.
      /** @type {[string, bigint]} */
      const event = [time, BigInt(offset)];
      if (!last || event[0] > last[0] || (event[0] === last[0] && event[1] > last[1])) last = event;
    }
    if (last) return last[1] + 1n;
  }
  return null;
}

/**
 * Goes to where the log had all that happened up to a time; people remember times and not offsets.
 *
 * @param {{ log: Log, time: string | undefined }} props
 */
function GoTo({ log, time }) {
  const [field, set] = useState('');
  const [error, fail] = useState(/** @type {Failure | null} */ (null));
  const go = async (event) => {
    event.preventDefault();
    const at = ofField(field || fieldOf(millis(time) ?? Date.now()));
    if (at == null) return;
    try {
      const offset = await behind(at) ?? BigInt(log.first);
      fail(null);
      const { path } = place();
      // The charts of a machine end at the time that was asked for.
      const charts = path[0] === 'machines' && path[1] !== undefined ? { until: String(at) } : {};
      requery({ as_of: offset >= BigInt(log.end) ? null : String(offset), ...charts });
    } catch (refused) {
      fail(refused);
    }
  };
  return html`<details class="go-to"><summary>Go to a time</summary>
    <form onSubmit=${go}><label>Time, ${zone()} <input type="datetime-local" step="1"
      value=${field || fieldOf(millis(time) ?? Date.now())} onInput=${(event) => set(event.target.value)} /></label>
      <button>Go</button>${error && html`<${Problem} error=${error} />`}</form></details>`;
}

/**
 * What is shown, or why nothing is: retention removes the beginning, and a link may be one of another log.
 *
 * @param {{ log: Log, offset: number, time: string | undefined }} props
 */
function Past({ log, offset, time }) {
  if (offset < log.first || offset > log.end) {
    const held = `${count(log.first)} up to ${count(log.end)}`;
    return html`<strong>This place is not in the log.</strong> It holds the offsets ${held}${
      offset < log.first ? ': what came before was removed by its retention.' : '.'}`;
  }
  return html`<strong>This is the past.</strong> The log up to offset ${count(offset)}${
    time && html`, which came <${Time} of=${time} />`}. Nothing is updated here.`;
}

/**
 * The slider over the log and, away from now, the banner. `time` is that of the state shown, as far as it is known.
 *
 * @param {{ asOf: string | null, time: string | undefined }} props
 */
export function AsOf({ asOf, time }) {
  const [log, setLog] = useState(/** @type {Log | null} */ (null));
  const [moving, setMoving] = useState(/** @type {number | null} */ (null));
  const wait = useRef(0);
  useEffect(() => {
    let gone = false;
    const held = ({ log }) => ({ first: Number(log.first), end: Number(log.end) });
    const look = () => askJson('/v1/agents').then((report) => gone || setLog(held(report))).catch(() => {});
    look();
    const timer = setInterval(look, 5000);
    return () => { gone = true; clearInterval(timer); };
  }, []);
  useEffect(() => setMoving(null), [asOf]);
  if (!log || log.end === 0) return null;
  const shown = moving ?? (asOf == null ? log.end : Number(asOf));
  const isNow = asOf == null && moving == null;
  // The views follow the thumb, but not each of its steps: every one of them is a question to the collector.
  const move = measured('as of', (event) => {
    const to = Number(event.target.value);
    setMoving(to);
    clearTimeout(wait.current);
    wait.current = setTimeout(() => requery({ as_of: to >= log.end ? null : String(to) }), 120);
  });
  const at = millis(time);
  const came = moving == null && at != null ? `, ${local(at)}` : '';
  return html`<section class=${isNow ? 'as-of' : 'as-of past'} aria-label="Place in the log">
    <label>Log as of
      <input type="range" min=${log.first} max=${log.end} step="1" value=${shown} onInput=${move}
        aria-valuetext=${isNow ? 'now' : `offset ${shown}${came}`} />
    </label>
    <output>${isNow ? `now, ${count(log.end)} events` : `offset ${count(shown)} of ${count(log.end)}`}</output>
    <${GoTo} log=${log} time=${time} />
    ${asOf != null && html`<div class="banner" role="status">
      <${Past} log=${log} offset=${Number(asOf)} time=${time} />${' '}
      <button type="button" onClick=${() => requery({ as_of: null })}>Back to now</button>
    </div>`}
  </section>`;
}
