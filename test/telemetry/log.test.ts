import assert from 'node:assert/strict'
import { test } from 'node:test'
import { redactor } from '../../src/telemetry/log.ts'

test('hides a secret wherever it stands: in text, in JSON, in an address', () => {
  const redact = redactor(['s3cr"t/key', 'longer s3cr"t/key'])
  assert.equal(redact('key s3cr"t/key.'), 'key [redacted].')
  assert.equal(redact(JSON.stringify({ a: 'longer s3cr"t/key' })), '{"a":"[redacted]"}')
  assert.equal(redact(`?key=${encodeURIComponent('s3cr"t/key')}&b=1`), '?key=[redacted]&b=1')
})

test('leaves ordinary words alone when a secret is short, or none is given', () => {
  assert.equal(redactor(['a', 'error'])('an error'), 'an error')
  assert.equal(redactor([])('an error'), 'an error')
})
