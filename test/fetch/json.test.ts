import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseJson, readJson } from '../../src/fetch/json.ts'
import { AttemptError } from '../../src/job/errors.ts'

function whatIsWrong(text: string, options = {}): string {
  const result = parseJson(Buffer.from(text), options)
  assert.ok('error' in result, 'expected an error')
  assert.equal(result.error.reason, 'bad_response')
  assert.ok(Buffer.byteLength(result.error.message) <= 2_200)
  return result.error.message
}

test('reads JSON, with or without a byte order mark', () => {
  assert.deepEqual(parseJson(Buffer.from('{"a":[1,"ü}]"]}')), { json: { a: [1, 'ü}]'] } })
  assert.deepEqual(parseJson(Buffer.from('\ufeff{"a":1}')), { json: { a: 1 } })
  assert.equal(readJson(Buffer.from('null')), null)
})

test('says what was found instead of JSON', () => {
  assert.match(whatIsWrong(''), /empty/)
  assert.match(whatIsWrong('  \n '), /blank/)
  assert.match(whatIsWrong('<!DOCTYPE html><title>Oops</title>'), /HTML page.*Oops/)
  assert.match(whatIsWrong('<?xml version="1.0"?>'), /markup/)
  assert.match(whatIsWrong('{"items":[{"id":"abc'), /cut short/)
  assert.match(whatIsWrong('{"items":[1,2'), /cut short/)
  assert.match(whatIsWrong('upstream connect error'), /not JSON.*upstream connect error/)
  assert.match(whatIsWrong('{"a":1} trailing'), /not JSON/)
  assert.throws(() => readJson(Buffer.from('nope')), AttemptError)
})

test('refuses more levels than allowed, before building them', () => {
  const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
  assert.ok('json' in parseJson(Buffer.from(nested(64))))
  assert.match(whatIsWrong(nested(65)), /64 levels/)
  assert.match(whatIsWrong('{"a":'.repeat(2_000_000)), /64 levels/)
  assert.ok('json' in parseJson(Buffer.from(JSON.stringify({ text: '[{'.repeat(500) }))), 'not in strings')
  assert.ok('json' in parseJson(Buffer.from(String.raw`{"text":"\"[[[[\\"}`), { depthMax: 1 }))
})

test('shows a sample of at most 2 KB, in one line', () => {
  const message = whatIsWrong(`<html>\u0000\n\t${'€'.repeat(10_000)}`)
  assert.doesNotMatch(message, /\p{Cc}/u)
  assert.match(message, /€…$/)
})

test('shows no secret that an error page repeats', () => {
  const message = whatIsWrong(
    `<html>The URL /v3/channels?part=id&key=AIzaSECRET1&amp;token=SECRET2 was not found. Authorization: Bearer SECRET3
    "access_token":"SECRET4" "client_secret" : "SECRET5" and hunter22`,
    { redact: (text: string) => text.replaceAll('hunter22', '[redacted]') },
  )
  assert.doesNotMatch(message, /SECRET|hunter22/)
  assert.match(message, /channels\?part=…&key=…/)
  assert.doesNotMatch(whatIsWrong('{"access_token":"SECRET4'), /SECRET/)
})

test('keeps integers that a double cannot hold as text, and other numbers as numbers', () => {
  const body = Buffer.from(
    '{"id":7423891234567890123,"n":9007199254740991,"f":1.2345678901234567,"text":":7423891234567890123"}',
  )
  assert.deepEqual(readJson(body), {
    id: '7423891234567890123',
    n: 9007199254740991,
    f: 1.2345678901234567,
    text: ':7423891234567890123',
  })
})
