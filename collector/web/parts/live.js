// The live stream: what is worth looking at again, as server-sent events. Samples are left out: a plant has too many.

/** @import { Listener, StreamStatus } from './types.js' */

import { useEffect, useState } from './html.js';
import { FOLLOWED } from './kinds.js';

const RETRY_MS = 3000;
// How often the collector says that the stream is alive, and after how long a silence it is not called live any more.
const HEARTBEAT_S = 5;
const SILENT_MS = 12_000;
// A connection that was not answered for so long is given up: it may be one to a line that died meanwhile.
const ANSWER_MAX_MS = 30_000;

/** @type {Set<Listener>} */
const listeners = new Set();
/** @type {EventSource | null} */
let source = null;
let retry = 0;
let watch = 0;
let heard = 0;
/** @type {StreamStatus} */
let status = 'off';

/** @param {StreamStatus} next */
function say(next) {
  status = next;
  listeners.forEach((listener) => listener.status?.(next));
}

// A browser has few connections to one collector, for all of its tabs: a page that nobody sees must not hold one.
function begin() {
  if (source || listeners.size === 0 || document.hidden) return;
  open();
}

// The collector spoke a moment ago, on this stream: nothing else makes it live.
function spoke() {
  heard = performance.now();
  if (status !== 'live') say('live');
}

function look() {
  const silent = performance.now() - heard;
  if (silent < (status === 'live' ? SILENT_MS : ANSWER_MAX_MS)) return;
  clearTimeout(retry);
  source?.close();
  say('reconnecting');
  open();
}

function open() {
  clearInterval(watch);
  watch = setInterval(look, 1000);
  heard = performance.now();
  const stream = new EventSource(`/v1/stream?type=${FOLLOWED}&heartbeat=${HEARTBEAT_S}`);
  source = stream;
  stream.onopen = spoke;
  stream.addEventListener('heartbeat', spoke);
  stream.onmessage = (message) => {
    spoke();
    const event = JSON.parse(message.data);
    listeners.forEach((listener) => listener.event?.(event));
  };
  stream.onerror = () => {
    say('reconnecting');
    // The browser comes back by itself, with its place, unless it was refused: then it gives up, and we begin anew.
    if (stream.readyState === EventSource.CLOSED) retry = setTimeout(open, RETRY_MS);
  };
}

function close() {
  clearTimeout(retry);
  clearInterval(watch);
  source?.close();
  source = null;
  say('off');
}

addEventListener('visibilitychange', () => (document.hidden ? close() : begin()));
addEventListener('pagehide', close);
addEventListener('pageshow', begin);

/**
 * Calls `event` for every event and `status` (`live`, `reconnecting`, `off`) on every change; gives how to stop.
 *
 * @param {Listener} listener
 */
export function listen(listener) {
  listeners.add(listener);
  begin();
  listener.status?.(status);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) close();
  };
}

/**
 * The state of the stream; it runs while `on`.
 *
 * @param {boolean} on
 * @param {Listener['event']} [onEvent]
 */
export function useLive(on, onEvent) {
  const [shown, set] = useState(status);
  useEffect(() => (on ? listen({ status: set, event: onEvent }) : set('off')), [on]);
  return shown;
}
