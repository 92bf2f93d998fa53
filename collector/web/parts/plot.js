// uPlot as a component: loaded when the first chart is shown, coloured by the style sheet, as wide as its place.

import { html, useEffect, useRef, useState } from './html.js';

let library = null;
const load = () => (library ??= import('../vendor/uPlot.js').then((module) => module.default));

/** The colours of the style sheet, by the names of its custom properties. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

/** The width of an element, once it has one. */
export function useWidth() {
  const ref = useRef(null);
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
 * A chart. `options(colour)` gives uPlot's options without its size; `draw` (columns of data) may change without the chart being
 * made anew, all that `options` depends on must be in `depends`. `title` is for whoever does not see it.
 */
export function Plot({ width, height, options, draw, depends, title }) {
  const place = useRef(null);
  const chart = useRef(null);
  const latest = useRef(draw);
  const dark = useDark();
  latest.current = draw;
  useEffect(() => {
    let gone = false;
    load().then((UPlot) => {
      if (gone || width === 0) return;
      chart.current = new UPlot({ ...options(colours()), width, height }, latest.current, place.current);
    });
    return () => {
      gone = true;
      chart.current?.destroy();
      chart.current = null;
    };
  }, [dark, width, height, ...depends]);
  useEffect(() => chart.current?.setData(draw), [draw]);
  return html`<div class="plot" ref=${place} role="img" aria-label=${title}></div>`;
}

/** The axes' look; `y` has the size of the left one. */
export function axes(colour, { x = true, y = 56 } = {}) {
  const look = {
    stroke: colour('quiet'), font: '12px system-ui, sans-serif',
    grid: { stroke: colour('grid'), width: 1 }, ticks: { stroke: colour('grid'), width: 1 },
  };
  return [{ ...look, show: x, size: 44 }, { ...look, size: y, space: 24 }];
}
