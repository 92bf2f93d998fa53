// Alarms that are not normal, with what people do about them.

import { html } from './html.js';
import { Table } from './bits.js';
import { Amend } from './amend.js';
import { Time, rfc3339 } from './time.js';
import { ALARM_STATES, plain } from './words.js';

const SHELVE_MS = 8 * 3600 * 1000;

const isUnacknowledged = (alarm) => alarm.state.startsWith('unacked');

/** The alarms, most urgent first; `asOf` is null while something can be done about them. */
export function Alarms({ alarms, asOf }) {
  const sorted = [...alarms].sort((a, b) => Number(isUnacknowledged(b)) - Number(isUnacknowledged(a)) || b.priority - a.priority);
  if (sorted.length === 0) return html`<p class="quiet">No alarm is active.</p>`;
  const rows = sorted.map((alarm) => ({ key: alarm.offset, cells: [
    plain(alarm.condition, 120), plain(alarm.subject, 120), alarm.priority, ALARM_STATES[alarm.state] ?? plain(alarm.state, 40),
    html`<${Time} of=${alarm.raised} />`, plain(alarm.message) || '–', html`<${Actions} alarm=${alarm} asOf=${asOf} />`,
  ] }));
  return html`<${Table} caption="Alarms" head=${['Condition', 'Where', 'Priority', 'State', 'Raised', 'Message', 'Do']} rows=${rows} />`;
}

/** Buttons for what people do about an alarm; none in the past, and none when it is not active. */
export function Actions({ alarm, asOf }) {
  if (asOf != null || !alarm) return '–';
  const of = { of: alarm.offset };
  const until = () => ({ until: rfc3339(Date.now() + SHELVE_MS) });
  return html`<span class="actions">
    ${isUnacknowledged(alarm) && html`<${Amend} subject=${alarm.subject} change=${{ ...of, action: 'acknowledge' }}>Acknowledge<//>`}
    ${alarm.state === 'shelved'
      ? html`<${Amend} subject=${alarm.subject} change=${{ ...of, action: 'unshelve' }}>Unshelve<//>`
      : html`<${Amend} subject=${alarm.subject} change=${{ ...of, action: 'shelve' }} also=${until}>Shelve 8 h<//>`}
  </span>`;
}
