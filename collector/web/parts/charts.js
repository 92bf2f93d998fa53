// Every sensor of a machine, one below the other on one axis of time, and the same as a table.

import { html, useMemo } from './html.js';
import { Empty, Problem, Table } from './bits.js';
import { MARGIN_PX, Plot, axes, useWidth } from './plot.js';
import { useSamples } from './samples.js';
import { local } from './time.js';
import { count, figure, plain } from './words.js';

const LANE_PX = 96;
const AXIS_PX = 44;

/** The span of the breakdown behind the curves. */
function shade(span, colour) {
  return (plot) => {
    if (!span) return;
    const { left, top, width, height } = plot.bbox;
    const at = (ms) => Math.min(Math.max(plot.valToPos(ms / 1000, 'x', true), left), left + width);
    const [begin, end] = [at(span.from), at(span.until ?? Infinity)];
    plot.ctx.save();
    plot.ctx.fillStyle = colour('shade');
    plot.ctx.fillRect(begin, top, Math.max(end - begin, 1), height);
    plot.ctx.fillStyle = colour('not-available');
    plot.ctx.fillRect(begin, top, devicePixelRatio, height);
    plot.ctx.restore();
  };
}

function Lane({ sensor, from, until, width, last, span, version }) {
  const draw = useMemo(() => {
    const { times, values } = sensor.thin.points();
    return [times.map((ms) => ms / 1000), values];
  }, [sensor, version]);
  const { low, high } = sensor.thin.range();
  const options = (colour, UPlot) => ({
    cursor: { sync: { key: 'afferent' }, drag: { x: false, y: false }, points: { size: 6 } },
    legend: { show: false },
    scales: { x: { range: [from / 1000, until / 1000] } },
    axes: axes(colour, { x: last }),
    series: [{}, { stroke: colour('line'), width: 1.5, points: { size: 4 }, paths: sensor.steps ? UPlot.paths.stepped({ align: 1 }) : undefined }],
    hooks: { drawClear: [shade(span, colour)] },
  });
  const title = `${plain(sensor.subject, 120)}: ${count(sensor.thin.count)} samples between ${figure(low, sensor.unit)} `
    + `and ${figure(high, sensor.unit)}`;
  return html`<figure class="lane">
    <figcaption><strong>${plain(sensor.subject, 120)}</strong>
      <span>${figure(sensor.thin.lastValue, sensor.unit)}</span>
      <span class="quiet">${figure(low)} to ${figure(high, sensor.unit)}</span></figcaption>
    <${Plot} width=${width} height=${LANE_PX + (last ? AXIS_PX : 0)} options=${options} draw=${draw} title=${title}
      depends=${[from, until, last, span?.from, span?.until]} />
  </figure>`;
}

const cells = ({ subject, unit, thin }) => {
  const { low, high } = thin.range();
  return { key: subject, cells: [plain(subject, 120), count(thin.count), figure(low, unit), figure(thin.mean(), unit),
    figure(high, unit), figure(thin.lastValue, unit), local(thin.last)] };
};

function leftOut({ bad, texts, beyond }) {
  const said = [[bad, 'of bad quality'], [texts, 'that are texts'], [beyond, 'of further sensors']];
  const parts = said.filter(([number]) => number > 0).map(([number, what]) => `${count(number)} ${what}`);
  return parts.length ? ` Not drawn: ${parts.join(', ')}.` : '';
}

/** The charts of a machine from `from` until `until`; `span` is shaded. */
export function Sensors({ machine, from, until, asOf, span }) {
  const [place, width] = useWidth();
  const samples = useSamples(machine, from, until, asOf, Math.max(0, width - MARGIN_PX));
  // What is not a number of one kind has no curve, and a sensor without a sample in the span has none either.
  const drawn = samples.sensors.filter((sensor) => sensor.thin.count > 0);
  return html`<div ref=${place} class="sensors" aria-busy=${!samples.done}>
    <p class="quiet" role="status">${samples.done ? `${count(samples.events)} samples.` : `${count(samples.events)} samples so far…`}
      ${leftOut(samples)}</p>
    ${samples.error && html`<${Problem} error=${samples.error} />`}
    ${samples.done && !samples.error && drawn.length === 0 && html`<${Empty} title="No samples in this span.">
      <p>Choose a longer span, or let a sensor of ${plain(machine, 80)} speak.</p><//>`}
    ${drawn.map((sensor, at) => html`<${Lane} key=${sensor.subject} sensor=${sensor} from=${from} until=${until} width=${width}
      last=${at === drawn.length - 1} span=${span} version=${samples} />`)}
    ${drawn.length > 0 && html`<details><summary>The same as a table</summary>
      <${Table} caption="Samples in this span" head=${['Sensor', 'Samples', 'Lowest', 'Mean', 'Highest', 'Last', 'Last at']}
        rows=${drawn.map(cells)} /></details>`}
  </div>`;
}
