// The completeness certificate: asked for a source or a machine and a span of time, to be read and to be printed.

/** @import { CertificateReport, Failure, Place } from '../parts/types.js' */

import { html, useEffect, useElement, useRef, useState } from '../parts/html.js';
import { ask, query } from '../parts/api.js';
import { Problem } from '../parts/bits.js';
import { lines } from '../parts/samples.js';
import { fieldOf, millis, ofField, rfc3339, zone } from '../parts/time.js';
import { CAUSES, VERDICTS } from '../parts/words.js';

const DAY_MS = 86_400_000;

// An attestation is made once a minute; where none is found in the last of these times, there is none of today.
const LOOK_BACK_MS = [5 * 60_000, DAY_MS];

/** @typedef {{ certificate: CertificateReport, text: string }} Certified */

/**
 * @typedef {{ state: 'idle' | 'asking' } | { state: 'told' } & Certified
 *   | { state: 'failed', error: Failure }} Asked
 */

/** When the log was attested last (milliseconds), or null. */
async function lastAttested() {
  for (const back of LOOK_BACK_MS) {
    const asked = { type: 'lifecycle', from: rfc3339(Date.now() - back), limit: 'all' };
    /** @type {number | null} */
    let last = null;
    for await (const line of lines((await ask(`/v1/events${query(asked)}`)).body)) {
      const { data, time } = JSON.parse(line);
      if (data?.attestation !== undefined) last = millis(time);
    }
    if (last != null) return last;
  }
  return null;
}

/**
 * The certificate as JSON for the verdict, and as the text that the collector prints.
 *
 * @param {Record<string, string>} values
 * @returns {Promise<Certified>}
 */
async function fetchBoth(values) {
  const path = `/v1/certificate${query(values)}`;
  const certificate = await (await ask(path, { headers: { accept: 'application/json' } })).json();
  const text = await (await ask(path, { headers: { accept: 'text/plain' } })).text();
  return { certificate, text };
}

/** @param {{ result: Certified }} props */
function Result({ result }) {
  const { verdict, causes = [] } = result.certificate;
  const isOpen = causes.length > 0 && causes.every((cause) => cause === 'open');
  const mark = verdict === 'complete' ? 'good' : verdict === 'incomplete' && isOpen ? 'open' : 'bad';
  const why = verdict === 'incomplete' ? `: ${causes.map((cause) => CAUSES[cause] ?? cause).join('; ')}` : '';
  return html`<article class="certificate" aria-label="Certificate">
    <p class="verdict ${mark}">${VERDICTS[verdict] ?? 'The verdict is not known to this page'}${why}</p>
    <pre>${result.text}</pre>
    <button type="button" class="unprinted" onClick=${() => print()}>Print</button></article>`;
}

/** @param {{ sources: string[], at: Place }} props */
export function Certificate({ sources, at }) {
  const [kind, setKind] = useState('source');
  const [name, setName] = useState(at.query.get('source') ?? '');
  const [from, setFrom] = useState('');
  const [until, setUntil] = useState('');
  const chosen = useRef(false);
  const [answer, set] = useState(/** @type {Asked} */ ({ state: 'idle' }));
  const place = useElement();
  // Behind the last attestation nothing is proved yet: what is asked for when nobody chose is the day up to it.
  useEffect(() => {
    let gone = false;
    lastAttested().catch(() => null).then((attested) => {
      if (gone || chosen.current) return;
      const end = attested ?? Date.now();
      setFrom(fieldOf(end - DAY_MS));
      setUntil(fieldOf(end));
    });
    return () => { gone = true; };
  }, []);
  const choose = (set) => (event) => {
    chosen.current = true;
    set(event.target.value);
  };
  // Whoever asked for one of a source is led to where it is made.
  useEffect(() => {
    if (!at.query.get('source')) return;
    place.current.scrollIntoView({ block: 'center' });
    place.current.querySelector('button')?.focus({ preventScroll: true });
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    const [begin, end] = [ofField(from), ofField(until)];
    if (begin == null || end == null || answer.state === 'asking') return;
    set({ state: 'asking' });
    try {
      const values = { [kind]: name.trim(), from: rfc3339(begin), until: rfc3339(end) };
      set({ state: 'told', ...await fetchBoth(values) });
    } catch (error) {
      set({ state: 'failed', error });
    }
  };
  return html`<section aria-labelledby="certificate"><h2 id="certificate">Completeness certificate</h2>
    <p class="quiet">What the log proves about a source or a machine: which sequences are all present, which were
      declared lost, and which are missing. Times are in ${zone()}; the certificate is in UTC.</p>
    <form class="amend unprinted" ref=${place} onSubmit=${submit}>
      <label>Of a<select value=${kind} onChange=${(event) => setKind(event.target.value)}>
        <option value="source">source</option><option value="machine">machine</option></select></label>
      <label class="grows">Name<input required value=${name} list="sources" autocomplete="off"
        onInput=${(event) => setName(event.target.value)} /></label>
      <datalist id="sources">
        ${kind === 'source' && sources.map((source) => html`<option key=${source} value=${source} />`)}</datalist>
      <label>From<input type="datetime-local" step="1" required value=${from} onInput=${choose(setFrom)} /></label>
      <label>Until<input type="datetime-local" step="1" required value=${until} onInput=${choose(setUntil)} /></label>
      <button class="main" aria-disabled=${answer.state === 'asking'}>Certify</button></form>
    <div aria-live="polite">
      ${answer.state === 'asking' && html`<p>The whole log is read…</p>`}
      ${answer.state === 'failed' && html`<${Problem} error=${answer.error} />`}
      ${answer.state === 'told' && html`<${Result} result=${answer} />`}</div></section>`;
}
