// A machine's states, breakdowns and alarms on one canvas, and the same as a table.

/** @import { Colours, Drawn, DrawnInterval, Episode, Machine, RaisedAlarm, StateName } from './types.js' */

import { html } from './html.js';
import { Kind, State, Table } from './bits.js';
import { Plot, axes, useWidth } from './plot.js';
import { duration, local, millis } from './time.js';
import { STATE_NAMES, plain, stateOf, within } from './words.js';

// Lanes from below: where each one lies on a scale from 0 to 3.
const LANES = { alarms: [0.25, 0.75], breakdowns: [1.25, 1.75], states: [2.15, 2.85] };
const NAMES = ['Alarms', 'Breakdowns', 'States'];
/** @param {StateName} state */
const cssName = (state) => state.replaceAll('_', '-');

// Lines across the bar: what is not known must not be taken for a state, whatever the colours.
/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} x
 * @param {number} top
 * @param {number} width
 * @param {number} height
 */
function hatch(ctx, x, top, width, height) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, top, width, height);
  ctx.clip();
  ctx.beginPath();
  const step = 7 * devicePixelRatio;
  for (let at = x - height; at < x + width; at += step) {
    ctx.moveTo(at, top + height);
    ctx.lineTo(at + height, top);
  }
  ctx.stroke();
  ctx.restore();
}

/**
 * @param {Drawn} shown
 * @param {Colours} colour
 */
function painter({ intervals, breakdowns, alarms, now }, colour) {
  return (plot) => {
    const { ctx, bbox } = plot;
    const x = (ms) => Math.min(Math.max(plot.valToPos(ms / 1000, 'x', true), bbox.left), bbox.left + bbox.width);
    /**
     * @param {number} from
     * @param {number} to
     * @param {number[]} lane
     * @param {string} fill
     * @param {boolean} [hatched]
     */
    const bar = (from, to, lane, fill, hatched) => {
      // Nobody knows what comes: nothing is painted right of now.
      if (from > now) return;
      const [bottom, top] = lane.map((at) => plot.valToPos(at, 'y', true));
      const right = x(Math.min(to, now));
      // A short stop is as important as a long one: it is never thinner than a line.
      const width = Math.max(right - x(from), devicePixelRatio * 2);
      const left = Math.min(x(from), x(now) - width);
      if (left >= bbox.left + bbox.width || right <= bbox.left) return;
      ctx.fillStyle = fill;
      ctx.fillRect(left, top, width, bottom - top);
      if (hatched) hatch(ctx, left, top, width, bottom - top);
    };
    ctx.save();
    ctx.strokeStyle = colour('quiet');
    ctx.lineWidth = devicePixelRatio;
    for (const { state, from, end } of intervals) {
      bar(from, end, LANES.states, colour(cssName(state)), state === 'no_data');
    }
    for (const { from, end } of breakdowns) bar(from, end ?? now, LANES.breakdowns, colour('not-available'));
    for (const { at } of alarms) bar(at, at, LANES.alarms, colour('alarm'));
    ctx.restore();
  };
}

/**
 * Intervals of the API with times as numbers, up to now; a time before the first one is no data.
 *
 * @param {Machine | undefined} machine
 * @param {number} from
 * @param {number} until
 * @param {number} [now]
 * @returns {DrawnInterval[]}
 */
export function intervalsOf(machine, from, until, now = until) {
  const told = (machine?.intervals ?? []).map(({ state, from: begin, until: end, reason }) => ({
    state: stateOf(state), from: millis(begin) ?? 0, end: Math.min(millis(end) ?? now, now), reason,
  })).filter((interval) => interval.from < now);
  // The state of now may be the only one to tell of silence: from its beginning on the last interval is not known to
  // go on.
  if (machine && stateOf(machine.state) === 'no_data' && told.length > 0) {
    const since = millis(machine.since);
    const last = told[told.length - 1];
    if (since != null && last.state !== 'no_data' && since > last.from && since < last.end) {
      last.end = since;
      told.push({ state: 'no_data', from: since, end: now, reason: machine.reason });
    }
  }
  const first = told[0]?.from ?? now;
  if (first > from) told.unshift({ state: 'no_data', from, end: first, reason: '' });
  return told.filter((interval) => interval.end > from && interval.from < until);
}

/**
 * @param {Drawn} shown
 * @param {boolean} only
 */
function options(shown, only) {
  return (colour) => {
    const [x, y] = axes(colour);
    const [low, names] = only ? [2, NAMES.slice(2)] : [0, NAMES];
    return {
      cursor: { sync: { key: 'afferent' }, y: false, points: { show: false }, drag: { x: false, y: false } },
      legend: { show: false },
      scales: { x: { range: [shown.from / 1000, shown.until / 1000] }, y: { range: [low, 3] } },
      axes: [x, {
        ...y, splits: () => names.map((_, at) => low + at + 0.5), values: () => names,
        grid: { show: false }, ticks: { show: false },
      }],
      series: [{}, { show: true, stroke: 'transparent', points: { show: false } }],
      hooks: { draw: [painter(shown, colour)] },
    };
  };
}

/**
 * The legend: every state with its colour and mark.
 *
 * @param {{ children?: unknown }} props
 */
export function Legend({ children }) {
  return html`<ul class="legend" aria-label="States">${STATE_NAMES.map((state) => html`<li key=${state}>
    <${State} of=${state} /></li>`)}${children}</ul>`;
}

/** @typedef {[at: number, what: unknown, lasts: string, why: string]} RowCells */

/**
 * What a timeline shows, as rows of a table in the order of time.
 *
 * @param {string} name
 * @param {Drawn} shown
 */
function rowsOf(name, { intervals, breakdowns, alarms, now }) {
  /**
   * @param {number} from
   * @param {number | null} end
   */
  const lasted = (from, end) => duration((Math.min(end ?? now, now) - from) / 1000);
  const rows = /** @type {RowCells[]} */ ([
    ...intervals.map(({ state, from, end, reason }) => [
      from, html`<${State} of=${state} />`, lasted(from, end), plain(reason),
    ]),
    ...breakdowns.map(({ code, from, end, message }) => [
      from, html`<${Kind} of="breakdown" /> ${plain(code, 60)}`, lasted(from, end), plain(message, 200),
    ]),
    ...alarms.map(({ condition, subject, at }) => [
      at, html`<${Kind} of="alarm" /> ${plain(condition, 80)}`, '', within(name, subject),
    ]),
  ]);
  return rows.sort(([a], [b]) => a - b).map(([from, what, lasts, why], at) => (
    { key: at, cells: [what, local(from), lasts || '–', why || '–'] }));
}

const HEAD = ['What', 'From', '#For', 'Why or where'];
const FULL_PX = 158;
const STATES_PX = 94;

/**
 * The end of what is drawn: not later than now, and moving in steps of about a pixel, with each of which the chart is
 * made anew. Whatever has begun is within it.
 *
 * @param {number} now
 * @param {number} length
 * @param {(string | undefined)[]} begun when things began
 */
function stepped(now, length, begun) {
  const step = Math.max(length / 500, 5000);
  const times = begun.map((text) => millis(text) ?? -Infinity).filter((time) => time <= now);
  return times.reduce((latest, time) => Math.max(latest, time), Math.floor(now / step) * step);
}

/**
 * When an alarm was raised, be it an active one or one of a breakdown.
 *
 * @param {RaisedAlarm} alarm
 */
const raisedAt = ({ raised, time }) => raised ?? time;

/**
 * The timeline from `from` until `until` (milliseconds), of which what is later than `now` is empty. `episodes` are
 * breakdowns, `alarms` active ones and those of episodes; without `episodes` there are states only.
 *
 * @param {object} props
 * @param {string} props.name
 * @param {Machine | undefined} props.machine
 * @param {Episode[]} [props.episodes]
 * @param {RaisedAlarm[]} [props.alarms]
 * @param {number} props.from
 * @param {number} props.until
 * @param {number} [props.now]
 * @param {string} props.title
 */
export function Timeline({ name, machine, episodes, alarms = [], from, until, now: at = until, title }) {
  const [place, width] = useWidth();
  const begun = [
    ...(machine?.intervals ?? []).map((interval) => interval.from),
    ...(episodes ?? []).map((episode) => episode.from),
    ...alarms.map(raisedAt),
  ];
  const now = stepped(at, until - from, begun);
  const intervals = intervalsOf(machine, from, until, now);
  const breakdowns = (episodes ?? [])
    .map((episode) => ({ ...episode, from: millis(episode.from) ?? 0, end: millis(episode.until) }))
    .filter((episode) => (episode.end ?? now) > from && episode.from < Math.min(until, now));
  const timed = alarms.map((alarm) => ({ ...alarm, at: millis(raisedAt(alarm)) ?? 0 }));
  const raised = [...new Map(timed.map((alarm) => [alarm.offset, alarm])).values()]
    .filter(({ at }) => at >= from && at < until && at <= now);
  const only = episodes === undefined;
  const shown = { intervals, breakdowns, alarms: raised, from, until, now };
  // Only what is drawn makes a chart anew.
  const bars = breakdowns.map((one) => [one.from, one.end]);
  const drawn = JSON.stringify([from, until, intervals, bars, raised.map(({ at }) => at)]);
  return html`<div ref=${place} class="timeline">
    <${Plot} width=${width} height=${only ? STATES_PX : FULL_PX} options=${options(shown, only)}
      draw=${[[from / 1000, until / 1000], [null, null]]} title=${title} depends=${[drawn]} />
    <details><summary>${only ? 'The states as a table' : 'States, breakdowns and alarms as a table'}</summary>
      <${Table} caption=${title} head=${HEAD} rows=${rowsOf(name, shown)} /></details>
  </div>`;
}
