import { isDeepStrictEqual } from 'node:util'
import type { ClickHouseClient } from '@clickhouse/client'
import type { ResultMessage } from '../../src/job/outcome.ts'
import type { OracleReport } from '../../src/simulator/oracle.ts'
import { type Read, readTopic } from '../daemon/kafka-topics.ts'
import type { Sent } from '../daemon/real-jobs.ts'

/** What may differ between two results of one job. */
const MAY_DIFFER = ['replayed']

/** Tables, and what makes two of their rows the same one. */
const KEYS = {
  points: 'platform, metric, creator_id, ts',
  points_daily: 'day, platform, metric, creator_id',
  media_points: 'platform, creator_id, media_id, metric, ts',
  creators: 'platform, creator_id',
  media: 'platform, creator_id, media_id',
  pictures: 'platform, creator_id, subject, variant',
  jobs: 'platform, ts, job_id',
} as const
type Table = keyof typeof KEYS

export interface Books {
  readonly published: number
  readonly done: number
  readonly skipped: number
  readonly dead: number
  readonly malformed: number
  readonly notFound: number
  readonly results: number
  readonly resultsRepeated: number
  /** Rows, de-duplicated; and as they lie there, merges notwithstanding. */
  readonly rows: Readonly<Record<Table, { readonly distinct: number; readonly stored: number }>>
  readonly pictures: number
  readonly calls: {
    readonly arrivals: number
    /** One for each call of each job. */
    readonly needed: number
    /** Answered with an error that the simulator made up; these have to be made again. */
    readonly refused: number
    /** Answered, or left without an answer because the caller had gone, although one answer was enough. */
    readonly repeated: number
    readonly violations: number
  }
  /** What does not balance, one line each; empty when everything does. */
  readonly problems: readonly string[]
}

export interface Accounts {
  readonly kcat: string
  readonly broker: string
  readonly database: ClickHouseClient
  /** Prefix of topics, and the database. */
  readonly run: string
  readonly sent: readonly Sent[]
  readonly oracle: OracleReport
}

/** Compares what was published with what became of it, in Kafka, ClickHouse, and at the upstream. */
export async function closeBooks(accounts: Accounts): Promise<Books> {
  const { kcat, broker, run, sent, oracle, database } = accounts
  const problems: string[] = []
  const expect = (what: string, found: number, expected: number) => {
    if (found !== expected) problems.push(`${what}: found ${found}, expected ${expected}`)
  }

  const results = (await readTopic(kcat, broker, `${run}.results`)).map(
    ({ payload }) => JSON.parse(payload) as ResultMessage,
  )
  const byId = new Map<string, ResultMessage>()
  for (const result of results) {
    const known = byId.get(result.job_id)
    if (known === undefined) byId.set(result.job_id, result)
    else {
      const difference = differenceOf(known, result)
      if (difference !== '') problems.push(`${result.job_id} has different results: ${difference}`)
    }
  }
  const all = [...byId.values()]
  const count = (matches: (result: ResultMessage) => boolean) => all.filter(matches).length
  const malformed = count(({ reason }) => reason === 'malformed')
  const notFound = count(({ reason }) => reason === 'not_found')
  const dead = count(({ status }) => status === 'dead')

  expect('jobs with a result', byId.size, sent.length)
  for (const { id, expected } of sent) {
    if (id === null) continue
    const result = byId.get(id)
    const found = result?.status === 'dead' ? result.reason : result?.status
    if (found !== expected) problems.push(`${id}: found ${found} (${result?.message}), expected ${expected}`)
  }
  expect('malformed', malformed, sent.filter(({ expected }) => expected === 'malformed').length)
  expect('not found', notFound, sent.filter(({ expected }) => expected === 'not_found').length)
  checkLetters(await readTopic(kcat, broker, `${run}.dead`), accounts, dead, problems)

  const rows = await countRows(database, run)
  const done = all.filter(({ status }) => status === 'done')
  const hidden = done.filter(({ data }) => (data as { followers?: number | null }).followers == null).length
  expect('points of followers', await followers(database, run), done.length - hidden)
  expect('rows of jobs', rows.jobs.distinct, sent.length - malformed)
  expect('rows of creators', rows.creators.distinct, sent.length - malformed)
  expect('creators gone', await gone(database, run), notFound)
  // A result says how many rows it stood for, the one in `jobs` aside; of a creator who is gone it is one.
  const told = done.reduce((sum, result) => sum + result.rows, 0) + notFound
  const facts = (['points', 'media_points', 'creators', 'media', 'pictures'] as const).map(
    (table) => rows[table].distinct,
  )
  expect(
    'rows that results tell of',
    facts.reduce((sum, one) => sum + one, 0),
    told,
  )
  expect('points of days', rows.points_daily.distinct, await days(database, run))
  const pictures = new Set(done.flatMap((result) => result.pictures))
  expect(
    'pictures',
    await number(database, `SELECT uniqExact(key) AS n FROM ${run}.pictures FINAL`),
    pictures.size,
  )
  const rejected = done.flatMap((result) => result.pictures_rejected)
  if (rejected.length > 0) problems.push(`pictures rejected: ${JSON.stringify(rejected.slice(0, 3))}`)

  const calls = callsOf(oracle, sent, byId)
  const broken = oracle.levels.filter(({ violations }) => violations > 0)
  if (oracle.violations > 0) problems.push(`over the limit: ${JSON.stringify(broken)}`)
  return {
    published: sent.length,
    done: done.length,
    skipped: count(({ status }) => status === 'skipped'),
    dead,
    malformed,
    notFound,
    results: results.length,
    resultsRepeated: results.length - byId.size,
    rows,
    pictures: pictures.size,
    calls,
    problems,
  }
}

/** How many different jobs have a result by now. */
export async function jobsWithResult(kcat: string, broker: string, run: string): Promise<number> {
  const results = await readTopic(kcat, broker, `${run}.results`)
  return new Set(results.map(({ payload }) => (JSON.parse(payload) as ResultMessage).job_id)).size
}

/** Which fields two results of one job do not have in common, with both values; empty when they are the same. */
function differenceOf(one: ResultMessage, other: ResultMessage): string {
  const names = new Set([...Object.keys(one), ...Object.keys(other)])
  for (const name of MAY_DIFFER) names.delete(name)
  const value = (result: ResultMessage, name: string) => (result as Record<string, unknown>)[name]
  return [...names]
    .filter((name) => !isDeepStrictEqual(value(one, name), value(other, name)))
    .map((name) => `${name} ${JSON.stringify(value(one, name))} and ${JSON.stringify(value(other, name))}`)
    .join(', ')
}

/** Each dead job has a letter, with the producer's bytes and headers. */
function checkLetters(
  letters: readonly Read[],
  { run, sent }: Accounts,
  dead: number,
  problems: string[],
): void {
  const places = new Set<string>()
  const values = new Set(sent.filter(({ expected }) => expected !== 'done').map(({ value }) => value))
  for (const { payload, headers } of letters) {
    places.add(`${headers['millrace-original-partition']}:${headers['millrace-original-offset']}`)
    const whole = headers.campaign === 'spring' && headers['millrace-original-topic'] === `${run}.jobs`
    if (!whole || !values.has(payload)) problems.push(`a dead letter is not as it came: ${payload}`)
  }
  if (places.size !== dead) problems.push(`dead letters: found ${places.size}, expected ${dead}`)
}

/** A creator without posts is asked about once only. */
const FULL_CALLS: Readonly<Record<Sent['platform'], number>> = { instagram: 2, tiktok: 2, youtube: 3 }

function callsOf(
  oracle: OracleReport,
  sent: readonly Sent[],
  byId: ReadonlyMap<string, ResultMessage>,
): Books['calls'] {
  let needed = 0
  for (const { id, platform } of sent) {
    if (id === null) continue
    const result = byId.get(id)
    const posts = (result?.data as { posts?: number | null } | null | undefined)?.posts
    needed += result?.job_type === 'full_profile_scrape' && posts !== 0 ? FULL_CALLS[platform] : 1
  }
  let arrivals = 0
  let refused = 0
  for (const [endpoint, count] of Object.entries(oracle.byEndpoint)) {
    // One for each daemon, every two hours.
    if (endpoint.endsWith('/token')) continue
    arrivals += count
    for (const [status, answers] of Object.entries(oracle.answered[endpoint] ?? {}))
      if (Number(status) >= 500 || Number(status) === 429) refused += answers
  }
  return { arrivals, needed, refused, repeated: arrivals - refused - needed, violations: oracle.violations }
}

async function countRows(database: ClickHouseClient, run: string): Promise<Books['rows']> {
  const counted = await Promise.all(
    Object.entries(KEYS).map(async ([table, key]) => {
      const distinct = await number(database, `SELECT count() AS n FROM ${run}.${table} FINAL`)
      const stored = await number(database, `SELECT count() AS n FROM ${run}.${table}`)
      const keys = await number(database, `SELECT uniqExact(${key}) AS n FROM ${run}.${table}`)
      if (keys !== distinct) throw new Error(`${table} FINAL has ${distinct} rows of ${keys} keys`)
      return [table, { distinct, stored }] as const
    }),
  )
  return Object.fromEntries(counted) as Record<Table, { distinct: number; stored: number }>
}

function followers(database: ClickHouseClient, run: string): Promise<number> {
  return number(database, `SELECT count() AS n FROM ${run}.points FINAL WHERE metric = 'followers'`)
}

function gone(database: ClickHouseClient, run: string): Promise<number> {
  return number(database, `SELECT count() AS n FROM ${run}.creators FINAL WHERE gone`)
}

function days(database: ClickHouseClient, run: string): Promise<number> {
  const key = 'toDate(ts), platform, metric, creator_id'
  return number(database, `SELECT uniqExact(${key}) AS n FROM ${run}.points FINAL`)
}

async function number(database: ClickHouseClient, query: string): Promise<number> {
  const rows = await (await database.query({ query, format: 'JSONEachRow' })).json<{ n: string | number }>()
  return Number(rows[0]?.n)
}
