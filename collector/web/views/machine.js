// One machine: its states over time, what it measured, its figures, alarms and breakdowns.

/** @import { KeyFigures, Machine as OneMachine, Model, Models, Place } from '../parts/types.js' */

import { html, useState } from '../parts/html.js';
import { Alarms } from '../parts/alarms.js';
import { Empty, Stale, State, Table, Waiting } from '../parts/bits.js';
import { Episodes } from './breakdowns.js';
import { Counted, Known, NotShown } from '../parts/counted.js';
import { FIGURES, SHOWN } from '../parts/figures.js';
import { measured } from '../parts/measure.js';
import { useModel } from '../parts/models.js';
import { link, requery } from '../parts/place.js';
import { Sensors } from '../parts/charts.js';
import { Legend, Timeline } from '../parts/timeline.js';
import { Time, ahead, duration, local, millis, zone } from '../parts/time.js';
import { corrections, counted, figure, plain, within } from '../parts/words.js';

const HOUR_MS = 3_600_000;
/** @type {Record<string, [title: string, length: number]>} */
const SPANS = {
  '1h': ['1 hour', HOUR_MS], '8h': ['8 hours', 8 * HOUR_MS], '24h': ['24 hours', 24 * HOUR_MS],
  '7d': ['7 days', 168 * HOUR_MS],
};

/** @param {{ model: Model<unknown>, kpi: KeyFigures | undefined }} props */
function Figures({ model, kpi }) {
  return html`<dl class="kpi">${SHOWN.map((key) => html`<div key=${key}><dt>${FIGURES[key][0]}</dt>
    <dd>${FIGURES[key][1](kpi?.[key])}</dd></div>`)}</dl>
    <${Known} figures=${kpi} /><${Counted} model=${model} of=${kpi} />
    <p class="quiet">Over all that the log holds of it, after ISO 22400-2. MTBF: mean operating time between failures.
      MTTR: mean time to repair. OEE, overall equipment effectiveness, needs quantities that the machine tells.</p>`;
}

/**
 * Said when the machine has told times that cannot be.
 *
 * @param {{ machine: OneMachine, now: number }} props
 */
function Clock({ machine, now }) {
  const by = ahead(millis(machine.last_event), now);
  const { moved, ingest } = corrections(machine);
  if (by === 0 && moved + ingest === 0) return null;
  const said = by > 0 ? `Its clock is ahead by about ${duration(by)}: times it tells are not to be relied on.`
    : 'Its clock was wrong:';
  return html`<p class="banner">
    ${said}${moved > 0 && ` ${counted(moved, 'event')} moved to when they happened by the collector's clock.`}
    ${ingest > 0 && ` ${counted(ingest, 'event')} counted from when the collector got them.`}${' '}
    <a href=${link(['sources'])}>Sources</a> tell how far each clock is off.</p>`;
}

/**
 * When the charts end: as asked, else now; at its last event for a machine that was silent for longer than they reach.
 *
 * @param {number | null} asked
 * @param {OneMachine} machine
 * @param {number} now
 * @param {number} length
 * @returns {{ until: number, why?: string }}
 */
function endOf(asked, machine, now, length) {
  // Charts that go on by themselves do so in steps, each of which asks for all samples again.
  const step = Math.max(length / 240, 15_000);
  const last = millis(machine.last_event);
  /** @param {number} ms */
  const behind = (ms) => Math.ceil((ms + length / 20) / step) * step;
  if (asked != null) return { until: asked };
  if (last != null && now - last > length) return { until: behind(last), why: 'Nothing came since' };
  return { until: Math.ceil(now / step) * step };
}

/** @param {{ span: string, length: number, until: number }} props */
function SpanChoice({ span, length, until }) {
  /** @param {number} ms */
  const to = (ms) => requery({ until: String(Math.round(ms)) });
  return html`<div class="filters" role="group" aria-label="Span of time">
    ${Object.entries(SPANS).map(([key, [title]]) => html`<button key=${key} type="button" aria-pressed=${key === span}
      onClick=${measured('span', () => requery({ span: key }))}>${title}</button>`)}
    <button type="button" onClick=${() => to(until - length / 2)}>← Earlier</button>
    <button type="button" onClick=${() => to(until + length / 2)}>Later →</button>
    <button type="button" onClick=${() => requery({ until: null })}>Latest</button>
    <span class="quiet">${local(until - length)} to ${local(until)}, ${zone()}</span></div>`;
}

/** @param {{ last: Models['last'] | undefined, name: string }} props */
function LastValues({ last, name }) {
  const mine = Object.entries(last?.subjects ?? {})
    .filter(([subject]) => subject === name || subject.startsWith(`${name}/`))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  if (mine.length === 0) return html`<p class="quiet">No value was measured yet.</p>`;
  const rows = mine.map(([subject, { value, unit, quality, time }]) => ({ key: subject, cells: [
    within(name, subject), figure(value, unit),
    quality === 'good' ? 'good' : html`<strong>${plain(quality, 20)}</strong>`, html`<${Time} of=${time} />`,
  ] }));
  return html`<${Table} caption="Last values" head=${['Sensor', '#Value', 'Quality', 'At']} rows=${rows} />`;
}

/** @param {{ name: string, at: Place, asOf: string | null }} props */
export function Machine({ name, at, asOf }) {
  const states = useModel('states', asOf, { machine: name });
  const breakdowns = useModel('breakdowns', asOf, { machine: name });
  const alarms = useModel('alarms', asOf, { machine: name });
  const last = useModel('last', asOf, { machine: name });
  const kpi = useModel('kpi', asOf, { machine: name });
  const [opened] = useState(Date.now);
  const title = html`<p class="way"><a href=${link(['machines'])}>Machines</a></p><h1>${plain(name, 120)}</h1>`;
  if (states.state === undefined) return html`${title}<${Waiting} model=${states} name="states" />`;
  const machine = Object.hasOwn(states.state.machines, name) ? states.state.machines[name] : null;
  if (!machine) {
    // One for which there is no room may have spoken.
    const why = states.state.not_shown?.last ? 'is not shown: there was no room for all machines' : 'has not spoken';
    return html`${title}<${Empty} title="This machine ${why}${asOf == null ? '' : ' by then'}.">
      <p>Machines are the first level of subjects, as 88-C of 88-C/spindle/temperature.${' '}
      <a href=${link(['machines'])}>See which there are</a>${asOf != null && html`, or <button type="button"
        onClick=${() => requery({ as_of: null })}>go back to now</button>`}.</p><//>`;
  }
  const chosen = at.query.get('span') ?? '';
  const span = Object.hasOwn(SPANS, chosen) ? chosen : '24h';
  const length = SPANS[span][1];
  const asked = /^\d{1,15}$/.test(at.query.get('until') ?? '') ? Number(at.query.get('until')) : null;
  const now = millis(states.time) ?? opened;
  const { until, why } = endOf(asked, machine, now, length);
  const episodes = (breakdowns.state?.episodes ?? []).filter((episode) => episode.machine === name);
  const active = (alarms.state?.active ?? []).filter((alarm) => alarm.machine === name);
  const ticks = [...episodes.flatMap((episode) => episode.alarms ?? []), ...active];
  const urgent = active.length > 0 && html`<section aria-labelledby="alarms"><h2 id="alarms">Alarms</h2>
    <${Alarms} machine=${name} alarms=${active} asOf=${asOf} /></section>`;
  return html`${title}<${Stale} models=${[states, breakdowns, alarms, last, kpi]} />
    <p class="lead"><${State} of=${machine.state} /> since <${Time} of=${machine.since} />
      ${machine.reason && html`${' · '}<bdi>${plain(machine.reason)}</bdi>`}</p>
    <${Clock} machine=${machine} now=${now} /><${NotShown} model=${alarms} what="alarms" />${urgent}
    <section aria-labelledby="time"><h2 id="time">Over time</h2>
      <${SpanChoice} span=${span} length=${length} until=${until} />
      ${why && html`<p class="banner" role="status">
        ${why} <${Time} of=${machine.last_event} />: the charts end there.${' '}
        <button type="button" onClick=${() => requery({ until: String(opened) })}>Show until now</button></p>`}
      <${Legend} />
      <${Timeline} name=${name} machine=${machine} episodes=${episodes} alarms=${ticks} from=${until - length}
        until=${until} now=${now} title=${`States, breakdowns and alarms of ${plain(name, 80)}`} />
      <${Counted} model=${states} of=${machine} />
      <${Sensors} machine=${name} from=${until - length} until=${until} now=${now} asOf=${asOf} /></section>
    <section aria-labelledby="values"><h2 id="values">Last values</h2><${NotShown} model=${last} what="values" />
      <${LastValues} last=${last.state} name=${name} /></section>
    <section aria-labelledby="figures"><h2 id="figures">Figures</h2>
      <${Figures} model=${kpi} kpi=${kpi.state?.machines?.[name]} /></section>
    <section aria-labelledby="breakdowns"><h2 id="breakdowns">Breakdowns</h2>
      <${Episodes} episodes=${episodes} now=${millis(states.time)} of=${name} />
      <${Counted} model=${breakdowns} of=${breakdowns.state?.machines?.[name]} /></section>
    ${!urgent && html`<section aria-labelledby="alarms"><h2 id="alarms">Alarms</h2>
      <p class="quiet">No alarm is active.</p></section>`}`;
}
