// Times and durations as people read them. The log has UTC; people get the time of their browser, and UTC in the title.

import { html } from './html.js';

/**
 * Milliseconds of a time as the API tells it, or null.
 *
 * @param {string | null | undefined} text
 * @returns {number | null}
 */
export function millis(text) {
  const value = Date.parse(text ?? '');
  return Number.isNaN(value) ? null : value;
}

/**
 * @param {number} number
 * @param {number} [digits]
 */
const pad = (number, digits = 2) => String(number).padStart(digits, '0');

/**
 * `2021-09-13 23:54:31`, in the browser's zone.
 *
 * @param {number} ms
 */
export function local(ms) {
  const at = new Date(ms);
  const date = `${pad(at.getFullYear(), 4)}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
  return `${date} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

/**
 * The value of a `datetime-local` field, to the second.
 *
 * @param {number} ms
 */
export const fieldOf = (ms) => local(ms).replace(' ', 'T');

/**
 * The time in a `datetime-local` field, or null.
 *
 * @param {string} text
 */
export const ofField = (text) => millis(text);

/**
 * As the API takes it.
 *
 * @param {number} ms
 */
export const rfc3339 = (ms) => new Date(ms).toISOString();

/** @type {string | null} */
let known = null;

/** The browser's zone, to be said beside fields. */
export const zone = () => (known ??= Intl.DateTimeFormat().resolvedOptions().timeZone);

/** @type {[string, number][]} */
const STEPS = [['y', 31_536_000], ['d', 86_400], ['h', 3600], ['min', 60], ['s', 1]];
// A duration is not broken over two lines.
const GAP = '\u00a0';

/**
 * `3 h 20 min`: the two largest units.
 *
 * @param {number | null | undefined} seconds
 */
export function duration(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return '–';
  const sign = seconds < 0 ? '−' : '';
  let left = Math.abs(seconds);
  if (left > 0 && left < 1) return `${sign}${Number((left * 1000).toPrecision(2))}${GAP}ms`;
  if (left < 10) return `${sign}${Number(left.toPrecision(2))}${GAP}s`;
  left = Math.round(left);
  const first = STEPS.findIndex(([, size]) => left >= size);
  const [unit, size] = STEPS[first];
  const next = STEPS[first + 1];
  const rest = next ? Math.floor((left % size) / next[1]) : 0;
  return `${sign}${Math.floor(left / size)}${GAP}${unit}${rest ? `${GAP}${rest}${GAP}${next[0]}` : ''}`;
}

// Clocks of two computers are never quite the same.
const AHEAD_S = 60;

/**
 * A duration that need not change with every second.
 *
 * @param {number | null | undefined} seconds
 */
export function roughly(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return '–';
  return seconds < 60 ? `under 1${GAP}min` : duration(Math.floor(seconds / 60) * 60);
}

/**
 * By how many seconds a time of a machine is after `now`, where that is more than clocks differ: its clock is wrong.
 *
 * @param {number | null} ms
 * @param {number} now
 */
export function ahead(ms, now) {
  const seconds = ms == null ? 0 : (ms - now) / 1000;
  return seconds > AHEAD_S ? seconds : 0;
}

/**
 * A time, with UTC in its title; `children` say it in other words.
 *
 * @param {{ of: string | null | undefined, children?: unknown }} props
 */
export function Time({ of, children }) {
  const ms = millis(of);
  if (ms == null) return html`<span>–</span>`;
  return html`<time datetime=${rfc3339(ms)} title=${`${local(ms)}, ${rfc3339(ms)}`}>${children ?? local(ms)}</time>`;
}
