import type { ApiEvent, StoredEvent } from './event.ts'

/** Where an event came from: events of a place that was heard of already are not told again. */
export interface EventSource {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** The last events, and those to come. Bounded: the oldest are forgotten. */
export interface EventLog {
  /** Resolves when all of it is kept. Rejects with ServiceAwayError while it cannot be. */
  append(events: readonly ApiEvent[], source?: EventSource): Promise<void>
  /** What came after an event, oldest first; `complete` is false when some of it is forgotten. */
  after(id: string): Promise<{ readonly events: readonly StoredEvent[]; readonly complete: boolean }>
  /** Calls back with each event from now on, in order, until the returned function is called. */
  subscribe(listener: (stored: StoredEvent) => void): () => void
  /** False while events may be missed for the moment; what was missed follows. */
  readonly healthy: boolean
  start(): Promise<void>
  stop(): Promise<void>
}

/** Minutes of a busy daemon: 15 jobs a second are 1,800 events a minute. */
export const EVENTS_KEPT_MAX = 20_000
