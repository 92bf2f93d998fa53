// Every sensor of a machine, one below the other on one axis of time, and the same as a table.

/** @import { Colours, Curve, Samples, Sensor, Span } from './types.js' */

import { html, useEffect, useMemo, useRef, useState } from './html.js';
import { Empty, Problem, Table } from './bits.js';
import { measured } from './measure.js';
import { MARGIN_PX, Plot, axes, useWidth } from './plot.js';
import { useSamples } from './samples.js';
import { local } from './time.js';
import { brief, count, counted, figure, plain, within } from './words.js';

const LANE_PX = 96;
const AXIS_PX = 44;

/**
 * The span of the breakdown behind the curves.
 *
 * @param {Span | undefined} span
 * @param {Colours} colour
 */
function shade(span, colour) {
  return (plot) => {
    if (!span) return;
    const { left, top, width, height } = plot.bbox;
    const at = (ms) => Math.min(Math.max(plot.valToPos(ms / 1000, 'x', true), left), left + width);
    const [begin, end] = [at(span.from), at(span.until)];
    plot.ctx.save();
    plot.ctx.fillStyle = colour('shade');
    plot.ctx.fillRect(begin, top, Math.max(end - begin, 1), height);
    plot.ctx.fillStyle = colour('not-available');
    plot.ctx.fillRect(begin, top, devicePixelRatio, height);
    plot.ctx.restore();
  };
}

/**
 * The value that holds at a time: the nearest sample's, and none where the line is broken.
 *
 * @param {Curve} curve
 * @param {number} ms
 * @param {boolean} steps
 */
function valueAt([times, values], ms, steps) {
  const at = ms / 1000;
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= at) low = middle + 1;
    else high = middle;
  }
  const before = low - 1;
  if (before < 0) return null;
  return !steps && low < times.length && times[low] - at < at - times[before] ? values[low] : values[before];
}

/**
 * @param {Sensor} sensor
 * @param {number | bigint | boolean | null} value
 */
const told = ({ steps, unit }, value) => (steps && value != null ? String(Number(value) === 1) : brief(value, unit));

// What is on or off has two lines and nothing between them.
const SWITCH = { splits: () => [0, 1], values: () => ['false', 'true'] };

/**
 * @param {object} props
 * @param {string} props.machine
 * @param {Sensor} props.sensor
 * @param {number} props.from
 * @param {number} props.until
 * @param {number} props.width
 * @param {boolean} props.last
 * @param {Span} [props.span]
 * @param {Curve} props.draw
 * @param {number | null} props.read
 * @param {number} [props.pointed]
 * @param {(plot: any) => void} props.onPoint
 */
function Lane({ machine, sensor, from, until, width, last, span, draw, read, pointed, onPoint }) {
  const { low, high } = sensor.thin.range();
  const options = (colour, UPlot) => {
    const paths = sensor.steps ? UPlot.paths.stepped({ align: 1 }) : undefined;
    const [x, y] = axes(colour, { x: last });
    return {
      cursor: { sync: { key: 'afferent' }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
      legend: { show: false },
      scales: { x: { range: [from / 1000, until / 1000] }, ...sensor.steps && { y: { range: [-0.15, 1.15] } } },
      axes: [x, sensor.steps ? { ...y, ...SWITCH } : y],
      series: [{}, { stroke: colour('line'), width: 1.5, points: { size: 4 }, paths }],
      hooks: { drawClear: [shade(span, colour)], setCursor: [onPoint] },
    };
  };
  const range = `${told(sensor, low)} and ${told(sensor, high)}`;
  const title = `${plain(sensor.subject, 120)}: ${count(sensor.thin.count)} samples between ${range}`;
  return html`<figure class="lane">
    <figcaption><strong>${within(machine, sensor.subject)}</strong>
      ${read == null ? html`<span>last ${told(sensor, sensor.thin.lastValue)}</span>`
        : html`<span class="read-off">${told(sensor, valueAt(draw, read, sensor.steps))}</span>`}
      ${!sensor.steps && html`<span class="quiet">${brief(low)} to ${brief(high, sensor.unit)}</span>`}</figcaption>
    <${Plot} width=${width} height=${LANE_PX + (last ? AXIS_PX : 0)} options=${options} draw=${draw} title=${title}
      pointed=${pointed} depends=${[from, until, last, span?.from, span?.until]} />
  </figure>`;
}

const READ_STEPS = 400;
const READ_ALOUD_MAX = 5;

/**
 * Reads all curves off at one time. The pointer does it on the curves; keys and fingers do it here.
 *
 * @param {object} props
 * @param {number} props.from
 * @param {number} props.until
 * @param {number | null} props.read
 * @param {(read: number) => string[]} props.values
 * @param {(read: number) => void} props.onRead
 */
function ReadOff({ from, until, read, values, onRead }) {
  const step = (until - from) / READ_STEPS;
  const aloud = (ms) => `${local(ms)}: ${values(ms).slice(0, READ_ALOUD_MAX).join(', ')}`;
  const at = read == null ? READ_STEPS : Math.round((read - from) / step);
  return html`<div class="read"><label for="read-off">Read off at</label>${' '}
    <output>${read == null ? html`<span class="quiet">a time: point at a curve, or move this</span>`
      : html`<b>${local(read)}</b>`}</output>
    <input id="read-off" type="range" min="0" max=${READ_STEPS} step="1" value=${at}
      aria-valuetext=${read == null ? 'no time yet' : aloud(read)}
      onInput=${measured('read off', (event) => onRead(from + Number(event.target.value) * step))} /></div>`;
}

/**
 * The time that is read off: `[read, pointed, onPoint, onRead]`; `pointed` when it was not the pointer that chose it.
 *
 * @param {number} from
 * @param {number} until
 * @returns {[number | null, number | undefined, (plot: any) => void, (read: number) => void]}
 */
function useReading(from, until) {
  const [at, set] = useState(/** @type {{ read: number | null, pointed?: number }} */ ({ read: null }));
  const frame = useRef(0);
  // All charts follow the pointer, and each of them says so: once a frame is enough.
  const [onPoint] = useState(() => (plot) => {
    const read = plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, 'x') * 1000 : null;
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => set({ read }));
  });
  useEffect(() => {
    set({ read: null });
    return () => cancelAnimationFrame(frame.current);
  }, [from, until]);
  return [at.read, at.pointed, onPoint, (read) => set({ read, pointed: read })];
}

const HEAD = ['Sensor', '#Samples', '#Lowest', '#Mean', '#Highest', '#Last', 'Last at'];

/**
 * @param {string} machine
 * @param {Sensor} sensor
 */
const cells = (machine, { subject, unit, thin }) => {
  const { low, high } = thin.range();
  return { key: subject, cells: [
    within(machine, subject), count(thin.count), figure(low, unit), figure(thin.mean(), unit), figure(high, unit),
    figure(thin.lastValue, unit), local(thin.last),
  ] };
};

/** @param {Samples} samples */
function leftOut({ bad, texts, beyond }) {
  /** @type {[number | undefined, string][]} */
  const said = [[bad, 'of bad quality'], [texts, 'that are texts'], [beyond, 'of further sensors']];
  const parts = said.filter(([number = 0]) => number > 0).map(([number, what]) => `${count(number)} ${what}`);
  return parts.length ? ` Not drawn: ${parts.join(', ')}.` : '';
}

/**
 * Points up to a time.
 *
 * @param {number} now
 * @param {ReturnType<Sensor['thin']['points']>} points
 */
function upTo(now, { times, values }) {
  const end = times.findIndex((time) => time > now);
  return end < 0 ? { times, values } : { times: times.slice(0, end), values: values.slice(0, end) };
}

/**
 * The charts of a machine from `from` until `until`, of which what is later than `now` is empty; `span` is shaded.
 *
 * @param {object} props
 * @param {string} props.machine
 * @param {number} props.from
 * @param {number} props.until
 * @param {number} props.now
 * @param {string | null} props.asOf
 * @param {Span} [props.span]
 */
export function Sensors({ machine, from, until, now, asOf, span }) {
  const [place, width] = useWidth();
  const samples = useSamples(machine, from, until, asOf, Math.max(0, width - MARGIN_PX));
  const [read, pointed, onPoint, onRead] = useReading(from, until);
  // What is not a number of one kind has no curve, and a sensor without a sample in the span has none either.
  // A clock may be a little ahead of the collector's.
  const end = samples.sensors.some(({ thin }) => thin.last > now) ? now : Infinity;
  const drawn = useMemo(() => samples.sensors.filter((sensor) => sensor.thin.count > 0).map((sensor) => {
    const { times, values } = upTo(end, sensor.thin.points());
    /** @type {Curve} */
    const draw = [times.map((ms) => ms / 1000), values];
    return { sensor, draw };
  }), [samples, end]);
  const values = (ms) => drawn.map(({ sensor, draw }) => (
    `${within(machine, sensor.subject)} ${told(sensor, valueAt(draw, ms, sensor.steps))}`));
  return html`<div ref=${place} class="sensors" aria-busy=${!samples.done}>
    <p class="quiet"><span role="status">${samples.done && `${counted(samples.events, 'sample')}.`}</span>
      ${!samples.done && `${counted(samples.events, 'sample')} so far…`}${leftOut(samples)}</p>
    ${samples.error && html`<${Problem} error=${samples.error} />`}
    ${samples.done && !samples.error && drawn.length === 0 && html`<${Empty} title="No samples in this span.">
      <p>Choose a longer span, or let a sensor of ${plain(machine, 80)} speak.</p><//>`}
    ${drawn.length > 0 && html`<${ReadOff} from=${from} until=${until} read=${read} values=${values}
      onRead=${onRead} />`}
    ${drawn.map(({ sensor, draw }, at) => html`<${Lane} key=${sensor.subject} machine=${machine} sensor=${sensor}
      from=${from} until=${until} width=${width} last=${at === drawn.length - 1} span=${span} draw=${draw}
      read=${read} pointed=${pointed} onPoint=${onPoint} />`)}
    ${drawn.length > 0 && html`<details><summary>The same as a table</summary>
      <${Table} caption="Samples in this span" head=${HEAD}
        rows=${drawn.map(({ sensor }) => cells(machine, sensor))} /></details>`}
  </div>`;
}
