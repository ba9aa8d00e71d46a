import { isUtf8 } from 'node:buffer'
import { AttemptError } from '../job/errors.ts'
import { longIntegerOf } from '../lib/long-integer.ts'

export interface ReadJsonOptions {
  /** Objects and lists inside each other. Default 64: deeper is no API's reply, and recursive code would run out of stack. */
  readonly depthMax?: number
  /** Applied to the sample before it stands in a message: for secrets that are known by value. */
  readonly redact?: (text: string) => string
}

/** Characters of a body that a message shows. An error page or a record shows what it is in its first lines. */
const SAMPLE_CHARS_MAX = 1500
const SCRUBBED_BYTES = 4 * SAMPLE_CHARS_MAX
const END_CHARS = 500

export type JsonResult = { readonly json: unknown } | { readonly error: AttemptError }

/** As `parseJson`, but throws the AttemptError. */
export function readJson(body: Buffer, options: ReadJsonOptions = {}): unknown {
  const result = parseJson(body, options)
  if ('error' in result) throw result.error
  return result.json
}

/**
 * Reads a body as JSON: in UTF-8 (RFC 8259, 8.1; whatever charset a header claims), with or without a byte order mark. Other
 * bytes are refused, because read as UTF-8 they would be stored as wrong letters. Never throws: what is not JSON yields a `bad_response` that says what was found instead (nothing, HTML, cut short, too deep, another encoding, something else) with a sample of at most 2 KB, from
 * which query values and tokens are removed: error pages like to repeat the URL that was asked for.
 */
export function parseJson(body: Buffer, options: ReadJsonOptions = {}): JsonResult {
  const depthMax = options.depthMax ?? 64
  if (body.length === 0)
    return { error: new AttemptError('bad_response', 'the body is empty, expected JSON') }
  const encoding = otherEncodingOf(body)
  if (encoding !== undefined) return bad(`text in ${encoding}`, body, options)
  const shape = measure(body, depthMax)
  if (shape.tooDeep) {
    return bad(`more than ${depthMax} levels of JSON inside each other`, body, options)
  }
  try {
    const text = body.toString('utf8')
    const bare = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
    return { json: LONG_INTEGER.test(bare) ? JSON.parse(bare, keepLongIntegers) : JSON.parse(bare) }
  } catch {
    return bad(describe(body, shape), body, options)
  }
}

/** What a body is written in when that is not UTF-8, or undefined. JSON begins with two ASCII characters, which UTF-16 shows. */
function otherEncodingOf(body: Buffer): string | undefined {
  const [first, second] = body
  if ((first === 0xff && second === 0xfe) || (first !== 0 && second === 0)) return UTF_16LE
  if ((first === 0xfe && second === 0xff) || (first === 0 && second !== 0)) return UTF_16BE
  return isUtf8(body) ? undefined : 'an encoding that is not UTF-8'
}

const UTF_16LE = 'UTF-16, little-endian'
const UTF_16BE = 'UTF-16, big-endian'

/** Text to show and to look for secrets in: each would be hidden from that behind the zeros of UTF-16. */
function textOf(piece: Buffer): string {
  const encoding = otherEncodingOf(piece)
  if (encoding === UTF_16LE) return piece.toString('utf16le')
  if (encoding === UTF_16BE)
    return Buffer.from(piece.subarray(0, piece.length & ~1))
      .swap16()
      .toString('utf16le')
  return piece.toString('utf8')
}

/** Cheap, and may be wrong only in the harmless direction: a text with such digits is parsed with the slower reviver. */
const LONG_INTEGER = /[:[,]\s*-?\d{16,}/

/** An integer that a double cannot hold stays the text that it was: ids of 19 digits (TikTok's) would end in wrong ones. */
function keepLongIntegers(_key: string, value: unknown, context?: { source?: string }): unknown {
  return longIntegerOf(value, context) ?? value
}

interface Shape {
  readonly tooDeep: boolean
  /** Ends inside a string, an object or a list. */
  readonly unfinished: boolean
}

/**
 * One pass over the bytes: brackets outside of strings. In UTF-8 no byte of a longer character looks like one of these.
 * About 3 ns a byte, less than half of what parsing costs; it ends at the first level too many, so what it protects is never built.
 */
function measure(body: Buffer, depthMax: number): Shape {
  let depth = 0
  let inString = false
  for (let index = 0; index < body.length; index += 1) {
    const byte = body[index]
    if (inString) {
      if (byte === 0x5c) index += 1
      else if (byte === 0x22) inString = false
    } else if (byte === 0x22) inString = true
    else if (byte === 0x7b || byte === 0x5b) {
      depth += 1
      if (depth > depthMax) return { tooDeep: true, unfinished: true }
    } else if (byte === 0x7d || byte === 0x5d) depth -= 1
  }
  return { tooDeep: false, unfinished: inString || depth > 0 }
}

function describe(body: Buffer, shape: Shape): string {
  const start = body.subarray(0, 512).toString('utf8').trimStart()
  if (start === '') return `${body.length} blank bytes`
  if (/^<(!doctype\s+html|html|head|body)/i.test(start)) return 'an HTML page'
  if (start.startsWith('<')) return 'markup'
  if ((start.startsWith('{') || start.startsWith('[')) && shape.unfinished) return 'JSON that is cut short'
  return 'something that is not JSON'
}

function bad(found: string, body: Buffer, options: ReadJsonOptions): JsonResult {
  const sample = sampleOf(body, options.redact)
  return {
    error: new AttemptError(
      'bad_response',
      `found ${found} (${body.length} bytes), expected JSON: ${sample}`,
    ),
  }
}

/** The start of a body in one line, fit for a message: at most 1,500 characters, no control characters, no secrets. */
export function sampleOf(body: Buffer, redact: (text: string) => string = (text) => text): string {
  // Scrub a longer piece than is shown: a secret that straddles the end of the sample would not be recognised. For the same
  // reason the piece's own end is left out, which comes into view where white space before it has collapsed.
  const text = textOf(body.subarray(0, SCRUBBED_BYTES))
  const redacted = scrub(redact(text))
  const isPart = body.length > SCRUBBED_BYTES
  const whole = isPart ? redacted.slice(0, -END_CHARS) : redacted
  const clean = whole.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim()
  let sample = clean.slice(0, SAMPLE_CHARS_MAX)
  // 2 KB is a promise in bytes: other scripts need up to three a character.
  while (Buffer.byteLength(sample) > 2_000) sample = sample.slice(0, Math.floor(sample.length * 0.9))
  return isPart || sample.length < clean.length ? `${sample}…` : sample
}

const QUERY_VALUE = /([?&;](?:amp;)?[\w.~-]{1,64}=)[^&\s"'<>\\]+/g
const BEARER = /\b(bearer|basic)\s+[\w.~+/=-]+/gi
const TOKEN_FIELD = /("[\w-]*(?:token|secret|password|api_?key|authorization)[\w-]*"\s*:\s*")[^"]*/gi

function scrub(text: string): string {
  return text.replaceAll(QUERY_VALUE, '$1…').replaceAll(BEARER, '$1 …').replaceAll(TOKEN_FIELD, '$1…')
}
