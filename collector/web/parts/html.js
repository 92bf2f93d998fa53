// The only place that knows where Preact and htm come from. What is put into html`…` as a value becomes text, never
// markup.

/** @import { Preact, Ref } from './types.js' */

import * as published from '../vendor/preact-htm.js';

/** @type {Preact} */
const preact = published;

export const { html, render, Component, useEffect, useLayoutEffect, useMemo, useRef, useState } = preact;

/**
 * A reference to an element of a view. It is there once the view is drawn, so for effects and handlers.
 *
 * @returns {Ref<HTMLElement>}
 */
export const useElement = () => useRef(/** @type {HTMLElement} */ (/** @type {unknown} */ (null)));
