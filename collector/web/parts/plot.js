// uPlot as a component: loaded when the first chart is shown, coloured by the style sheet, as wide as its place.

/** @import { Colours, Curve, Ref } from './types.js' */

import { html, useEffect, useElement, useRef, useState } from './html.js';
import { local } from './time.js';

/** @type {Promise<any> | null} */
let library = null;
const load = () => (library ??= import('../vendor/uPlot.js').then((module) => module.default));

/**
 * The colours of the style sheet, by the names of its custom properties.
 *
 * @returns {Colours}
 */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

/**
 * The width of an element, once it has one.
 *
 * @returns {[Ref<HTMLElement>, number]}
 */
export function useWidth() {
  const ref = useElement();
  const [width, set] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => set(Math.floor(entry.contentRect.width)));
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/** Whether the colours are dark; a chart is drawn anew when that changes. */
function useDark() {
  const media = matchMedia('(prefers-color-scheme: dark)');
  const [dark, set] = useState(media.matches);
  useEffect(() => {
    const changed = () => set(media.matches);
    media.addEventListener('change', changed);
    return () => media.removeEventListener('change', changed);
  }, []);
  return dark;
}

/**
 * A chart. `options(colour, UPlot)` gives uPlot's options without its size; `draw` (columns of data) may change
 * without the chart being made anew, all that `options` depends on must be in `depends`. `title` is for whoever does
 * not see it. `pointed` is a time (milliseconds) that the cursor is put on; without it the pointer moves the cursor.
 *
 * @param {object} props
 * @param {number} props.width
 * @param {number} props.height
 * @param {(colour: Colours, UPlot: any) => object} props.options
 * @param {Curve} props.draw
 * @param {unknown[]} props.depends
 * @param {string} props.title
 * @param {number | null} [props.pointed]
 */
export function Plot({ width, height, options, draw, depends, title, pointed }) {
  const place = useElement();
  const chart = useRef(/** @type {any} uPlot has no types */ (null));
  const latest = useRef(draw);
  const dark = useDark();
  latest.current = draw;
  const shown = width > 0;
  useEffect(() => {
    let gone = false;
    load().then((UPlot) => {
      if (gone || !shown) return;
      const all = { ...options(colours(), UPlot), padding: PADDING, width, height };
      chart.current = new UPlot(all, latest.current, place.current);
    });
    return () => {
      gone = true;
      chart.current?.destroy();
      chart.current = null;
    };
  }, [dark, shown, ...depends]);
  useEffect(() => { if (shown) chart.current?.setSize({ width, height }); }, [width, height]);
  useEffect(() => chart.current?.setData(draw), [draw]);
  useEffect(() => {
    if (pointed == null) return;
    chart.current?.setCursor({ left: chart.current.valToPos(pointed / 1000, 'x'), top: 1 }, false, false);
  }, [pointed]);
  return html`<div class="plot" ref=${place} style=${{ height: `${height}px` }} role="img" aria-label=${title}></div>`;
}

// The same around every chart, so that charts one below the other have the same time in the same place.
const PADDING = [8, 40, 8, 0];
const LEFT_PX = 84;

/** Pixels of a chart's width that are not for its curves. */
export const MARGIN_PX = LEFT_PX + PADDING[1];

const DAY_S = 86_400;

/**
 * Labels of the axis of time: the time of day in 24 hours, and the date where it is the first or a new one.
 *
 * @param {unknown} _
 * @param {number[]} splits
 * @param {number} axis
 * @param {number} space
 * @param {number} step
 */
function timeLabels(_, splits, axis, space, step) {
  let date = '';
  return splits.map((seconds) => {
    const text = local(seconds * 1000);
    const time = text.slice(11, step < 60 ? 19 : 16);
    const isNew = text.slice(0, 10) !== date;
    date = text.slice(0, 10);
    if (step >= DAY_S) return date;
    return isNew ? `${time}\n${date}` : time;
  });
}

/** @type {(_: unknown, splits: number[]) => string[]} */
const noLabels = (_, splits) => splits.map(() => '');

/**
 * The axes' look. The lines of time go through every chart; only the last one has their labels.
 *
 * @param {Colours} colour
 * @param {{ x?: boolean }} [shown]
 */
export function axes(colour, { x = true } = {}) {
  const look = {
    stroke: colour('quiet'), font: '12px system-ui, sans-serif',
    grid: { stroke: colour('grid'), width: 1 }, ticks: { stroke: colour('grid'), width: 1 },
  };
  const time = x ? { size: 44, values: timeLabels } : { size: 0, values: noLabels, ticks: { show: false } };
  return [{ ...look, space: 90, ...time }, { ...look, size: LEFT_PX, space: 24 }];
}
