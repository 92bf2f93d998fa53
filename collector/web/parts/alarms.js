// Alarms that are not normal, with what people do about them.

/** @import { Alarm } from './types.js' */

import { html } from './html.js';
import { Table } from './bits.js';
import { Amend, By } from './amend.js';
import { Time, rfc3339 } from './time.js';
import { ALARM_STATES, plain, within } from './words.js';

const SHELVE_MS = 8 * 3600 * 1000;
const HEAD = ['Condition', 'Where', '#Priority', 'State', 'Raised', 'Message'];

/** @param {Alarm} alarm */
const isUnacknowledged = (alarm) => alarm.state.startsWith('unacked');

/**
 * What state an alarm is in, in words; what waits for somebody stands out.
 *
 * @param {{ alarm: Alarm }} props
 */
export function Standing({ alarm }) {
  const words = ALARM_STATES[alarm.state] ?? plain(alarm.state, 40);
  return isUnacknowledged(alarm) ? html`<strong class="waits">${words}</strong>` : words;
}

/**
 * The alarms of a machine, most urgent first; `asOf` is null while something can be done about them.
 *
 * @param {{ machine: string, alarms: Alarm[], asOf: string | null }} props
 */
export function Alarms({ machine, alarms, asOf }) {
  const sorted = [...alarms].sort((a, b) => Number(isUnacknowledged(b)) - Number(isUnacknowledged(a))
    || b.priority - a.priority);
  if (sorted.length === 0) return html`<p class="quiet">No alarm is active.</p>`;
  const rows = sorted.map((alarm) => ({ key: `${alarm.subject} ${alarm.condition}`, cells: [
    plain(alarm.condition, 120), within(machine, alarm.subject), alarm.priority, html`<${Standing} alarm=${alarm} />`,
    html`<${Time} of=${alarm.raised} />`, plain(alarm.message, 200) || '–',
    ...asOf == null ? [html`<${Actions} alarm=${alarm} />`] : [],
  ] }));
  return html`<${Table} caption="Alarms" head=${asOf == null ? [...HEAD, 'Do'] : HEAD} rows=${rows} />
    ${asOf == null && html`<div class="amend"><${By} />
      <p class="quiet">Goes into the log with what you do.</p></div>`}`;
}

/**
 * Buttons for what people do about an alarm.
 *
 * @param {{ alarm: Alarm }} props
 */
export function Actions({ alarm }) {
  const of = { of: alarm.offset };
  const until = () => ({ until: rfc3339(Date.now() + SHELVE_MS) });
  const about = { subject: alarm.subject, what: plain(alarm.condition, 60) };
  return html`<span class="actions">
    ${isUnacknowledged(alarm) && html`<${Amend} ...${about} change=${{ ...of, action: 'acknowledge' }}>Acknowledge<//>`}
    ${alarm.state === 'shelved'
      ? html`<${Amend} ...${about} change=${{ ...of, action: 'unshelve' }}>Unshelve<//>`
      : html`<${Amend} ...${about} change=${{ ...of, action: 'shelve' }} also=${until}>Shelve 8 h<//>`}
  </span>`;
}
