import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { cached } from './cache.ts'
import type { Found } from './found.ts'
import { processesUsing } from './left-over.ts'
import { poll } from './poll.ts'
import { type Plan, startService } from './running.ts'

const FOUND: Found = { how: 'installed', version: '1', at: process.execPath }
const SERVE_FILE = fileURLToPath(new URL('serve.ts', import.meta.url))

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-running-'))
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }))
  return folder
}

/** A server in one line of Node, which says `up` on standard output. */
function tinyServer(port: number): Plan {
  const script = `require('node:net').createServer((s) => s.end()).listen(${port}, '127.0.0.1', () => console.log('up'))`
  return {
    name: 'tiny',
    address: `127.0.0.1:${port}`,
    command: process.execPath,
    args: ['-e', script],
    ready: async (output) => output.startsWith('up'),
    readyWithinMs: 20_000,
    stopWithinMs: 5_000,
  }
}

test('starts on another port when somebody took the first one', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.after(() => taken.close())
  const { port: takenPort } = taken.address() as { port: number }
  const tried: number[] = []
  const service = await startService(FOUND, {
    ports: 1,
    plan(_folder, [port]) {
      tried.push(tried.length === 0 ? takenPort : port!)
      return tinyServer(tried.at(-1)!)
    },
  })
  t.after(() => service.stop())
  assert.equal(tried.length, 2)
  assert.equal(service.address, `127.0.0.1:${tried[1]}`)
})

test('a start that fails rejects with what the program printed last, and leaves no folder', async () => {
  let folder = ''
  const failing = startService(FOUND, {
    ports: 1,
    plan(ownFolder, [port]) {
      folder = ownFolder
      return { ...tinyServer(port!), args: ['-e', "console.error('no such disk'); process.exit(7)"] }
    },
  })
  await assert.rejects(failing, /ended by code 7 while starting[\s\S]*no such disk/)
  assert.equal(existsSync(folder), false)
})

test('a program that ignores SIGTERM is stopped by force, and stopping twice is fine', async () => {
  const service = await startService(FOUND, {
    ports: 1,
    plan(_folder, [port]) {
      const plan = tinyServer(port!)
      return { ...plan, args: ['-e', `process.on('SIGTERM', () => {}); ${plan.args[1]}`], stopWithinMs: 200 }
    },
  })
  await Promise.all([service.stop(), service.stop()])
  await assert.rejects(service.restart(), /cannot restart/)
})

test('a frozen service takes connections and answers none, goes on when thawed, and can be stopped while frozen', {
  skip: process.platform === 'win32',
}, async (t) => {
  const script = (port: number) =>
    `require('node:http').createServer((_, r) => r.end('here')).listen(${port}, '127.0.0.1', () => console.log('up'))`
  const service = await startService(FOUND, {
    ports: 1,
    plan: (_folder, [port]) => ({ ...tinyServer(port!), args: ['-e', script(port!)] }),
  })
  t.after(() => service.stop())
  const ask = async (withinMs: number) =>
    (await fetch(`http://${service.address}/`, { signal: AbortSignal.timeout(withinMs) })).text()
  assert.equal(await ask(60_000), 'here')
  await service.freeze()
  await assert.rejects(ask(300), { name: 'TimeoutError' })
  await service.thaw()
  assert.equal(await ask(60_000), 'here')
  const { pid } = service
  await service.freeze()
  await service.stop()
  assert.equal(service.pid, undefined)
  assert.throws(() => process.kill(pid!, 0), { code: 'ESRCH' })
})

test('what a process started dies with it, even by SIGKILL, and its folders go', {
  timeout: 60_000,
}, async (t) => {
  const folder = await folderOf(t)
  const child = spawn(process.execPath, [SERVE_FILE, 'redis'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, MILLRACE_TEST_REDIS: '', TMPDIR: folder },
  })
  t.after(() => child.kill('SIGKILL'))
  const [printed] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
  if (!printed.startsWith('export MILLRACE_TEST_REDIS=')) return t.skip('needs redis')
  if (process.platform === 'linux') assert.ok(processesUsing(folder).length >= 1)
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
  const gone = () =>
    readdirSync(folder).length === 0 && processesUsing(folder).length === 0 ? true : undefined
  await poll(gone, { withinMs: 60_000, what: 'the second process ends the rest' })
})

test('a folder of the cache is made once, appears complete, and a failure leaves nothing', async (t) => {
  const base = await folderOf(t)
  const before = process.env.XDG_CACHE_HOME
  process.env.XDG_CACHE_HOME = base
  t.after(() => {
    if (before === undefined) delete process.env.XDG_CACHE_HOME
    else process.env.XDG_CACHE_HOME = before
  })
  await assert.rejects(
    cached('thing', async (folder) => {
      await writeFile(join(folder, 'half'), '')
      throw new Error('line cut')
    }),
    /line cut/,
  )
  assert.deepEqual(readdirSync(join(base, 'millrace')), [])
  let made = 0
  const make = async (folder: string) => {
    made++
    await writeFile(join(folder, 'whole'), 'text')
  }
  const both = await Promise.all([cached('thing', make), cached('thing', make)])
  assert.equal(made, 1)
  assert.equal(await readFile(join(both[0].folder, 'whole'), 'utf8'), 'text')
  assert.deepEqual(await cached('thing', make), { folder: both[0].folder, fetched: false })
})

test('with a docker engine a service is a container, killed, restarted and removed by the engine', async (t) => {
  // No engine at hand can be relied on: a stand-in for the `docker` program notes its calls, and its container is a server.
  const folder = await folderOf(t)
  const log = join(folder, 'calls')
  const docker = `#!/bin/sh
echo "$*" >> '${log}'
case "$1" in
version) echo 27.0 ;;
create) for a in "$@"; do case "$a" in 127.0.0.1:*) echo "$a" | cut -d: -f2 > '${folder}/port' ;; esac; done ;;
start) echo $$ > '${folder}/pid'; exec '${process.execPath}' -e "require('node:net').createServer((s) => s.end('+PONG')).listen($(cat '${folder}/port'), '127.0.0.1')" ;;
kill|stop) kill -9 "$(cat '${folder}/pid')" ;;
esac
`
  await writeFile(join(folder, 'docker'), docker)
  await chmod(join(folder, 'docker'), 0o755)
  const script = `
    const { startRedis } = await import(${JSON.stringify(new URL('redis.ts', import.meta.url).href)})
    const redis = await startRedis()
    await redis.kill()
    await redis.restart()
    await redis.stop()
    console.log(redis.found.how)`
  const { MILLRACE_TEST_DOCKER: _, ...env } = process.env
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...env, PATH: `${folder}${delimiter}${process.env.PATH}` },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text
  })
  const [code] = await once(child, 'close')
  assert.equal(code, 0)
  assert.equal(printed.trim(), 'docker')
  const calls = (await readFile(log, 'utf8')).trim().split('\n')
  const verbs = calls.map((call) => call.split(' ')[0])
  assert.deepEqual(verbs, ['version', 'image', 'create', 'start', 'kill', 'start', 'stop', 'rm'])
  assert.match(
    calls[2]!,
    /^create --name millrace-test-\w+ --publish 127\.0\.0\.1:\d+:6379 redis:\S+ redis-server /,
  )
})
