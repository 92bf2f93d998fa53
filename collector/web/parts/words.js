// What states, severities and verdicts are called, and which is worse.

/** States of a machine, worst first. The mark tells them apart without colour. */
export const STATES = {
  not_available: { title: 'Not available', mark: '✕' },
  no_data: { title: 'No data', mark: '?' },
  not_executing: { title: 'Not executing', mark: '❙❙' },
  out_of_service: { title: 'Out of service', mark: '–' },
  executing: { title: 'Executing', mark: '▶' },
};

const ORDER = Object.keys(STATES);

/** The state as it is known here: what is not known is no data, and never a good state. */
export const stateOf = (name) => (Object.hasOwn(STATES, name) ? name : 'no_data');

/** 0 is worst. */
export const rank = (name) => ORDER.indexOf(stateOf(name));

/** ISA-18.2 states of an alarm. */
export const ALARM_STATES = {
  unacked_active: 'Active, not acknowledged',
  acked_active: 'Active, acknowledged',
  unacked_cleared: 'Cleared, not acknowledged',
  shelved: 'Shelved',
};

/** What a certificate says. */
export const VERDICTS = {
  complete: 'Nothing is missing',
  removed: 'Samples were removed by retention',
  declared_loss: 'Losses were declared',
  incomplete: 'Something is missing',
  refuted: 'Refuted: the log is not as it was written',
};

/** At most so many characters of a text from outside; the whole is in the log. */
export const TEXT_MAX = 400;

/** A text from outside on one line: control characters become visible, and its length has a bound. */
export function plain(text, max = TEXT_MAX) {
  const whole = String(text ?? '');
  const part = whole.slice(0, max).replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, visible);
  return whole.length > max ? `${part}… (${whole.length} characters)` : part;
}

const visible = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

const NUMBER = new Intl.NumberFormat('en', { maximumSignificantDigits: 6 });
const COUNT = new Intl.NumberFormat('en');

/** A figure as people read it. */
export function figure(value, unit = '') {
  if (value == null) return '–';
  const text = typeof value === 'number' ? NUMBER.format(value) : plain(value, 120);
  return unit ? `${text} ${plain(unit, 40)}` : text;
}

/** A whole number with separators. */
export const count = (value) => (value == null ? '–' : COUNT.format(value));

/** `1 alarm`, `2 alarms`. */
export const counted = (number, word) => `${count(number)} ${word}${number === 1 ? '' : 's'}`;

/** A share as per cent. */
export const percent = (value) => (value == null ? '–' : `${(value * 100).toFixed(1)} %`);
