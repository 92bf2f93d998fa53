// Where the page is: `#/machines/88-C?as_of=1234`. The address holds all of it, so that a link shows the same to
// others.

/** @import { Place } from './types.js' */

import { useEffect, useState } from './html.js';

/**
 * Path, decoded level by level, and query of the address.
 *
 * @returns {Place}
 */
export function place() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  return { path: path.split('/').filter(Boolean).map(decoded), query: new URLSearchParams(query ?? '') };
}

// An address that somebody cut in half is still an address.
/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * A link to a view that keeps the place in the log.
 *
 * @param {string[]} path
 * @param {Record<string, string | null | undefined>} [changes]
 */
export function link(path, changes = {}) {
  const query = new URLSearchParams();
  const asOf = place().query.get('as_of');
  if (asOf) query.set('as_of', asOf);
  for (const [name, value] of Object.entries(changes)) {
    if (value == null) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  return `#/${path.map(encodeURIComponent).join('/')}${text ? `?${text}` : ''}`;
}

/**
 * Changes the query of this view; the way back skips it.
 *
 * @param {Record<string, string | null | undefined>} changes
 */
export function requery(changes) {
  const { path, query } = place();
  const kept = Object.fromEntries(query);
  location.replace(link(path, { ...kept, ...changes }));
}

/** The place, kept up to date. */
export function usePlace() {
  const [at, set] = useState(place);
  useEffect(() => {
    const moved = () => set(place());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  return at;
}
