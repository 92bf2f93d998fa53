// The place in the log that all views show: now, or the log as it was up to an offset.

import { html, useEffect, useRef, useState } from './html.js';
import { askJson } from './api.js';
import { requery } from './place.js';
import { Time } from './time.js';
import { measured } from './measure.js';
import { count } from './words.js';

/** The offset in a place's query, or null for now. */
export function asOfOf(at) {
  const text = at.query.get('as_of') ?? '';
  return /^\d{1,20}$/.test(text) ? text : null;
}

/** The slider over the log and, away from now, the banner. `time` is that of the state shown, as far as it is known. */
export function AsOf({ asOf, time }) {
  const [log, setLog] = useState(null);
  const [moving, setMoving] = useState(null);
  const wait = useRef(0);
  useEffect(() => {
    let gone = false;
    const look = () => askJson('/v1/agents').then((report) => gone || setLog(report.log)).catch(() => {});
    look();
    const timer = setInterval(look, 5000);
    return () => { gone = true; clearInterval(timer); };
  }, []);
  useEffect(() => setMoving(null), [asOf]);
  if (!log || log.end === 0) return null;
  const shown = moving ?? (asOf == null ? log.end : Number(asOf));
  // The views follow the thumb, but not each of its steps: every one of them is a question to the collector.
  const move = measured('as of', (event) => {
    const to = Number(event.target.value);
    setMoving(to);
    clearTimeout(wait.current);
    wait.current = setTimeout(() => requery({ as_of: to >= log.end ? null : String(to) }), 120);
  });
  return html`<section class="as-of" aria-label="Place in the log">
    <label>Log as of
      <input type="range" min=${log.first} max=${log.end} step="1" value=${shown} onInput=${move}
        aria-valuetext=${asOf == null && moving == null ? 'now' : `offset ${shown}`} />
    </label>
    <output>${asOf == null && moving == null ? `now, ${count(log.end)} events` : `offset ${count(shown)} of ${count(log.end)}`}</output>
    ${asOf != null && html`<div class="banner" role="status">
      <strong>This is the past.</strong> The log up to offset ${count(Number(asOf))}${time && html`, <${Time} of=${time} />`}.
      Nothing is updated here. <button type="button" onClick=${() => requery({ as_of: null })}>Back to now</button>
    </div>`}
  </section>`;
}
