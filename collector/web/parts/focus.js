// Where the keyboard is, kept there when events change what is shown.

/** @import { Ref } from './types.js' */

import { useLayoutEffect } from './html.js';

/**
 * Keeps the focus on what it is on when the rows of `place` are drawn in another order: a browser takes it from what
 * is moved. From what is not there any more it goes to the next thing to do in the same row, else to the content.
 *
 * @param {Ref<HTMLElement>} place
 * @param {string} row a selector of rows
 */
export function useHeldFocus(place, row) {
  const { activeElement } = document;
  const held = place.current?.contains(activeElement) ? activeElement : null;
  const its = held?.closest(row);
  useLayoutEffect(() => {
    if (!held || document.activeElement === held) return;
    const next = held.isConnected ? held : its?.isConnected && its.querySelector('a, button');
    const target = /** @type {HTMLElement | null} */ (next || document.getElementById('main'));
    target?.focus({ preventScroll: true });
  });
}
