import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from 'undici'
import { checkUrl, isPublicAddress } from '../../src/fetch/address-guard.ts'
import { createConnector } from '../../src/fetch/connector.ts'
import { Resolver } from '../../src/fetch/resolver.ts'
import { engineFor, get, names, never, permit, serve } from './local.ts'

test('tells public addresses from all others', () => {
  const others = [
    ...['127.0.0.1', '127.255.0.1', '0.0.0.0', '0.1.2.3', '10.1.2.3', '172.16.0.1', '172.31.255.255'],
    ...['192.168.1.1', '169.254.169.254', '100.64.0.1', '100.100.100.200', '168.63.129.16', '192.0.0.192'],
    ...['224.0.0.1', '255.255.255.255', '240.0.0.1', '198.18.0.1', '192.0.2.1', '203.0.113.9'],
    ...['::', '::1', '::ffff:8.8.8.8', '::ffff:127.0.0.1', '::127.0.0.1', 'fe80::1', 'fe80::1%eth0'],
    ...[
      'fc00::1',
      'fd00:ec2::254',
      'ff02::1',
      '64:ff9b::7f00:1',
      '2002:7f00:1::',
      '2001:0:1::',
      '2001:db8::1',
    ],
    ...['fec0::1', '100::1', 'not an address', ''],
  ]
  for (const address of others) assert.equal(isPublicAddress(address), false, address)
  for (const address of ['8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '2a00:1450::5']) {
    assert.equal(isPublicAddress(address), true, address)
  }
})

test('checks the address of the connected socket, too', async (t) => {
  let requests = 0
  const { port } = await serve(t, () => {
    requests += 1
  })
  const resolver = new Resolver({ service: names({}), now: () => 0 })
  // A literal is not looked up, so only the check of the socket stands between this call and the server.
  const connect = createConnector({ resolver, guarded: true, connectTimeoutMs: 60_000 })
  for (const protocol of ['http:', 'https:']) {
    const client = new Client(`${protocol}//127.0.0.1:${port}`, { connect })
    t.after(() => client.destroy())
    await assert.rejects(client.request({ path: '/', method: 'GET' }), {
      name: 'AddressRefusedError',
      message: /connected to 127.0.0.1/,
    })
  }
  assert.equal(requests, 0)
})

test("reaches a platform's private origin only when its configuration says so", async (t) => {
  const { origin, port } = await serve(t, (_request, response) => response.end('api'))
  const closed = engineFor(t, origin, { platformOrigins: [{ origin, platform: 'here', private: false }] })
  await assert.rejects(closed.engine.fetch(get(`${origin}/a`), permit(), { signal: never }), {
    reason: 'address_refused',
  })
  const named = engineFor(
    t,
    origin,
    { platformOrigins: [{ origin: `http://api.test:${port}`, platform: 'here', private: false }] },
    { names: names({ 'api.test': ['127.0.0.1'] }) },
  )
  await assert.rejects(named.engine.fetch(get(`http://api.test:${port}/a`), permit(), { signal: never }), {
    reason: 'address_refused',
  })
  const open = engineFor(t, origin)
  assert.equal((await open.engine.fetch(get(`${origin}/a`), permit(), { signal: never })).status, 200)
  await assert.rejects(
    open.engine.download(new URL(`${origin}/a`), { signal: never, bodyBytesMax: 1_000 }),
    { reason: 'address_refused' },
    'a picture may not use that door',
  )
})

test('scheme and host are all that is checked of a URL before the look-up', () => {
  checkUrl(new URL('https://name.test/x'), { mayBePrivate: false })
  checkUrl(new URL('http://127.0.0.1/x'), { mayBePrivate: true })
  assert.throws(() => checkUrl(new URL('gopher://name.test/'), { mayBePrivate: true }))
})
