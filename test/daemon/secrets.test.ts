import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createClient } from '@clickhouse/client'
import { Redis } from 'ioredis'
import type { ConfigInput } from '../../src/config/schema.ts'
import type { ResultMessage } from '../../src/job/outcome.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { ANSWER_NAMES, type EchoServer, startEcho } from './echo.ts'
import { findSecrets } from './find-secrets.ts'
import { publish, readTopic, type Written } from './kafka-topics.ts'
import { Millrace } from './process.ts'
import { realKafka } from './real-configuration.ts'

const OWN_PLATFORM = fileURLToPath(new URL('./echo-platform.ts', import.meta.url))
const PLATFORMS = ['instagram', 'youtube', 'tiktok', 'own']

/** Nobody else's text. Odd characters make it look different in JSON, in addresses and in HTML. */
const secret = (odd = '') => `${randomBytes(12).toString('hex')}${odd}${randomBytes(12).toString('hex')}`

function platformSecrets() {
  return {
    'the access token of Instagram': secret('|'),
    'the key of YouTube': secret('-'),
    'the key of TikTok': secret(),
    'the secret of TikTok': secret('&=+ /"<'),
    'the password of the own platform': secret(':&"/'),
    'the key in every address': secret('/+&='),
  }
}

function platformsSection(origin: string, secrets: ReturnType<typeof platformSecrets>) {
  const credentials: Record<string, Record<string, string>> = {
    instagram: { access_token: secrets['the access token of Instagram'], ig_user_id: '17841400000000001' },
    youtube: { key: secrets['the key of YouTube'] },
    tiktok: { client_key: secrets['the key of TikTok'], client_secret: secrets['the secret of TikTok'] },
    own: {
      user: 'someone',
      password: secrets['the password of the own platform'],
      api_key: secrets['the key in every address'],
    },
  }
  return Object.fromEntries(
    PLATFORMS.map((name) => [
      name,
      {
        origin: `${origin}/${name}`,
        private_origin: true,
        credentials: credentials[name]!,
        ...(name === 'own' ? { module: OWN_PLATFORM } : {}),
      },
    ]),
  )
}

/** Fails everything quickly, and says as much about it as it ever does. */
function failingSections(): Partial<ConfigInput> {
  const open = { rate: 1_000, burst: 10_000 }
  const window = { limit: 10_000, window: '10s' }
  return {
    data: './data',
    limits: {
      global: open,
      platforms: Object.fromEntries(PLATFORMS.map((name) => [name, open])),
      endpoints: {
        instagram: { user_profile: window },
        youtube: { channel: window },
        tiktok: { user_info: window },
      },
      default_endpoint: window,
      quotas: { youtube: false, tiktok: false },
      cold_start: 'full',
    },
    fetch: { attempts: 4, timeout: '5s', read_timeout: '5s' },
    retry: { delays: ['1s'], base: '10ms', in_place_max: '200ms', throttled_max: 1, dead_sample: 100_000 },
    images: { enabled: false },
    admin: { port: 0 },
    log: { level: 'trace', jobs: 'all', pretty: false },
  }
}

/** For each platform a job for each way to repeat what was sent, and some whose adapter's own code fails. */
function jobs(): Written[] {
  const all = PLATFORMS.flatMap((platform) =>
    ANSWER_NAMES.map((_, answer) => ({ platform, creator_id: `m${answer}x`, job_type: 'profile' })),
  )
  const throwing = { platform: 'own', creator_id: 'x', job_type: 'throws' }
  return [...all, throwing].map((job, index) => ({
    key: `${job.platform}:${job.creator_id}`,
    value: JSON.stringify({ ...job, job_id: `job-${index}` }),
  }))
}

/** Everything in a folder, as text. */
function filesIn(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
  return Object.fromEntries(
    names
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
      .map((path) => [`the file ${path.slice(folder.length)}`, readFileSync(path, 'latin1')]),
  )
}

/** What the daemon was sent back did hold the secrets: otherwise it would be no feat that they are nowhere. */
function assertEchoed(echo: EchoServer, secrets: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(secrets)) {
    assert.ok(echo.received().includes(value), `${name} was never sent, so it could not be repeated`)
  }
  const used = echo.tokens.filter((token) => echo.received().includes(token))
  assert.ok(used.length >= 2, 'one token was used after the other')
}

const tokensOf = ({ tokens }: EchoServer) =>
  Object.fromEntries(tokens.map((token, index) => [`token ${index} of TikTok`, token]))

async function output(args: readonly string[], cwd: string): Promise<{ code: number | null; text: string }> {
  const { code, stdout, stderr } = await new Millrace(args, { cwd }).ended
  return { code, text: stdout + stderr }
}

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-secrets-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  return folder
}

test('no secret is anywhere after a failing run on embedded parts, whatever the upstream repeats', async (t) => {
  const echo = await startEcho(t)
  const folder = folderOf(t)
  const secrets = platformSecrets()
  const configuration = { ...failingSections(), platforms: platformsSection(echo.origin, secrets) }
  writeFileSync(join(folder, 'millrace.yaml'), JSON.stringify(configuration))
  const input = jobs()
  writeFileSync(join(folder, 'jobs.ndjson'), input.map(({ value }) => `${value}\n`).join(''))

  const ran = await output(['run', '--input', 'jobs.ndjson'], folder)
  assert.equal(ran.code, 0, ran.text.slice(-2_000))
  const all = { ...secrets, ...tokensOf(echo) }
  assertEchoed(echo, secrets)

  const dead = readFileSync(join(folder, 'data', 'millrace.dead.ndjson'), 'utf8')
  const lines = dead.split('\n').slice(0, -1)
  assert.equal(lines.length, input.length)
  assert.match(dead, /\[redacted\]/)
  // A letter's id is where its line begins.
  const places = lines.map(
    (_, index) => Buffer.byteLength(lines.slice(0, index).join('\n')) + Math.sign(index),
  )
  const texts: Record<string, string> = { 'the log': ran.text, ...filesIn(join(folder, 'data')) }
  for (const args of [
    ['check'],
    ['check', '--json'],
    ['dlq', 'list', '--json'],
    ...places.filter((_, index) => index % 20 === 3).map((place) => ['dlq', 'show', `0-${place}`]),
    ...['jobs', 'creators'].map((name) => ['query', `SELECT * FROM ${name}`, '--json']),
  ]) {
    const { code, text } = await output(args, folder)
    assert.equal(code, 0, `${args.join(' ')}: ${text}`)
    texts[`the output of ${args.join(' ')}`] = text
  }
  assert.deepEqual(findSecrets(texts, all), [])
  t.diagnostic(
    `${Object.keys(all).length} secrets, ${input.length} jobs, ${Object.keys(texts).length} places`,
  )
})

/** A way to a server for who has this user and password; whoever has not is told what they sent. */
async function gateTo(t: TestContext, address: string, pair: string): Promise<string> {
  const expected = `Basic ${Buffer.from(pair).toString('base64')}`
  const gate = createServer((request, response) => {
    const { authorization, ...headers } = request.headers
    if (authorization !== expected) return void response.writeHead(403).end(`no entry with ${authorization}`)
    const onward = httpRequest(
      new URL(request.url ?? '', address),
      { method: request.method, headers, agent: false },
      (reply) => {
        response.writeHead(reply.statusCode ?? 502, reply.headers)
        reply.pipe(response)
      },
    )
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  })
  gate.listen(0, '127.0.0.1')
  await once(gate, 'listening')
  t.after(() => {
    gate.closeAllConnections()
    gate.close()
  })
  return `http://127.0.0.1:${(gate.address() as AddressInfo).port}`
}

test('no secret is anywhere after a failing run on Kafka, Redis and ClickHouse, which ends in a crash', async (t) => {
  const broker = need(t, 'kafka')
  const redis = need(t, 'redis')
  const clickhouse = need(t, 'clickhouse')
  const kcat = need(t, 'kcat')
  if (broker === null || redis === null || clickhouse === null || kcat === null) return
  const echo = await startEcho(t)
  const folder = folderOf(t)
  const run = `secrets${Date.now().toString(36)}`
  const secrets = platformSecrets()
  const services = {
    'the password of Redis': secret(),
    'the password of ClickHouse': secret('&/'),
  }
  // Passwords that are really asked for: by a user of the run's own, and by a gate, since not every ClickHouse makes users.
  const acl = new Redis(redis)
  await acl.call('ACL', 'SETUSER', run, 'on', `>${services['the password of Redis']}`, '~*', '&*', '+@all')
  const database = createClient({ url: clickhouse })
  const password = services['the password of ClickHouse']
  t.after(async () => {
    await acl.call('ACL', 'DELUSER', run)
    await acl.quit()
    await database.command({ query: `DROP DATABASE IF EXISTS ${run}` })
    await database.close()
  })
  const redisUrl = new URL(redis)
  redisUrl.username = run
  redisUrl.password = services['the password of Redis']
  const configuration: ConfigInput = {
    ...failingSections(),
    kafka: { ...realKafka(run, broker), partitions: 2 },
    redis: { url: redisUrl.href, key_prefix: run },
    clickhouse: {
      url: await gateTo(t, clickhouse, `${run}:${password}`),
      database: run,
      username: run,
      password,
    },
    platforms: platformsSection(echo.origin, secrets),
  }
  writeFileSync(join(folder, 'millrace.yaml'), JSON.stringify(configuration))

  const daemon = new Millrace(['run'], { cwd: folder })
  t.after(() => daemon.kill())
  const [, adminUrl = ''] = await daemon.says(/"admin":"(http:[^"]+)","msg":"millrace is running"/)
  const input = jobs()
  await publish(kcat, broker, `${run}.jobs`, input)
  await poll(
    async () => {
      const results = await readTopic(kcat, broker, `${run}.results`)
      const ids = results.map(({ payload }) => (JSON.parse(payload) as ResultMessage).job_id)
      return new Set(ids).size === input.length ? true : undefined
    },
    { withinMs: 60_000, everyMs: 500, what: 'a result of every job' },
  )
  const texts: Record<string, string> = {}
  for (const path of ['/metrics', '/status', '/', '/readyz', '/livez', '/events']) {
    const reply = await fetch(adminUrl + path, { headers: { accept: '*/*' } })
    // Events do not end: the first one has everything.
    const reader = reply.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    for (;;) {
      const { done, value = '' } = await reader.read()
      text += value
      if (done || (path === '/events' && text.includes('\n\n'))) break
    }
    await reader.cancel()
    texts[path] = text
  }
  assert.match(texts['/status']!, /recentFailures.*\[redacted\]/)

  // The end, by an error that nobody catches.
  await publish(kcat, broker, `${run}.jobs`, [
    { key: 'x', value: JSON.stringify({ platform: 'own', creator_id: 'x', job_type: 'ends_the_process' }) },
  ])
  const { code, stdout, stderr } = await daemon.ended
  assert.equal(code, 1)
  assert.match(stderr, /the process ends with \[redacted\]:\[redacted\]/)
  const all = { ...secrets, ...services, ...tokensOf(echo) }
  assertEchoed(echo, secrets)

  texts['the log'] = stdout + stderr
  for (const topic of ['results', 'dead', 'retry.1s', 'replayed']) {
    const records = await readTopic(kcat, broker, `${run}.${topic}`)
    if (topic !== 'replayed') assert.ok(records.length > 0, topic)
    texts[`the topic ${topic}`] = records
      .map(({ payload, headers }) => `${payload} ${Object.values(headers).join(' ')}`)
      .join('\n')
  }
  const tables = await database.query({ query: `SHOW TABLES FROM ${run}`, format: 'JSONEachRow' })
  for (const { name } of await tables.json<{ name: string }>()) {
    const rows = await database.query({ query: `SELECT * FROM ${run}.\`${name}\``, format: 'JSONEachRow' })
    texts[`the table ${name}`] = await rows.text()
  }
  assert.match(texts['the table jobs']!, /unauthorized/)
  Object.assign(texts, filesIn(join(folder, 'data')))
  for (const args of [['check'], ['dlq', 'list'], ['dlq', 'show', '0-1'], ['dlq', 'show', '1-1', '--json']]) {
    const shown = await output(args, folder)
    assert.equal(shown.code, 0, `${args.join(' ')}: ${shown.text}`)
    texts[`the output of ${args.join(' ')}`] = shown.text
  }
  assert.deepEqual(findSecrets(texts, all), [])
  t.diagnostic(
    `${Object.keys(all).length} secrets, ${input.length} jobs, ${Object.keys(texts).length} places`,
  )
})

test('no secret is shown of services that refuse it, or are not there', async (t) => {
  const broker = need(t, 'kafka')
  const redis = need(t, 'redis')
  const clickhouse = need(t, 'clickhouse')
  const s3 = need(t, 's3')
  if (broker === null || redis === null || clickhouse === null || s3 === null) return
  const folder = folderOf(t)
  const secrets = {
    'the password of Kafka': secret('"\\'),
    'the password of Redis': secret('@:/'),
    'the password of ClickHouse': secret('&"'),
    'the secret key of S3': secret('/+'),
    'the key id of S3': secret(),
    'the user info of an origin': secret('!'),
  }
  const redisUrl = new URL(redis)
  redisUrl.username = 'nobody'
  redisUrl.password = secrets['the password of Redis']
  const refused: ConfigInput = {
    data: './data',
    kafka: {
      brokers: [broker],
      sasl: { mechanism: 'plain', username: 'nobody', password: secrets['the password of Kafka'] },
    },
    redis: { url: redisUrl.href },
    clickhouse: { url: clickhouse, username: 'nobody', password: secrets['the password of ClickHouse'] },
    store: {
      kind: 's3',
      bucket: 'nowhere',
      endpoint: new URL(s3).origin,
      access_key_id: secrets['the key id of S3'],
      secret_access_key: secrets['the secret key of S3'],
    },
    platforms: {
      youtube: {
        origin: `http://someone:${encodeURIComponent(secrets['the user info of an origin'])}@127.0.0.1:1`,
      },
    },
    log: { level: 'trace', pretty: false },
    admin: { port: 0 },
  }
  const texts: Record<string, string> = {}
  const shows = async (name: string, configuration: ConfigInput, args: string[], code: number) => {
    writeFileSync(join(folder, 'millrace.yaml'), JSON.stringify(configuration))
    const shown = await output(args, folder)
    assert.equal(shown.code, code, `${name}: ${shown.text}`)
    texts[name] = shown.text
  }
  await shows('check', refused, ['check'], 2)
  assert.match(texts.check!, /kafka +NO .*\n.*limits +NO .*\n.*clickhouse +NO .*\n.*store +NO/)
  // Whoever refuses first ends the run: the next one is met without it.
  await shows('run, its origin refused', refused, ['run'], 2)
  delete refused.platforms
  await shows('run, refused by ClickHouse', refused, ['run'], 1)
  delete refused.clickhouse
  await shows('run, refused by S3', refused, ['run'], 1)
  delete refused.store
  await shows('run, refused by Kafka', refused, ['run'], 3)
  await shows('dlq list', refused, ['dlq', 'list'], 3)
  delete refused.kafka
  await shows('run, refused by Redis', refused, ['run'], 3)
  // What cannot be read is told with what was found, which may be an address with everything in it.
  await shows(
    'a configuration that is wrong',
    {
      platforms: { youtube: { origin: `//someone:${secrets['the user info of an origin']}@host` } },
      redis: { url: redisUrl.href, password: 5, username: [redisUrl.href] },
    } as unknown as ConfigInput,
    ['run'],
    2,
  )
  redisUrl.password = `100%zz${secrets['the password of Redis']}`
  await shows('an address with a wrong escape', { redis: { url: redisUrl.href } }, ['run'], 2)
  assert.deepEqual(findSecrets(texts, secrets), [])
})
