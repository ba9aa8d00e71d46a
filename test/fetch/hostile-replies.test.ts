import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { test } from 'node:test'
import {
  brotliCompressSync,
  constants,
  createBrotliCompress,
  createZstdCompress,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib'
import { readJson } from '../../src/fetch/json.ts'
import { until } from '../until.ts'
import { engineFor, get, never, permit, serve, serveTcp } from './local.ts'

const MB = 1_000_000
const MIB = 1024 * 1024
const BOMB_BYTES = 1024 * MIB
/** The engine's default for a body, after decompression. */
const BODY_BYTES_MAX = 10 * MB

/** 1 GiB of zeros without holding it: members and frames may follow each other, and each is what a MiB of zeros becomes. */
const repeated = (one: Buffer, times: number) => Buffer.concat(Array.from({ length: times }, () => one))

async function streamed(stream: ReturnType<typeof createBrotliCompress | typeof createZstdCompress>) {
  const piece = Buffer.alloc(16 * MIB)
  const parts: Buffer[] = []
  stream.on('data', (part: Buffer) => parts.push(part))
  for (let sent = 0; sent < BOMB_BYTES; sent += piece.length) {
    await new Promise((resolve) => stream.write(piece, resolve))
  }
  await new Promise((resolve) => {
    stream.once('end', resolve)
    stream.end()
  })
  return Buffer.concat(parts)
}

const brotliFast = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }

async function bombs(): Promise<Readonly<Record<string, { encoding: string; body: Buffer }>>> {
  const gzip = repeated(gzipSync(Buffer.alloc(MIB), { level: 9 }), 1024)
  const br = await streamed(createBrotliCompress(brotliFast))
  const zstd = await streamed(createZstdCompress())
  return {
    gzip: { encoding: 'gzip', body: gzip },
    br: { encoding: 'br', body: br },
    zstd: { encoding: 'zstd', body: zstd },
    'zstd in a thousand frames': {
      encoding: 'zstd',
      body: repeated(zstdCompressSync(Buffer.alloc(MIB)), 1024),
    },
    'gzip in gzip': { encoding: 'gzip, gzip', body: gzipSync(gzip) },
    'gzip in br': { encoding: 'gzip, br', body: brotliCompressSync(gzip, brotliFast) },
    'br in gzip': { encoding: 'br, gzip', body: gzipSync(br) },
    'zstd in zstd': { encoding: 'zstd, zstd', body: zstdCompressSync(zstd) },
  }
}

test('a bomb of 1 GiB from about 1 MB, and from less, is ended, in gzip, br, zstd and two layers, in flat memory', async (t) => {
  const all = await bombs()
  const { origin } = await serve(t, (request, response) => {
    const { encoding, body } = all[decodeURIComponent(request.url?.slice(1) ?? '')]!
    response.writeHead(200, { 'content-encoding': encoding, 'content-length': body.length }).end(body)
  })
  const { engine } = engineFor(t, origin, { bodyBytesMax: BODY_BYTES_MAX })
  const before = process.memoryUsage.rss()
  let most = before
  const watching = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss())
  }, 5)
  t.after(() => clearInterval(watching))
  const loop = monitorEventLoopDelay({ resolution: 1 })
  const said: string[] = []
  for (const [name, { body }] of Object.entries(all)) {
    assert.ok(body.length < 1.2 * MB, `${name} has ${body.length} bytes`)
    loop.enable()
    const cpu = process.cpuUsage()
    for (let turn = 0; turn < 5; turn += 1) {
      await assert.rejects(
        engine.fetch(get(`${origin}/${encodeURIComponent(name)}`), permit(), { signal: never }),
        { reason: 'too_large', message: /more than 10000000 bytes after/ },
        name,
      )
    }
    loop.disable()
    const { user, system } = process.cpuUsage(cpu)
    said.push(`${name} ${(body.length / 1000).toFixed(1)} KB ${Math.round((user + system) / 5_000)} ms CPU`)
    // 1 GiB takes a second or more of CPU; 10 MB of it some hundredths.
    assert.ok((user + system) / 5 < 500_000, said.at(-1))
  }
  const grownMb = (most - before) / MB
  assert.ok(grownMb < 150, `memory grew by ${grownMb} MB`)
  t.diagnostic(said.join(', '))
  t.diagnostic(
    `memory grew by up to ${grownMb.toFixed(0)} MB; loop p50 ${(loop.percentile(50) / 1e6).toFixed(1)}, ` +
      `p99 ${(loop.percentile(99) / 1e6).toFixed(1)}, at most ${(loop.max / 1e6).toFixed(0)} ms`,
  )
})

/** What a server says on a bare socket, and how the request for it ends. */
async function ends(
  t: Parameters<typeof serveTcp>[0],
  say: (socket: Socket) => void,
  options: Parameters<typeof engineFor>[2] = {},
): Promise<{ reason?: string; message?: string; status?: number; body?: Buffer }> {
  const { port } = await serveTcp(t, (socket) => socket.once('data', () => say(socket)))
  const origin = `http://127.0.0.1:${port}`
  const { engine } = engineFor(t, origin, { readTimeoutMs: 30_000, timeoutMs: 60_000, ...options })
  const [result] = await Promise.allSettled([engine.fetch(get(`${origin}/a`), permit(), { signal: never })])
  // Whatever came, its socket is free for others again, or gone.
  await until(() => engine.room(origin) > 0)
  return result.status === 'fulfilled' ? result.value : { ...result.reason, message: result.reason.message }
}

/** Writes a piece again and again, until the other side has had enough. */
function drip(socket: Socket, piece: string, everyMs = 10): void {
  const timer = setInterval(() => socket.write(piece), everyMs)
  socket.on('close', () => clearInterval(timer))
}

test('headers that drip end by the time for a reply, however lively they are', async (t) => {
  const beginnings = {
    'a status line that never ends': ['HTTP/1.1 200 ', 'O'],
    'a header that never ends': ['HTTP/1.1 200 OK\r\nx-slow: ', '.'],
    'headers without end': ['HTTP/1.1 200 OK\r\n', 'x-more: 1\r\n'],
    'interim replies without end': ['', 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'],
    'continue, and continue': ['', 'HTTP/1.1 100 Continue\r\n\r\n'],
  }
  for (const [what, [start, piece]] of Object.entries(beginnings)) {
    const { reason, message } = await ends(
      t,
      (socket) => {
        socket.write(start!)
        drip(socket, piece!)
      },
      // Only the time for a reply can end it within this test's.
      { readTimeoutMs: 200, timeoutMs: 3_600_000 },
    )
    assert.match(String(reason), /timeout|bad_response|connection/, `${what}: ${message}`)
  }
})

test('a body that drips ends by the total time: by length, in chunks, in the size of a chunk, until the end', async (t) => {
  const beginnings = {
    'by length': ['HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n', '.'],
    'in chunks': ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\n.\r\n'],
    'in the extension of a chunk': ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;', 'x'],
    'until the end': ['HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n', '.'],
    'in trailers': ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n.\r\n0\r\n', 'x-t: 1\r\n'],
  }
  for (const [what, [start, piece]] of Object.entries(beginnings)) {
    const { reason, message } = await ends(
      t,
      (socket) => {
        socket.write(start!)
        drip(socket, piece!)
      },
      { timeoutMs: 600 },
    )
    assert.equal(reason, 'timeout', `${what}: ${message}`)
  }
})

test('too much of headers, in one, in many, or behind the body, is too large, or not HTTP', async (t) => {
  const much = 'x'.repeat(100_000)
  const many = 'x-a: 1\r\n'.repeat(20_000)
  const replies = {
    'one header': `HTTP/1.1 200 OK\r\nx-much: ${much}\r\n\r\n`,
    'a name': `HTTP/1.1 200 OK\r\n${much}: 1\r\n\r\n`,
    'many headers': `HTTP/1.1 200 OK\r\n${many}\r\n`,
    'an interim reply': `HTTP/1.1 103 Early Hints\r\nx-much: ${much}\r\n\r\n`,
    trailers: `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n.\r\n0\r\nx-much: ${much}\r\n\r\n`,
  }
  for (const [what, text] of Object.entries(replies)) {
    const { reason, message, status } = await ends(t, (socket) => socket.write(text))
    assert.match(`${reason}`, /too_large|bad_response/, `${what}: ${status} ${message}`)
    assert.ok((message?.length ?? 0) < 500)
  }
})

test('a body that is cut is no body: by length, in a chunk, before the last chunk, in its encoding', async (t) => {
  const gzip = gzipSync(JSON.stringify({ list: Array.from({ length: 2_000 }, Math.random) }))
  const cut = gzip.subarray(0, gzip.length - 20)
  const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'
  const replies: Record<string, [reason: RegExp, text: string, rest?: Buffer]> = {
    'shorter than its length': [
      /connection|bad_response/,
      'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"a":1}',
    ],
    'in a chunk': [/connection|bad_response/, `${chunked}64\r\n{"a":1}`],
    'between chunks': [/connection|bad_response/, `${chunked}7\r\n{"a":1}\r\n`],
    'before the end of the last chunk': [/connection|bad_response/, `${chunked}7\r\n{"a":1}\r\n0\r\n`],
    'in its gzip': [
      /bad_response/,
      `HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${cut.length}\r\n\r\n`,
      cut,
    ],
    'two lengths': [
      /bad_response/,
      'HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 8\r\n\r\n{"a":1}',
    ],
    'a length and chunks': [
      /bad_response/,
      'HTTP/1.1 200 OK\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n',
    ],
    'a length that is none': [/bad_response/, 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{"a":1}'],
  }
  for (const [what, [expected, text, rest]] of Object.entries(replies)) {
    const { reason, message, body } = await ends(t, (socket) => {
      socket.write(text)
      socket.end(rest ?? '')
    })
    assert.match(String(reason), expected, `${what}: ${message ?? body}`)
  }
})

test('what comes behind a reply is never taken for the answer to the next request', async (t) => {
  let requests = 0
  const forged = 'HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged'
  const { port, sockets } = await serveTcp(t, (socket) => {
    socket.on('data', () => {
      requests += 1
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhonest${requests % 2 === 1 ? forged : ''}`)
    })
  })
  const origin = `http://127.0.0.1:${port}`
  const { engine } = engineFor(t, origin, { socketsPerOrigin: 1 })
  for (let turn = 0; turn < 6; turn += 1) {
    const { body } = await engine.fetch(get(`${origin}/${turn}`), permit(), { signal: never })
    assert.equal(body.toString(), 'honest')
  }
  assert.equal(requests, 6)
  assert.ok(sockets.size <= 1)
})

const LATIN1 = Buffer.from('{"name":"Zoë Müller"}', 'latin1')
const utf16 = (text: string) => Buffer.from(text, 'utf16le')

test('JSON is UTF-8, whatever the header says; other bytes are a bad response, and no wrong letters', async (t) => {
  const text = '{"name":"Zoë Müller 🎈"}'
  const bodies: Record<string, [type: string, body: Buffer, expected: RegExp | string]> = {
    'UTF-8': ['application/json', Buffer.from(text), 'Zoë Müller 🎈'],
    'UTF-8 with a mark': ['application/json', Buffer.from(`\ufeff${text}`), 'Zoë Müller 🎈'],
    'UTF-8 called latin-1': ['application/json; charset=iso-8859-1', Buffer.from(text), 'Zoë Müller 🎈'],
    'latin-1, declared': ['application/json; charset=iso-8859-1', LATIN1, /not UTF-8/],
    'latin-1, not declared': ['application/json', LATIN1, /not UTF-8/],
    'UTF-16 with a mark': [
      'application/json; charset=utf-16',
      utf16(`\ufeff${text}`),
      /UTF-16, little-endian/,
    ],
    'UTF-16 without': ['application/json', utf16(text), /UTF-16, little-endian/],
    'UTF-16, big-endian': ['application/json', utf16(`\ufeff${text}`).swap16(), /UTF-16, big-endian/],
    'UTF-16, big-endian, without': ['application/json', utf16(text).swap16(), /UTF-16, big-endian/],
    'a lone byte in the middle': [
      'application/json',
      Buffer.concat([Buffer.from('{"name":"a'), Buffer.from([0xff]), Buffer.from('b"}')]),
      /not UTF-8/,
    ],
    'overlong forms': [
      'application/json',
      Buffer.concat([Buffer.from('{"name":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]),
      /not UTF-8/,
    ],
    'half a pair in bytes': [
      'application/json',
      Buffer.concat([Buffer.from('{"name":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')]),
      /not UTF-8/,
    ],
    'a character cut in two': ['application/json', Buffer.from(text).subarray(0, 12), /not UTF-8/],
  }
  const { origin } = await serve(t, (request, response) => {
    const [type, body] = bodies[decodeURIComponent(request.url!.slice(1))]!
    response.writeHead(200, { 'content-type': type }).end(body)
  })
  const { engine } = engineFor(t, origin)
  for (const [what, [, , expected]] of Object.entries(bodies)) {
    const reply = await engine.fetch(get(`${origin}/${encodeURIComponent(what)}`), permit(), {
      signal: never,
    })
    if (typeof expected === 'string') {
      assert.deepEqual(readJson(reply.body), { name: expected }, what)
      continue
    }
    assert.throws(
      () => readJson(reply.body),
      (error: Error & { reason?: string }) => {
        assert.equal(error.reason, 'bad_response', what)
        assert.match(error.message, expected, what)
        assert.match(error.message, /expected JSON/)
        return true
      },
    )
  }
})

test('a sample is searched for secrets in the text that it is, UTF-16 too, and up to where it was cut', () => {
  const redact = (text: string) => text.replaceAll('hunter22', '[redacted]')
  const hidden = [
    utf16('{"key":"hunter22"'),
    utf16('{"key":"hunter22"').swap16(),
    utf16('\ufeff<html>hunter22'),
    // A secret that begins in the part that is looked at and ends behind it, after white space that collapses.
    Buffer.from(`<html>${' '.repeat(5_990)}hunter22`),
  ]
  for (const body of hidden) {
    assert.throws(
      () => readJson(body, { redact }),
      ({ message }: Error) => !/h ?u ?n ?t/.test(message),
    )
  }
})
