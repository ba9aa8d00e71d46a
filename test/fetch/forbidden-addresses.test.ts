import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo, LookupFunction, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { checkUrl, hostAndPort, isPublicAddress } from '../../src/fetch/address-guard.ts'
import { lookupOf } from '../../src/fetch/connector.ts'
import { type Address, type NameService, Resolver } from '../../src/fetch/resolver.ts'
import { systemDns } from '../../src/fetch/system-dns.ts'
import { FORBIDDEN, FORBIDDEN_ANSWERS, PUBLIC } from './forbidden.ts'
import { engineFor, names, never, serve } from './local.ts'

const WAYS = Object.values(FORBIDDEN).flat()
const OPTIONS = { signal: never, bodyBytesMax: 1_000 }

/** A server on every address of this machine, which whatever slips through would reach. */
async function trap(t: TestContext): Promise<{ port: number; arrived: string[] }> {
  const arrived: string[] = []
  const server = createServer((request, response) => {
    arrived.push(String(request.headers.host))
    response.end('inner')
  })
  // A TLS hello, or nothing at all, is an arrival, too.
  server.on('connection', (socket) => arrived.push(`a socket to ${socket.localAddress}`))
  server.listen(0, '::').on('error', () => server.listen(0, '0.0.0.0'))
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, arrived }
}

/** Every address that a socket of this process sets out for while `run` runs. */
async function attemptsDuring(run: () => Promise<void>): Promise<string[]> {
  const attempts: string[] = []
  const onSocket = (message: unknown) => {
    const { socket } = message as { socket: Socket }
    socket.on('connectionAttempt', (address: string) => attempts.push(address))
  }
  subscribe('net.client.socket', onSocket)
  try {
    await run()
  } finally {
    unsubscribe('net.client.socket', onSocket)
  }
  return attempts
}

const at = (text: string, port: number) => text.replace('PORT', String(port))

test(`none of ${WAYS.length} ways to write a forbidden address reaches a socket`, async (t) => {
  const { port, arrived } = await trap(t)
  const service = names({})
  const { engine } = engineFor(t, 'https://api.test', {}, { names: service })
  let parsed = 0
  const attempts = await attemptsDuring(async () => {
    for (const [what, ways] of Object.entries(FORBIDDEN)) {
      for (const text of ways) {
        const url = URL.parse(at(text, port))
        // No URL: nothing that could be fetched.
        if (url === null) continue
        parsed += 1
        const expected = url.hostname === '127.0.0.1..' ? /address_refused|connection/ : /address_refused/
        await assert.rejects(
          engine.download(url, OPTIONS),
          (error: { reason?: string }) => expected.test(String(error.reason)),
          `${what}: ${text}`,
        )
      }
    }
  })
  assert.deepEqual(attempts, [])
  assert.deepEqual(arrived, [])
  assert.deepEqual(
    service.asked,
    ['127.0.0.1..'],
    'all but a name that looks like an address were refused unasked',
  )
  t.diagnostic(`${parsed} of ${WAYS.length} are URLs`)
})

test('without the guard most of those that mean this machine arrive, so the trap above would have seen them', async (t) => {
  const { port, arrived } = await trap(t)
  const urls = Object.entries(FORBIDDEN)
    .filter(([what]) => what.startsWith('loopback') || what === 'IPv4 inside IPv6' || what === 'unspecified')
    .flatMap(([, ways]) => ways)
    .flatMap((text) => URL.parse(at(text, port)) ?? [])
    .filter(({ protocol }) => protocol === 'http:')
  const { engine } = engineFor(t, 'https://api.test', {
    allowPrivate: urls.map(hostAndPort),
    connectTimeoutMs: 300,
  })
  let replies = 0
  const attempts = await attemptsDuring(async () => {
    for (const url of urls) {
      const reply = await engine.download(url, OPTIONS).catch(() => undefined)
      if (reply?.status === 200) replies += 1
    }
  })
  assert.ok(replies >= 25, `${replies} of ${urls.length} arrived`)
  assert.ok(attempts.length > 5 && arrived.length > replies)
})

test(`none of ${Object.keys(FORBIDDEN_ANSWERS).length} names that DNS gives a forbidden address reaches a socket`, async (t) => {
  const { port, arrived } = await trap(t)
  const { engine } = engineFor(t, 'https://api.test', {}, { names: names(FORBIDDEN_ANSWERS) })
  const attempts = await attemptsDuring(async () => {
    for (const name of Object.keys(FORBIDDEN_ANSWERS)) {
      for (const scheme of ['http', 'https']) {
        const url = new URL(`${scheme}://${name.toUpperCase()}:${port}/a?key=SECRET`)
        await assert.rejects(
          engine.download(url, OPTIONS),
          { reason: 'address_refused', message: /^GET https?:\/\/[\w.-]+:\d+\/a: [\w.-]+ is .*not a public/ },
          name,
        )
      }
    }
  })
  assert.deepEqual(attempts, [])
  assert.deepEqual(arrived, [])
})

test('names of the hosts file are judged like any other', async (t) => {
  const { port, arrived } = await trap(t)
  const folder = await mkdtemp(join(tmpdir(), 'hosts-'))
  t.after(() => rm(folder, { recursive: true }))
  const hostsPath = join(folder, 'hosts')
  await writeFile(
    hostsPath,
    '127.0.0.1 localhost build.corp.test\n::1 localhost\n10.0.0.7 Intranet.corp.test\nfe80::1%lo0 zone.corp.test\n',
  )
  const { engine } = engineFor(
    t,
    'https://api.test',
    {},
    { names: systemDns({ now: () => performance.now(), hostsPath }) },
  )
  const attempts = await attemptsDuring(async () => {
    for (const name of ['build.corp.test', 'intranet.corp.test', 'INTRANET.corp.test.']) {
      await assert.rejects(
        engine.download(new URL(`http://${name}:${port}/`), OPTIONS),
        { reason: 'address_refused' },
        name,
      )
    }
  })
  assert.deepEqual(attempts, [])
  assert.deepEqual(arrived, [])
})

test(`no redirect to any of the ${WAYS.length} is followed`, async (t) => {
  const { port, arrived } = await trap(t)
  const targets = [
    ...WAYS,
    '//127.0.0.1:PORT/',
    '\\\\127.0.0.1:PORT/',
    '//[::1]:PORT/',
    ...Object.keys(FORBIDDEN_ANSWERS).map((name) => `http://${name}:PORT/`),
  ]
  const outer = await serve(t, (request, response) => {
    const target = targets[Number(request.url?.slice(1))]
    // `http:127.0.0.1` is relative to a page of the same scheme, and leads here.
    if (target === undefined) return void response.writeHead(404).end()
    // As bytes, which is how a header holds what is not ASCII.
    const location = Buffer.from(at(target, port).trim().replaceAll(/\s/g, '')).toString('latin1')
    response.writeHead(307, { location }).end()
  })
  const { engine } = engineFor(
    t,
    'https://api.test',
    { allowPrivate: [`pictures.test:${outer.port}`] },
    { names: names({ ...FORBIDDEN_ANSWERS, 'pictures.test': ['127.0.0.1'] }) },
  )
  // The one connection to the redirecting server stays open.
  await engine.download(new URL(`http://pictures.test:${outer.port}/0`), OPTIONS).catch(() => {})
  const attempts = await attemptsDuring(async () => {
    for (const [index, target] of targets.entries()) {
      const url = new URL(`http://pictures.test:${outer.port}/${index}`)
      const [result] = await Promise.allSettled([engine.download(url, OPTIONS)])
      if (result.status === 'fulfilled') assert.equal(result.value.status, 404, target)
      else assert.match(result.reason.reason, /address_refused|bad_response|connection/, target)
    }
  })
  assert.deepEqual(attempts, [])
  assert.deepEqual(arrived, [])
})

/** Asks as `net.connect` does, for all addresses of a name. */
function lookUp(lookup: LookupFunction, name: string): Promise<string[]> {
  return new Promise((resolve, reject) => {
    lookup(name, { all: true }, (error, found) => {
      if (error !== null) reject(error)
      else resolve((found as readonly Address[]).map(({ address }) => address))
    })
  })
}

/** A zone whose answers change from question to question, as a rebinding attacker's does; the last one stays. */
function changing(answers: readonly (readonly string[])[]): NameService & { asked: number } {
  return {
    asked: 0,
    query() {
      const answer = answers[Math.min(this.asked, answers.length - 1)] ?? []
      this.asked += 1
      return Promise.resolve(answer.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })))
    },
    close() {},
  }
}

test('of an answer that mixes public and private addresses only the public ones are tried', async () => {
  const mixed = [
    '10.0.0.1',
    '93.184.215.14',
    '127.0.0.1',
    '2606:4700::1111',
    '::ffff:127.0.0.1',
    'fe80::1%lo',
  ]
  const resolver = new Resolver({ service: changing([mixed]), now: () => 0 })
  const lookup = lookupOf(resolver, true)
  for (let turn = 0; turn < 2 * mixed.length; turn += 1) {
    assert.deepEqual((await lookUp(lookup, 'mixed.test')).sort(), ['2606:4700::1111', '93.184.215.14'])
  }
  const one = await new Promise((resolve) =>
    lookup('mixed.test', { family: 4 }, (_error, address) => resolve(address)),
  )
  assert.equal(one, '93.184.215.14')
})

test('a name that was public and is private when the connection is made is refused: every connection judges what it uses', async () => {
  const clock = { nowMs: 0 }
  const service = changing([['93.184.215.14'], ['127.0.0.1'], ['93.184.215.14', '169.254.169.254'], ['::1']])
  const resolver = new Resolver({ service, now: () => clock.nowMs, ttlMs: 1_000 })
  const lookup = lookupOf(resolver, true)
  assert.deepEqual(await lookUp(lookup, 'rebind.test'), ['93.184.215.14'])
  // Within its time the cache answers: what was judged is what is used.
  assert.deepEqual(await lookUp(lookup, 'rebind.test'), ['93.184.215.14'])
  clock.nowMs += 1_001
  await assert.rejects(lookUp(lookup, 'rebind.test'), { code: 'ADDRESS_REFUSED', message: /127\.0\.0\.1/ })
  clock.nowMs += 1_001
  assert.deepEqual(await lookUp(lookup, 'rebind.test'), ['93.184.215.14'])
  clock.nowMs += 1_001
  await assert.rejects(lookUp(lookup, 'rebind.test'), { code: 'ADDRESS_REFUSED' })
  assert.equal(service.asked, 4)
})

test('a rebind between two requests reaches nothing, whatever the cache holds of either answer', async (t) => {
  const { port, arrived } = await trap(t)
  const clock = { aheadMs: 0 }
  // Private, then private in another way, and so on: each time the answer is new and the connection, too.
  const service = changing([['127.0.0.1'], ['::1'], ['0.0.0.0'], ['::ffff:127.0.0.1']])
  const { engine } = engineFor(
    t,
    'https://api.test',
    { dnsTtlMs: 100 },
    { names: service, now: () => performance.now() + clock.aheadMs },
  )
  const attempts = await attemptsDuring(async () => {
    for (let turn = 0; turn < 5; turn += 1) {
      for (let again = 0; again < 2; again += 1) {
        await assert.rejects(engine.download(new URL(`http://rebind.test:${port}/`), OPTIONS), {
          reason: 'address_refused',
        })
      }
      clock.aheadMs += 101
    }
  })
  assert.ok(service.asked >= 5)
  assert.deepEqual(attempts, [])
  assert.deepEqual(arrived, [])
})

test(`lets ${PUBLIC.length} public addresses pass, also beside what is not`, async () => {
  for (const address of PUBLIC) {
    assert.equal(isPublicAddress(address), true, address)
    const host = address.includes(':') ? `[${address}]` : address
    checkUrl(new URL(`https://${host}/a.jpg`), { mayBePrivate: false })
    checkUrl(new URL(`http://user@${host}:8080/a.jpg`), { mayBePrivate: false })
  }
  const resolver = new Resolver({ service: names({ 'public.test': PUBLIC }), now: () => 0 })
  assert.deepEqual(new Set(await lookUp(lookupOf(resolver, true), 'public.test')), new Set(PUBLIC))
  checkUrl(new URL('https://localhost.example/'), { mayBePrivate: false })
  checkUrl(new URL('https://notlocalhost/'), { mayBePrivate: false })
})
