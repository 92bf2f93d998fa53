// Small pieces that several views show.

/** @import { Failure, Model, Ref, Row } from './types.js' */

import { useHeldFocus } from './focus.js';
import { html, useEffect, useElement, useState } from './html.js';
import { KINDS } from './kinds.js';
import { Time } from './time.js';
import { STATES, plain, stateOf } from './words.js';

/**
 * The state of a machine: colour, mark and word.
 *
 * @param {{ of: string | undefined }} props
 */
export function State({ of }) {
  const state = stateOf(of);
  return html`<span class="state ${state}"><span class="mark" aria-hidden="true">${STATES[state].mark}</span>
    ${STATES[state].title}</span>`;
}

/**
 * The kind of an event: icon and word. The icon is the style's: it is no part of the text.
 *
 * @param {{ of: string }} props
 */
export function Kind({ of }) {
  const { title, icon } = KINDS[of] ?? { title: plain(of, 40), icon: '' };
  return html`<span class="kind" data-icon=${icon}>${title}</span>`;
}

/**
 * What went wrong, and what to do.
 *
 * @param {{ error: Failure }} props
 */
export function Problem({ error }) {
  return html`<div class="problem" role="alert"><p><strong>${plain(error.message)}</strong></p>
    ${error.remedy && html`<p>${plain(error.remedy)}</p>`}</div>`;
}

/**
 * Nothing is here yet; the children say what to do.
 *
 * @param {{ title: string, children: unknown }} props
 */
export function Empty({ title, children }) {
  return html`<div class="empty"><p><strong>${title}</strong></p>${children}</div>`;
}

/**
 * What a model has to say instead of a state: it loads, there is none, or it failed. Null when there is a state.
 *
 * @param {{ model: Model<unknown>, name: string }} props
 */
export function Waiting({ model, name }) {
  if (model.state !== undefined) return null;
  if (!model.error) return html`<p class="quiet" role="status">Loading…</p>`;
  if (model.error.status === 404) {
    return html`<${Empty} title=${`This collector has no model “${name}”.`}>
      <p>The log is complete without it. <code>GET /v1/models</code> lists the models there are; a newer collector
      builds this one from the log.</p><//>`;
  }
  return html`<${Problem} error=${model.error} />`;
}

/**
 * Said while an old answer is shown, or a part of it is not there, because the newest question was not answered.
 *
 * @param {{ models: Model<unknown>[] }} props
 */
export function Stale({ models }) {
  const failed = models.find((model) => model.error);
  if (!failed?.error) return null;
  const what = failed.state === undefined ? 'A part of this is not known:'
    : html`What is shown is old, of <${Time} of=${failed.time} />:`;
  return html`<p class="banner" role="status"><strong>${what}</strong>${' '}
    ${plain(failed.error.message).replace(/[.]?$/, '.')} ${plain(failed.error.remedy)}</p>`;
}

/** How to send a first event. */
export function StartAnAgent() {
  return html`<p>Start an agent on a machine, or on this computer:</p>
    <pre>afferent-agent config default > agent.toml     # then set agent.name and ship.url
afferent-agent run --config agent.toml</pre>
    <p>and let a machine speak:</p>
    <pre>afferent-agent emit --socket DATA/agent.sock sample 88-C/spindle/temperature 81.4 --unit Cel</pre>`;
}

/**
 * Whether an element is wider inside than outside: only what can be scrolled is a stop of the keyboard.
 *
 * @returns {[Ref<HTMLElement>, boolean]}
 */
function useScrolls() {
  const place = useElement();
  const [scrolls, set] = useState(false);
  useEffect(() => {
    const observer = new ResizeObserver(() => set(place.current.scrollWidth > place.current.clientWidth));
    observer.observe(place.current);
    for (const child of place.current.children) observer.observe(child);
    return () => observer.disconnect();
  }, []);
  return [place, scrolls];
}

/**
 * A table that scrolls by itself where it is wider than the page. A title with a `#` before it is one of numbers.
 *
 * @param {{ caption: string, head: string[], rows: Row[] }} props
 */
export function Table({ caption, head, rows }) {
  const [place, scrolls] = useScrolls();
  useHeldFocus(place, 'tr');
  const kinds = head.map((title) => (title.startsWith('#') ? 'number' : undefined));
  const titles = head.map((title) => title.replace(/^#/, ''));
  const body = rows.map(({ key, cells }) => html`<tr key=${key}>${cells.map((cell, at) => (at === 0
    ? html`<th scope="row">${cell}</th>` : html`<td data-title=${titles[at]} class=${kinds[at]}>${cell}</td>`))}</tr>`);
  const group = scrolls ? { tabindex: 0, role: 'group', 'aria-label': caption } : {};
  return html`<div ref=${place} class="wide folds" ...${group}>
    <table><caption>${caption}</caption>
      <thead><tr>${titles.map((title, at) => html`<th scope="col" class=${kinds[at]}>${title}</th>`)}</tr></thead>
      <tbody>${body}</tbody></table></div>`;
}
