import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { appendFile, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { Marks } from '../../src/job/mark.ts'
import { FileMarks } from '../../src/marks/file-marks.ts'
import { RedisMarks } from '../../src/marks/redis-marks.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { ownRedis, startCluster } from '../limiter/redis-servers.ts'
import { need } from '../need.ts'
import { startRedis } from '../services/redis.ts'
import { until } from '../until.ts'

const log = createLog({ level: 'silent', pretty: false, secrets: [] })
const never = new AbortController().signal

/** The name of a job. */
const job = (id: string) => `youtube:${id}:digest`

const result = (text: string) => Buffer.from(JSON.stringify({ status: 'done', data: text }))

/** Opens marks that know of each other when they are of the same test, also one after the other. */
type Open = (endedKeptMs: number) => Promise<Marks>

function describeMarks(name: string, prepare: (t: TestContext) => Promise<Open | null>): void {
  const behaviour = (title: string, body: (open: Open) => Promise<void>) =>
    it(title, async (t) => {
      const open = await prepare(t)
      if (open !== null) await body(open)
    })

  describe(name, () => {
    behaviour('know how a job ended, byte for byte, and nothing of others', async (open) => {
      const marks = await open(60_000)
      const results = [result('ü'), result('x'.repeat(50_000)), result(randomBytes(2_000).toString('base64'))]
      for (const [index, ended] of results.entries()) {
        assert.equal(await marks.ended(job(`${index}`), never), null)
        assert.deepEqual(await marks.end(job(`${index}`), ended, never), ended)
        assert.deepEqual(await marks.ended(job(`${index}`), never), ended)
      }
    })

    behaviour('let the first result stand', async (open) => {
      const marks = await open(60_000)
      const all = await Promise.all(['a', 'b', 'c'].map((text) => marks.end(job('one'), result(text), never)))
      assert.equal(new Set(all.map(String)).size, 1)
      assert.deepEqual(await marks.end(job('one'), result('late'), never), all[0])
      assert.deepEqual(await marks.ended(job('one'), never), all[0])
    })

    behaviour('tell who asks at once each its own, whether it is known or new', async (open) => {
      const marks = await open(60_000)
      const jobs = Array.from({ length: 300 }, (_, i) => job(`${i}`))
      const known = jobs.filter((_, i) => i % 3 === 0)
      await Promise.all(known.map((one) => marks.end(one, result(`first of ${one}`), never)))
      const ends = await Promise.all(jobs.map((one) => marks.end(one, result(`last of ${one}`), never)))
      const wanted = jobs.map((one, i) => result(`${i % 3 === 0 ? 'first' : 'last'} of ${one}`))
      assert.deepEqual(ends, wanted)
      assert.deepEqual(await Promise.all(jobs.map((one) => marks.ended(one, never))), wanted)
    })

    behaviour('outlive the process', async (open) => {
      const before = await open(60_000)
      for (let i = 0; i < 200; i++) await before.end(job(`${i}`), result(`${i}`.repeat(i)), never)
      await before.stop()
      const after = await open(60_000)
      for (let i = 0; i < 200; i++)
        assert.deepEqual(await after.ended(job(`${i}`), never), result(`${i}`.repeat(i)))
    })

    behaviour('forget after a while', async (open) => {
      const marks = await open(300)
      await marks.end(job('one'), result('old'), never)
      await until(async () => (await marks.ended(job('one'), never)) === null)
      assert.deepEqual(await marks.end(job('one'), result('new'), never), result('new'))
    })

    behaviour('know who scraped a creator last, for as long as was said', async (open) => {
      const marks = await open(60_000)
      const ada = { platform: 'youtube', creatorId: '@ada', jobType: 'profile' }
      assert.equal(await marks.scrapedBy(ada, never), null)
      await marks.scraped(ada, job('one'), 60_000, never)
      await marks.scraped(ada, job('two'), 60_000, never)
      assert.match((await marks.scrapedBy(ada, never)) ?? '', /^youtube:two:/)
      assert.equal(await marks.scrapedBy({ ...ada, jobType: 'media' }, never), null)
      await marks.scraped(ada, job('three'), 300, never)
      await until(async () => (await marks.scrapedBy(ada, never)) === null)
    })
  })
}

describeMarks('marks in a folder', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-marks-'))
  const opened: Marks[] = []
  t.after(async () => {
    await Promise.all(opened.map((marks) => marks.stop()))
    await rm(folder, { recursive: true })
  })
  return async (endedKeptMs) => {
    const marks = new FileMarks({ folder, endedKeptMs }, log)
    opened.push(marks)
    await marks.start()
    return marks
  }
})

describeMarks('marks in Redis', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return null
  const keyPrefix = `marks-${randomUUID()}`
  const opened: Marks[] = []
  t.after(() => Promise.all(opened.map((marks) => marks.stop())))
  return async (endedKeptMs) => {
    const marks = new RedisMarks(
      { redis: { url, keyPrefix, startTimeoutMs: 30_000 }, endedKeptMs, away: 'wait' },
      log,
    )
    opened.push(marks)
    await marks.start()
    return marks
  }
})

it('marks in a folder survive a line that a crash tore, and remove what has expired', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-marks-'))
  t.after(() => rm(folder, { recursive: true }))
  let nowMs = 1_000_000_000_000
  const open = async () => {
    const marks = new FileMarks({ folder, endedKeptMs: 40_000, now: () => nowMs }, log)
    await marks.start()
    return marks
  }
  const first = await open()
  await first.end(job('one'), result('1'), never)
  await first.stop()
  const [file] = await readdir(folder)
  await appendFile(join(folder, file!), '{"mark":"ended youtube:two","expiresAtMs":99999')

  const second = await open()
  await second.end(job('three'), result('3'), never)
  for (let i = 0; i < 12; i++) {
    nowMs += 10_000
    await second.end(job(`later-${i}`), result('later'), never)
  }
  assert.ok((await readdir(folder)).length <= 6, 'files of expired marks are removed')
  const ada = { platform: 'youtube', creatorId: '@ada', jobType: 'profile' }
  await second.scraped(ada, 'long', 30 * 86_400_000, never)
  for (let i = 0; i < 12; i++) {
    nowMs += 10_000
    await second.end(job(`later-${12 + i}`), result('later'), never)
    await second.scraped(ada, `at ${i}`, 30 * 86_400_000, never)
  }
  assert.ok((await readdir(folder)).length <= 7, 'what is kept for long keeps nothing else')
  await second.stop()

  const third = await open()
  assert.equal(await third.ended(job('one'), never), null)
  assert.deepEqual(await third.ended(job('later-23'), never), result('later'))
  assert.equal(await third.scrapedBy(ada, never), 'at 11')
  await third.stop()
})

it('while Redis is away whoever asks waits, or does without, as configured', async (t) => {
  if (need(t, 'redis') === null) return
  const server = await startRedis({ durable: true })
  const redis = { url: server.address, keyPrefix: 'away', commandTimeoutMs: 300, startTimeoutMs: 30_000 }
  const waiting = new RedisMarks({ redis, endedKeptMs: 60_000, away: 'wait' }, log)
  const without = new RedisMarks({ redis, endedKeptMs: 60_000, away: 'do_without' }, log)
  t.after(async () => {
    await Promise.all([waiting.stop(), without.stop()])
    await server.stop()
  })
  await Promise.all([waiting.start(), without.start()])
  await waiting.end(job('before'), result('before'), never)
  await server.kill()

  assert.equal(await without.ended(job('before'), never), null)
  assert.deepEqual(await without.end(job('during'), result('during'), never), result('during'))
  const control = new AbortController()
  const given = waiting.end(job('given up'), result('x'), control.signal)
  control.abort(new Error('the daemon is stopping'))
  await assert.rejects(given, /the daemon is stopping/)
  const asked = waiting.ended(job('before'), never)
  const noted = waiting.end(job('waited'), result('waited'), never)

  await server.restart()
  assert.deepEqual(await asked, result('before'))
  assert.deepEqual(await noted, result('waited'))
  await until(async () => (await without.ended(job('waited'), never)) !== null)
})

it('marks in a Redis Cluster are spread over its nodes', async (t) => {
  if (!ownRedis(t)) return
  const nodes = await startCluster(t)
  const [url, ...cluster] = nodes.map((node) => node.url)
  const redis = { url: url!, cluster, keyPrefix: 'spread', startTimeoutMs: 30_000 }
  const marks = new RedisMarks({ redis, endedKeptMs: 60_000, away: 'wait' }, log)
  t.after(() => marks.stop())
  await marks.start()
  const jobs = Array.from({ length: 60 }, (_, i) => job(`${i}`))
  for (const text of ['first', 'second']) {
    const ends = await Promise.all(jobs.map((one) => marks.end(one, result(text), never)))
    for (const end of ends) assert.deepEqual(end, result('first'))
  }
  for (const ended of await Promise.all(jobs.map((one) => marks.ended(one, never))))
    assert.deepEqual(ended, result('first'))
  for (const node of nodes) assert.ok(Number(await node.command('DBSIZE')) > 0)
})

it('marks that a folder does not take are waited for, until the job is given up or it takes them', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-marks-'))
  t.after(() => rm(folder, { recursive: true }))
  const marks = new FileMarks({ folder, endedKeptMs: 40_000 }, log)
  await marks.start()
  await rm(folder, { recursive: true })
  const givenUp = new AbortController()
  const lost = marks.end(job('lost'), result('lost'), givenUp.signal)
  const kept = marks.end(job('kept'), result('kept'), never)
  givenUp.abort(new Error('lost'))
  await assert.rejects(lost, /lost/)
  await mkdir(folder)
  assert.deepEqual(await kept, result('kept'))
  assert.deepEqual(await marks.ended(job('kept'), never), result('kept'))
  await marks.stop()
})
