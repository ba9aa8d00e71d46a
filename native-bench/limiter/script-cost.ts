import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { endpointLevel } from '../../src/limiter/plan.ts'
import { StackedLimiter } from '../../src/limiter/stacked-limiter.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { clear, scriptCost } from './commands.ts'
import { costPlan, Demands, LOG_LENGTHS, PLATFORM } from './cost-plan.ts'
import { type Filling, fill } from './fill.ts'
import { figure, median, textTable } from './text-table.ts'

interface Server {
  readonly url: string
  readonly redis: Redis
}

/** How long and how much to measure. */
export interface Effort {
  readonly rounds: number
  readonly roundMs: number
  /** Bigger states than this many log entries in what a call asks for are left out. */
  readonly entriesMax: number
}

const SIZES = [1, 10, 100, 1_000]
const KINDS = [
  { name: '8 entries', logEntries: LOG_LENGTHS.short, room: 'free' },
  { name: '1,024 entries', logEntries: LOG_LENGTHS.long, room: 'free' },
  { name: '1,024 entries, full', logEntries: LOG_LENGTHS.long, room: 'full' },
] as const
const DAEMONS = [0, 64]

/**
 * Two tables, of the script inside Redis and of the round trip from here, in microseconds a call: medians of rounds. Every call
 * asks one permit of each of its endpoints, and acknowledges those of the call before it.
 */
export async function scriptCosts(server: Server, effort: Effort): Promise<{ redis: string; trip: string }> {
  const columns = KINDS.flatMap((kind) => DAEMONS.map((daemons) => ({ ...kind, daemons })))
  const head = [
    'endpoints: stored',
    'asked',
    ...columns.map(({ name, daemons }) => (daemons === 0 ? name : `+ ${daemons} daemons`)),
  ]
  const inRedis: string[][] = []
  const trips: string[][] = []
  for (const stored of SIZES) {
    for (const asked of new Set([1, Math.min(10, stored), stored])) {
      const cells: { redisUs: number; tripUs: number }[] = []
      for (const { logEntries, room, daemons } of columns) {
        if (asked * logEntries > effort.entriesMax) cells.push({ redisUs: Number.NaN, tripUs: Number.NaN })
        else
          cells.push(await cost(server, { endpoints: stored, logEntries, daemons }, { asked, room, effort }))
      }
      const names = [stored.toLocaleString('en'), asked.toLocaleString('en')]
      inRedis.push([...names, ...cells.map(({ redisUs }) => figure(redisUs))])
      trips.push([...names, ...cells.map(({ tripUs }) => figure(tripUs))])
    }
  }
  return { redis: textTable(head, inRedis), trip: textTable(head, trips) }
}

async function cost(
  { url, redis }: Server,
  filling: Filling,
  { asked, room, effort }: { asked: number; room: 'free' | 'full'; effort: Effort },
): Promise<{ redisUs: number; tripUs: number }> {
  const keyPrefix = `bench-${randomUUID()}`
  const limiter = new StackedLimiter({
    plan: costPlan(room),
    // The largest questions block Redis for longer than a daemon would wait.
    redis: { url, keyPrefix, commandTimeoutMs: 30_000 },
    coldStart: 'full',
    metrics: createMetrics(),
    log: createLog({ level: 'warn', pretty: false, secrets: [] }),
  })
  try {
    await limiter.start()
    await fill(redis, keyPrefix, filling)
    const demands = new Demands(asked)
    const call = async () => {
      const grants = await limiter.decide(demands.next())
      demands.answered(grants)
      return grants
    }
    const first = await call()
    const misread = first.find(({ endpoint, granted, level }) =>
      room === 'free'
        ? granted !== 1 || level !== null
        : granted !== 0 || level !== endpointLevel(PLATFORM, endpoint),
    )
    const waiting = (await limiter.levels(PLATFORM))[0]?.waiting
    if (misread !== undefined || waiting !== filling.daemons)
      throw new Error(
        `the state is not what it should be: ${waiting} daemons wait, ${JSON.stringify(misread)}; has decide.lua another layout?`,
      )
    await call()
    const rounds: { redisUs: number; tripUs: number }[] = []
    for (let round = 0; round < effort.rounds; round++) {
      const before = await scriptCost(redis)
      const startMs = performance.now()
      let calls = 0
      let tripMs = 0
      do {
        await call()
        calls++
        tripMs = performance.now() - startMs
      } while (tripMs < effort.roundMs)
      const after = await scriptCost(redis)
      // The average of Redis itself: somebody else's scripts, on a shared server, are in it.
      rounds.push({
        redisUs: (after.us - before.us) / (after.calls - before.calls),
        tripUs: (tripMs * 1_000) / calls,
      })
    }
    return {
      redisUs: median(rounds.map(({ redisUs }) => redisUs)),
      tripUs: median(rounds.map(({ tripUs }) => tripUs)),
    }
  } finally {
    await limiter.stop()
    await clear(redis, keyPrefix)
  }
}
