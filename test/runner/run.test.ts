import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { processesUsing } from '../services/left-over.ts'
import { poll } from '../services/poll.ts'
import { needsOf } from './selection.ts'

const RUN_FILE = fileURLToPath(new URL('../run.ts', import.meta.url))
const REDIS_FILE = JSON.stringify(fileURLToPath(new URL('../services/redis.ts', import.meta.url)))

interface RunOptions {
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Runs the runner on one test file with that source, in a temporary folder of its own. */
async function startRun(t: TestContext, source: string, options: RunOptions = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-runner-'))
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }))
  const temporary = join(folder, 'tmp')
  await mkdir(temporary)
  const file = join(folder, 'sample.test.ts')
  await writeFile(
    file,
    `import { test } from 'node:test'\nimport { spawn } from 'node:child_process'\n${source}`,
  )
  // node:test refuses to run inside of a run that it knows of.
  const { NODE_TEST_CONTEXT: _context, MILLRACE_REQUIRE_SERVICES: _required, ...env } = process.env
  const child = spawn(process.execPath, [RUN_FILE, file, ...(options.args ?? [])], {
    env: { ...env, TMPDIR: temporary, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.after(() => child.kill('SIGKILL'))
  const output = { text: '' }
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output.text += text
    })
  }
  return { child, output, temporary }
}

async function runToEnd(t: TestContext, source: string, options: RunOptions = {}) {
  const { child, output, temporary } = await startRun(t, source, options)
  const [code] = await once(child, 'close')
  return { code: code as number | null, output: output.text, temporary }
}

async function leavesNothing(run: { temporary: string }): Promise<void> {
  const left = () => [
    ...readdirSync(run.temporary),
    ...processesUsing(run.temporary).map(({ command }) => command),
  ]
  await poll(() => (left().length === 0 ? true : undefined), {
    withinMs: 60_000,
    what: 'nothing is left',
  }).catch((error: unknown) => assert.fail(`${error}: ${left().join('\n')}`))
}

function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<unknown[]> {
  const closed = once(child, 'close')
  child.kill(signal)
  return closed
}

test('succeeds when all tests pass, and shows their names', async (t) => {
  const run = await runToEnd(t, "test('adds up', () => {})")
  assert.equal(run.code, 0, run.output)
  assert.match(run.output, /✔ adds up/)
  assert.match(run.output, /passed: 1 passed, 0 failed, 0 skipped/)
  await leavesNothing(run)
})

test('fails when one test fails, and lists it with the tests around it', async (t) => {
  const run = await runToEnd(
    t,
    "test('outer', (t) => t.test('inner', () => { throw new Error('five is not four') }))",
  )
  assert.equal(run.code, 1)
  assert.match(run.output, /five is not four/)
  assert.match(run.output, /FAILED: 1\n.*sample\.test\.ts: outer › inner/)
})

test('fails when a test file cannot be loaded', async (t) => {
  const run = await runToEnd(t, "throw new Error('no such part')")
  assert.equal(run.code, 1)
  assert.match(run.output, /no such part/)
})

test('lists skipped tests, and fails for them when services are required', async (t) => {
  const source = "test('with Redis', (t) => t.skip('needs redis'))\ntest('later', { todo: true }, () => {})"
  const lenient = await runToEnd(t, source)
  assert.equal(lenient.code, 0)
  assert.match(lenient.output, /SKIPPED: 2\n.*with Redis \(needs redis\)/)
  const strict = await runToEnd(t, source, { env: { MILLRACE_REQUIRE_SERVICES: '1' } })
  assert.equal(strict.code, 1)
  assert.match(strict.output, /PROBLEM: 2 skipped, 0 allowed/)
})

test('names a service that is missing, and fails for it when services are required', async (t) => {
  const source = "test('asks', () => {}) // need(t, 'redis')"
  const env = { MILLRACE_TEST_REDIS: 'redis://127.0.0.1:1' }
  const lenient = await runToEnd(t, source, { env })
  assert.equal(lenient.code, 0, lenient.output)
  assert.match(lenient.output, /redis +MISSING .*nothing listens at 127\.0\.0\.1:1/)
  const strict = await runToEnd(t, source, { env: { ...env, MILLRACE_REQUIRE_SERVICES: '1' } })
  assert.equal(strict.code, 1)
  assert.match(strict.output, /PROBLEM: missing service redis/)
})

test('fails for a process that a test left behind, and ends it', {
  skip: process.platform !== 'linux',
}, async (t) => {
  const source =
    "test('forgets', () => { spawn('sleep', ['300'], { detached: true, stdio: 'ignore' }).unref() })"
  const run = await runToEnd(t, source)
  assert.equal(run.code, 1, run.output)
  assert.match(run.output, /PROBLEM: left behind: process \d+ \(sleep 300\)/)
  await leavesNothing(run)
})

test('stops at its ceiling, names the test that was running, and leaves nothing', async (t) => {
  // Deaf to SIGTERM, and alive for ever.
  const source =
    "process.on('SIGTERM', () => {})\nsetInterval(() => {}, 1000)\ntest('hangs', () => new Promise(() => {}))"
  const run = await runToEnd(t, source, { args: ['--minutes=0.3'] })
  assert.equal(run.code, 1)
  assert.match(run.output, /PROBLEM: not done within 0\.3 minutes; running then: .*sample\.test\.ts: hangs/)
  await leavesNothing(run)
})

for (const [signal, expected] of [
  ['SIGINT', 130],
  ['SIGKILL', null],
] as const) {
  test(`ended by ${signal} it takes tests and services with it`, { timeout: 60_000 }, async (t) => {
    const source = `import { startRedis } from ${REDIS_FILE}
      setInterval(() => {}, 1000)
      test('hangs', async () => { await startRedis(); console.log('it is up'); await new Promise(() => {}) })`
    const run = await startRun(t, source)
    await poll(() => (run.output.text.includes('it is up') ? true : undefined), {
      withinMs: 60_000,
      what: 'the test runs',
    })
    const [code] = await kill(run.child, signal)
    assert.equal(code, expected)
    await leavesNothing(run)
  })
}

test('knows which services a file asks for, through what it imports', () => {
  const file = fileURLToPath(new URL('../services/services.test.ts', import.meta.url))
  const all = ['kafka', 'redis', 'clickhouse', 's3', 'prometheus', 'promtool', 'kcat']
  assert.deepEqual([...needsOf(file)].sort(), all.sort())
})
