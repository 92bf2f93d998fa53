// The only place that knows where Preact and htm come from. What is put into html`…` as a value becomes text, never
// markup.

export { html, render, Component, useEffect, useLayoutEffect, useMemo, useRef, useState, useCallback }
  from '../vendor/preact-htm.js';
