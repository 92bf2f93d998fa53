// What if: a plan of assumptions, and how far the figures would have been from what happened.

/** @import { Alternative, Change, Changes as Part, Failure, Machine, Span, WhatIfReport } from '../parts/types.js' */

import { html, useState } from '../parts/html.js';
import { askJson, query } from '../parts/api.js';
import { Empty, Problem, State, Table } from '../parts/bits.js';
import { CountsFrom } from '../parts/counted.js';
import { FIGURES, differenceOf } from '../parts/figures.js';
import { Time, millis, ofField, rfc3339, zone } from '../parts/time.js';
import { Legend, Timeline } from '../parts/timeline.js';
import { count, counted, figure, plain } from '../parts/words.js';

const SHOWN_MAX = 300;
const TIMELINES_MAX = 12;
const PLAN = 'afferent-plan';

const EXAMPLE = `# What would availability have been without the belt failures?
models = ["states@1", "kpi@1"]

[[alternative]]
name = "no belt failures"

[[alternative.rule]]
action = "drop"                     # or add, shift, scale, relabel
type = "breakdown"
when = 'code.startsWith("BELT")'
`;

/**
 * @typedef {{ state: 'idle' | 'asking' } | { state: 'told', report: WhatIfReport }
 *   | { state: 'failed', error: Failure }} Asked
 */

/**
 * Changes of all models of an alternative in one list.
 *
 * @param {Record<string, Part> | undefined} changes
 */
function changesOf(changes) {
  if (Array.isArray(changes)) return { list: changes, more: 0 };
  const parts = Object.entries(changes ?? {});
  const list = parts.flatMap(([model, told]) => (
    (told.changes ?? []).map((change) => ({ ...change, path: `${model}: ${change.path}` }))));
  return { list, more: parts.reduce((total, [, told]) => total + (told.more ?? 0), 0) };
}

// Intervals are drawn, which says more than a row for each of their ends.
/** @param {Change} change */
const isDrawn = ({ path }) => path.includes('/intervals/');

/**
 * The machines of the first model that has intervals.
 *
 * @returns {Record<string, Machine>}
 */
function machinesOf(states) {
  const held = [states, ...Object.values(states ?? {})];
  const hasIntervals = (machine) => Array.isArray(machine?.intervals);
  const found = held.find((state) => Object.values(state?.machines ?? {}).some(hasIntervals));
  return found?.machines ?? {};
}

// A whole part of a state, as an episode that is not there: its figures say less than that it is one.
const TIME = /^\d{4}-\d{2}-\d{2}T/;
const shown = (value) => (typeof value === 'string' && TIME.test(value) ? html`<${Time} of=${value} />`
  : value == null || typeof value !== 'object' ? figure(value) : plain(JSON.stringify(value), 120));

/** @param {number} value */
const signed = (value) => `${value > 0 ? '+' : ''}${figure(value)}`;

/**
 * What a path in a state is about, the figure that ends it, and its values as people read them.
 *
 * @param {Change} change
 */
function cellsOf({ path, left, right, difference }) {
  const cut = path.lastIndexOf('/');
  const [of, key] = [path.slice(0, Math.max(cut, 0)), path.slice(cut + 1)];
  if (!Object.hasOwn(FIGURES, key)) {
    const by = difference == null ? '–' : signed(difference);
    return [plain(of, 120), plain(key, 60), shown(left), shown(right), by];
  }
  const [title, told] = FIGURES[key];
  return [plain(of, 120), title, told(left), told(right), difference == null ? '–' : differenceOf(key, difference)];
}

const HEAD = ['Of', 'Figure', '#Actual', '#Alternative', '#Difference'];

/** @param {{ alternative: Alternative }} props */
function Changes({ alternative }) {
  const { list: all, more } = changesOf(alternative.changes);
  const list = all.filter((change) => !isDrawn(change));
  if (all.length === 0) return html`<p class="quiet">Nothing would have been different.</p>`;
  const rows = list.slice(0, SHOWN_MAX).map((change) => ({ key: change.path, cells: cellsOf(change) }));
  const rest = list.length - rows.length + more;
  const caption = `What differs: ${plain(alternative.name, 80)}`;
  return html`<${Table} caption=${caption} head=${HEAD} rows=${rows} />
    ${rest > 0 && html`<p class="quiet">${count(rest)} further differences are not shown.</p>`}`;
}

/**
 * From the first interval to the end of what is known, of both.
 *
 * @param {Machine | undefined} left
 * @param {Machine | undefined} right
 * @returns {Span}
 */
function spanOf(left, right) {
  const intervals = [...(left?.intervals ?? []), ...(right?.intervals ?? [])];
  const times = intervals.flatMap((interval) => [millis(interval.from), millis(interval.until)]);
  const known = [...times, millis(left?.last_event), millis(right?.last_event)].filter((time) => time != null);
  if (known.length === 0) return { from: 0, until: 1 };
  const from = Math.min(...known);
  return { from, until: Math.max(...known, from + 1000) };
}

/**
 * Actual and assumed states of the machines that differ, one above the other.
 *
 * @param {{ actual: Record<string, any>, alternative: Alternative }} props
 */
function Timelines({ actual, alternative }) {
  const [left, right] = [machinesOf(actual), machinesOf(alternative.states)];
  const differing = Object.keys(right).filter((name) => JSON.stringify(left[name]) !== JSON.stringify(right[name]));
  if (differing.length === 0) return null;
  const drawn = differing.slice(0, TIMELINES_MAX).map((name) => ({ name, span: spanOf(left[name], right[name]) }));
  const assumed = plain(alternative.name, 80);
  const more = differing.length - TIMELINES_MAX;
  return html`<${Legend} />${drawn.map(({ name, span }) => html`<div key=${name} class="pair">
    <h4>${plain(name, 80)}</h4>
    <p>Actual <${State} of=${left[name]?.state} /></p>
    <${Timeline} name=${name} machine=${left[name]} ...${span} title=${`${plain(name, 80)}, actual`} />
    <p>${assumed} <${State} of=${right[name]?.state} /></p>
    <${Timeline} name=${name} machine=${right[name]} ...${span} title=${`${plain(name, 80)}, ${assumed}`} /></div>`)}
    ${more > 0 && html`<p class="quiet">${count(more)} further machines differ.</p>`}`;
}

/** @param {{ report: WhatIfReport }} props */
function Report({ report }) {
  if (report.alternatives.length === 0) {
    return html`<${Empty} title="The plan has no alternative.">
      <p>Add an <code>[[alternative]]</code> with a name and a rule.</p><//>`;
  }
  const from = Object.entries(report.counts_from ?? {});
  const said = from.map(([model, place]) => html`<${CountsFrom} key=${model} from=${place}
    whose=${`${plain(model, 60)}: `} />`);
  return html`${said}${report.alternatives.map((alternative) => html`<section key=${alternative.name}>
    <h3>${plain(alternative.name, 80)}</h3>
    <p class="quiet">${counted(alternative.dropped, 'event')} dropped, ${count(alternative.changed)} changed,${' '}
      ${count(alternative.added)} added.</p>
    <${Changes} alternative=${alternative} />
    <${Timelines} actual=${report.actual} alternative=${alternative} /></section>`)}`;
}

/** @param {{ asOf: string | null }} props */
export function WhatIf({ asOf }) {
  const [plan, setPlan] = useState(() => localStorage.getItem(PLAN) ?? EXAMPLE);
  const [from, setFrom] = useState('');
  const [until, setUntil] = useState('');
  const [answer, set] = useState(/** @type {Asked} */ ({ state: 'idle' }));
  const run = async (event) => {
    event.preventDefault();
    if (answer.state === 'asking') return;
    localStorage.setItem(PLAN, plan);
    set({ state: 'asking' });
    const [begin, end] = [ofField(from), ofField(until)];
    const span = { from: begin == null ? null : rfc3339(begin), until: end == null ? asOf : rfc3339(end) };
    try {
      const headers = { 'content-type': 'application/toml' };
      const report = await askJson(`/v1/what-if${query(span)}`, { method: 'POST', headers, body: plan });
      set({ state: 'told', report });
    } catch (error) {
      set({ state: 'failed', error });
    }
  };
  return html`<h1>What if</h1>
    <p>The models run over the log twice, side by side: over what happened, and over what the plan assumes. The log
      itself is never changed.</p>
    <form class="amend" onSubmit=${run}>
      <label class="full">Plan (TOML)<textarea rows="14" spellcheck="false" value=${plan}
        onInput=${(event) => setPlan(event.target.value)}></textarea></label>
      <label>From (the first event when empty)<input type="datetime-local" step="1" value=${from}
        onInput=${(event) => setFrom(event.target.value)} /></label>
      <label>Until (${asOf == null ? 'now' : 'the offset shown'} when empty)<input type="datetime-local" step="1"
        value=${until} onInput=${(event) => setUntil(event.target.value)} /></label>
      <button class="main" aria-disabled=${answer.state === 'asking'}>Compare</button>
      <button type="button" onClick=${() => setPlan(EXAMPLE)}>Example</button>
      <p class="quiet">Times are in ${zone()}.</p></form>
    <div aria-live="polite">
      ${answer.state === 'asking' && html`<p>The log is read…</p>`}
      ${answer.state === 'failed' && (answer.error.status === 404 || answer.error.status === 405
        ? html`<${Empty} title="This collector does not compute alternatives.">
          <p>A newer one does; the log that it needs is there.</p><//>`
        : html`<${Problem} error=${answer.error} />`)}
      ${answer.state === 'told' && html`<${Report} report=${answer.report} />`}</div>`;
}
