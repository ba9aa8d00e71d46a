import fc from 'fast-check'
import type { JobRows, Row } from '../../src/job/row.ts'
import { sqlTime } from '../../src/timeseries/engine.ts'
import { DAY_MS } from './support.ts'

// What arrives in the property test of replays, and what every table and view has to say afterwards.

const HOUR_MS = 3_600_000
const DAYS = 5

/** A look at a creator: one job, which says the same however often it is repeated. */
export interface Snapshot {
  readonly n: number
  readonly platform: string
  readonly creator: string
  readonly tsMs: number
  /** Null when the platform hides them. */
  readonly followers: number | null
  readonly views: number
  readonly likes: number
  readonly flagged: boolean
}

/** A number put right by hand: `version` 2 or more, often lower than what it replaces. */
export interface Correction {
  readonly of: Snapshot
  readonly table: 'points' | 'media_points'
  readonly version: number
  readonly value: number
}

/** How a job ended; one that was dead is replayed later, with another outcome. */
export interface Ending {
  readonly of: Snapshot
  readonly status: 'done' | 'dead'
  readonly observedAtMs: number
}

export type Arrival =
  | { readonly kind: 'snapshot'; readonly it: Snapshot }
  | { readonly kind: 'correction'; readonly it: Correction }
  | { readonly kind: 'ending'; readonly it: Ending }

export interface Case {
  /** Each once. */
  readonly all: readonly Arrival[]
  /** Each three times, in any order. */
  readonly order: readonly Arrival[]
  /** So many at a time. */
  readonly atOnce: number
}

const count = fc.integer({ min: 0, max: 1_000_000 })

const cases = fc
  .uniqueArray(
    fc.record({
      platform: fc.constantFrom('a', 'b'),
      creator: fc.constantFrom('c0', 'c1', 'c2'),
      hour: fc.nat(DAYS * 24),
      followers: fc.option(count, { freq: 6 }),
      views: count,
      likes: count,
      flagged: fc.boolean(),
      corrections: fc.array(fc.tuple(fc.constantFrom('points', 'media_points'), count), { maxLength: 3 }),
      endings: fc.array(fc.constantFrom('done', 'dead'), { minLength: 1, maxLength: 3 }),
    }),
    {
      minLength: 10,
      maxLength: 30,
      selector: ({ platform, creator, hour }) => `${platform} ${creator} ${hour}`,
    },
  )
  .chain((looks) => {
    const todayMs = Math.floor(Date.now() / DAY_MS) * DAY_MS
    const all = looks.flatMap(({ corrections, endings, hour, ...look }, n): Arrival[] => {
      const of: Snapshot = { ...look, n, tsMs: todayMs - DAYS * DAY_MS + hour * HOUR_MS + 123 }
      return [
        { kind: 'snapshot', it: of },
        ...corrections.map(([table, value], index): Arrival => {
          return { kind: 'correction', it: { of, table, value, version: index + 2 } }
        }),
        ...endings.map((status, index): Arrival => {
          return { kind: 'ending', it: { of, status, observedAtMs: of.tsMs + 1_000 + index } }
        }),
      ]
    })
    const thrice = [...all, ...all, ...all]
    return fc.record({
      all: fc.constant(all),
      order: fc.shuffledSubarray(thrice, { minLength: thrice.length, maxLength: thrice.length }),
      atOnce: fc.integer({ min: 20, max: 150 }),
    })
  })

/** Reproduces a failure by its seed; prints no counter-example, which would be thousands of lines. */
export function caseOf(seed: number): Case {
  return fc.sample(cases, { seed, numRuns: 1 })[0]!
}

/** As an adapter and the pipeline would hand it to the sink. `prefix` keeps the cases of one run apart. */
export function rowsOf(prefix: string, of: Snapshot): JobRows {
  const rows: Row[] = [
    { table: 'points', metric: 'views', value: of.views },
    ...(of.followers === null
      ? []
      : [{ table: 'points', metric: 'followers', value: of.followers } as const]),
    {
      ...{ table: 'creators', name: `n${of.n}`, handle: '', biography: '', verified: of.flagged },
      ...{ gone: false, flags: of.flagged ? ['own'] : [], email: '', pictureUrl: '' },
    },
    { table: 'media', mediaId: 'm', kind: '', title: `n${of.n}`, url: '', publishedAtMs: 0 },
    { table: 'media_points', mediaId: 'm', metric: 'likes', value: of.likes },
    {
      ...{ table: 'pictures', subject: 'avatar', variant: 'w', key: `n${of.n}`, sourceUrl: '', sha256: '' },
      ...{ width: of.n, height: 1, bytes: 1, thumbhash: '' },
    },
  ]
  return { ...headOf(prefix, of), observedAtMs: of.tsMs + 900, rows }
}

export function endingOf(prefix: string, { of, status, observedAtMs }: Ending): JobRows {
  const row: Row = { table: 'jobs', jobType: 'p', status, reason: '', attempts: 1, durationMs: 1 }
  return { ...headOf(prefix, of), observedAtMs, rows: [row] }
}

function headOf(prefix: string, of: Snapshot) {
  return { jobId: `j${of.n}`, platform: prefix + of.platform, creatorId: of.creator, tsMs: of.tsMs }
}

/** Rows by key, each as a list of what is compared. */
export type Reading = Record<string, Record<string, readonly (string | number | boolean | null)[]>>

/** What each table must read as, had every row arrived once, the newest version last. */
export function expected({ all }: Case): Reading {
  const snapshots = all.flatMap(({ kind, it }) => (kind === 'snapshot' ? [it] : []))
  const corrections = all.flatMap(({ kind, it }) => (kind === 'correction' ? [it] : []))
  const endings = all.flatMap(({ kind, it }) => (kind === 'ending' ? [it] : []))
  const corrected = (of: Snapshot, table: Correction['table'], value: number) =>
    corrections
      .filter((one) => one.of === of && one.table === table)
      .reduce((newest, one) => (one.version > newest.version ? one : newest), { version: 1, value }).value

  const inOrder = snapshots.toSorted((a, b) => a.tsMs - b.tsMs)
  const reading: Reading = { points: {}, points_daily: {}, platform_daily: {}, growth_7d: {} }
  for (const table of ['media_points', 'creators', 'media', 'pictures', 'jobs']) reading[table] = {}
  for (const of of inOrder) {
    const whose = `${of.platform} ${of.creator}`
    const at = sqlTime(of.tsMs)
    // A correction of points is one of views.
    const numbers = { views: corrected(of, 'points', of.views), followers: of.followers }
    for (const [metric, value] of Object.entries(numbers)) {
      if (value === null) continue
      reading.points![`${whose} ${metric} ${at}`] = [value]
      reading.points_daily![`${whose} ${metric} ${at.slice(0, 10)}`] = [value]
    }
    reading.media_points![`${whose} likes ${at}`] = [corrected(of, 'media_points', of.likes)]
    reading.media![whose] = [`n${of.n}`, at]
    reading.pictures![whose] = [`n${of.n}`, of.n, at]
    const before = inOrder
      .filter((one) => `${one.platform} ${one.creator}` === whose && one.tsMs < of.tsMs)
      .findLast((one) => one.followers !== null)
    const dropped = of.followers !== null && before !== undefined && of.followers < before.followers! / 2
    const flags = [...(of.flagged ? ['own'] : []), ...(dropped ? ['suspicious_drop'] : [])].join(' ')
    reading.creators![whose] = [`n${of.n}`, at, of.flagged, flags, of.followers, before?.followers ?? null]
    const ending = endings
      .filter((one) => one.of === of)
      .reduce((newest, one) => (one.observedAtMs > newest.observedAtMs ? one : newest))
    reading.jobs![`${whose} j${of.n}`] = [ending.status, sqlTime(ending.observedAtMs)]
  }
  addViews(reading)
  return reading
}

/** What the refreshed views make of points_daily. */
function addViews(reading: Reading): void {
  const seen = new Map<string, { day: string; value: number }[]>()
  for (const [key, [value]] of Object.entries(reading.points_daily!)) {
    const [platform, creator, metric, day] = key.split(' ') as [string, string, string, string]
    const [creators, total] = (reading.platform_daily![`${platform} ${metric} ${day}`] ?? [0, 0]) as number[]
    reading.platform_daily![`${platform} ${metric} ${day}`] = [creators! + 1, total! + Number(value)]
    const whose = `${platform} ${creator} ${metric}`
    seen.set(whose, [...(seen.get(whose) ?? []), { day, value: Number(value) }])
  }
  for (const [whose, days] of seen) {
    const [from, to] = [days[0]!, days.at(-1)!]
    if (from === to) continue
    const absolute = to.value - from.value
    const relative = from.value > 0 ? absolute / from.value : null
    reading.growth_7d![whose] = [from.day, to.day, from.value, to.value, absolute, relative]
  }
}

/** Reads each table and view as its readers do: `key` and `row`, of platforms that begin with {prefix}. */
export const READS: Readonly<Record<string, string>> = {
  points: `SELECT (metric, toString(ts)) AS k, [value] AS row FROM points FINAL`,
  points_daily: `SELECT (metric, toString(day)) AS k, [value] AS row FROM points_daily FINAL`,
  media_points: `SELECT (metric, toString(ts)) AS k, [value] AS row FROM media_points FINAL`,
  creators: `SELECT tuple() AS k, (name, toString(ts), verified, arrayStringConcat(arraySort(flags), ' '),
    followers, followers_before) AS row FROM creators FINAL`,
  media: `SELECT tuple() AS k, (title, toString(ts)) AS row FROM media FINAL`,
  pictures: `SELECT tuple() AS k, (key, width, toString(ts)) AS row FROM pictures FINAL`,
  jobs: `SELECT tuple(job_id) AS k, (status, toString(observed_at)) AS row FROM jobs FINAL`,
  platform_daily: `SELECT (metric, toString(day)) AS k, (creators, total) AS row FROM platform_daily`,
  growth_7d: `SELECT tuple(metric) AS k,
    (toString(day_from), toString(day_to), value_from, value_to, absolute, relative) AS row FROM growth_7d`,
}
