// What happened on a machine in a span of time: every event but its samples, in order, whenever it came.

/** @import { Happened, Happening } from './types.js' */

import { useEffect, useState } from './html.js';
import { ask, below, query } from './api.js';
import { LISTED } from './kinds.js';
import { lines } from './samples.js';
import { millis, rfc3339 } from './time.js';

// So many are read; a machine that says more than this within the span is not looked at event by event.
const READ_MAX = 2000;

/**
 * `{offset, subject, kind, at, …data}` of an event as the API tells it.
 *
 * @returns {Happening}
 */
function happening({ offset, subject, type, time, data }) {
  return { ...data, offset, subject, kind: type.split('.')[1], at: millis(time) ?? 0 };
}

/**
 * `{events, more, done, error}`: what happened on `machine` from `from` until `until` (milliseconds) as of an offset.
 * It is read again when `stamp` changes.
 *
 * @param {string} machine
 * @param {number} from
 * @param {number} until
 * @param {string | null} asOf
 * @param {string} stamp
 */
export function useHappened(machine, from, until, asOf, stamp) {
  const [shown, set] = useState(/** @type {Happened} */ ({ events: [], more: false, done: false }));
  useEffect(() => {
    const stop = new AbortController();
    const read = async () => {
      const span = { time: 'event', from: rfc3339(from), until: rfc3339(until), limit: READ_MAX };
      const asked = query({ subject: below(machine), type: LISTED, ...span });
      const { body } = await ask(`/v1/events${asked}`, { signal: stop.signal });
      /** @type {Happening[]} */
      const events = [];
      let number = 0;
      for await (const line of lines(body)) {
        number += 1;
        const event = JSON.parse(line);
        // As of an offset, what was appended behind it is not known yet.
        if (asOf == null || BigInt(event.offset) < BigInt(asOf)) events.push(happening(event));
      }
      set({ events, more: number >= READ_MAX, done: true });
    };
    read().catch((error) => stop.signal.aborted || set((before) => ({ ...before, error, done: true })));
    return () => stop.abort();
  }, [machine, from, until, asOf, stamp]);
  return shown;
}

/**
 * In the order of time; at one time in that of the log.
 *
 * @param {Happening} a
 * @param {Happening} b
 */
export const inOrder = (a, b) => a.at - b.at || (BigInt(a.offset) < BigInt(b.offset) ? -1 : 1);
