// Where the log goes: how far each forward is, and what keeps it from delivering.

/** @import { Failure, Forward } from './types.js' */

import { html, useEffect, useState } from './html.js';
import { askJson } from './api.js';
import { Problem, Table } from './bits.js';
import { Time, duration } from './time.js';
import { count, plain } from './words.js';

const LOOK_MS = 3000;

/** @typedef {{ forwards: Forward[] | null, error?: Failure }} Answer */

/** What the collector knows of its forwards now. */
function useForwards() {
  const [answer, set] = useState(/** @type {Answer} */ ({ forwards: null }));
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    const look = async () => {
      try {
        set({ forwards: await askJson('/v1/forwards', { signal: stop.signal }) });
      } catch (error) {
        if (stop.signal.aborted) return;
        set((before) => ({ ...before, error }));
      }
      timer = setTimeout(look, LOOK_MS);
    };
    look();
    return () => { stop.abort(); clearTimeout(timer); };
  }, []);
  return answer;
}

const HEAD = [
  'Forward', 'Destination', 'State', '#Lag', '#Events behind', '#Delivered', '#Dead letters', 'Last error',
];
/** @type {Record<string, string>} */
const STATES = { running: '●', starting: '◌', retrying: '↻', paused: '❙❙', stuck: '✕' };

/**
 * The last error: what is over has its time, what is not has the next try.
 * @param {Forward} forward
 * @param {boolean} isOver
 */
function lastError({ last_error: error, last_error_time: time, next_try_s: next }, isOver) {
  if (error == null) return '–';
  if (isOver && time != null) return html`<span class="quiet"><${Time} of=${time} />: ${plain(error, 400)}</span>`;
  return `${plain(error, 400)}.${next == null ? '' : ` Next try in ${duration(next)}.`}`;
}

/** @param {Forward} forward */
function row(forward) {
  const { name, sink, target, state, lag, lag_s: lagS, delivered, dead_letters: dead } = forward;
  const isWell = state === 'running' || state === 'starting';
  const shown = `${STATES[state] ?? ''} ${plain(state, 20)}`;
  return { key: name, cells: [
    plain(name, 60), html`${plain(sink, 20)}<br /><span class="quiet">${plain(target, 80)}</span>`,
    isWell ? shown : html`<strong>${shown}</strong>`, duration(lagS), count(Number(lag)), count(delivered),
    dead ? html`<strong>${count(dead)}</strong>` : count(dead),
    lastError(forward, isWell),
  ] };
}

/** A section with all forwards; nothing where none is configured. */
export function Forwards() {
  const { forwards, error } = useForwards();
  if (forwards == null && error == null) return null;
  if (forwards != null && forwards.length === 0) return null;
  return html`<section aria-labelledby="forwards"><h2 id="forwards">Where the log goes</h2>
    ${error && html`<${Problem} error=${error} />`}
    ${forwards && html`<${Table} caption="Forwards" head=${HEAD} rows=${forwards.map(row)} />`}</section>`;
}
