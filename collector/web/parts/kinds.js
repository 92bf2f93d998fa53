// The types of events, as the table in src/kinds.rs has them: a test holds this file against it.

/**
 * What people call them, and a character that stands for each.
 *
 * @type {Record<string, { title: string, icon: string }>}
 */
export const KINDS = {
  sample: { title: 'Sample', icon: '∿' },
  breakdown: { title: 'Breakdown', icon: '✕' },
  recovery: { title: 'Recovery', icon: '✓' },
  state: { title: 'State', icon: '◐' },
  alarm: { title: 'Alarm', icon: '!' },
  loss: { title: 'Loss', icon: '∅' },
  clockstep: { title: 'Clock step', icon: '◷' },
  lifecycle: { title: 'Life cycle', icon: '↻' },
  derived: { title: 'Derived', icon: '∴' },
  progress: { title: 'Progress', icon: '→' },
  followed: { title: 'Followed', icon: '≡' },
  amendment: { title: 'Amendment', icon: '✎' },
  unreadable: { title: 'Unreadable', icon: '?' },
  deadletter: { title: 'Dead letter', icon: '⊘' },
};

/** What happened on a machine. */
export const LISTED = 'breakdown,recovery,state,alarm';

/** That, and what may have changed something that is shown. */
export const FOLLOWED =
  'breakdown,recovery,state,alarm,loss,clockstep,lifecycle,amendment';

/** What people add to an event later. */
export const AMENDMENT = 'afferent.amendment.v1';
