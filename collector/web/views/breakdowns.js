// Breakdowns, newest first.

import { html } from '../parts/html.js';
import { Empty, Stale, Table, Waiting } from '../parts/bits.js';
import { useModel } from '../parts/models.js';
import { link } from '../parts/place.js';
import { Time, duration, millis } from '../parts/time.js';
import { count, plain } from '../parts/words.js';

const SHOWN_MAX = 200;

const wordsOf = (said) => plain(said.reason ?? said.note ?? said, 200);

/** A table of breakdowns. */
export function Episodes({ episodes, now }) {
  if (episodes.length === 0) return html`<p class="quiet">None is known.</p>`;
  const newest = [...episodes].sort((a, b) => millis(b.from) - millis(a.from));
  const rows = newest.slice(0, SHOWN_MAX).map((episode) => {
    const begun = millis(episode.from);
    const lasted = ((millis(episode.until) ?? now ?? Date.now()) - begun) / 1000;
    return { key: episode.id, cells: [
      html`<a href=${link(['breakdowns', episode.id])}>${plain(episode.code, 60) || 'Breakdown'}</a>`, plain(episode.machine, 80),
      html`<${Time} of=${episode.from} />`, episode.until ? duration(lasted) : html`<strong>lasts, ${duration(lasted)}</strong>`,
      plain(episode.severity, 20), plain(episode.message) || '–',
      (episode.labels ?? []).map(wordsOf).join('; ') || html`<span class="quiet">not labelled</span>`,
    ] };
  });
  return html`<${Table} caption="Breakdowns" head=${['Code', 'Machine', 'From', 'For', 'Severity', 'Message', 'Reason']} rows=${rows} />
    ${newest.length > SHOWN_MAX && html`<p class="quiet">${count(newest.length - SHOWN_MAX)} older ones are not shown.</p>`}`;
}

export function Breakdowns({ asOf }) {
  const breakdowns = useModel('breakdowns', asOf);
  const waiting = Waiting({ model: breakdowns, name: 'breakdowns' });
  if (waiting) return html`<h1>Breakdowns</h1>${waiting}`;
  const { episodes } = breakdowns.state;
  if (episodes.length === 0) {
    return html`<h1>Breakdowns</h1><${Empty} title="No machine has broken down.">
      <p>A machine says so with an event; to try it:</p>
      <pre>afferent-agent emit --socket DATA/agent.sock breakdown 88-C --code E42 --severity error --message "Belt torn"</pre><//>`;
  }
  return html`<h1>Breakdowns</h1><${Stale} models=${[breakdowns]} /><${Episodes} episodes=${episodes} now=${millis(breakdowns.time)} />`;
}
