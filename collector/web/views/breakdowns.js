// Breakdowns, newest first.

/** @import { Episode, Words } from '../parts/types.js' */

import { html } from '../parts/html.js';
import { Empty, Stale, Table, Waiting } from '../parts/bits.js';
import { Counted, NotShown, lateOf } from '../parts/counted.js';
import { useModel } from '../parts/models.js';
import { link } from '../parts/place.js';
import { Time, duration, millis, roughly } from '../parts/time.js';
import { count, plain } from '../parts/words.js';

const SHOWN_MAX = 200;

const EXAMPLE = 'afferent-agent emit --socket DATA/agent.sock '
  + 'breakdown 88-C --code E42 --severity error --message "Belt torn"';

/** @param {Words} said */
const wordsOf = (said) => plain(said.reason ?? said.note ?? said, 200);

const HEAD = ['Code', 'Machine', 'From', '#For', 'Severity', 'Message', 'Reason'];

/**
 * A table of breakdowns; `of` is the machine where they are all of one.
 *
 * @param {{ episodes: Episode[], now: number | null, of?: string }} props
 */
export function Episodes({ episodes, now, of }) {
  if (episodes.length === 0) return html`<p class="quiet">None is known.</p>`;
  const newest = [...episodes].sort((a, b) => (millis(b.from) ?? 0) - (millis(a.from) ?? 0));
  const rows = newest.slice(0, SHOWN_MAX).map((episode) => {
    const begun = millis(episode.from) ?? 0;
    const lasted = ((millis(episode.until) ?? now ?? Date.now()) - begun) / 1000;
    return { key: episode.id, cells: [
      html`<a href=${link(['breakdowns', episode.id])}>${plain(episode.code, 40) || 'Breakdown'}</a>`,
      ...of === undefined
        ? [html`<a href=${link(['machines', episode.machine])}>${plain(episode.machine, 60)}</a>`] : [],
      html`<${Time} of=${episode.from} />`,
      episode.until ? duration(lasted) : html`<strong class="lasts">${roughly(lasted)}, lasts</strong>`,
      html`<span class="severity ${plain(episode.severity, 20)}">${plain(episode.severity, 20)}</span>`,
      plain(episode.message, 160) || '–',
      (episode.labels ?? []).map(wordsOf).join('; ') || html`<span class="quiet short">not labelled</span>`,
    ] };
  });
  const head = of === undefined ? HEAD : HEAD.filter((title) => title !== 'Machine');
  const left = newest.length - SHOWN_MAX;
  return html`<${Table} caption="Breakdowns" head=${head} rows=${rows} />
    ${left > 0 && html`<p class="quiet">${count(left)} older ones are not shown.</p>`}`;
}

/** @param {{ asOf: string | null }} props */
export function Breakdowns({ asOf }) {
  const breakdowns = useModel('breakdowns', asOf);
  if (breakdowns.state === undefined) {
    return html`<h1>Breakdowns</h1><${Waiting} model=${breakdowns} name="breakdowns" />`;
  }
  const { episodes } = breakdowns.state;
  if (episodes.length === 0) {
    return html`<h1>Breakdowns</h1><${Empty} title="No machine has broken down.">
      <p>A machine says so with an event; to try it:</p>
      <pre>${EXAMPLE}</pre><//>`;
  }
  return html`<h1>Breakdowns</h1><${Stale} models=${[breakdowns]} />
    <${NotShown} model=${breakdowns} what="machines" />
    <${Episodes} episodes=${episodes} now=${millis(breakdowns.time)} />
    <${Counted} model=${breakdowns} of=${{ late: lateOf(breakdowns.state.machines) }} />`;
}
