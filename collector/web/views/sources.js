// Who sends: health, lag and losses of every source, and what the log proves about it.

/** @import { Agent, Failure, Place, Sequences, Source } from '../parts/types.js' */

import { html, useEffect, useState } from '../parts/html.js';
import { askJson } from '../parts/api.js';
import { Empty, Problem, StartAnAgent, Table } from '../parts/bits.js';
import { Certificate } from './certificate.js';
import { CountsFrom, NotShown } from '../parts/counted.js';
import { Forwards } from '../parts/forwards.js';
import { useModel } from '../parts/models.js';
import { link } from '../parts/place.js';
import { Time, duration } from '../parts/time.js';
import { count, counted, plain } from '../parts/words.js';

const LOOK_MS = 3000;

/** @typedef {{ agents: Agent[] | null, warnings?: string[], error?: Failure }} Agents */

/**
 * What the collector knows of its agents now; the past is told by the model only.
 *
 * @param {boolean} live
 */
function useAgents(live) {
  const [answer, set] = useState(/** @type {Agents} */ ({ agents: null }));
  useEffect(() => {
    if (!live) { set({ agents: [] }); return undefined; }
    const stop = new AbortController();
    let timer = 0;
    const look = async () => {
      try {
        const { agents, warnings } = await askJson('/v1/agents', { signal: stop.signal });
        set({ agents, warnings });
      } catch (error) {
        if (stop.signal.aborted) return;
        set((before) => ({ ...before, error }));
      }
      timer = setTimeout(look, LOOK_MS);
    };
    look();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [live]);
  return answer;
}

/** @param {Record<string, number> | undefined} lost */
const sum = (lost) => (lost == null ? null : Object.values(lost).reduce((total, number) => total + number, 0));

/**
 * A count that should be none.
 *
 * @param {number | null | undefined} number
 */
const bad = (number) => (number ? html`<strong>${count(number)}</strong>` : count(number));

// More than this is more than a slow network explains.
const CLOCK_OFF_S = 2;

/** @param {{ agent: Agent | undefined, model: Source | undefined }} props */
function Clock({ agent, model }) {
  const off = agent ? agent.clock_offset_s : model?.clock_offset_s;
  const shown = Math.abs(off ?? 0) > CLOCK_OFF_S ? html`<strong>${duration(off)}</strong>` : duration(off);
  return html`${shown}${model && !model.synchronised && html`<br /><span class="quiet">not synchronised</span>`}`;
}

/** @type {Record<string, string>} */
const LINKS = { online: '●', offline: '○', unknown: '?' };

/**
 * One line from what both know.
 *
 * @param {string} name
 * @param {Agent | undefined} agent
 * @param {Source | undefined} model
 */
function row(name, agent, model) {
  // The collector itself, and whoever posts over HTTP, have no session of which the state could be known.
  const session = agent?.state === 'unknown' ? null : agent?.state;
  const state = session ?? (model?.online == null ? 'unknown' : model.online ? 'online' : 'offline');
  const lost = agent?.lost_events ?? sum(model?.declared_lost);
  return { key: name, state, lost, missing: agent?.missing_events, cells: [
    plain(name, 60), html`<span class="link ${state}">${LINKS[state] ?? ''} ${plain(state, 20)}</span>`,
    html`<${Time} of=${agent?.last_ingest ?? model?.last_heard} />`, duration(agent ? agent.lag_s : model?.lag_s),
    html`<${Clock} agent=${agent} model=${model} />`,
    model?.autonomy_s == null ? '–' : duration(model.autonomy_s),
    model?.rate_per_s == null ? '–' : count(Math.round(model.rate_per_s * 100) / 100),
    count(agent?.events ?? model?.events),
    bad(lost), bad(agent?.missing_events), bad(agent?.refused),
    html`<a href=${link(['sources'], { source: name })} aria-label=${`Certify ${plain(name, 60)}`}>Certify</a>`,
  ] };
}

const HEAD = [
  'Source', 'State', 'Last heard', '#Lag', '#Clock off by', '#Ring lasts', '#Events/s', '#Events', '#Declared lost',
  '#Missing', '#Refused', 'Proof',
];
/** @type {Record<string, number>} */
const WORST = { offline: 0, unknown: 1, online: 2 };

/**
 * The state of all in a sentence, and what to do about what is not well.
 *
 * @param {{ rows: ReturnType<typeof row>[] }} props
 */
function Summary({ rows }) {
  /** @param {'missing' | 'lost'} key */
  const total = (key) => rows.reduce((sum, row) => sum + (row[key] ?? 0), 0);
  // What is missing is known of now only: of the past a certificate tells it.
  const isKnown = rows.every((row) => row.missing != null);
  const offline = rows.filter(({ state }) => state === 'offline').length;
  const [missing, lost] = [total('missing'), total('lost')];
  return html`<p class="lead">
      ${offline === 0 ? `${counted(rows.length, 'source')}, none is offline.`
      : html`<strong>${count(offline)} of ${counted(rows.length, 'source')} offline.</strong>`}${' '}
      ${missing > 0 ? html`<strong>${counted(missing, 'event')} missing.</strong>`
      : isKnown ? 'Nothing is missing.' : 'Whether something was missing, a certificate tells.'}
      ${' '}${lost > 0 && `${counted(lost, 'event')} declared lost.`}</p>
    ${offline > 0 && html`<p>What an offline machine accepts stays in its ring, for as long as “Ring lasts” says, and
      comes when it is back. Look at its power and network, then at what its agent says:${' '}
      <code>journalctl -u afferent-agent</code>.</p>`}
    ${missing > 0 && html`<p>What is missing is asked for again while its agent still has it. What stays missing, a
      certificate names.</p>`}`;
}

const LOSSES_HEAD = ['Source', 'Stream', 'Epoch', 'Kind', 'Sequences', 'Why', 'Declared'];
const LOSSES_SHOWN_MAX = 500;

/** @typedef {[kind: string, range: Sequences, why: string, when: unknown]} LossCells */

/** @param {{ agents: Agent[] }} props */
function Losses({ agents }) {
  const rows = agents.flatMap((agent) => agent.lanes.flatMap((lane) => /** @type {LossCells[]} */ ([
    ...lane.losses.map((loss) => ['declared', loss, plain(loss.reason, 40), html`<${Time} of=${loss.declared} />`]),
    ...lane.gaps.map((gap) => ['missing', gap, 'not declared', '–']),
  ]).map(([kind, range, why, when]) => {
    const key = `${agent.name} ${lane.stream} ${lane.epoch} ${kind} ${range.first}`;
    const sequences = `${count(range.first)} up to ${count(range.end)}`;
    return { key, cells: [plain(agent.name, 60), lane.stream, lane.epoch, kind, sequences, why, when] };
  })));
  if (rows.length === 0) return html`<p class="quiet">Nothing was lost.</p>`;
  return html`<${Table} caption="Losses" head=${LOSSES_HEAD} rows=${rows.slice(0, LOSSES_SHOWN_MAX)} />`;
}

/** @param {{ asOf: string | null, at: Place }} props */
export function Sources({ asOf, at }) {
  const live = asOf == null;
  const { agents, warnings, error } = useAgents(live);
  const model = useModel('sources', asOf);
  if (agents == null) {
    return html`<h1>Sources</h1>${error ? html`<${Problem} error=${error} />`
      : html`<p role="status">Loading…</p>`}`;
  }
  const sources = model.state?.sources ?? {};
  const names = [...new Set([...agents.map((agent) => agent.name), ...Object.keys(sources)])];
  const rows = names.map((name) => row(name, agents.find((agent) => agent.name === name), sources[name]));
  rows.sort((a, b) => (b.missing ?? 0) - (a.missing ?? 0) || WORST[a.state] - WORST[b.state]
    || (b.lost ?? 0) - (a.lost ?? 0));
  const nothing = live ? 'No agent has sent anything yet.' : 'Who sent by then is not known.';
  const why = model.error ? plain(model.error.message) : 'Move on in the log, or go back to now.';
  return html`<h1>Sources</h1>${error && html`<${Problem} error=${error} />`}
    ${(warnings ?? []).map((message) => html`<${Problem} error=${{ message }} />`)}
    ${rows.length === 0 ? html`<${Empty} title=${nothing}>${live ? html`<${StartAnAgent} />` : html`<p>${why}</p>`}<//>`
      : html`<${Summary} rows=${rows} /><${NotShown} model=${model} what="sources" />
        <${Table} caption="Sources, worst first" head=${HEAD} rows=${rows} />
        ${!live && html`<${CountsFrom} from=${model.countsFrom} />`}`}
    ${live && rows.length > 0 && html`<section aria-labelledby="losses"><h2 id="losses">Losses</h2>
      <${Losses} agents=${agents} /></section>`}
    ${live && html`<${Forwards} />`}
    <${Certificate} key=${at.query.get('source')} sources=${names} at=${at} />`;
}
