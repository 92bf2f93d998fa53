// Times and durations as people read them. The log has UTC; people get the time of their browser, and UTC in the title.

import { html } from './html.js';

/** Milliseconds of a time as the API tells it, or null. */
export function millis(text) {
  const value = Date.parse(text ?? '');
  return Number.isNaN(value) ? null : value;
}

const pad = (number, digits = 2) => String(number).padStart(digits, '0');

/** `2021-09-13 23:54:31`, in the browser's zone. */
export function local(ms) {
  const at = new Date(ms);
  const date = `${pad(at.getFullYear(), 4)}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
  return `${date} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

/** The value of a `datetime-local` field, to the second. */
export const fieldOf = (ms) => local(ms).replace(' ', 'T');

/** The time in a `datetime-local` field, or null. */
export const ofField = (text) => millis(text);

/** As the API takes it. */
export const rfc3339 = (ms) => new Date(ms).toISOString();

/** The browser's zone, to be said beside fields. */
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

const STEPS = [['d', 86_400], ['h', 3600], ['min', 60], ['s', 1]];

/** `3 h 20 min`: the two largest units. */
export function duration(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return '–';
  const sign = seconds < 0 ? '−' : '';
  let left = Math.abs(seconds);
  if (left < 10) return `${sign}${Number(left.toPrecision(2))} s`;
  left = Math.round(left);
  const first = STEPS.findIndex(([, size]) => left >= size);
  const [unit, size] = STEPS[first];
  const next = STEPS[first + 1];
  const rest = next ? Math.floor((left % size) / next[1]) : 0;
  return `${sign}${Math.floor(left / size)} ${unit}${rest ? ` ${rest} ${next[0]}` : ''}`;
}

/** A time, with UTC in its title. */
export function Time({ of }) {
  const ms = millis(of);
  if (ms == null) return html`<span>–</span>`;
  return html`<time datetime=${rfc3339(ms)} title=${rfc3339(ms)}>${local(ms)}</time>`;
}
