import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import type { ConfigInput } from '../../src/config/schema.ts'
import type { ResultMessage } from '../../src/job/outcome.ts'
import type { ObjectStore } from '../../src/job/store.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS } from '../../src/simulator/options.ts'
import { FolderStore } from '../../src/store/folder.ts'
import { mountSmallDisk, SmallDisk } from '../chaos/full-disk.ts'
import { poll } from '../services/poll.ts'
import { addS3User, removeS3User, type S3User } from '../services/s3-users.ts'
import { openBucket } from '../store/bucket.ts'
import { Millrace } from './process.ts'

const SEED = 23
const CREATORS = 5_000
const JOBS = 40
/** The trouble begins when so many are done, and before the others are published. */
const DONE_BEFORE = 12

type StoreSection = NonNullable<ConfigInput['store']>

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-store-trouble-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  return folder
}

/** A key of its own on the store, which can be taken away and given back. */
async function openUser(t: TestContext, address: string): Promise<S3User> {
  const user = { accessKey: `key${process.pid}${Date.now().toString(36)}`, secretKey: 'a-secret-of-its-own' }
  await addS3User(address, user)
  t.after(() => removeS3User(address, user).catch(() => {}))
  return user
}

const linesOf = (file: string): string[] => {
  try {
    return readFileSync(file, 'utf8').split('\n').slice(0, -1)
  } catch {
    return []
  }
}

interface Trouble {
  readonly store: StoreSection
  /** What is in the store, told by a client of its own. */
  readonly objects: ObjectStore
  readonly begin: () => unknown
  readonly end: () => unknown
  /** What the log says of it, whichever call met it first: the answer to a HEAD has no body to name the error. */
  readonly logged: RegExp
}

/** A whole daemon on embedded parts but the store; its store fails in the middle of the work, and is mended. */
async function through(t: TestContext, folder: string, trouble: Trouble) {
  // Before the test's own ends: a daemon that still runs keeps its disk.
  await using daemons = new AsyncDisposableStack()
  const simulator = new Millrace([
    ...['simulate', '--port', '0', '--seed', String(SEED), '--creators', String(CREATORS)],
    ...['--missing', '0', '--private', '0', '--latency', '5ms', '--jitter', '5ms', '--limits', 'open'],
  ])
  t.after(() => simulator.kill())
  const [upstream = ''] = await simulator.says(/http:\/\/[\d.:]+/)
  const wide = { rate: 20, burst: 30 }
  const configuration: ConfigInput = {
    data: join(folder, 'data'),
    store: trouble.store,
    limits: {
      ...{ global: wide, platforms: { youtube: wide }, cold_start: 'full', jitter: '100ms' },
      ...{ default_endpoint: { limit: 10_000, window: '10s' }, quotas: { youtube: false } },
      endpoints: {
        youtube: { channel: { limit: 10_000, window: '10s' }, videos: { limit: 10_000, window: '10s' } },
      },
    },
    platforms: {
      youtube: {
        origin: `${upstream}/youtube`,
        private_origin: true,
        credentials: { ...DEFAULT_CREDENTIALS.youtube },
      },
      instagram: { enabled: false },
      tiktok: { enabled: false },
    },
    images: { private_hosts: [new URL(upstream).host] },
    admin: { port: 0 },
    log: { jobs: 'none' },
  }
  writeFileSync(join(folder, 'millrace.yaml'), JSON.stringify(configuration))
  const creators = creatorIds('youtube', SEED, JOBS, { fate: 'public', handles: true, creators: CREATORS })
  const job = (creator: string, id: string) =>
    `${JSON.stringify({ platform: 'youtube', creator_id: creator, job_type: 'full_profile_scrape', job_id: id, params: { pictures_max: 1 } })}\n`
  const jobs = creators.map((creator, i) => job(creator, `job-${i}`))

  const daemon = new Millrace(['run', '--input', '-'], { cwd: folder, stdin: null })
  daemons.defer(async () => void (await daemon.kill()))
  // A test that has timed out does not come to its end.
  t.signal.addEventListener('abort', () => void daemon.kill(), { once: true })
  const [, admin = ''] = await daemon.says(/"admin":"(http:[^"]+)","msg":"millrace is running"/)
  const results = () => linesOf(join(folder, 'data/millrace.results.ndjson'))
  daemon.child.stdin?.write(jobs.slice(0, DONE_BEFORE).join(''))
  await poll(() => (results().length >= DONE_BEFORE ? true : undefined), {
    ...{ withinMs: 120_000, what: `${DONE_BEFORE} jobs are done` },
  })

  await trouble.begin()
  daemon.child.stdin?.end(jobs.slice(DONE_BEFORE).join(''))
  const reasons = await poll(
    async () => {
      const reply = await fetch(`${admin}/readyz`)
      const { reasons = [] } = (await reply.json()) as { reasons?: string[] }
      return reply.status === 503 && reasons.some((reason) => reason.includes('the store'))
        ? reasons
        : undefined
    },
    { withinMs: 60_000, what: 'the daemon is not ready' },
  )
  assert.deepEqual(reasons, ['the store does not take pictures'])
  await daemon.says(trouble.logged)
  await daemon.says(/the intake is held/)
  const metrics = async () => await (await fetch(`${admin}/metrics`)).text()
  assert.match(await metrics(), /^millrace_sink_healthy\{service="store"\} 0$/m)
  // What can be worked off without the store may be; the rest waits, and nothing is given up.
  const left = await poll(
    async () => {
      const before = results().length
      for (let looks = 0; looks < 10; looks++) await fetch(`${admin}/livez`)
      return results().length === before ? JOBS - before : undefined
    },
    { withinMs: 60_000, everyMs: 500, what: 'everything waits' },
  )
  assert.ok(left > 0, 'jobs wait for the store')
  assert.deepEqual(linesOf(join(folder, 'data/millrace.dead.ndjson')), [])

  await trouble.end()
  const ended = await daemon.ended
  assert.equal(ended.code, 0, ended.stderr.slice(-2_000))
  assert.match(ended.stderr, /back: the intake goes on/)
  assert.deepEqual(linesOf(join(folder, 'data/millrace.dead.ndjson')), [])
  const all = results().map((line) => JSON.parse(line) as ResultMessage)
  assert.deepEqual(new Set(all.map(({ job_id }) => job_id)).size, JOBS)
  assert.equal(all.length, JOBS)
  assert.ok(all.every(({ status }) => status === 'done'))
  assert.ok(
    all.every(({ pictures }) => pictures.length >= 2),
    'no picture was dropped',
  )
  const stored = new Set<string>()
  for await (const { key } of trouble.objects.list('pictures/')) stored.add(key)
  const keys = new Set(all.flatMap(({ pictures }) => pictures))
  const missing = [...keys].filter((key) => !stored.has(key)).toSorted()
  t.diagnostic(
    `${JOBS} jobs, ${left} of them waited, ${keys.size} objects, ${missing.length} of them not there`,
  )
  return {
    keys,
    missing,
    creatorOf: new Map(all.flatMap((one) => one.pictures.map((key) => [key, one.creator_id]))),
    job,
  }
}

const TIMEOUT = { timeout: 500_000 }

// Side by side: most of their time is waiting, for permits and for the store to be tried again.
describe('a store in trouble', { concurrency: 2 }, () => {
  test(
    'a bucket that is deleted holds the daemon until it is there again; verify names what went with it, new jobs bring it back',
    TIMEOUT,
    async (t) => {
      const bucket = await openBucket(t)
      if (bucket === null) return
      const folder = folderOf(t)
      const { section, store } = bucket
      const { keys, missing, job } = await through(t, folder, {
        store: section,
        objects: store,
        begin: () => bucket.remove(),
        end: () => bucket.create(),
        logged:
          /pictures wait until this is mended.*there is no such bucket; create it, or correct store\.bucket/,
      })
      assert.ok(
        missing.length > 0 && missing.length < keys.size,
        'what was stored before is gone, the rest is there',
      )

      const verified = await new Millrace(['pictures', 'verify', '--json'], { cwd: folder }).ended
      assert.equal(verified.code, 1, verified.stderr)
      const named = verified.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as { status: string; key: string; creator_id: string })
      assert.ok(named.every(({ status }) => status === 'missing'))
      assert.deepEqual(named.map(({ key }) => key).toSorted(), missing)

      // As the guide says: new jobs for those creators.
      const creators = [...new Set(named.map(({ creator_id }) => creator_id))]
      writeFileSync(
        join(folder, 'again.ndjson'),
        creators.map((creator, i) => job(creator, `again-${i}`)).join(''),
      )
      const again = await new Millrace(['run', '--input', 'again.ndjson'], { cwd: folder }).ended
      assert.equal(again.code, 0, again.stderr.slice(-2_000))
      const deep = await new Millrace(['pictures', 'verify', '--deep'], { cwd: folder }).ended
      assert.equal(deep.code, 0, deep.stdout)
      assert.match(deep.stdout, /pictures named by rows, .* each as long as its row says and whole\n$/)
    },
  )

  test(
    'a key that is revoked holds the daemon until it is good again, and nothing is lost',
    TIMEOUT,
    async (t) => {
      const bucket = await openBucket(t)
      if (bucket === null) return
      const { address, section, store } = bucket
      const user = await openUser(t, address)
      const { missing } = await through(t, folderOf(t), {
        store: { ...section, access_key_id: user.accessKey, secret_access_key: user.secretKey },
        objects: store,
        begin: () => removeS3User(address, user),
        end: () => addS3User(address, user),
        logged: /pictures wait until this is mended.*check the access key/,
      })
      assert.deepEqual(missing, [])
    },
  )

  test(
    'a store that answers 503 holds the daemon until it takes pictures again, and nothing is lost',
    TIMEOUT,
    async (t) => {
      const bucket = await openBucket(t)
      if (bucket === null) return
      const { section, store } = bucket
      const real = new URL(section.endpoint)
      let busy = false
      let refused = 0
      const front = createServer((question, answer) => {
        if (busy) {
          refused++
          question.resume()
          answer.writeHead(503, { 'content-type': 'application/xml' })
          answer.end(
            '<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>',
          )
          return
        }
        const { method, headers, url: path } = question
        const onward = request({ host: real.hostname, port: real.port, method, path, headers }, (reply) => {
          answer.writeHead(reply.statusCode ?? 502, reply.headers)
          reply.pipe(answer)
        })
        onward.on('error', () => answer.destroy())
        question.pipe(onward)
      }).listen(0, '127.0.0.1')
      await once(front, 'listening')
      t.after(() => {
        front.closeAllConnections()
        front.close()
      })
      const { missing } = await through(t, folderOf(t), {
        store: { ...section, endpoint: `http://127.0.0.1:${(front.address() as AddressInfo).port}` },
        objects: store,
        begin: () => {
          busy = true
        },
        end: () => {
          busy = false
        },
        logged: /pictures wait: .*HTTP 503 /,
      })
      assert.deepEqual(missing, [])
      assert.ok(refused > 0)
    },
  )

  test(
    'a folder whose disk is full holds the daemon until there is room, and nothing is lost',
    TIMEOUT,
    async (t) => {
      const base = mkdtempSync(join(tmpdir(), 'millrace-small-disk-'))
      const disk = mountSmallDisk(join(base, 'disk'), '32m')
      t.after(() => {
        disk?.unmount()
        rmSync(base, { recursive: true, force: true, maxRetries: 10 })
      })
      if (disk === null) {
        t.skip('needs a file system of its own: Linux, and the right to mount')
        return
      }
      const path = join(disk.folder, 'store')
      const full = new SmallDisk(disk.folder)
      const { missing } = await through(t, folderOf(t), {
        store: { kind: 'folder', path },
        objects: new FolderStore({ folder: path }),
        begin: () => full.fill(),
        end: () => full.free(),
        logged: /pictures wait: .*ENOSPC.*check the disk/,
      })
      assert.deepEqual(missing, [])
    },
  )

  test(
    'a wrong key, a wrong secret and a wrong bucket are told at start and by check, before a job is taken',
    TIMEOUT,
    async (t) => {
      const bucket = await openBucket(t)
      if (bucket === null) return
      const { section } = bucket
      for (const [wrong, says] of [
        [{ access_key_id: 'nobody' }, /check the access key, its secret, and its rights/],
        [{ secret_access_key: 'not-the-secret' }, /check the access key, its secret, and its rights/],
        [{ bucket: 'no-such-bucket-here' }, /there is no such bucket; create it, or correct store\.bucket/],
      ] as const) {
        const cwd = folderOf(t)
        const store = { ...section, ...wrong }
        writeFileSync(join(cwd, 'millrace.yaml'), JSON.stringify({ store, admin: { port: 0 } }))
        writeFileSync(
          join(cwd, 'jobs.ndjson'),
          '{"platform":"youtube","creator_id":"@a","job_type":"profile"}\n',
        )
        const checked = await new Millrace(['check', '--json'], { cwd }).ended
        assert.equal(checked.code, 1, checked.stderr)
        const findings = checked.stdout
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line))
        const { ok, says: said } = findings.find(({ part }) => part === 'store')
        assert.equal(ok, false)
        assert.match(said, says)
        assert.deepEqual(
          findings.filter((one) => !one.ok).map(({ part }) => part),
          ['store'],
        )

        const refused = await new Millrace(['run', '--input', 'jobs.ndjson'], { cwd }).ended
        assert.equal(refused.code, 1, refused.stderr)
        assert.match(refused.stderr, says)
        assert.doesNotMatch(refused.stderr + checked.stdout, /\n\s+at |not-the-secret/, 'no stack, no secret')
        assert.deepEqual(linesOf(join(cwd, 'millrace-data/millrace.dead.ndjson')), [])
      }
    },
  )
})
