import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { Redis } from 'ioredis'
import type { Credential } from '../../src/job/credential.ts'
import { AttemptError } from '../../src/job/errors.ts'
import type { Authorisation } from '../../src/job/platform.ts'
import { Authoriser } from '../../src/pipeline/authoriser.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { RedisTokens } from '../../src/tokens/redis-tokens.ts'
import { need } from '../need.ts'
import { errandOf } from '../pipeline/upstream-bench.ts'

const log = createLog({ level: 'silent', pretty: false, secrets: [] })
const CREDENTIAL: Credential = { name: 'main', value: { client_key: 'k', client_secret: 'hush' } }

/** A cluster of daemons that need tokens of one platform, and what the platform gives out. */
class Cluster {
  readonly given: string[] = []
  readonly #t: TestContext
  readonly #url: string
  readonly prefix = `test-${randomUUID()}`
  lifeMs = 60_000
  /** Before a token is given out. */
  before: () => Promise<void> = async () => {}

  constructor(t: TestContext, url: string) {
    this.#t = t
    this.#url = url
  }

  async daemon(credential = CREDENTIAL): Promise<Authoriser> {
    // Longer than a machine holds anybody up: after it a claim counts as had, as if Redis were away.
    const patient = { commandTimeoutMs: 60_000, startTimeoutMs: 30_000 }
    const tokens = new RedisTokens({ url: this.#url, keyPrefix: this.prefix, ...patient }, log)
    await tokens.start()
    this.#t.after(() => tokens.stop())
    const renew = async (): Promise<Authorisation> => {
      await this.before()
      this.given.push(`token ${this.given.length + 1}`)
      return { headers: { authorization: this.given.at(-1)! }, expiresInMs: this.lifeMs }
    }
    return new Authoriser({ renew, shelf: tokens.shelfOf('tiktok', credential), onHeld: () => {} })
  }

  redis(): Redis {
    const redis = new Redis(this.#url)
    this.#t.after(() => redis.quit())
    return redis
  }
}

/** Of a token that is renewed; what is left of it when that begins is longer than a test takes. */
const LIFE_MS = 1_000_000

const tokenOf = async (authoriser: Authoriser) =>
  (await authoriser.current(errandOf())).headers?.authorization

test('one daemon of many fetches the token, and all use it', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const cluster = new Cluster(t, url)
  const daemons = await Promise.all(Array.from({ length: 8 }, () => cluster.daemon()))
  const tokens = await Promise.all(daemons.flatMap((one) => [tokenOf(one), tokenOf(one)]))
  assert.deepEqual([...new Set(tokens)], ['token 1'])
  assert.deepEqual(cluster.given, ['token 1'])
  assert.equal(await tokenOf(await cluster.daemon()), 'token 1')
  assert.deepEqual(cluster.given, ['token 1'])
})

test('it is renewed ahead of its end, by one, while the others go on with what they have', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const cluster = new Cluster(t, url)
  cluster.lifeMs = LIFE_MS
  const [one, two] = await Promise.all([cluster.daemon(), cluster.daemon()])
  assert.equal(await tokenOf(one), 'token 1')
  assert.equal(await tokenOf(two), 'token 1')
  const { promise: renewing, resolve: renews } = Promise.withResolvers<void>()
  const { promise: goOn, resolve: letGo } = Promise.withResolvers<void>()
  cluster.before = () => {
    renews()
    return goOn
  }
  // Nine tenths of its life are over for both, and for Redis.
  const nowMs = performance.now.bind(performance)
  t.mock.method(performance, 'now', () => nowMs() + LIFE_MS * 0.91)
  const redis = cluster.redis()
  const [key] = await redis.keys(`${cluster.prefix}:token:*`)
  await redis.pexpire(key!, LIFE_MS * 0.09)
  assert.equal(one.settled, false)
  const renewal = tokenOf(one)
  await renewing
  // Both still hold it: the one that renews, for its other jobs, and the one that does not.
  assert.equal(await tokenOf(one), 'token 1')
  assert.equal(two.settled, false)
  assert.equal(await tokenOf(two), 'token 1')
  letGo()
  assert.equal(await renewal, 'token 2')
  while ((await tokenOf(two)) !== 'token 2') await new Promise((resolve) => setTimeout(resolve, 20))
  assert.deepEqual(cluster.given, ['token 1', 'token 2'])
})

test('a revoked token is fetched anew once, whoever finds out', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const cluster = new Cluster(t, url)
  const daemons = await Promise.all([cluster.daemon(), cluster.daemon(), cluster.daemon()])
  const refused = await Promise.all(daemons.map((one) => one.current(errandOf())))
  await Promise.all(daemons.map((one, n) => one.forget(refused[n]!)))
  const again = await Promise.all(daemons.map(tokenOf))
  assert.deepEqual(again, ['token 2', 'token 2', 'token 2'])
  // Somebody who still hears a refusal of the old one takes nothing from the others.
  await daemons[0]!.forget(refused[0]!)
  assert.equal(await tokenOf(await cluster.daemon()), 'token 2')
})

test('the claim of a daemon that died ends, and another one fetches', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const cluster = new Cluster(t, url)
  const daemon = await cluster.daemon()
  const redis = cluster.redis()
  // As a daemon leaves it that was killed in the middle; shorter, for the test.
  const shelf = await keyOf(cluster, redis)
  await redis.del(shelf)
  const startedMs = performance.now()
  await redis.set(`${shelf}:claim`, 'dead', 'PX', 700)
  assert.equal(await tokenOf(daemon), 'token 2')
  assert.ok(performance.now() - startedMs >= 650)
  assert.equal(await redis.exists(`${shelf}:claim`), 0)
})

test('a failure is shared, and leaves no claim behind', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const cluster = new Cluster(t, url)
  const [one, two] = await Promise.all([cluster.daemon(), cluster.daemon()])
  cluster.before = async () => {
    throw new AttemptError('unauthorized', 'no such client')
  }
  await assert.rejects(tokenOf(one), { reason: 'unauthorized' })
  await assert.rejects(tokenOf(two), { reason: 'unauthorized' })
  assert.deepEqual(await cluster.redis().keys(`${cluster.prefix}*`), [])
})

test('what lies in Redis is sealed: neither token nor secret can be read, and another credential finds nothing', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const cluster = new Cluster(t, url)
  await tokenOf(await cluster.daemon())
  const redis = cluster.redis()
  for (const key of await redis.keys(`${cluster.prefix}*`)) {
    const everything = `${key} ${await redis.getBuffer(key)}`
    assert.doesNotMatch(everything, /token \d|hush/)
    assert.ok((await redis.pttl(key)) > 0)
  }
  const changed = await cluster.daemon({ name: 'main', value: { client_key: 'k', client_secret: 'new' } })
  assert.equal(await tokenOf(changed), 'token 2')
})

/** Where the token lies. */
async function keyOf(cluster: Cluster, redis: Redis): Promise<string> {
  await tokenOf(await cluster.daemon())
  const [key] = await redis.keys(`${cluster.prefix}:token:*`)
  assert.ok(key)
  return key
}
