// What is said aloud to people who do not see what changed. One region for the page: it outlives what it tells of.

import { html } from './html.js';

const ID = 'aloud';

/** The region; the frame has it once. */
export const Aloud = () => html`<p id=${ID} class="unseen" aria-live="polite"></p>`;

/**
 * Says a text when the person is not busy with another.
 *
 * @param {string} text
 */
export function say(text) {
  const region = document.getElementById(ID);
  if (region) region.textContent = text;
}
