import assert from 'node:assert/strict'
import { test } from 'node:test'
import { redactor, Secrets } from '../../src/telemetry/secrets.ts'

test('hides a secret wherever it stands: in text, in JSON, in an address', () => {
  const redact = redactor(['s3cr"t/key', 'longer s3cr"t/key'])
  assert.equal(redact('key s3cr"t/key.'), 'key [redacted].')
  assert.equal(redact(JSON.stringify({ a: 'longer s3cr"t/key' })), '{"a":"[redacted]"}')
  assert.equal(redact(`?key=${encodeURIComponent('s3cr"t/key')}&b=1`), '?key=[redacted]&b=1')
})

test('hides it as others write it: PHP, Go, HTML, forms, JSON inside of JSON, small hexadecimal', () => {
  const secret = 'a/b&c<d>"e\' f+g=h'
  const redact = redactor([secret])
  const written = [
    String.raw`a\/b&c<d>\"e' f+g=h`,
    String.raw`a/b\u0026c\u003cd\u003e\"e' f+g=h`,
    'a/b&amp;c&lt;d&gt;&quot;e&#39; f+g=h',
    'a/b&amp;c&lt;d&gt;&#34;e&#x27; f+g=h',
    'a%2Fb%26c%3Cd%3E%22e%27+f%2Bg%3Dh',
    'a%2fb%26c%3cd%3e%22e%27+f%2bg%3dh',
    JSON.stringify(JSON.stringify(secret)).slice(3, -3),
  ]
  for (const text of written) assert.equal(redact(`<${text}>`), '<[redacted]>', text)
})

test('hides it in base64, whatever user name stands before it', () => {
  for (const password of ['correct horse', 'ÿÿ>>??~~ÿÿ']) {
    for (const user of ['', 'a', 'ab', 'abc', 'somebody']) {
      for (const encoding of ['base64', 'base64url'] as const) {
        const pair = Buffer.from(`${user}:${password}:after`).toString(encoding)
        const hidden = redactor([password])(`Basic ${pair}`)
        assert.match(hidden, /\[redacted\]/)
        // At most the characters that hold bits of a neighbour are left.
        const left = Buffer.from(hidden.replace(/^Basic |\[redacted\]/g, ''), 'base64').toString('latin1')
        assert.ok(!left.includes(password.slice(2, -2)), hidden)
      }
    }
  }
})

test('leaves ordinary words alone when a secret is short, or none is given', () => {
  assert.equal(redactor(['a', 'error'])('an error'), 'an error')
  assert.equal(redactor([])('an error'), 'an error')
})

test('learns tokens as they are fetched, and forgets them a while after their end, never what was configured', () => {
  let nowMs = 0
  const secrets = new Secrets(['configured'], () => nowMs)
  const { redact } = secrets
  secrets.addTokens(['first-token', 'configured'], 7_200_000)
  assert.equal(redact('first-token configured'), '[redacted] [redacted]')
  nowMs = 7_200_000
  secrets.addTokens(['second-token'], 7_200_000)
  assert.equal(redact('first-token second-token'), '[redacted] [redacted]')
  nowMs = 2 * 7_200_000
  secrets.addTokens(['third-token'], 7_200_000)
  assert.equal(redact('first-token second-token third-token'), 'first-token [redacted] [redacted]')
  assert.equal(redact('configured'), '[redacted]')
  secrets.addTokens(
    Array.from({ length: 1_001 }, (_, index) => `of-many-${index}`),
    1,
  )
  assert.equal(redact('third-token of-many-1000 configured'), 'third-token [redacted] [redacted]')
})
