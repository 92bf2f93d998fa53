// What states, severities and verdicts are called, and which is worse.

/** @import { Counting, StateName } from './types.js' */

/** States of a machine, worst first. The mark tells them apart without colour. */
export const STATES = {
  not_available: { title: 'Not available', mark: '✕' },
  no_data: { title: 'No data', mark: '?' },
  not_executing: { title: 'Not executing', mark: '❙❙' },
  out_of_service: { title: 'Out of service', mark: '–' },
  executing: { title: 'Executing', mark: '▶' },
};

/** Their names, in that order. */
export const STATE_NAMES = /** @type {StateName[]} */ (Object.keys(STATES));

/**
 * The state as it is known here: what is not known is no data, and never a good state.
 *
 * @param {string | undefined} name
 * @returns {StateName}
 */
export const stateOf = (name) => STATE_NAMES.find((known) => known === name) ?? 'no_data';

/**
 * 0 is worst.
 *
 * @param {string} name
 */
export const rank = (name) => STATE_NAMES.indexOf(stateOf(name));

/**
 * ISA-18.2 states of an alarm.
 *
 * @type {Record<string, string>}
 */
export const ALARM_STATES = {
  unacked_active: 'Active, not acknowledged',
  acked_active: 'Active, acknowledged',
  unacked_cleared: 'Cleared, not acknowledged',
  shelved: 'Shelved',
};

/**
 * What a certificate says.
 *
 * @type {Record<string, string>}
 */
export const VERDICTS = {
  complete: 'Complete, and proved',
  incomplete: 'Not complete',
  refuted: 'Refuted: the log is not as it was written',
};

/**
 * Why a certificate is not complete.
 *
 * @type {Record<string, string>}
 */
export const CAUSES = {
  missing: 'something is missing and was not declared lost',
  declared_loss: 'the source has declared losses',
  removed: 'retention has removed samples',
  open: 'something is open',
};

/** At most so many characters of a text from outside; the whole is in the log. */
export const TEXT_MAX = 400;

const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/**
 * A text from outside on one line: control characters become visible, and its length has a bound.
 *
 * @param {unknown} text
 * @param {number} [max]
 */
export function plain(text, max = TEXT_MAX) {
  const whole = String(text ?? '');
  const part = whole.slice(0, max).replace(CONTROLS, visible);
  return whole.length > max ? `${part}… (${whole.length} characters)` : part;
}

/** @param {string} character */
const visible = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

// Formats of the browser take milliseconds to make: those that the first view does without are made when they are
// asked for.
/** @type {Map<number, Intl.NumberFormat>} */
const formats = new Map();
/**
 * @param {number} digits
 * @param {number} value
 */
function format(digits, value) {
  const known = formats.get(digits) ?? new Intl.NumberFormat('en', { maximumSignificantDigits: digits });
  formats.set(digits, known);
  return known.format(value);
}

// UCUM codes that people write in another way; all others are told as they are.
/** @type {Record<string, string>} */
const UNITS = {
  '1': '', Cel: '°C', '[degF]': '°F', '[psi]': 'psi', Ohm: 'Ω', um: 'µm', us: 'µs', uA: 'µA', deg: '°',
  '1/min': 'min⁻¹',
};
/** @type {Record<string, string>} */
const RAISED = { 2: '²', 3: '³' };

/**
 * A unit (UCUM) as people write it.
 *
 * @param {string | null | undefined} code
 */
export function unitOf(code) {
  const known = code ?? '';
  if (Object.hasOwn(UNITS, known)) return UNITS[known];
  return plain(code, 40).replace(/([a-z])([23])(?![0-9])/g, (_, letter, power) => letter + RAISED[power]);
}

// Doubles of this size are all whole, and most whole numbers are none of them.
const LARGE = 1e15;

/**
 * A number: whole ones with every digit, others with so many.
 *
 * @param {number | bigint} value
 * @param {number} digits
 */
function numberOf(value, digits) {
  if (typeof value === 'bigint' || (Number.isInteger(value) && Math.abs(value) <= 2 ** 53)) return count(value);
  return Math.abs(value) < LARGE ? format(digits, value) : `≈ ${value.toPrecision(digits)}`;
}

/**
 * @param {unknown} value
 * @param {string | null | undefined} unit
 * @param {number} digits
 */
function written(value, unit, digits) {
  if (value == null) return '–';
  const isNumber = typeof value === 'number' || typeof value === 'bigint';
  const text = isNumber ? numberOf(value, digits).replace('-', '−') : plain(value, 120);
  const shown = unitOf(unit);
  return shown ? `${text}\u00a0${shown}` : text;
}

/**
 * A figure as people read it.
 *
 * @param {unknown} value
 * @param {string | null} [unit]
 */
export const figure = (value, unit = '') => written(value, unit, 6);

/**
 * A figure beside a chart, which has no room for every digit.
 *
 * @param {unknown} value
 * @param {string | null} [unit]
 */
export const brief = (value, unit = '') => written(value, unit, 4);

/**
 * A subject without its machine, where that has been said: `spindle/temperature`.
 *
 * @param {string} machine
 * @param {string} subject
 */
export function within(machine, subject) {
  const text = String(subject ?? '');
  return plain(text.startsWith(`${machine}/`) ? text.slice(machine.length + 1) : text, 120);
}

/**
 * A number with separators.
 *
 * @param {number | bigint | string | null | undefined} value
 */
export function count(value) {
  if (value == null) return '–';
  const [whole, part] = String(value).split('.');
  return `${whole.replace(/\B(?=(\d{3})+$)/g, ',')}${part ? `.${part}` : ''}`;
}

/**
 * `1 alarm`, `2 alarms`.
 *
 * @param {number} number
 * @param {string} word
 */
export const counted = (number, word) => `${count(number)} ${word}${number === 1 ? '' : 's'}`;

/**
 * How many events of a machine had times that cannot be: moved by a measure of its clock, or counted from when they
 * came.
 *
 * @param {Counting} machine
 */
export const corrections = (machine) => (
  { moved: machine?.corrected?.moved ?? 0, ingest: machine?.corrected?.ingest ?? 0 });

/**
 * A share as per cent.
 *
 * @param {number | null | undefined} value
 */
export const percent = (value) => (value == null ? '–' : `${(value * 100).toFixed(1)} %`);
