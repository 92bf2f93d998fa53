// Amendments: what people add. The log is never changed: a new event says what is added, to which one, and by whom.

/** @import { Failure } from './types.js' */

import { html, useRef, useState } from './html.js';
import { Refused, askJson } from './api.js';
import { Problem } from './bits.js';
import { AMENDMENT } from './kinds.js';
import { say } from './say.js';
import { rfc3339 } from './time.js';

const BY = 'afferent-by';

/** Who works here; this browser remembers it. */
const by = () => localStorage.getItem(BY)?.trim() ?? '';

/** The field for it. */
export function By() {
  const [name, set] = useState(by);
  const told = (event) => { set(event.target.value); localStorage.setItem(BY, event.target.value); };
  return html`<label>Your name<input value=${name} aria-required="true" maxlength="100" autocomplete="name"
    onInput=${told} /></label>`;
}

/** An id that nobody else has. `randomUUID` is not there on pages without TLS. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Posts an amendment; resolves when it is on disk. The same `id` again adds nothing.
 *
 * @param {string} id
 * @param {string} subject
 * @param {object} change
 */
export function post(id, subject, change) {
  const event = {
    specversion: '1.0', id, source: 'page', type: AMENDMENT, subject, time: rfc3339(Date.now()),
    datacontenttype: 'application/json', data: { ...change, by: by() },
  };
  const headers = { 'content-type': 'application/cloudevents+json' };
  return askJson('/v1/events', { method: 'POST', headers, body: JSON.stringify(event) });
}

/** Nobody's word is not taken, here and by the collector. */
function refuseNobody() {
  const field = /** @type {HTMLElement | null} */ (document.querySelector('input[autocomplete=name]'));
  field?.focus();
  return new Refused(0, 'Nobody would know who said this.', 'Write your name beside it, and press again.');
}

/** @typedef {{ state: 'idle' | 'sending' | 'done' | 'failed', error?: Failure }} Posting */

/** How a post goes: `{state, error, send}`. A repeated try sends the same id, so that nothing is added twice. */
export function usePost() {
  const [at, set] = useState(/** @type {Posting} */ ({ state: 'idle' }));
  const id = useRef(/** @type {string | null} */ (null));
  /**
   * @param {string} subject
   * @param {object} change
   */
  const send = async (subject, change) => {
    if (at.state === 'sending') return false;
    if (!by()) {
      set({ state: 'failed', error: refuseNobody() });
      return false;
    }
    set({ state: 'sending' });
    id.current ??= newId();
    try {
      await post(id.current, subject, change);
      id.current = null;
      set({ state: 'done' });
      return true;
    } catch (error) {
      // What was refused is not in the log, and will be another event; what got no answer may be in it.
      if (error.status !== 0) id.current = null;
      set({ state: 'failed', error });
      return false;
    }
  };
  return { ...at, send };
}

/**
 * A button that posts one amendment about `what`. `also` adds what is only known when it is pressed.
 *
 * @param {object} props
 * @param {string} props.subject
 * @param {object} props.change
 * @param {string} props.what
 * @param {() => object} [props.also]
 * @param {string} props.children
 */
export function Amend({ subject, change, what, also = () => ({}), children }) {
  const { state, error, send } = usePost();
  const press = async () => {
    if (await send(subject, { ...change, ...also() })) say(`${children}, ${what}: it is in the log.`);
  };
  const sending = state === 'sending';
  return html`<button type="button" aria-disabled=${sending} aria-label=${`${children} ${what}`} onClick=${press}>
    ${children}</button>${state === 'failed' && html`<${Problem} error=${error} />`}`;
}

/**
 * The form under a breakdown: the reason it stopped, or a note. Alarms have buttons of their own.
 *
 * @param {{ subject: string, of: string, reasons: string[] }} props
 */
export function AmendForm({ subject, of, reasons }) {
  const { state, error, send } = usePost();
  const [action, setAction] = useState('label');
  const [text, setText] = useState('');
  const submit = async (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    const said = action === 'label' ? { reason: text.trim() } : { note: text.trim() };
    if (await send(subject, { of, action, ...said })) setText('');
  };
  return html`<form class="amend" onSubmit=${submit}>
    <label>What<select value=${action} onChange=${(event) => setAction(event.target.value)}>
      <option value="label">Label: the reason it stopped</option>
      <option value="note">Note</option></select></label>
    <label class="grows">${action === 'label' ? 'Reason' : 'Note'}<input value=${text} required maxlength="1000"
      list="reasons" autocomplete="off" onInput=${(event) => setText(event.target.value)} /></label>
    <datalist id="reasons">
      ${action === 'label' && reasons.map((reason) => html`<option key=${reason} value=${reason} />`)}</datalist>
    <${By} /><button class="main" aria-disabled=${state === 'sending'}>Add</button>
    <p role="status" class="quiet">${state === 'done' ? 'Added to the log.' : state === 'sending' ? 'Sending…' : ''}</p>
    ${state === 'failed' && html`<${Problem} error=${error} />`}
  </form>`;
}
