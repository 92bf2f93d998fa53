// Key figures after ISO 22400-2: what they are called, and how they are told.

import { duration } from './time.js';
import { count, percent } from './words.js';

/** @type {Record<string, [title: string, told: (value: any) => string]>} */
export const FIGURES = {
  availability: ['Availability', percent],
  oee: ['OEE', percent],
  mtbf_s: ['MTBF', duration],
  mttr_s: ['MTTR', duration],
  failures: ['Failures', count],
  operating_s: ['Operating', duration],
  down_s: ['Down', duration],
  planned_s: ['Planned', duration],
  idle_s: ['Idle', duration],
  unknown_s: ['Unknown', duration],
  out_of_service_s: ['Out of service', duration],
  effectiveness: ['Effectiveness', percent],
  quality: ['Quality', percent],
  produced: ['Produced', count],
  good: ['Good', count],
};

/** Those that a machine's page shows. */
export const SHOWN = [
  'availability', 'oee', 'mtbf_s', 'mttr_s', 'failures', 'operating_s', 'down_s', 'planned_s', 'unknown_s',
];

/**
 * A difference of a figure, with its sign.
 *
 * @param {string} key
 * @param {number} value
 */
export function differenceOf(key, value) {
  const [, told] = FIGURES[key];
  const text = told(Math.abs(value)).replace('%', 'points');
  return `${value < 0 ? '−' : '+'}${text}`;
}
