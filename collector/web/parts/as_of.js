// The place in the log that all views show: now, or the log as it was up to an offset.

import { html, useEffect, useRef, useState } from './html.js';
import { askJson, query } from './api.js';
import { Problem } from './bits.js';
import { requery } from './place.js';
import { Time, fieldOf, local, millis, ofField, rfc3339, zone } from './time.js';
import { measured } from './measure.js';
import { count } from './words.js';

/** The offset in a place's query, or null for now. */
export function asOfOf(at) {
  const text = at.query.get('as_of') ?? '';
  return /^\d{1,20}$/.test(text) ? text : null;
}

/** Goes to where the log was at a time; people remember times and not offsets. */
function GoTo({ time }) {
  const [field, set] = useState('');
  const [error, fail] = useState(null);
  const go = async (event) => {
    event.preventDefault();
    const at = ofField(field || fieldOf(millis(time) ?? Date.now()));
    try {
      const { offset } = await askJson(`/v1/models/states${query({ as_of: rfc3339(at), intervals: 0, machine: '-' })}`);
      fail(null);
      requery({ as_of: offset });
    } catch (refused) {
      fail(refused);
    }
  };
  return html`<details class="go-to"><summary>Go to a time</summary>
    <form onSubmit=${go}><label>Time, ${zone()} <input type="datetime-local" step="1"
      value=${field || fieldOf(millis(time) ?? Date.now())} onInput=${(event) => set(event.target.value)} /></label>
      <button>Go</button>${error && html`<${Problem} error=${error} />`}</form></details>`;
}

/** What is shown, or why nothing is: retention removes the beginning, and a link may be one of another log. */
function Past({ log, offset, time }) {
  if (offset < log.first || offset > log.end) {
    return html`<strong>This place is not in the log.</strong> It holds the offsets ${count(log.first)} up to ${count(log.end)}${
      offset < log.first ? ': what came before was removed by its retention.' : '.'}`;
  }
  return html`<strong>This is the past.</strong> The log up to offset ${count(offset)}${time && html`, <${Time} of=${time} />`}. Nothing is updated here.`;
}

/** The slider over the log and, away from now, the banner. `time` is that of the state shown, as far as it is known. */
export function AsOf({ asOf, time }) {
  const [log, setLog] = useState(null);
  const [moving, setMoving] = useState(null);
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
  return html`<section class=${isNow ? 'as-of' : 'as-of past'} aria-label="Place in the log">
    <label>Log as of
      <input type="range" min=${log.first} max=${log.end} step="1" value=${shown} onInput=${move}
        aria-valuetext=${isNow ? 'now' : `offset ${shown}${moving == null && time ? `, ${local(millis(time))}` : ''}`} />
    </label>
    <output>${isNow ? `now, ${count(log.end)} events` : `offset ${count(shown)} of ${count(log.end)}`}</output>
    <${GoTo} time=${time} />
    ${asOf != null && html`<div class="banner" role="status">
      <${Past} log=${log} offset=${Number(asOf)} time=${time} /> <button type="button" onClick=${() => requery({ as_of: null })}>Back to now</button>
    </div>`}
  </section>`;
}
