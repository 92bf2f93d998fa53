// What the collector's models say, asked again when events come. Views that show the same model share one question.

/** @import { Answer, Model, Models } from './types.js' */

import { useEffect, useState } from './html.js';
import { askJson, query } from './api.js';
import { listen } from './live.js';

// Values change without an event of the live stream; this is how often they are looked at.
const LOOK_MS = 5000;
// Who has not answered by then will not: a line may be dead without either end knowing.
const ANSWER_MAX_MS = 30_000;
// A question that took long is asked less often, so that the page never keeps the collector busy.
const PAUSE_FACTOR = 10;
const PAUSE_MIN_MS = 500;
// Answers that nobody shows any more are kept, so that the way back is quick; the oldest go.
const KEPT_MAX = 24;

// The collector answers few questions about the past at a time, since each replays a part of the log. They are asked
// one after the other, and once more where it was busy with somebody else's.
const BUSY = new Set([429, 503]);
const BUSY_PAUSE_MS = 1000;
const BUSY_TRIES_MAX = 20;

/** @type {Promise<unknown>} */
let past = Promise.resolve();

/** @typedef {{ signal: AbortSignal }} Stoppable */

/**
 * @param {string} path
 * @param {Stoppable} options
 */
function askPast(path, options) {
  const turn = past.then(() => tryPast(path, options, BUSY_TRIES_MAX));
  past = turn.catch(() => {});
  return turn;
}

/**
 * @param {string} path
 * @param {Stoppable} options
 * @param {number} tries
 * @returns {Promise<any>}
 */
async function tryPast(path, options, tries) {
  // Whoever went on meanwhile needs no answer, and those behind need not wait for it.
  options.signal.throwIfAborted();
  try {
    return await askJson(path, options);
  } catch (error) {
    if (!BUSY.has(error.status) || tries <= 1) throw error;
    await new Promise((resume) => setTimeout(resume, BUSY_PAUSE_MS));
    return tryPast(path, options, tries - 1);
  }
}

/** @typedef {{ question?: Question, answer?: Answer<any> }} Told */

/**
 * What is asked, by path.
 *
 * @type {Map<string, Question>}
 */
const questions = new Map();

class Question {
  /** @type {Answer<any>} */
  answer = {};

  /**
   * Who shows the answer.
   *
   * @type {Set<(told: Told) => void>}
   */
  shown = new Set();

  stop = new AbortController();

  unlisten = () => {};

  busy = false;

  again = false;

  earliest = 0;

  timer = 0;

  /**
   * @param {string} path
   * @param {boolean} live
   */
  constructor(path, live) {
    this.path = path;
    this.live = live;
  }

  /** @param {(told: Told) => void} set */
  show(set) {
    this.shown.add(set);
    if (this.shown.size === 1) this.begin();
    return () => {
      this.shown.delete(set);
      if (this.shown.size === 0) this.end();
    };
  }

  begin() {
    this.stop = new AbortController();
    // A stream that is open again has not told what happened while it was not.
    const wake = () => this.wake();
    this.unlisten = this.live ? listen({ event: wake, status: (status) => status === 'live' && wake() }) : () => {};
    // The past does not change: what is known of it is asked once.
    if (this.live || this.answer.state === undefined) this.look();
  }

  end() {
    this.stop.abort();
    this.unlisten();
    clearTimeout(this.timer);
    this.busy = false;
  }

  /** Something happened: looks as soon as the last look was long enough ago. */
  wake() {
    if (this.busy) this.again = true;
    else this.plan(Math.max(0, this.earliest - performance.now()));
  }

  /** @param {number} pause */
  plan(pause) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), pause);
  }

  async look() {
    const { signal } = this.stop;
    const begun = performance.now();
    this.busy = true;
    this.again = false;
    try {
      const { state, time, offset, model, counts_from: countsFrom } = await this.asked(signal);
      this.tell(signal, { state, time, offset, model, countsFrom });
    } catch (error) {
      this.tell(signal, { ...this.answer, error });
    }
    if (signal.aborted) return;
    this.busy = false;
    if (!this.live) return;
    // An answer that did not come has cost the collector nothing: it is asked for again soon.
    const took = this.answer.error ? 0 : performance.now() - begun;
    const pause = Math.max(PAUSE_MIN_MS, took * PAUSE_FACTOR);
    this.earliest = performance.now() + pause;
    this.plan(this.again ? pause : Math.max(pause, LOOK_MS));
  }

  /**
   * The answer to the question of now, or to one of the past, which waits for its turn.
   *
   * @param {AbortSignal} signal
   * @returns {Promise<any>}
   */
  asked(signal) {
    if (!this.live) return askPast(this.path, { signal });
    return askJson(this.path, { signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MAX_MS)]) });
  }

  /**
   * @param {AbortSignal} signal
   * @param {Answer<any>} answer
   */
  tell(signal, answer) {
    if (signal.aborted) return;
    this.answer = answer;
    this.shown.forEach((set) => set({ question: this, answer }));
  }
}

/**
 * @param {string} path
 * @param {boolean} live
 */
function questionOf(path, live) {
  const known = questions.get(path);
  if (known) return known;
  const oldest = [...questions.values()].find((question) => question.shown.size === 0);
  if (questions.size >= KEPT_MAX && oldest) questions.delete(oldest.path);
  const question = new Question(path, live);
  questions.set(path, question);
  return question;
}

/**
 * `{state, time, offset, model, countsFrom, error, loading}` of a model, live or as of an offset. With an error there
 * may be an older state.
 * `part` says what of it is wanted: `{machine, intervals}`.
 *
 * @template {keyof Models} N
 * @param {N} name
 * @param {string | null} asOf
 * @param {{ machine?: string, intervals?: number }} [part]
 * @returns {Model<Models[N]>}
 */
export function useModel(name, asOf, part = {}) {
  const question = questionOf(`/v1/models/${name}${query({ as_of: asOf, ...part })}`, asOf == null);
  const [told, set] = useState(/** @type {Told} */ ({}));
  useEffect(() => question.show(set), [question]);
  // After a move there is one render with what was told of another place.
  const answer = told.question === question && told.answer ? told.answer : question.answer;
  return { ...answer, loading: answer.state === undefined && !answer.error };
}
