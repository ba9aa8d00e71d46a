import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { Redis } from 'ioredis'
import type { Status } from '../../src/admin/status.ts'
import { limits } from '../../src/cli/limits.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import { configSchema } from '../../src/config/schema.ts'
import type { LevelState } from '../../src/job/permit.ts'
import { planOf } from '../../src/parts/limits.ts'
import { STATUS, sourceOf } from '../admin/source.ts'
import { startAdmin } from '../admin/start.ts'
import { Millrace } from '../daemon/process.ts'
import { open } from '../limiter/redis-limiter.ts'
import { demand, want } from '../limiter/sample.ts'
import { need } from '../need.ts'

const HOUR = 3_600_000
const REST = { factor: 1, blockedUntilMs: 0, resetsAtMs: 0, waiting: 0 }
const GLOBAL: LevelState = {
  ...REST,
  level: 'global',
  kind: 'bucket',
  remaining: 900,
  capacity: 985,
  // 15 a second, in whole microseconds from one to the next.
  rate: 1e6 / 66_667,
  grantedLastMinute: 450,
}
const USER_MEDIA: LevelState = {
  ...REST,
  level: 'endpoint:instagram/user_media',
  kind: 'window',
  remaining: 5,
  capacity: 20,
  rate: 20 / 60,
  grantedLastMinute: 15,
}
const QUOTA: LevelState = {
  ...REST,
  level: 'quota:youtube/main',
  kind: 'quota',
  remaining: 2_500,
  capacity: 10_000,
  rate: 10_000 / 86_400,
  grantedLastMinute: 30,
}

function statusOf(mode: Status['mode']['limiter'], levels: readonly LevelState[]): Status {
  const permits = { instagram: { user_media: { queued: 12, granted: 99 } } }
  return { ...STATUS, mode: { ...STATUS.mode, limiter: mode }, permits, levels }
}

/** A daemon's admin port that says what `status` returns. */
function daemon(t: TestContext, status: () => Status): Promise<string> {
  return startAdmin(t, { source: sourceOf({ status }) })
}

function folderOf(t: TestContext, yaml = ''): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-limits-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  writeFileSync(join(folder, 'millrace.yaml'), yaml)
  return folder
}

function start(
  t: TestContext,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
) {
  const cwd = options.cwd ?? folderOf(t)
  const command = new Millrace(['limits', ...args], { cwd, env: { TZ: 'UTC', ...options.env } })
  t.after(() => command.kill())
  return command
}

const cells = (line: string | undefined) => line?.trim().split(/\s{2,}/)

test('shows every level of the daemon that answers, with the calls that wait in it', async (t) => {
  const url = await daemon(t, () => statusOf('memory', [GLOBAL, USER_MEDIA, QUOTA]))
  const { code, stdout, stderr } = await start(t, ['--url', url]).ended
  assert.equal(code, 0, stderr)
  const [caption, ...lines] = stdout.trimEnd().split('\n')
  assert.match(caption!, new RegExp(`^\\d\\d:\\d\\d:\\d\\d {2}the daemon at ${url}/ alone$`))
  assert.deepEqual(lines.map(cells), [
    ['level', 'limit', 'last minute', 'used', 'remaining', 'waiting', 'blocked until', 'resets at'],
    ['global', '15/s, burst 985', '450', '50.0%', '900', '0'],
    ['endpoint:instagram/user_media', '20 per 60s', '15', '75.0%', '5', '12'],
    ['quota:youtube/main', '10,000 per 1d', '30', '75.0%', '2,500', '0'],
  ])
})

test('with a limiter that daemons share, those who wait are those of all daemons', async (t) => {
  const url = await daemon(t, () => statusOf('redis', [{ ...USER_MEDIA, waiting: 40 }]))
  const { stdout } = await start(t, ['--url', `${url}/`]).ended
  assert.match(stdout, /all daemons, as the one at http:.* was told by Redis\n/)
  assert.match(stdout, /user_media .* 40\n$/)
})

test('shows until when a level is blocked, when a quota begins anew, and a lowered limit only when one is', async (t) => {
  const untilMs = Date.now() + 2 * HOUR
  const url = await daemon(t, () =>
    statusOf('redis', [
      GLOBAL,
      { ...USER_MEDIA, factor: 0.7, blockedUntilMs: untilMs },
      { ...QUOTA, resetsAtMs: untilMs },
      { ...USER_MEDIA, level: 'endpoint:instagram/over', blockedUntilMs: Date.now() - 1 },
    ]),
  )
  const { stdout } = await start(t, ['--url', url]).ended
  const [, titles, global, blocked, quota, over] = stdout.split('\n')
  assert.equal(cells(titles)![6], 'factor')
  // On another day the date stands before it.
  const clock = new Date(untilMs).toISOString().slice(11, 19)
  const time = new RegExp(`(\\d+ \\w{3} )?${clock} \\(2h 0m\\)$`)
  assert.match(blocked!, / 70% /)
  assert.match(blocked!, time)
  assert.match(quota!, time)
  assert.equal(blocked!.indexOf(clock) < quota!.indexOf(clock), true, 'in columns of their own')
  assert.doesNotMatch(global!, /\d%.*\d%/)
  assert.match(over!, / 0$/)
})

test('prints one JSON object for each level, with the share that is used', async (t) => {
  const url = await daemon(t, () => statusOf('memory', [GLOBAL, QUOTA]))
  const { code, stdout } = await start(t, ['--json', '--url', url]).ended
  assert.equal(code, 0)
  const [global, quota, ...rest] = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  assert.deepEqual(rest, [])
  assert.match(String(global!.at), /^\d{4}-\d\d-\d\dT.*Z$/)
  assert.equal(global!.level, 'global')
  assert.equal(global!.grantedLastMinute, 450)
  assert.equal(quota!.used, 0.75)
})

test('watches until Ctrl-C, one snapshot after the other, also while the daemon is away', async (t) => {
  let granted = 0
  const asked = Promise.withResolvers<void>()
  const server = createServer((_request, response) => {
    granted++
    if (granted > 2) asked.resolve()
    const level = { ...GLOBAL, grantedLastMinute: granted }
    // The second time it is in trouble.
    if (granted === 2) response.writeHead(503)
    response.end(JSON.stringify(statusOf('memory', [level])))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const command = start(t, ['--watch', '--url', url])
  await command.says(/burst 985 +3 /)
  command.child.kill('SIGINT')
  const { code, stdout, stderr } = await command.ended
  assert.equal(code, 0, stderr)
  const [first, second, third] = stdout.trimEnd().split('\n\n')
  assert.match(first!, /^\d\d:.*\n.*\n.*burst 985 +1 .*$/)
  assert.match(second!, /^\d\d:.*\nlimits: .*status answers 503; expected the admin address of a daemon$/)
  assert.match(third!, /^\d\d:.*\n.*\n.*burst 985 +3 .*$/)
})

test('in a terminal each snapshot takes the place of the one before', async (t) => {
  const url = await daemon(t, () => statusOf('memory', [GLOBAL]))
  const stopping = new AbortController()
  const stdout = Object.assign(new PassThrough({ encoding: 'utf8' }), { isTTY: true })
  let shown = ''
  stdout.on('data', (text: string) => {
    shown += text
    if (shown.split('burst 985').length > 2) stopping.abort()
  })
  const terminal = { env: {}, stdin: process.stdin, stdout, stderr: stdout, stopping: stopping.signal }
  const code = await limits(
    configSchema.parse({}),
    { watch: true, json: false, url },
    terminal as unknown as Terminal,
  )
  assert.equal(code, 0)
  const [before, ...snapshots] = shown.split('\x1b[2J\x1b[3J\x1b[H')
  assert.equal(before, '')
  assert.equal(snapshots.length, 2)
  for (const snapshot of snapshots) assert.match(snapshot, /^\d\d:\d\d:\d\d {2}the daemon.*\n.*\n.*985.*\n$/)
})

test('says in one line that nobody answers, with exit code 3', async (t) => {
  // Nobody listens on port 1.
  const port = 1
  // Without --url it is the daemon of the configuration that is asked, under an address that can be called.
  const env = { MILLRACE_ADMIN__HOST: '0.0.0.0', MILLRACE_ADMIN__PORT: String(port) }
  for (const args of [[], ['--watch']]) {
    const { code, stdout, stderr } = await start(t, args, { env }).ended
    assert.equal(code, 3)
    assert.equal(stdout, '')
    assert.match(
      stderr,
      new RegExp(
        `^millrace: limits: no daemon answers at http://127\\.0\\.0\\.1:${port}/ \\(ECONNREFUSED\\); .*\\n$`,
      ),
    )
  }
})

test('says what answers when it is no daemon, or one that knows nothing', async (t) => {
  const other = createServer((_request, response) => response.end('<html>')).listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.after(() => other.close())
  const html = await start(t, ['--url', `http://127.0.0.1:${(other.address() as AddressInfo).port}`]).ended
  assert.equal(html.code, 3)
  assert.match(html.stderr, /^millrace: limits: .*status is not what a daemon of this version says: .*\n$/)
  const url = await daemon(t, () => statusOf('redis', []))
  const empty = await start(t, ['--url', url]).ended
  assert.equal(empty.code, 3)
  assert.match(empty.stderr, /^millrace: limits: .* knows of no level: its limiter is away\n$/)
})

test('refuses what is no address, with exit code 2', async (t) => {
  const wrong = await start(t, ['--url', 'localhost:9464']).ended
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /--url: found "localhost:9464", expected an address such as http:\/\/127/)
  const any = await start(t, [], { env: { MILLRACE_ADMIN__PORT: '0' } }).ended
  assert.equal(any.code, 2)
  assert.match(any.stderr, /admin\.port is 0/)
})

test('with Redis it shows what all daemons were granted together, each level once, and leaves no trace', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const keyPrefix = `test-${randomUUID()}`
  // As a daemon would, it could go on with a share; an onlooker must not take one.
  const limitsSection = { redis_away: 'share' as const, daemons_max: 2, cold_start: 'full' as const }
  const plan = planOf(configSchema.parse({ limits: limitsSection }))
  const yaml = `redis: { url: '${address}', key_prefix: ${keyPrefix}, command_timeout: 30s }\nlimits: ${JSON.stringify(limitsSection)}\n`
  const cwd = folderOf(t, yaml)

  const redis = new Redis(address)
  t.after(() => redis.disconnect())
  const before = await start(t, ['--json'], { cwd }).ended
  assert.equal(before.code, 0, before.stderr)
  assert.deepEqual(await redis.keys(`{${keyPrefix}}*`), [])

  const [one, two] = [
    await open(t, address, { plan, keyPrefix }),
    await open(t, address, { plan, keyPrefix }),
  ]
  await one.limiter.decide(demand('instagram', [want('user_media', 7), want('user_profile', 3)]))
  await two.limiter.decide(demand('instagram', [want('user_media', 100)]))
  await two.limiter.decide(demand('youtube', [want('channel', 4)]))
  await one.limiter.learn({ platform: 'tiktok', endpoint: 'user_info' }, { blockMs: HOUR })

  const { code, stdout, stderr } = await start(t, ['--json'], { cwd }).ended
  assert.equal(code, 0, stderr)
  const states = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as LevelState)
  assert.equal(states.filter(({ level }) => level === 'global').length, 1)
  const at = (name: string) => states.find(({ level }) => level === name)!
  // Measured over 60 to 70 s, and scaled to 60.
  const granted = (name: string, count: number) => {
    const { grantedLastMinute } = at(name)
    assert.ok(
      grantedLastMinute <= count && grantedLastMinute >= (count * 6) / 7 - 0.01,
      `${name}: ${grantedLastMinute}`,
    )
  }
  granted('platform:youtube', 4)
  const media = at('endpoint:instagram/user_media')
  assert.equal(media.remaining, 0)
  granted('endpoint:instagram/user_media', 20)
  assert.ok(media.waiting > 0)
  granted('global', 20 + 3 + 4)
  assert.ok(at('endpoint:tiktok/user_info').blockedUntilMs > Date.now())
  const text = await start(t, [], { cwd }).ended
  assert.match(text.stdout, /^\d\d:\d\d:\d\d {2}all daemons, as Redis knows them\n/)
  assert.match(text.stdout, /user_info .* \((59|1h).*\)$/m)
})

test('Redis that does not answer is one line, with exit code 3', async (t) => {
  const { code, stderr } = await start(t, [], { env: { MILLRACE_REDIS__URL: 'redis://127.0.0.1:1' } }).ended
  assert.equal(code, 3)
  assert.match(stderr, /^millrace: Redis at 127\.0\.0\.1:1 .*\n$/)
})
