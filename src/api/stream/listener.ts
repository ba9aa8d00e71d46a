import { isAfter, type StoredEvent } from '../events/event.ts'
import type { EventLog } from '../events/event-log.ts'

export interface EventFilter {
  readonly platform?: string | undefined
  readonly creator_id?: string | undefined
  readonly kind?: 'snapshot' | 'job' | undefined
  readonly status?: 'done' | 'skipped' | 'dead' | undefined
}

/** Where a listener's events go: a connection. */
export interface Outlet {
  event(stored: StoredEvent): void
  /** Something between the last event and the next one is not known any more. */
  gap(): void
  /** Unsent bytes. */
  readonly backlogBytes: number
  /** Ends the connection: the client comes again, and says what it had last. */
  end(): void
}

const BACKLOG_BYTES_MAX = 1024 * 1024
/** Events that come while the missed ones are being read. */
const WAITING_MAX = 10_000

/**
 * Brings the events of a log to one connection: what was missed since `lastId` first, then each as it comes, none twice and
 * none left out. A connection that does not read is ended. Returns what stops it.
 */
export function listen(
  log: EventLog,
  filter: EventFilter,
  outlet: Outlet,
  lastId: string | undefined,
): () => void {
  let waiting: StoredEvent[] | undefined = []
  let last = lastId ?? ''
  const send = (stored: StoredEvent) => {
    if (last !== '' && !isAfter(stored.id, last)) return
    last = stored.id
    if (!wants(filter, stored)) return
    if (outlet.backlogBytes > BACKLOG_BYTES_MAX) return stop('end')
    outlet.event(stored)
  }
  const unsubscribe = log.subscribe((stored) => {
    if (waiting === undefined) send(stored)
    else if (waiting.push(stored) > WAITING_MAX) stop('end')
  })
  let stopped = false
  const stop = (how?: 'end') => {
    if (stopped) return
    stopped = true
    unsubscribe()
    if (how === 'end') outlet.end()
  }
  const goOn = () => {
    const held = waiting ?? []
    waiting = undefined
    for (const stored of held) if (!stopped) send(stored)
  }
  if (lastId === undefined) goOn()
  else {
    log.after(lastId).then(
      ({ events, complete }) => {
        if (stopped) return
        if (!complete) outlet.gap()
        for (const stored of events) if (!stopped) send(stored)
        goOn()
      },
      // It comes again, and asks again.
      () => stop('end'),
    )
  }
  return () => stop()
}

function wants(filter: EventFilter, { event }: StoredEvent): boolean {
  return (
    (filter.platform === undefined || filter.platform === event.platform) &&
    (filter.creator_id === undefined || filter.creator_id === event.creator_id) &&
    (filter.kind === undefined || filter.kind === event.kind) &&
    (filter.status === undefined || filter.status === event.status)
  )
}
