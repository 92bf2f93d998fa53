// Shapes of the collector's answers, and of what the page's parts hand to each other. The type checker reads them
// (`tsc -p collector/web/jsconfig.json`); no browser loads this file.

export {};

/** @typedef {typeof import('./words.js').STATES} States */

/** @typedef {keyof States} StateName */

/**
 * A place in the log and when it was written.
 *
 * @typedef {{ offset: string, time: string | null }} LogPlace
 */

/**
 * From where a model counts; `samples` where they begin later than its other events.
 *
 * @typedef {LogPlace & { samples?: LogPlace | null }} CountsFrom
 */

/**
 * What a model has no room for: whether it lasts, when it was last so, and which sources it concerns.
 *
 * @typedef {{ now: boolean, last: string | null, sources: { source: string, kept: number }[] }} HiddenPart
 */

/**
 * Late events and corrected times of a machine; `horizon` is how far back late events still count.
 *
 * @typedef {object} Counting
 * @property {number} [late]
 * @property {string | null} [horizon]
 * @property {{ moved: number, ingest: number }} [corrected]
 */

/** @typedef {{ state: string, from: string, until: string | null, reason: string }} Interval */

/**
 * A machine of the model `states`.
 *
 * @typedef {Counting & {
 *   state: string, since: string, reason: string, last_event: string | null, intervals?: Interval[],
 * }} Machine
 */

/**
 * An alarm of a breakdown.
 *
 * @typedef {{ offset: string, subject: string, condition: string, time: string }} EpisodeAlarm
 */

/** @typedef {{ reason?: string, note?: string, by: string }} Words */

/**
 * A breakdown; its id is the offset of its event.
 *
 * @typedef {object} Episode
 * @property {string} id
 * @property {string} machine
 * @property {string} subject
 * @property {string} code
 * @property {string} severity
 * @property {string} message
 * @property {string} from
 * @property {string | null} until
 * @property {EpisodeAlarm | null} first_out
 * @property {EpisodeAlarm[]} alarms
 * @property {Words[]} labels
 * @property {Words[]} notes
 */

/**
 * An alarm that is not normal.
 *
 * @typedef {object} Alarm
 * @property {string} offset
 * @property {string} machine
 * @property {string} subject
 * @property {string} condition
 * @property {number} priority
 * @property {string} state
 * @property {string} raised
 * @property {string} message
 */

/**
 * A sensor's last value; a whole number beyond 2^53 comes as its digits.
 *
 * @typedef {{ value: number | string | boolean, unit: string, quality: string, time: string }} LastValue
 */

/**
 * Key figures of a machine, in seconds, shares and counts.
 *
 * @typedef {Counting & { from: string | null, until: string | null } & Record<string, any>} KeyFigures
 */

/**
 * A source of the model `sources`.
 *
 * @typedef {object} Source
 * @property {string} last_heard
 * @property {number} events
 * @property {number | null} lag_s
 * @property {number | null} clock_offset_s
 * @property {boolean} synchronised
 * @property {Record<string, number>} declared_lost
 * @property {number | null} rate_per_s
 * @property {number | null} autonomy_s
 * @property {boolean} online
 */

/**
 * The states of the models, by name.
 *
 * @typedef {object} Models
 * @property {{ machines: Record<string, Machine>, not_shown?: HiddenPart }} states
 * @property {{ episodes: Episode[], machines?: Record<string, Counting>, not_shown?: HiddenPart }} breakdowns
 * @property {{ active: Alarm[], not_shown?: HiddenPart }} alarms
 * @property {{ subjects: Record<string, LastValue>, not_shown?: HiddenPart }} last
 * @property {{ machines: Record<string, KeyFigures>, not_shown?: HiddenPart }} kpi
 * @property {{ sources: Record<string, Source>, not_shown?: HiddenPart }} sources
 */

/**
 * What went wrong, and what to do. A refusal has the status of its answer, 0 where none came.
 *
 * @typedef {{ message: string, remedy?: string, status?: number }} Failure
 */

/**
 * What is known of a model. With an error there may be an older state.
 *
 * @template S
 * @typedef {object} Answer
 * @property {S} [state]
 * @property {string} [time]
 * @property {string} [offset]
 * @property {string} [model]
 * @property {CountsFrom} [countsFrom]
 * @property {Failure} [error]
 */

/**
 * @template S
 * @typedef {Answer<S> & { loading: boolean }} Model
 */

/** @typedef {{ first: string | number, end: string | number }} Sequences */

/**
 * An agent's lane of `GET /v1/agents`.
 *
 * @typedef {object} Lane
 * @property {string} stream
 * @property {string} epoch
 * @property {Sequences[]} gaps
 * @property {(Sequences & { reason: string, declared: string })[]} losses
 */

/**
 * An agent of `GET /v1/agents`.
 *
 * @typedef {object} Agent
 * @property {string} name
 * @property {string} state
 * @property {string | null} last_ingest
 * @property {number | null} lag_s
 * @property {number | null} clock_offset_s
 * @property {number} events
 * @property {number} lost_events
 * @property {number} missing_events
 * @property {number} refused
 * @property {Lane[]} lanes
 */

/** @typedef {{ path: string, left: unknown, right: unknown, difference: number | null }} Change */

/** @typedef {{ changes: Change[], more: number }} Changes */

/**
 * An alternative of `POST /v1/what-if`; changes and states by model.
 *
 * @typedef {object} Alternative
 * @property {string} name
 * @property {number} dropped
 * @property {number} changed
 * @property {number} added
 * @property {Record<string, Changes>} changes
 * @property {Record<string, any>} states
 */

/**
 * @typedef {object} Forward
 * @property {string} name
 * @property {string} sink
 * @property {string} target
 * @property {string} state
 * @property {string} lag events, decimal
 * @property {number | null} lag_s
 * @property {number} delivered
 * @property {number} dead_letters
 * @property {string | null} last_error
 * @property {string | null} last_error_time
 * @property {number | null} next_try_s
 */

/**
 * The answer of `POST /v1/what-if`.
 *
 * @typedef {object} WhatIfReport
 * @property {Record<string, CountsFrom>} [counts_from]
 * @property {Record<string, any>} actual
 * @property {Alternative[]} alternatives
 */

/**
 * The answer of `GET /v1/certificate`, as JSON.
 *
 * @typedef {{ verdict: string, causes?: string[] }} CertificateReport
 */

/**
 * A sample as `GET /v1/events` writes it.
 *
 * @typedef {object} SampleEvent
 * @property {string} offset
 * @property {string} subject
 * @property {string} time
 * @property {{ value: number | string | boolean, valuetype?: string, unit: string, quality?: string }} data
 */

/**
 * An event other than a sample, with its data beside its envelope; `at` is its time in milliseconds.
 *
 * @typedef {object} Happening
 * @property {string} offset
 * @property {string} subject
 * @property {string} kind
 * @property {number} at
 * @property {string} [code]
 * @property {string} [state]
 * @property {string} [condition]
 * @property {string} [transition]
 */

/** @typedef {{ events: Happening[], more: boolean, done: boolean, error?: Failure }} Happened */

/**
 * Path and query of the page's address.
 *
 * @typedef {{ path: string[], query: URLSearchParams }} Place
 */

/** @typedef {{ from: number, until: number }} Span */

/** @typedef {{ key: unknown, cells: unknown[] }} Row */

/** @typedef {{ event?: (event: object) => void, status?: (status: StreamStatus) => void }} Listener */

/** @typedef {'off' | 'live' | 'reconnecting'} StreamStatus */

/**
 * A curve of uPlot: times in seconds, and values with null where the line is broken.
 *
 * @typedef {[number[], (number | null)[]]} Curve
 */

/** @typedef {(name: string) => string} Colours */

/**
 * A sensor's samples, thinned. `steps` when it is on or off.
 *
 * @typedef {{ subject: string, unit: string, steps: boolean, thin: import('./thin.js').Thin }} Sensor
 */

/**
 * What was read of the samples of a machine so far.
 *
 * @typedef {object} Samples
 * @property {Sensor[]} sensors
 * @property {number} events
 * @property {boolean} done
 * @property {number} [beyond]
 * @property {number} [bad]
 * @property {number} [texts]
 * @property {Failure} [error]
 */

/** @typedef {{ state: StateName, from: number, end: number, reason: string }} DrawnInterval */

/** @typedef {Omit<Episode, 'from'> & { from: number, end: number | null }} DrawnEpisode */

/**
 * An active alarm has `raised`, one of a breakdown `time`.
 *
 * @typedef {{ offset: string, subject: string, condition: string, raised?: string, time?: string }} RaisedAlarm
 */

/** @typedef {RaisedAlarm & { at: number }} DrawnAlarm */

/**
 * What a timeline draws, in milliseconds.
 *
 * @typedef {Span & {
 *   intervals: DrawnInterval[], breakdowns: DrawnEpisode[], alarms: DrawnAlarm[], now: number,
 * }} Drawn
 */

/**
 * A machine as its card shows it.
 *
 * @typedef {object} ListedMachine
 * @property {string} name
 * @property {string} order
 * @property {StateName} state
 * @property {number | null} since
 * @property {string} reason
 * @property {string | null} last
 * @property {number} corrected
 * @property {number | undefined} breakdowns
 * @property {number | undefined} alarms
 */

/**
 * @template T
 * @typedef {{ current: T }} Ref
 */

/** @typedef {() => (void | (() => void))} Effect */

/**
 * What the page uses of Preact and htm.
 *
 * @typedef {object} Preact
 * @property {(strings: TemplateStringsArray, ...values: unknown[]) => object} html
 * @property {(tree: object, place: Element | null) => void} render
 * @property {<T>(first: T | (() => T)) => [T, (next: T | ((held: T) => T)) => void]} useState
 * @property {(effect: Effect, depends?: unknown[]) => void} useEffect
 * @property {(effect: Effect, depends?: unknown[]) => void} useLayoutEffect
 * @property {<T>(make: () => T, depends: unknown[]) => T} useMemo
 * @property {<T>(first: T) => Ref<T>} useRef
 * @property {new () => ComponentOf} Component
 */

/**
 * @typedef {object} ComponentOf
 * @property {Record<string, any>} props
 * @property {(changes: object) => void} setState
 */
