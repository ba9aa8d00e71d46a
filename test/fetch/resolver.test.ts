import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseHosts } from '../../src/fetch/hosts-file.ts'
import { type Address, type NameService, Resolver } from '../../src/fetch/resolver.ts'
import { systemDns } from '../../src/fetch/system-dns.ts'
import { names } from './local.ts'

const FIRST: Address = { address: '192.0.2.1', family: 4 }
const SECOND: Address = { address: '192.0.2.2', family: 4 }

/** A name service that answers when, and what, the test says. */
class Puppet implements NameService {
  readonly #open: PromiseWithResolvers<readonly Address[]>[] = []
  asked = 0

  query(): Promise<readonly Address[]> {
    this.asked += 1
    const asking = Promise.withResolvers<readonly Address[]>()
    this.#open.push(asking)
    return asking.promise
  }

  answer(...addresses: Address[]): void {
    this.#open.shift()?.resolve(addresses)
  }

  fail(): void {
    this.#open.shift()?.reject(new Error('SERVFAIL'))
  }

  close(): void {}
}

function setUp(options: { staleWaitMs?: number; namesMax?: number } = {}) {
  const service = new Puppet()
  const clock = { nowMs: 0 }
  const resolver = new Resolver({
    service,
    ttlMs: 300_000,
    staleMs: 3_600_000,
    retryAfterMs: 5_000,
    now: () => clock.nowMs,
    ...options,
  })
  return { service, clock, resolver }
}

test('asks once for a name however many want it, and keeps the answer', async () => {
  const { service, clock, resolver } = setUp()
  const all = Promise.all(Array.from({ length: 100 }, () => resolver.resolve('Example.COM')))
  service.answer(FIRST)
  assert.deepEqual((await all)[99], [FIRST])
  clock.nowMs = 200_000
  assert.deepEqual(await resolver.resolve('example.com'), [FIRST])
  assert.equal(service.asked, 1)
})

test('refreshes ahead, in the background, and serves the old answer meanwhile', async () => {
  const { service, clock, resolver } = setUp()
  const first = resolver.resolve('a.test')
  service.answer(FIRST)
  await first
  clock.nowMs = 250_000
  assert.deepEqual(await resolver.resolve('a.test'), [FIRST])
  assert.equal(service.asked, 2)
  service.answer(SECOND)
  await new Promise(setImmediate)
  clock.nowMs = 500_000
  assert.deepEqual(await resolver.resolve('a.test'), [SECOND])
})

test('serves the old answer for a while when a refresh fails, and asks again later', async () => {
  const { service, clock, resolver } = setUp()
  const first = resolver.resolve('a.test')
  service.answer(FIRST)
  await first
  clock.nowMs = 400_000
  const stale = resolver.resolve('a.test')
  service.fail()
  assert.deepEqual(await stale, [FIRST])
  assert.deepEqual(await resolver.resolve('a.test'), [FIRST])
  assert.equal(service.asked, 2, 'not before 5 s are over')
  clock.nowMs = 406_000
  const again = resolver.resolve('a.test')
  service.answer(SECOND)
  assert.deepEqual(await again, [SECOND])
})

test('does not wait long for a refresh while it has an old answer', async () => {
  const { service, clock, resolver } = setUp({ staleWaitMs: 20 })
  const first = resolver.resolve('a.test')
  service.answer(FIRST)
  await first
  clock.nowMs = 400_000
  assert.deepEqual(await resolver.resolve('a.test'), [FIRST], 'nobody has answered the second question')
})

test('fails when the old answer is too old, and remembers the failure for a moment', async () => {
  const { service, clock, resolver } = setUp()
  const first = resolver.resolve('a.test')
  service.answer(FIRST)
  await first
  clock.nowMs = 300_000 + 3_600_001
  const failing = resolver.resolve('a.test')
  service.fail()
  await assert.rejects(failing, /SERVFAIL/)
  await assert.rejects(resolver.resolve('a.test'), /SERVFAIL/)
  assert.equal(service.asked, 2)
})

test('gives each caller another address first', async () => {
  const resolver = new Resolver({ service: names({ 'a.test': ['192.0.2.1', '192.0.2.2'] }), now: () => 0 })
  const [one, two] = [await resolver.resolve('a.test'), await resolver.resolve('a.test')]
  assert.notEqual(one[0]?.address, two[0]?.address)
  assert.equal(one.length, 2)
})

test('holds a bounded number of names and forgets the longest unused', async () => {
  const service = names({ a: ['192.0.2.1'], b: ['192.0.2.1'], c: ['192.0.2.1'] })
  const resolver = new Resolver({ service, namesMax: 2, now: () => 0 })
  for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) await resolver.resolve(name)
  assert.equal(resolver.size, 2)
  assert.deepEqual(service.asked, ['a', 'b', 'c', 'b'])
})

test('knows the names of the hosts file, and localhost', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'hosts-'))
  t.after(() => rm(folder, { recursive: true }))
  const hostsPath = join(folder, 'hosts')
  await writeFile(hostsPath, '# nothing\n192.0.2.7  Upstream.internal upstream # ours\nnonsense line\n')
  const service = systemDns({ now: () => 0, hostsPath })
  t.after(() => service.close())
  assert.deepEqual(await service.query('upstream.internal'), [{ address: '192.0.2.7', family: 4 }])
  const local = await systemDns({ now: () => 0 }).query('localhost')
  assert.ok(local.some(({ address }) => address === '127.0.0.1' || address === '::1'))
  assert.deepEqual(parseHosts('::1 a b\n127.0.0.1 a').get('a'), [
    { address: '::1', family: 6 },
    { address: '127.0.0.1', family: 4 },
  ])
})
