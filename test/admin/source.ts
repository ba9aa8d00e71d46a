import type { Status, StatusSource } from '../../src/admin/status.ts'

/** A status in which everything is at rest; tests replace what they are about. */
export const STATUS: Status = {
  version: '0.1.0',
  startedAt: '2026-01-01T00:00:00.000Z',
  uptimeS: 60,
  mode: { source: 'kafka', limiter: 'redis', rows: 'clickhouse', store: 's3' },
  jobs: {
    consumed: 0,
    inFlight: 0,
    retried: 0,
    finished: { done: 0, skipped: 0, dead: 0 },
    recentFailures: [],
    reasons: [],
  },
  platforms: [],
  services: [],
  parking: [],
  permits: {},
  levels: [],
  pictures: { stored: 0, known: 0, rejected: 0, newest: [] },
  pool: { queued: 0, utilisation: 0 },
  rows: { written: {}, buffered: 0 },
  partitions: [],
  committed: 0,
  replay: null,
  fleet: [],
  loop: { p50Ms: 0, p99Ms: 0 },
  memory: { rssBytes: 0, heapUsedBytes: 0 },
}

export function sourceOf(fields: Partial<StatusSource> = {}): StatusSource {
  return { ready: () => ({ ready: true, reasons: [] }), status: () => STATUS, ...fields }
}
