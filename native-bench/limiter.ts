/**
 * The stacked limiter beside what is usually put in its place, over one real Redis, and what one of its decisions costs.
 * `node native-bench/limiter.ts [redis://127.0.0.1:6379] [--quick]`: without an address a Redis is started for it, and stopped. Takes
 * under five minutes, `--quick` under one (without ten waiters). Part B blocks Redis for up to a second a
 * call: give it one that nobody needs.
 *
 * A, limits shared through Redis: waiters ask for permits of four endpoints of one platform, each again as soon as its last
 * request has its reply; the upstream is an exact log of arrivals in this process, judged by the oracle of the tests.
 * - stacked limiter: the permit desk over it, as in the daemon.
 * - RateLimiterUnion: three RateLimiterRedis of rate-limiter-flexible, polled.
 * - three calls: bucket, bucket and sorted set in three scripts, polled.
 *
 * B, the script inside Redis and the round trip to it, by endpoints stored and asked for. C, the same decision in memory.
 */
import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { startRedis } from '../test/services/redis.ts'
import { versionOf } from './limiter/commands.ts'
import { pureCosts } from './limiter/pure-cost.ts'
import { scriptCosts } from './limiter/script-cost.ts'
import { sharedLimits } from './limiter/shared-limits.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false } },
})
const { quick } = values
const [address] = positionals

// One waiter meets one window of a second; more of them meet windows of two, and a burst that has to be gone first.
const ALONE = quick ? { leadMs: 1_000, measureMs: 2_000 } : { leadMs: 1_000, measureMs: 10_000 }
const MANY = quick ? { leadMs: 3_000, measureMs: 2_000 } : { leadMs: 3_000, measureMs: 18_000 }
const EFFORT = quick
  ? { rounds: 3, roundMs: 10, entriesMax: 20_000 }
  : { rounds: 7, roundMs: 40, entriesMax: 2_000_000 }

const started = address === undefined ? await startRedis() : undefined
const url = address ?? started!.address
const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null })
let lastError: unknown
redis.on('error', (error) => {
  lastError = error
})
try {
  await redis.connect().catch(() => {
    throw new Error(`no Redis answers at ${url}`, { cause: lastError })
  })
  const server = { url, redis }
  const load = loadavg()[0]!.toFixed(2)
  console.log(
    `${cpus()[0]?.model ?? 'unknown'} × ${cpus().length}, Node ${process.version}, Redis ${await versionOf(redis)}, ` +
      `load before the start ${load}${quick ? ', quick' : ''}`,
  )
  console.log(
    `\nA. Shared limits. ${MANY.measureMs / 1_000} s measured after ${MANY.leadMs / 1_000} s (one waiter: ` +
      `${ALONE.measureMs / 1_000} s after ${ALONE.leadMs / 1_000} s), all of it judged. calls: EVALSHA and EVAL by INFO commandstats,\n` +
      'acknowledgements included; CPU of this process, its timers and log included. Levels: share of what they sustain. One\n' +
      'waiter is held by profile; more of them by platform, followers and comments, and profile and media share the rest.\n' +
      'Windows fill in bursts: where the span holds nine windows of 2 s, one burst more or less is 11%.\n',
  )
  console.log(`1 daemon\n${await sharedLimits(server, { daemons: 1, waiters: [1], span: ALONE })}\n`)
  const waiters = quick ? [1_000] : [10, 1_000]
  console.log(`1 daemon\n${await sharedLimits(server, { daemons: 1, waiters, span: MANY })}\n`)
  console.log(`3 daemons\n${await sharedLimits(server, { daemons: 3, waiters: [999], span: MANY })}\n`)
  const costs = await scriptCosts(server, EFFORT)
  console.log(`B. The script, µs a call inside Redis, medians of ${EFFORT.rounds} rounds\n${costs.redis}\n`)
  console.log(`   Round trip from Node, µs a call\n${costs.trip}\n`)
  console.log(`C. decide() in memory, µs a call\n${pureCosts(EFFORT)}`)
} finally {
  redis.disconnect()
  await started?.stop()
}
