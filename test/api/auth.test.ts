import assert from 'node:assert/strict'
import { createHash, createHmac, randomBytes, type webcrypto } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, type TestContext, test } from 'node:test'
import { exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { ApiKeys } from '../../src/api/auth/api-keys.ts'
import { Gate } from '../../src/api/auth/gate.ts'
import { JwtVerifier } from '../../src/api/auth/jwt.ts'
import { ApiProblem } from '../../src/api/problem.ts'
import { poll } from '../services/poll.ts'

const SECRET = 'a secret that is long enough for HS256'
const KEY = 'mk_0123456789abcdef0123456789abcdef'
const ISSUER = 'https://issuer.example'
const AUDIENCE = 'millrace'
const CLAIMS = { roleClaim: 'role', clockToleranceMs: 1_000, issuer: ISSUER, audience: AUDIENCE }

type Key = webcrypto.CryptoKey

const bytes = (text: string) => new TextEncoder().encode(text)
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A good token's claims, with some of them replaced; undefined leaves one out. */
function claims(changes: Record<string, unknown> = {}): JWTPayload {
  const nowS = Math.floor(Date.now() / 1000)
  const all = {
    iss: ISSUER,
    aud: AUDIENCE,
    sub: 'ann',
    role: 'viewer',
    iat: nowS,
    exp: nowS + 600,
    ...changes,
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

function hs256(payload: unknown, options: { header?: object; secret?: string | Buffer } = {}): string {
  const text = `${part({ alg: 'HS256', typ: 'JWT', ...options.header })}.${part(payload)}`
  return `${text}.${createHmac('sha256', options.secret ?? SECRET)
    .update(text)
    .digest('base64url')}`
}

async function keySet(t: TestContext) {
  const rsa = await generateKeyPair('RS256', { extractable: true })
  const other = await generateKeyPair('RS256')
  const ec = await generateKeyPair('ES256')
  const ed = await generateKeyPair('EdDSA')
  const keys = await Promise.all(
    Object.entries({ rsa, ec, ed }).map(async ([kid, { publicKey }]) => ({
      ...(await exportJWK(publicKey)),
      kid,
    })),
  )
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ keys }))
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
  return { rsa, other, ec, ed, url }
}

async function refused(gate: Gate, headers: Record<string, string>, what: string): Promise<void> {
  await assert.rejects(
    () => gate.admit(headers, '127.0.0.1'),
    (error) => error instanceof ApiProblem && error.code === 'unauthenticated',
    what,
  )
}

describe('who asks', () => {
  test('is known by a token of the secret, and by none of 30 that are forged, expired, confused or stripped', async () => {
    const gate = new Gate({ jwt: new JwtVerifier({ secret: SECRET, ...CLAIMS }) })
    const good = hs256(claims())
    assert.deepEqual(await gate.admit({ authorization: `Bearer ${good}` }, ''), {
      name: 'jwt:ann',
      role: 'viewer',
    })
    const [head = '', body = '', mac = ''] = good.split('.')
    const nowS = Math.floor(Date.now() / 1000)
    const rsa = await generateKeyPair('RS256')
    const zoo: Record<string, string> = {
      'no signature': `${head}.${body}.`,
      'no signature and no dot': `${head}.${body}`,
      'no header': `.${body}.${mac}`,
      'five parts': `${good}.a.b`,
      empty: '',
      'no token at all': 'x',
      'alg none': new UnsecuredJWT(claims()).encode(),
      'alg None with our signature': hs256(claims(), { header: { alg: 'None' } }),
      'alg NONE, no signature': `${part({ alg: 'NONE' })}.${body}.`,
      'no alg': hs256(claims(), { header: { alg: undefined } }),
      'alg HS512': await new SignJWT(claims())
        .setProtectedHeader({ alg: 'HS512' })
        .sign(bytes(SECRET.padEnd(64))),
      'alg HS384 named, HS256 made': hs256(claims(), { header: { alg: 'HS384' } }),
      'alg RS256 named': hs256(claims(), { header: { alg: 'RS256' } }),
      'signed with a key of its own': await new SignJWT(claims())
        .setProtectedHeader({ alg: 'RS256', jwk: await exportJWK(rsa.publicKey) })
        .sign(rsa.privateKey),
      'another secret': hs256(claims(), { secret: 'another secret, as long as the right one' }),
      'an empty secret': hs256(claims(), { secret: '' }),
      'another body under the signature': `${head}.${part(claims({ role: 'admin' }))}.${mac}`,
      'one bit of the signature': `${head}.${body}.${mac[0] === 'A' ? 'B' : 'A'}${mac.slice(1)}`,
      'half of the signature': `${head}.${body}.${mac.slice(0, 20)}`,
      expired: hs256(claims({ exp: nowS - 60 })),
      'without exp': hs256(claims({ exp: undefined })),
      'exp as text': hs256({ ...claims(), exp: String(nowS + 600) }),
      'not valid yet': hs256(claims({ nbf: nowS + 600 })),
      'another audience': hs256(claims({ aud: 'someone' })),
      'without audience': hs256(claims({ aud: undefined })),
      'another issuer': hs256(claims({ iss: `${ISSUER}.evil.example` })),
      'without issuer': hs256(claims({ iss: undefined })),
      'without subject': hs256(claims({ sub: undefined })),
      'an unknown role': hs256(claims({ role: 'root' })),
      'roles as a list': hs256(claims({ role: ['admin'] })),
      'without a role': hs256(claims({ role: undefined })),
      'a critical header that nobody knows': hs256(claims(), { header: { crit: ['x'], x: 1 } }),
      'a body that is no object': hs256('ann'),
      'a body that is no JSON': (() => {
        const text = `${head}.${Buffer.from('{"sub":').toString('base64url')}`
        return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`
      })(),
      'ten thousand letters': `${head}.${'A'.repeat(10_000)}.${mac}`,
    }
    assert.ok(Object.keys(zoo).length >= 30)
    for (const [what, token] of Object.entries(zoo))
      await refused(gate, { authorization: `Bearer ${token}` }, what)
    await refused(gate, {}, 'nothing')
    await refused(gate, { authorization: `Basic ${good}` }, 'another scheme')
    await refused(gate, { authorization: good }, 'without its scheme')
    await refused(gate, { 'x-api-key': good }, 'a token as a key')
  })

  test('is known by a token of the published keys, whose public halves are no secrets', async (t) => {
    const { rsa, other, ec, ed, url } = await keySet(t)
    const gate = new Gate({ jwt: new JwtVerifier({ jwksUrl: url, ...CLAIMS }) })
    const signed = (alg: string, kid: string, key: Key) =>
      new SignJWT(claims({ role: 'operator' })).setProtectedHeader({ alg, kid }).sign(key)
    const first = await signed('RS256', 'rsa', rsa.privateKey)
    const known = () => gate.admit({ authorization: `Bearer ${first}` }, '').then(() => true)
    await poll(known, { withinMs: 60_000, what: 'the keys are fetched, which has seconds' })
    for (const token of [
      await signed('RS256', 'rsa', rsa.privateKey),
      await signed('ES256', 'ec', ec.privateKey),
      await signed('EdDSA', 'ed', ed.privateKey),
    ])
      assert.deepEqual(await gate.admit({ authorization: `Bearer ${token}` }, ''), {
        name: 'jwt:ann',
        role: 'operator',
      })
    const pem = await exportSPKI(rsa.publicKey)
    const jwk = JSON.stringify(await exportJWK(rsa.publicKey))
    const zoo: Record<string, string> = {
      'the public key as a secret (PEM)': hs256(claims(), { header: { kid: 'rsa' }, secret: pem }),
      'the public key as a secret (JWK)': hs256(claims(), { header: { kid: 'rsa' }, secret: jwk }),
      'another key under our name': await signed('RS256', 'rsa', other.privateKey),
      'a name that is not there': await signed('RS256', 'nobody', other.privateKey),
      'PS256 with our key': await new SignJWT(claims())
        .setProtectedHeader({ alg: 'PS256', kid: 'rsa' })
        .sign(await asPss(rsa.privateKey)),
      'a key set of its own': await new SignJWT(claims())
        .setProtectedHeader({ alg: 'RS256', kid: 'rsa', jku: 'https://evil.example/keys' })
        .sign(other.privateKey),
      none: new UnsecuredJWT(claims()).encode(),
      'a path as a name': hs256(claims(), { header: { kid: '../../dev/null' }, secret: '' }),
    }
    for (const [what, token] of Object.entries(zoo))
      await refused(gate, { authorization: `Bearer ${token}` }, what)
  })

  test('says so when the keys cannot be fetched', async () => {
    const gate = new Gate({ jwt: new JwtVerifier({ jwksUrl: 'http://127.0.0.1:1/keys', ...CLAIMS }) })
    const { privateKey } = await generateKeyPair('RS256')
    const token = await new SignJWT(claims()).setProtectedHeader({ alg: 'RS256' }).sign(privateKey)
    await assert.rejects(
      () => gate.admit({ authorization: `Bearer ${token}` }, ''),
      (error) => error instanceof ApiProblem && error.code === 'unavailable',
    )
  })

  test('is known by an API key of which only the digest is kept', async () => {
    const sha256 = createHash('sha256').update(KEY).digest('hex')
    const gate = new Gate({ keys: new ApiKeys({ grafana: { sha256, role: 'viewer' } }) })
    assert.deepEqual(await gate.admit({ 'x-api-key': KEY }, ''), { name: 'key:grafana', role: 'viewer' })
    await refused(gate, { 'x-api-key': sha256 }, 'the digest itself')
    await refused(gate, { 'x-api-key': KEY.slice(1) }, 'a part of it')
    await refused(gate, { 'x-api-key': '' }, 'an empty one')
    await refused(gate, { 'x-api-key': randomBytes(400).toString('hex') }, 'a long one')
    await refused(gate, { authorization: `Bearer ${KEY}` }, 'a key as a token')
    await refused(gate, { authorization: 'Bearer x', 'x-api-key': KEY }, 'two proofs')
  })

  test('does not outlive its token by being remembered', async () => {
    let nowMs = Date.now()
    const verifier = new JwtVerifier({ secret: SECRET, ...CLAIMS, now: () => nowMs })
    const token = hs256(claims({ exp: Math.floor(nowMs / 1000) + 10 }))
    await verifier.verify(token)
    nowMs += 9_000
    await verifier.verify(token)
    nowMs += 3_000
    await assert.rejects(() => verifier.verify(token), /expired/)
  })
})

/** The same RSA key, for another algorithm. */
async function asPss(key: Key): Promise<Key> {
  const jwk = await crypto.subtle.exportKey('jwk', key)
  const { alg: _alg, key_ops: _ops, ...rest } = jwk
  return await crypto.subtle.importKey('jwk', rest, { name: 'RSA-PSS', hash: 'SHA-256' }, false, ['sign'])
}
