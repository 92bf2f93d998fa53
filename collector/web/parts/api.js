// The collector's API. A refusal is an error that says what is wrong and what to do, in the collector's words.

/** A refusal, or an answer that did not come. */
export class Refused extends Error {
  /**
   * @param {number} status of the answer; 0 where none came
   * @param {string} detail
   * @param {string} remedy
   */
  constructor(status, detail, remedy) {
    super(detail);
    this.status = status;
    this.remedy = remedy;
  }
}

/**
 * Fetches; throws [`Refused`] unless the answer is good.
 *
 * @param {string} path
 * @param {RequestInit} [options]
 */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    // A line that is dead without anybody having said so ends in a timeout.
    if (error.name === 'AbortError') throw error;
    const remedy = 'Look whether it runs, and whether this computer reaches it.';
    throw new Refused(0, 'The collector does not answer.', remedy);
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, said.detail ?? `The collector answers ${answer.status}.`, said.remedy ?? '');
}

/**
 * Fetches JSON.
 *
 * @param {string} path
 * @param {RequestInit} [options]
 */
export const askJson = async (path, options) => (await ask(path, options)).json();

/**
 * A query string without what is empty.
 *
 * @param {Record<string, string | number | null | undefined>} values
 */
export function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value != null && value !== '')
    .map(([name, value]) => [name, String(value)]);
  return kept.length ? `?${new URLSearchParams(kept)}` : '';
}

/**
 * A subject pattern that takes a machine and all below it, whatever characters its name has.
 *
 * @param {string} machine
 */
export function below(machine) {
  const literal = machine.replace(/[*?[\]{},!\\]/g, '\\$&');
  return `{${literal},${literal}/**}`;
}
