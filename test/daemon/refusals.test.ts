import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Millrace } from './process.ts'

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-refusal-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  return folder
}

const EMBEDDED = { MILLRACE_ADMIN__PORT: '0' }

/** Runs a command that should refuse: its lines on standard error and its exit code. */
async function refusal(args: string[], options: { cwd: string; env?: Record<string, string> }) {
  const { code, stderr } = await new Millrace(args, options).ended
  assert.doesNotMatch(stderr, /\n\s+at /, 'no stack')
  return { code, stderr }
}

test('no command, and an unknown one, is a usage error', async (t) => {
  const cwd = folderOf(t)
  const none = await refusal([], { cwd })
  assert.equal(none.code, 2)
  assert.match(none.stderr, /Usage: millrace/)
  const unknown = await refusal(['dance'], { cwd })
  assert.equal(unknown.code, 2)
  assert.match(unknown.stderr, /unknown command 'dance'/)
  const option = await refusal(['simulate', '--creators', 'many'], { cwd })
  assert.equal(option.code, 2)
  assert.match(option.stderr, /found "many", expected a whole number/)
})

test('a wrong configuration is told as a list, with exit code 2', async (t) => {
  const cwd = folderOf(t)
  writeFileSync(join(cwd, 'millrace.yaml'), 'fetch:\n  timeout: soon\nkafkaa: {}\n')
  const { code, stderr } = await refusal(['run'], { cwd })
  assert.equal(code, 2)
  assert.match(stderr, /millrace\.yaml:2: fetch\.timeout: found "soon", expected a duration/)
  assert.match(stderr, /millrace\.yaml:3: kafkaa: unknown key/)
})

test('limits that cannot be used, or hold no call, are refused with what to do, and exit code 2', async (t) => {
  const cwd = folderOf(t)
  writeFileSync(
    join(cwd, 'millrace.yaml'),
    'limits:\n  endpoints:\n    youtube:\n      channel: { limit: 5, window: 2s }\n',
  )
  for (const command of [['run'], ['plan', '--creators', '10', '--every', '1h']]) {
    const { code, stderr } = await refusal(command, { cwd, env: EMBEDDED })
    assert.equal(code, 2, command[0])
    assert.match(
      stderr,
      /endpoint:youtube\/channel: of 5 per 2000 ms only 80\.0% can be used.*limits\.latency/,
    )
  }
  writeFileSync(
    join(cwd, 'millrace.yaml'),
    'limits:\n  quotas:\n    youtube: { limit: 10, time_zone: Mars/Olympus }\n',
  )
  const zone = await refusal(['run'], { cwd, env: EMBEDDED })
  assert.equal(zone.code, 2)
  assert.match(zone.stderr, /quota:youtube: time zone "Mars\/Olympus"; expected an IANA name/)
  writeFileSync(join(cwd, 'millrace.yaml'), 'limits:\n  redis_away: share\n  daemons_max: 100\nredis: {}\n')
  const share = await refusal(['run'], { cwd, env: EMBEDDED })
  assert.equal(share.code, 2)
  assert.match(share.stderr, /limit 0; expected a whole number/)
})

test('a topic or an interval for what there is not is refused with what there is, and exit code 2', async (t) => {
  const cwd = folderOf(t)
  writeFileSync(
    join(cwd, 'millrace.yaml'),
    'redis: {}\nkafka:\n  brokers: [127.0.0.1:1]\n  topics: [{ name: jobs.x, platform: instagrm }]\n',
  )
  const topic = await refusal(['run'], { cwd, env: EMBEDDED })
  assert.equal(topic.code, 2)
  assert.match(topic.stderr, /kafka\.topics: jobs\.x is said to be of "instagrm"; expected one of .*youtube/)
  writeFileSync(join(cwd, 'millrace.yaml'), 'platforms:\n  youtube:\n    min_interval: { profil: 1h }\n')
  const interval = await refusal(['run'], { cwd, env: EMBEDDED })
  assert.equal(interval.code, 2)
  assert.match(
    interval.stderr,
    /platforms\.youtube\.min_interval\.profil: youtube has no such job type, it offers .*profile/,
  )
})

test('a private origin is refused before it is called, with the key that allows it, and exit code 2', async (t) => {
  const cwd = folderOf(t)
  for (const origin of ['http://127.0.0.1:8080', 'http://localhost:8080', 'http://[fd00::1]']) {
    writeFileSync(join(cwd, 'millrace.yaml'), `platforms:\n  youtube: { origin: "${origin}" }\n`)
    const { code, stderr } = await refusal(['run'], { cwd, env: EMBEDDED })
    assert.equal(code, 2, origin)
    assert.ok(stderr.includes(`its origin ${origin} is not a public address`), stderr)
    assert.match(stderr, /set platforms\.youtube\.private_origin: true/)
  }
})

test('limits in memory say that the first calls wait, and how not to', async (t) => {
  for (const [coldStart, waits] of [
    ['empty', true],
    ['full', false],
  ] as const) {
    const env = { ...EMBEDDED, MILLRACE_LIMITS__COLD_START: coldStart }
    const { code, stderr } = await new Millrace(['run'], { cwd: folderOf(t), env }).ended
    assert.equal(code, 0)
    assert.equal(/first calls wait.*limits\.cold_start: full/.test(stderr), waits, coldStart)
  }
})

test('an unreachable broker is one line, with exit code 3', async (t) => {
  const cwd = folderOf(t)
  const env = { ...EMBEDDED, MILLRACE_KAFKA__BROKERS: '127.0.0.1:1', MILLRACE_LIMITS__SHARE: '1/2' }
  const { code, stderr } = await refusal(['run'], { cwd, env })
  assert.equal(code, 3)
  assert.match(stderr, /^millrace: .*127\.0\.0\.1:1.*$/m)
})

test('unreachable Redis and ClickHouse are one line each, with exit code 3', async (t) => {
  const cwd = folderOf(t)
  const redis = await refusal(['run'], {
    cwd,
    env: { ...EMBEDDED, MILLRACE_REDIS__URL: 'redis://127.0.0.1:1' },
  })
  assert.equal(redis.code, 3)
  assert.match(redis.stderr, /^millrace: .*127\.0\.0\.1:1/m)
  const clickhouse = await refusal(['run'], {
    cwd,
    env: { ...EMBEDDED, MILLRACE_CLICKHOUSE__URL: 'http://127.0.0.1:1' },
  })
  assert.equal(clickhouse.code, 3)
  assert.match(clickhouse.stderr, /^millrace: .*ClickHouse/m)
})

test('a port in use is named with its setting', async (t) => {
  const cwd = folderOf(t)
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const { code, stderr } = await refusal(['run'], { cwd, env: { MILLRACE_ADMIN__PORT: String(port) } })
  assert.equal(code, 1)
  assert.match(stderr, new RegExp(`^millrace: .*${port}.*admin\\.port`, 'm'))
})

test('a data folder that cannot be written to is named', async (t) => {
  const cwd = folderOf(t)
  // A file where the folder should be: refused for root too, whom permissions do not stop.
  const file = join(cwd, 'data')
  writeFileSync(file, '')
  chmodSync(file, 0o400)
  const { code, stderr } = await refusal(['run'], { cwd, env: { ...EMBEDDED, MILLRACE_DATA: file } })
  assert.equal(code, 1)
  assert.match(stderr, /^millrace: .*data/m)
})

test('a second process on the same embedded database is told so', async (t) => {
  const cwd = folderOf(t)
  const env = {
    ...EMBEDDED,
    MILLRACE_DATA: join(cwd, 'data'),
    MILLRACE_INTAKE__FILE: join(cwd, 'jobs.ndjson'),
  }
  writeFileSync(
    join(cwd, 'jobs.ndjson'),
    '{"platform":"youtube","creator_id":"@someone","job_type":"profile"}\n',
  )
  const first = new Millrace(['run'], { cwd, env })
  t.after(() => first.kill())
  await first.says(/millrace is running/)
  const { code, stderr } = await refusal(['run'], { cwd, env })
  assert.equal(code, 1)
  assert.match(stderr, /^millrace: .*process/m)
  // The job waits for credentials, so the first one runs until it is told to stop, and then drains at once.
  assert.equal((await first.stop()).code, 0)
})

test('an input that is not there is a usage error', async (t) => {
  const cwd = folderOf(t)
  const { code, stderr } = await refusal(['run', '--input', 'nowhere.ndjson'], {
    cwd,
    env: { ...EMBEDDED, MILLRACE_DATA: join(cwd, 'data') },
  })
  assert.equal(code, 2)
  assert.match(stderr, /^millrace: .*nowhere\.ndjson/m)
})

test('Kafka without shared or divided limits is refused before anything is fetched', async (t) => {
  const { code, stderr } = await refusal(['run'], {
    cwd: folderOf(t),
    env: { MILLRACE_KAFKA__BROKERS: '127.0.0.1:1' },
  })
  assert.equal(code, 2)
  assert.match(stderr, /limits\.share/)
})
