// One breakdown: what was felt around it, what came first, and what people say about it.

import { html } from '../parts/html.js';
import { Actions, Standing } from '../parts/alarms.js';
import { AmendForm } from '../parts/amend.js';
import { Empty, Problem, Stale, Table, Waiting } from '../parts/bits.js';
import { Sensors } from '../parts/charts.js';
import { measured } from '../parts/measure.js';
import { useModel } from '../parts/models.js';
import { link, requery } from '../parts/place.js';
import { Time, duration, millis, zone } from '../parts/time.js';
import { Legend, Timeline } from '../parts/timeline.js';
import { plain, within } from '../parts/words.js';

const MINUTES = { 5: '5 min', 15: '15 min', 60: '1 h', 240: '4 h', 1440: '1 d' };

const HEAD = ['Order', 'Condition', 'Where', 'Raised', 'To the breakdown', 'Now'];

function FirstOut({ episode, active, asOf }) {
  const alarms = [...(episode.alarms ?? [])].sort((a, b) => millis(a.time) - millis(b.time));
  if (alarms.length === 0) return html`<p class="quiet">No alarm was raised around it.</p>`;
  const begun = millis(episode.from);
  const before = (time) => {
    const seconds = (millis(time) - begun) / 1000;
    return seconds === 0 ? 'at once' : seconds < 0 ? `${duration(-seconds)} before` : `${duration(seconds)} after`;
  };
  const rows = alarms.map((alarm, at) => {
    const now = active.find((known) => known.offset === alarm.offset);
    return { key: alarm.offset, cells: [
      at === 0 ? html`<span class="first-out">1 · first out</span>` : at + 1, plain(alarm.condition, 120), within(episode.machine, alarm.subject),
      html`<${Time} of=${alarm.time} />`, before(alarm.time), now ? html`<${Standing} alarm=${now} />` : 'over',
      ...asOf == null ? [now ? html`<${Actions} alarm=${now} />` : '–'] : [],
    ] };
  });
  return html`<${Table} caption="Alarms in the order in which they came" head=${asOf == null ? [...HEAD, 'Do'] : HEAD} rows=${rows} />`;
}

function Said({ episode }) {
  const all = [...(episode.labels ?? []).map((said) => ['Reason', said.reason ?? said, said.by]),
    ...(episode.notes ?? []).map((said) => ['Note', said.note ?? said, said.by])];
  if (all.length === 0) return html`<p class="quiet">Nobody has said anything about it yet.</p>`;
  return html`<ul class="said">${all.map(([kind, text, by], at) => html`<li key=${at}><strong>${kind}</strong> ${plain(text, 1000)}
    ${by && html`<span class="quiet">, ${plain(by, 100)}</span>`}</li>`)}</ul>`;
}

/** The machine's states around it, with the breakdown and its alarms. */
function Around({ episode, from, until, asOf }) {
  const { machine: name, alarms = [] } = episode;
  const states = useModel('states', asOf, { machine: name });
  if (!states.state) return states.error ? html`<${Problem} error=${states.error} />` : null;
  return html`<${Timeline} name=${name} machine=${states.state.machines?.[name]} episodes=${[episode]} alarms=${alarms} from=${from} until=${until}
    title=${`States, breakdown and alarms of ${plain(name, 80)}`} />`;
}

/** Reasons that were given before, most frequent first: the same stop gets the same name. */
function reasonsOf(episodes) {
  const counts = new Map();
  for (const { labels } of episodes) {
    for (const said of labels ?? []) counts.set(said.reason ?? said, (counts.get(said.reason ?? said) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 20).map(([reason]) => reason);
}

export function Breakdown({ id, at, asOf }) {
  const breakdowns = useModel('breakdowns', asOf);
  const alarms = useModel('alarms', asOf);
  const way = html`<p class="way"><a href=${link(['breakdowns'])}>Breakdowns</a></p>`;
  const waiting = Waiting({ model: breakdowns, name: 'breakdowns' });
  if (waiting) return html`${way}<h1>Breakdown</h1>${waiting}`;
  const { episodes } = breakdowns.state;
  const episode = episodes.find((known) => known.id === id);
  if (!episode) {
    return html`${way}<h1>Breakdown</h1><${Empty} title="This breakdown is not known${asOf == null ? '' : ' by then'}.">
      <p>Only the newest ones are kept here; all of them are in the log. <a href=${link(['breakdowns'])}>See which there are</a>.</p><//>`;
  }
  const minutes = Object.hasOwn(MINUTES, at.query.get('minutes') ?? '') ? at.query.get('minutes') : '15';
  const begun = millis(episode.from);
  const ended = millis(episode.until);
  const around = Number(minutes) * 60_000;
  const [from, until] = [begun - around, begun + around];
  return html`${way}<h1><bdi>${plain(episode.code, 60) || 'Breakdown'}</bdi> on${' '}
      <a href=${link(['machines', episode.machine])}><bdi>${plain(episode.machine, 80)}</bdi></a></h1>
    <${Stale} models=${[breakdowns, alarms]} />
    <p class="lead">${plain(episode.message) || 'No message.'}</p>
    <p><span class="severity ${plain(episode.severity, 20)}">${plain(episode.severity, 20)}</span>${' '}
      <${Time} of=${episode.from} /> ${ended == null ? html`<strong>and it lasts.</strong>`
      : html`to <${Time} of=${episode.until} />, ${duration((ended - begun) / 1000)}.`}
      <span class="quiet"> Offset ${plain(episode.id, 20)} of the log${episode.subject === episode.machine ? ''
        : `, at ${within(episode.machine, episode.subject)}`}. Times are in ${zone()}.</span></p>
    <section aria-labelledby="order"><h2 id="order">What came first</h2>
      <${FirstOut} episode=${episode} active=${alarms.state?.active ?? []} asOf=${asOf} /></section>
    <section aria-labelledby="felt"><h2 id="felt">What was felt</h2>
      <div class="filters" role="group" aria-label="Minutes before and after">
        ${Object.entries(MINUTES).map(([key, title]) => html`<button key=${key} type="button" aria-pressed=${key === minutes}
          onClick=${measured('minutes', () => requery({ minutes: key }))}>± ${title}</button>`)}</div>
      <${Legend}><li><span class="state"><span class="mark shaded" aria-hidden="true"></span>The breakdown</span></li><//>
      <${Around} episode=${episode} from=${from} until=${until} asOf=${asOf} />
      <${Sensors} machine=${episode.machine} from=${from} until=${until} asOf=${asOf} span=${{ from: begun, until: ended }} /></section>
    <section aria-labelledby="said"><h2 id="said">Labels and notes</h2><${Said} episode=${episode} />
      ${asOf == null ? html`<${AmendForm} subject=${episode.machine} of=${episode.id} reasons=${reasonsOf(episodes)} />`
        : html`<p class="quiet">Go back to now to add to it.</p>`}</section>`;
}
