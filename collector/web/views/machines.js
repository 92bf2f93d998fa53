// All machines, worst first. Of a thousand only those in sight are in the document.

/** @import { ListedMachine, Models, Ref, StateName } from '../parts/types.js' */

import { Component, html, useEffect, useLayoutEffect, useMemo, useRef, useState } from '../parts/html.js';
import { Empty, Stale, StartAnAgent, State, Waiting } from '../parts/bits.js';
import { Counted, NotShown, lateOf } from '../parts/counted.js';
import { useHeldFocus } from '../parts/focus.js';
import { measured, painted } from '../parts/measure.js';
import { useModel } from '../parts/models.js';
import { link } from '../parts/place.js';
import { useWidth } from '../parts/plot.js';
import { say } from '../parts/say.js';
import { Time, ahead, millis, roughly } from '../parts/time.js';
import { STATES, STATE_NAMES, corrections, count, counted, plain, rank, stateOf } from '../parts/words.js';

// One row with its gap, and the least width of a card: the style sheet says the same.
const ROW_PX = 148;
const CARD_PX = 240;
const GAP_PX = 12;
const ROWS_AHEAD = 2;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const DIGITS = 12;

// M-2 comes before M-10. A collator of the browser would do the same, and takes longer to make than a thousand names.
/** @param {string} name */
const orderOf = (name) => name.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(DIGITS, '0'));

/**
 * Machines with what a card shows, worst first: by state, then by unacknowledged alarms, then who is in it longest.
 *
 * @param {Models['states']} states
 * @param {Models['breakdowns'] | undefined} breakdowns
 * @param {Models['alarms'] | undefined} alarms
 * @param {number} now
 * @returns {ListedMachine[]}
 */
function listed(states, breakdowns, alarms, now) {
  // What was not told is not none.
  const recent = breakdowns && new Map();
  for (const { machine, from } of breakdowns?.episodes ?? []) {
    if ((millis(from) ?? 0) > now - DAY_MS) recent?.set(machine, (recent.get(machine) ?? 0) + 1);
  }
  const raised = alarms && new Map();
  for (const { machine, state } of alarms?.active ?? []) {
    if (state.startsWith('unacked')) raised?.set(machine, (raised.get(machine) ?? 0) + 1);
  }
  const all = Object.entries(states.machines).map(([name, machine]) => ({
    name,
    order: orderOf(name),
    state: stateOf(machine.state),
    since: millis(machine.since),
    reason: machine.reason,
    last: machine.last_event,
    corrected: corrections(machine).moved + corrections(machine).ingest,
    breakdowns: recent && (recent.get(name) ?? 0),
    alarms: raised && (raised.get(name) ?? 0),
  }));
  return all.sort((a, b) => rank(a.state) - rank(b.state) || (b.alarms ?? 0) - (a.alarms ?? 0)
    || (a.since ?? 0) - (b.since ?? 0)    || (a.order < b.order ? -1 : 1));
}

/** @typedef {{ machine: ListedMachine, now: number, at: number, of: number, tabindex: number }} CardProps */

/** A card is drawn again only when something on it changed: a list that moves by a row draws that row. */
class Card extends Component {
  /** @param {Record<string, unknown>} next */
  shouldComponentUpdate(next) {
    return Object.keys(next).some((key) => next[key] !== this.props[key]);
  }

  /** @param {CardProps} props */
  render(props) {
    return cardOf(props);
  }
}

/**
 * How long ago a machine was heard; times that are yet to come are told as what they are.
 *
 * @param {{ last: string | null, now: number, corrected: number }} props
 */
function Heard({ last, now, corrected }) {
  const by = ahead(millis(last), now);
  if (by > 0) return html`<span class="alarms">clock ahead by <${Time} of=${last}>${roughly(by)}<//></span>`;
  const ago = (now - (millis(last) ?? 0)) / 1000;
  return html`<span class="quiet">last event <${Time} of=${last}>${roughly(ago)} ago<//></span>
    ${corrected > 0 && html`<span class="alarms"> · clock wrong</span>`}`;
}

/** @param {CardProps} props */
function cardOf({ machine, now, at, of, tabindex }) {
  const { name, state, since, reason, last, breakdowns, alarms, corrected } = machine;
  const lasts = since == null || ahead(since, now) ? '' : `for ${roughly((now - since) / 1000)}`;
  const stops = breakdowns == null ? '? breakdowns' : `${counted(breakdowns, 'breakdown')} in 24 h`;
  return html`<li aria-setsize=${of} aria-posinset=${at + 1}>
    <a class="card ${state}" href=${link(['machines', name])} data-at=${at} tabindex=${tabindex}>
      <span class="name">${plain(name, 60)}</span>
      <${State} of=${state} />
      <span class="why">${lasts}${reason && html` · <bdi>${plain(reason, 80)}</bdi>`}</span>
      <span class="figures"><span class=${breakdowns ? undefined : 'quiet'}>${stops}</span>
        ${alarms == null && html`<span class="quiet">? alarms</span>`}
        ${alarms !== undefined && alarms > 0 && html`<span class="alarms">${counted(alarms, 'alarm')}</span>`}</span>
      <${Heard} last=${last} now=${now} corrected=${corrected} />
    </a></li>`;
}

/** @type {Record<string, (columns: number) => number>} */
const MOVES = {
  ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: (columns) => -columns, ArrowDown: (columns) => columns,
  Home: () => -Infinity, End: () => Infinity,
};

/**
 * The rows that are in sight of a list that begins at `list`.
 *
 * @param {Ref<HTMLElement>} list
 * @param {number} rows
 * @returns {[begin: number, end: number]}
 */
function useRows(list, rows) {
  const [first, set] = useState(0);
  useEffect(() => {
    const look = () => {
      const above = -list.current.getBoundingClientRect().top;
      set(Math.max(0, Math.floor(above / ROW_PX) - ROWS_AHEAD));
    };
    look();
    addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    return () => { removeEventListener('scroll', look); removeEventListener('resize', look); };
  }, []);
  const seen = Math.ceil(innerHeight / ROW_PX) + 2 * ROWS_AHEAD;
  const begin = Math.min(first, Math.max(0, rows - seen));
  return [begin, Math.min(rows, begin + seen)];
}

/** @param {{ machines: ListedMachine[], now: number }} props */
function Grid({ machines, now }) {
  const [list, width] = useWidth();
  const columns = Math.max(1, Math.floor((width + GAP_PX) / (CARD_PX + GAP_PX)));
  const rows = Math.ceil(machines.length / columns);
  const [begin, end] = useRows(list, rows);
  useHeldFocus(list, 'li');
  const [active, setActive] = useState(0);
  const wanted = useRef(false);
  useLayoutEffect(() => {
    if (!wanted.current) return;
    /** @type {HTMLElement | null} */
    const card = list.current.querySelector(`[data-at="${active}"]`);
    if (!card) return;
    wanted.current = false;
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: 'nearest' });
  });
  const press = measured('arrow key', (event) => {
    const move = MOVES[event.key]?.(columns);
    if (move === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const from = Number(event.target.closest('[data-at]')?.dataset.at ?? active);
    const to = Math.min(Math.max(from + move, 0), machines.length - 1);
    wanted.current = true;
    setActive(to);
    // A card that is out of sight is not in the document: going there brings it in.
    const row = Math.floor(to / columns);
    if (row < begin || row >= end) scrollTo({ top: list.current.offsetTop + row * ROW_PX - innerHeight / 2 });
  });
  const shown = machines.slice(begin * columns, end * columns);
  const isIn = active >= begin * columns && active < end * columns;
  const stop = isIn ? active : begin * columns;
  const style = {
    height: `${rows * ROW_PX}px`, paddingTop: `${begin * ROW_PX}px`,
    gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))`,
  };
  return html`<ul ref=${list} class="grid" aria-label="Machines, worst first" onKeyDown=${press} style=${style}>
    ${width > 0 && shown.map((machine, index) => {
      const at = begin * columns + index;
      return html`<${Card} key=${machine.name} machine=${machine} now=${now} at=${at} of=${machines.length}
        tabindex=${at === stop ? 0 : -1} />`;
    })}</ul>`;
}

/**
 * Says aloud which machines changed their state.
 *
 * @param {ListedMachine[]} machines
 */
function useChanges(machines) {
  const before = useRef(/** @type {Map<string, string> | null} */ (null));
  useEffect(() => {
    const states = new Map(machines.map(({ name, state }) => [name, state]));
    const known = before.current;
    const changed = known && machines.filter(({ name, state }) => known.get(name) !== state);
    before.current = states.size > 0 ? states : null;
    if (!changed?.length) return;
    const first = changed.slice(0, 3).map(({ name, state }) => `${plain(name, 60)}: ${STATES[state].title}`).join('. ');
    say(changed.length > 3 ? `${first}. And ${changed.length - 3} more.` : first);
  }, [machines]);
}

/** @param {{ asOf: string | null }} props */
export function Machines({ asOf }) {
  const states = useModel('states', asOf, { intervals: 0 });
  const breakdowns = useModel('breakdowns', asOf);
  const alarms = useModel('alarms', asOf);
  const [only, setOnly] = useState(/** @type {StateName | null} */ (null));
  const [text, setText] = useState('');
  const now = millis(states.time) ?? Date.now();
  const all = useMemo(() => (states.state ? listed(states.state, breakdowns.state, alarms.state, now) : []),
    [states.state, breakdowns.state, alarms.state]);
  useChanges(all);
  const wanted = text.trim().toLowerCase();
  const shown = all.filter(({ name, state }) => (
    (only == null || state === only) && name.toLowerCase().includes(wanted)));
  const isFirst = useRef(true);
  useEffect(() => {
    if (!isFirst.current || all.length === 0) return;
    isFirst.current = false;
    painted('machines');
  }, [all]);
  if (states.state === undefined) return html`<h1>Machines</h1><${Waiting} model=${states} name="states" />`;
  if (all.length === 0) {
    return html`<h1>Machines</h1><${Empty} title="No machine has spoken yet."><${StartAnAgent} /><//>`;
  }
  return html`<h1>Machines</h1><${Stale} models=${[states, breakdowns, alarms]} />
    <${NotShown} model=${states} what="machines" />
    <${NotShown} model=${alarms} what="alarms" />
    <div class="filters states" role="group" aria-label="Show only">
      ${STATE_NAMES.map((state) => {
        const number = all.filter((machine) => machine.state === state).length;
        return html`<button key=${state} type="button" aria-pressed=${only === state} class="filter"
          onClick=${measured('filter', () => setOnly(only === state ? null : state))}>
          <b>${count(number)}</b> <${State} of=${state} /></button>`;
      })}
      <label class="grows">Name<input type="search" value=${text} placeholder="part of a name"
        onInput=${measured('search', (event) => setText(event.target.value))} /></label>
    </div>
    ${shown.length === 0 ? html`<${Empty} title="No machine is like that."><p>
      ${count(all.length)} machines are hidden.${' '}
      <button type="button" onClick=${() => { setOnly(null); setText(''); }}>Show all</button></p><//>`
      : html`<${Grid} machines=${shown} now=${Math.floor(now / MINUTE_MS) * MINUTE_MS} />`}
    <${Counted} model=${breakdowns} of=${{ late: lateOf(breakdowns.state?.machines) }} />`;
}
