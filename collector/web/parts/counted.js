// What figures count and what they do not, in words beside them.

/** @import { Counting, CountsFrom as From, HiddenPart, KeyFigures, LogPlace, Model } from './types.js' */

import { html } from './html.js';
import { Time, duration, millis } from './time.js';
import { count, counted, plain } from './words.js';

const KNOWN = ['operating_s', 'down_s', 'idle_s', 'out_of_service_s'];

/**
 * Of how much of the time that its key figures are of the state of a machine is known.
 *
 * @param {{ figures: KeyFigures | undefined }} props
 */
export function Known({ figures }) {
  const [from, until] = [millis(figures?.from), millis(figures?.until)];
  if (!figures || from == null || until == null) return null;
  const known = KNOWN.reduce((sum, key) => sum + (figures[key] ?? 0), 0);
  const all = (until - from) / 1000;
  return html`<p>Known for ${duration(known)} of ${duration(all)}, from <${Time} of=${figures.from} /> to${' '}
    <${Time} of=${figures.until} />.
    ${figures.unknown_s > 0 && ' What is unknown is in no other figure.'}</p>`;
}

/**
 * From where in the log a model counts, where that is not its beginning. `from` is `counts_from` of its answer.
 *
 * @param {{ from: From | undefined, whose?: string }} props
 */
export function CountsFrom({ from, whose = '' }) {
  /** @param {LogPlace} at */
  const place = ({ offset, time }) => (time
    ? html`<${Time} of=${time} /> (offset ${count(plain(offset, 20))})` : `offset ${count(plain(offset, 20))}`);
  const isCut = from != null && from.offset !== '0';
  return html`${isCut && html`<p class="quiet counts-from">
      ${whose}Counts from ${place(from)}, older events were removed.</p>`}
    ${from?.samples && html`<p class="quiet counts-from">
      ${whose}Samples count from ${place(from.samples)}, older ones were removed.</p>`}`;
}

/**
 * What came too late for the figures of a model, and how far back late events still count. `of` has `late` and
 * `horizon`.
 *
 * @param {{ model: Model<unknown>, of: Counting | undefined }} props
 */
export function Late({ model, of }) {
  const late = of?.late ?? 0;
  return html`${late > 0 && html`<p class="banner late">
      ${counted(late, 'event')} came too late to be counted: recompute, with${' '}
      <code>afferent-collector models recompute ${plain(model.model, 60)}</code>.</p>`}
    ${of?.horizon && html`<p class="quiet horizon">
      Events that come late are counted back to <${Time} of=${of.horizon} />.</p>`}`;
}

const NAMED_MAX = 3;

/**
 * What a model has no room for, and whose it is, while that lasts. `what` is how its things are called.
 *
 * @param {{ model: Model<{ not_shown?: HiddenPart }>, what: string }} props
 */
export function NotShown({ model, what }) {
  const hidden = model.state?.not_shown;
  if (!hidden?.now) return null;
  const [named, more] = [hidden.sources.slice(0, NAMED_MAX), hidden.sources.length - NAMED_MAX];
  const shares = named.map(({ source, kept }) => `${plain(source, 60)} (${count(kept)} kept)`).join(', ');
  const others = more > 0 && ` and ${counted(more, 'other source')}`;
  return html`<p class="banner not-shown">
    Not all ${what} are shown: there is no room for all of ${shares}${others}.${' '}
    Every source has a share; of one that reports more, the ${what} that matter least are left out.
    Look at what it reports.</p>`;
}

/**
 * All that is said of the answer of a model about one machine.
 *
 * @param {{ model: Model<unknown>, of: Counting | undefined }} props
 */
export function Counted({ model, of }) {
  return html`<${CountsFrom} from=${model.countsFrom} /><${Late} model=${model} of=${of} />`;
}

/**
 * How many events of all machines came too late.
 *
 * @param {Record<string, Counting> | undefined} machines
 */
export function lateOf(machines) {
  return Object.values(machines ?? {}).reduce((sum, machine) => sum + (machine.late ?? 0), 0);
}
