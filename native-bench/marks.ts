import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Marks } from '../src/job/mark.ts'
import { FileMarks } from '../src/marks/file-marks.ts'
import { RedisMarks } from '../src/marks/redis-marks.ts'
import { createLog } from '../src/telemetry/log.ts'
import { startRedis } from '../test/services/redis.ts'

// What it takes to know which jobs have ended: two questions for each job (has it ended? this is how it ended), asked by so many
// jobs at once. CPU is this process's, all threads, Redis not included. Rounds alternate; medians.
//
//   node native-bench/marks.ts

const ROUNDS = 5
const JOBS = 4_000
const KEPT_MS = 600_000
const never = new AbortController().signal

const server = await startRedis()
const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
const log = createLog({ level: 'warn', pretty: false, secrets: [] })
const redis = { url: server.address, keyPrefix: 'bench', commandTimeoutMs: 10_000 }
const contestants: readonly [string, Marks][] = [
  ['Redis', new RedisMarks({ redis, endedKeptMs: KEPT_MS, away: 'wait' }, log)],
  ['folder', new FileMarks({ folder, endedKeptMs: KEPT_MS }, log)],
]
for (const [, marks] of contestants) await marks.start()

const job = () => `youtube:${randomUUID()}:digest`

/** A result as they are: a profile, and with so many posts. */
function result(posts: number): Buffer {
  const post = (n: number) => ({
    id: randomBytes(8).toString('base64url'),
    title: `A title of a post that people may have written, number ${n}`,
    likes: n * 7919,
    comments: n * 31,
    published_at: new Date(1_700_000_000_000 + n * 1e7).toISOString(),
  })
  const data = { followers: 123_456, media: Array.from({ length: posts }, (_, n) => post(n)) }
  return Buffer.from(JSON.stringify({ job_id: randomUUID(), status: 'done', attempts: 1, rows: 3, data }))
}

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!

try {
  for (const [what, ended] of [
    ['a profile', result(0)],
    ['a profile with 50 posts', result(50)],
  ] as const) {
    console.log(`\n${what}, a result of ${ended.length} bytes`)
    for (const atOnce of [1, 100, 1_000]) {
      const figures = new Map(
        contestants.map(([name]) => [name, { cpu: [] as number[], rate: [] as number[] }]),
      )
      for (let round = 0; round < ROUNDS; round++) {
        for (const [name, marks] of contestants) {
          const count = atOnce === 1 ? JOBS / 8 : JOBS
          let left = count
          const startedAtMs = performance.now()
          const before = process.cpuUsage()
          const work = async () => {
            while (left-- > 0) {
              const one = job()
              await marks.ended(one, never)
              await marks.end(one, ended, never)
            }
          }
          await Promise.all(Array.from({ length: atOnce }, work))
          const { user, system } = process.cpuUsage(before)
          figures.get(name)!.cpu.push((user + system) / count)
          figures.get(name)!.rate.push((count / (performance.now() - startedAtMs)) * 1_000)
        }
      }
      for (const [name, { cpu, rate }] of figures) {
        const line = `${median(rate).toFixed(0).padStart(7)} jobs/s  ${median(cpu).toFixed(0).padStart(5)} us CPU a job`
        console.log(`  ${String(atOnce).padStart(5)} at once  ${name.padEnd(7)}${line}`)
      }
    }
    const client = new Redis(server.address)
    const one = job()
    await contestants[0]![1].end(one, ended, never)
    console.log(`  a mark takes ${await client.memory('USAGE', `bench:ended:${one}`)} bytes in Redis`)
    client.disconnect()
  }
} finally {
  for (const [, marks] of contestants) await marks.stop()
  await server.stop()
  await rm(folder, { recursive: true })
}
