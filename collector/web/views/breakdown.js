// One breakdown: what was felt around it, what came first, and what people say about it.

/** @import { Alarm, Episode, Happened as Events, Happening, Place } from '../parts/types.js' */

import { html } from '../parts/html.js';
import { Actions, Standing } from '../parts/alarms.js';
import { AmendForm } from '../parts/amend.js';
import { Empty, Kind, Problem, Stale, State, Table, Waiting } from '../parts/bits.js';
import { Sensors } from '../parts/charts.js';
import { inOrder, useHappened } from '../parts/happened.js';
import { measured } from '../parts/measure.js';
import { useModel } from '../parts/models.js';
import { link, requery } from '../parts/place.js';
import { Time, duration, local, millis, rfc3339, zone } from '../parts/time.js';
import { Legend, Timeline } from '../parts/timeline.js';
import { count, plain, within } from '../parts/words.js';

const MINUTES = { 5: '5 min', 15: '15 min', 60: '1 h', 240: '4 h', 1440: '1 d' };

const HEAD = ['What', 'Where', 'At', 'To the breakdown', 'Part in it', 'Now'];
const ROWS_MAX = 200;

/** @param {Happening} event */
const isRaised = ({ kind, transition }) => kind === 'alarm' && transition === 'raised';

/**
 * What an event says, in words.
 *
 * @param {{ event: Happening, isItself: boolean }} props
 */
function What({ event, isItself }) {
  const kind = html`<${Kind} of=${event.kind} />`;
  if (isItself) return html`<strong class="itself">${kind} ${plain(event.code, 60)}</strong>`;
  switch (event.kind) {
    case 'alarm': return html`${kind} ${plain(event.condition, 120)} ${plain(event.transition, 20)}`;
    case 'breakdown': case 'recovery': return html`${kind} ${plain(event.code, 60)}`;
    case 'state': return html`<${State} of=${event.state} />`;
    default: return kind;
  }
}

/**
 * What part an alarm has in the breakdown: it came first, or it came of it.
 *
 * @param {Happening} event
 * @param {Episode} episode
 * @param {number} begun
 */
function partOf(event, episode, begun) {
  if (!isRaised(event)) return '–';
  const isFirstOut = event.offset === episode.first_out?.offset;
  if (isFirstOut && event.at <= begun) return html`<span class="first-out">First out</span>`;
  return event.at > begun ? 'consequence' : 'before';
}

/**
 * All that happened in the window, with alarms of the breakdown that were raised outside of it.
 *
 * @param {Episode} episode
 * @param {Events} happened
 * @returns {Happening[]}
 */
function rowsOf(episode, happened) {
  const begun = millis(episode.from) ?? 0;
  const known = new Set(happened.events.map(({ offset }) => offset));
  const further = (episode.alarms ?? []).filter(({ offset }) => !known.has(offset))
    .map((alarm) => ({ ...alarm, kind: 'alarm', transition: 'raised', at: millis(alarm.time) ?? 0 }));
  const itself = known.has(episode.id) ? []
    : [{ kind: 'breakdown', offset: episode.id, subject: episode.subject, code: episode.code, at: begun }];
  return [...happened.events, ...further, ...itself].sort(inOrder);
}

/** @param {{ episode: Episode, happened: Events, active: Alarm[], asOf: string | null }} props */
function Happened({ episode, happened, active, asOf }) {
  const begun = millis(episode.from) ?? 0;
  const all = rowsOf(episode, happened);
  const middle = all.findIndex(({ offset }) => offset === episode.id);
  const first = Math.max(0, Math.min(middle - ROWS_MAX / 2, all.length - ROWS_MAX));
  const shown = all.slice(first, first + ROWS_MAX);
  /** @param {number} at */
  const to = (at) => {
    const seconds = (at - begun) / 1000;
    return seconds === 0 ? 'at once' : seconds < 0 ? `${duration(-seconds)} before` : `${duration(seconds)} after`;
  };
  const rows = shown.map((event) => {
    const isItself = event.offset === episode.id;
    const raised = isRaised(event);
    const now = raised && active.find((alarm) => alarm.subject === event.subject
      && alarm.condition === event.condition && event.at >= (millis(alarm.raised) ?? 0));
    return { key: event.offset, cells: [
      html`<${What} event=${event} isItself=${isItself} />`, within(episode.machine, event.subject),
      html`<${Time} of=${rfc3339(event.at)} />`,
      isItself ? '–' : to(event.at), isItself ? '–' : partOf(event, episode, begun),
      now ? html`<${Standing} alarm=${now} />` : raised ? 'over' : '–',
      ...asOf == null ? [now ? html`<${Actions} alarm=${now} />` : '–'] : [],
    ] };
  });
  const left = all.length - shown.length;
  return html`<${Table} caption="What happened, in order" head=${asOf == null ? [...HEAD, 'Do'] : HEAD} rows=${rows} />
    ${happened.error && html`<${Problem} error=${happened.error} />`}
    ${left > 0 && html`<p class="quiet">${count(left)} events further from the breakdown are not shown.</p>`}
    ${happened.more && html`<p class="quiet">More happened than is listed: choose fewer minutes.</p>`}`;
}

/** @param {{ episode: Episode }} props */
function Said({ episode }) {
  const all = [...(episode.labels ?? []).map((said) => ['Reason', said.reason ?? said, said.by]),
    ...(episode.notes ?? []).map((said) => ['Note', said.note ?? said, said.by])];
  if (all.length === 0) return html`<p class="quiet">Nobody has said anything about it yet.</p>`;
  return html`<ul class="said">${all.map(([kind, text, by], at) => html`<li key=${at}>
    <strong>${kind}</strong> ${plain(text, 1000)}
    ${by && html`<span class="quiet">, ${plain(by, 100)}</span>`}</li>`)}</ul>`;
}

/**
 * The machine's states around it, with its breakdowns and alarms.
 *
 * @param {object} props
 * @param {Episode} props.episode
 * @param {Episode[]} props.episodes
 * @param {Events} props.happened
 * @param {number} props.from
 * @param {number} props.until
 * @param {number} props.now
 * @param {string | null} props.asOf
 */
function Around({ episode, episodes, happened, from, until, now, asOf }) {
  const { machine: name } = episode;
  const raised = rowsOf(episode, happened).filter(isRaised);
  const alarms = raised.map((alarm) => ({ ...alarm, time: rfc3339(alarm.at) }));
  const states = useModel('states', asOf, { machine: name });
  if (!states.state) return states.error ? html`<${Problem} error=${states.error} />` : null;
  return html`<${Timeline} name=${name} machine=${states.state.machines?.[name]} episodes=${episodes} alarms=${alarms}
    from=${from} until=${until} now=${now} title=${`States, breakdown and alarms of ${plain(name, 80)}`} />`;
}

/**
 * Reasons that were given before, most frequent first: the same stop gets the same name.
 *
 * @param {Episode[]} episodes
 */
function reasonsOf(episodes) {
  const counts = new Map();
  for (const { labels } of episodes) {
    for (const said of labels ?? []) counts.set(said.reason ?? said, (counts.get(said.reason ?? said) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 20).map(([reason]) => reason);
}

const STEP_MS = 15_000;
const LASTS_SHOWN_MAX_MS = 7 * 86_400_000;

/**
 * The window around a breakdown. One that lasts is seen up to now, in steps, each of which asks for all samples again.
 *
 * @param {number} begun
 * @param {number | null} ended
 * @param {number} now
 * @param {number} around
 */
function windowOf(begun, ended, now, around) {
  const from = begun - around;
  if (ended != null || now <= begun) return { from, until: begun + around };
  const until = Math.max(begun + STEP_MS, Math.floor(now / STEP_MS) * STEP_MS);
  const isCut = until - begun > LASTS_SHOWN_MAX_MS;
  return { from, until: isCut ? begun + Math.max(around, LASTS_SHOWN_MAX_MS) : until, isCut };
}

/**
 * What happened and what was felt around a breakdown.
 *
 * @param {object} props
 * @param {Episode} props.episode
 * @param {Episode[]} props.episodes
 * @param {Alarm[]} props.active
 * @param {string} props.minutes
 * @param {number} props.now
 * @param {string | null} props.asOf
 */
function Felt({ episode, episodes, active, minutes, now, asOf }) {
  const [begun, ended] = [millis(episode.from) ?? 0, millis(episode.until)];
  const { from, until, isCut } = windowOf(begun, ended, now, Number(minutes) * 60_000);
  const mine = episodes.filter(({ machine }) => machine === episode.machine);
  const stamp = JSON.stringify([mine.length, episode.until, episode.alarms?.length, active.length]);
  const happened = useHappened(episode.machine, from, until, asOf, stamp);
  return html`<section aria-labelledby="order"><h2 id="order">What happened around it</h2>
      <div class="filters" role="group" aria-label="Minutes before and after">
        ${Object.entries(MINUTES).map(([key, title]) => html`<button key=${key} type="button"
          aria-pressed=${key === minutes} onClick=${measured('minutes', () => requery({ minutes: key }))}>
          ± ${title}</button>`)}
        <span class="quiet">
          ${local(from)} to ${local(until)}${isCut ? ': it lasts for longer than is shown here' : ''}</span></div>
      <${Happened} episode=${episode} happened=${happened} active=${active} asOf=${asOf} /></section>
    <section aria-labelledby="felt"><h2 id="felt">What was felt</h2>
      <${Legend}>
        <li><span class="state"><span class="mark shaded" aria-hidden="true"></span>The breakdown</span></li><//>
      <${Around} episode=${episode} episodes=${mine} happened=${happened} from=${from} until=${until} now=${now}
        asOf=${asOf} />
      <${Sensors} machine=${episode.machine} from=${from} until=${until} now=${now} asOf=${asOf}
        span=${{ from: begun, until: ended ?? now }} /></section>`;
}

/** @param {{ id: string, at: Place, asOf: string | null }} props */
export function Breakdown({ id, at, asOf }) {
  const breakdowns = useModel('breakdowns', asOf);
  const alarms = useModel('alarms', asOf);
  const way = html`<p class="way"><a href=${link(['breakdowns'])}>Breakdowns</a></p>`;
  if (breakdowns.state === undefined) {
    return html`${way}<h1>Breakdown</h1><${Waiting} model=${breakdowns} name="breakdowns" />`;
  }
  const { episodes } = breakdowns.state;
  const episode = episodes.find((known) => known.id === id);
  if (!episode) {
    return html`${way}<h1>Breakdown</h1><${Empty} title="This breakdown is not known${asOf == null ? '' : ' by then'}.">
      <p>Only the newest ones are kept here; all of them are in the log.${' '}
        <a href=${link(['breakdowns'])}>See which there are</a>.</p><//>`;
  }
  const chosen = at.query.get('minutes') ?? '';
  const minutes = Object.hasOwn(MINUTES, chosen) ? chosen : '15';
  const [begun, ended] = [millis(episode.from) ?? 0, millis(episode.until)];
  const active = (alarms.state?.active ?? []).filter(({ machine }) => machine === episode.machine);
  return html`${way}<h1><bdi>${plain(episode.code, 60) || 'Breakdown'}</bdi> on${' '}
      <a href=${link(['machines', episode.machine])}><bdi>${plain(episode.machine, 80)}</bdi></a></h1>
    <${Stale} models=${[breakdowns, alarms]} />
    <p class="lead">${plain(episode.message) || 'No message.'}</p>
    <p><span class="severity ${plain(episode.severity, 20)}">${plain(episode.severity, 20)}</span>${' '}
      <${Time} of=${episode.from} /> ${ended == null ? html`<strong>and it lasts.</strong>`
      : html`to <${Time} of=${episode.until} />, ${duration((ended - begun) / 1000)}.`}
      <span class="quiet"> Offset ${plain(episode.id, 20)} of the log${episode.subject === episode.machine ? ''
        : `, at ${within(episode.machine, episode.subject)}`}. Times are in ${zone()}.</span></p>
    <${Felt} episode=${episode} episodes=${episodes} active=${active} minutes=${minutes}
      now=${millis(breakdowns.time)} asOf=${asOf} />
    <section aria-labelledby="said"><h2 id="said">Labels and notes</h2><${Said} episode=${episode} />
      ${asOf == null ? html`<${AmendForm} subject=${episode.machine} of=${episode.id} reasons=${reasonsOf(episodes)} />`
        : html`<p class="quiet">Go back to now to add to it.</p>`}</section>`;
}
