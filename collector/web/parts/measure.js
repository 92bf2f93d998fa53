// How long people wait, by the browser's own clock: `performance.getEntriesByType('measure')` has it.

/**
 * Marks that the next frame is the one that `name` was about, counted from `start` (default: when the page was asked
 * for).
 *
 * @param {string} name
 * @param {number} [start]
 */
export function painted(name, start = 0) {
  // The frame that shows it is drawn after this callback; a task behind it runs once it has been.
  requestAnimationFrame(() => setTimeout(() => {
    performance.measure(`afferent ${name}`, { start, end: performance.now() });
  }));
}

/**
 * Wraps a handler so that the time from the event to the frame that answers it is measured.
 *
 * @param {string} name
 * @param {(event: any) => void} handler
 */
export const measured = (name, handler) => (event) => {
  handler(event);
  painted(name, event.timeStamp);
};
