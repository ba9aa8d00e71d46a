import { promisify } from 'node:util'
import {
  brotliDecompress,
  brotliDecompressSync,
  constants,
  gunzip,
  gunzipSync,
  zstdDecompress,
  zstdDecompressSync,
} from 'node:zlib'

/** What a request says it understands; anything else in a reply is not one. */
export const ACCEPT_ENCODING = 'gzip, br, zstd'

/** A body that could not be decoded. Translated into AttemptError by the engine. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError'
  readonly reason: 'too_large' | 'bad_response'

  constructor(reason: 'too_large' | 'bad_response', message: string) {
    super(message)
    this.reason = reason
  }
}

/**
 * Up to these sizes a body is decoded on the event loop: 1 KB takes about 45 µs of CPU so, and 200 µs by libuv's pool, which
 * may be busy with pictures besides. 1 MiB of output holds the loop 1 to 3 ms; a body that turns out larger starts again in
 * the pool.
 */
const SYNC_WIRE_BYTES_MAX = 64 * 1024
const SYNC_BYTES_MAX = 1024 * 1024

/** More layers than anyone uses; each one would be a chance to multiply. */
const LAYERS_MAX = 2

/**
 * RFC 9659: a decoder of HTTP content needs to support windows of up to 8 MiB. Without the bound a frame of a few bytes
 * makes the decoder allocate 128 MiB.
 */
const ZSTD_OPTIONS = { params: { [constants.ZSTD_d_windowLogMax]: 23 } }

interface Decoder {
  readonly sync: (body: Buffer, bytesMax: number) => Buffer
  readonly pooled: (body: Buffer, bytesMax: number) => Promise<Buffer>
}

const gunzipPooled = promisify(gunzip) as (body: Buffer, options: object) => Promise<Buffer>
const brotliPooled = promisify(brotliDecompress) as (body: Buffer, options: object) => Promise<Buffer>
const zstdPooled = promisify(zstdDecompress) as (body: Buffer, options: object) => Promise<Buffer>

const GZIP: Decoder = {
  sync: (body, maxOutputLength) => gunzipSync(body, { maxOutputLength }),
  pooled: (body, maxOutputLength) => gunzipPooled(body, { maxOutputLength }),
}

const DECODERS: Readonly<Record<string, Decoder>> = {
  gzip: GZIP,
  'x-gzip': GZIP,
  br: {
    sync: (body, maxOutputLength) => brotliDecompressSync(body, { maxOutputLength }),
    pooled: (body, maxOutputLength) => brotliPooled(body, { maxOutputLength }),
  },
  zstd: {
    sync: (body, maxOutputLength) => zstdDecompressSync(body, { ...ZSTD_OPTIONS, maxOutputLength }),
    pooled: (body, maxOutputLength) => zstdPooled(body, { ...ZSTD_OPTIONS, maxOutputLength }),
  },
}

/**
 * Undoes `Content-Encoding`: gzip, br, zstd, up to two layers. Every layer stops as soon as it has produced more than
 * `bytesMax`, so a bomb costs no more than an honest body of that size. Returns the body itself when there is nothing to
 * undo; a promise only for what is worth the pool. Throws, or rejects with, DecodeError.
 */
export function decodeBody(
  body: Buffer,
  contentEncoding: string | string[] | undefined,
  bytesMax: number,
): Buffer | Promise<Buffer> {
  if (contentEncoding === undefined || body.length === 0) return body
  const named = (Array.isArray(contentEncoding) ? contentEncoding.join(',') : contentEncoding).toLowerCase()
  const layers = named
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && name !== 'identity')
  if (layers.length === 0) return body
  if (layers.length > LAYERS_MAX) {
    throw new DecodeError(
      'bad_response',
      `${layers.length} content encodings, expected at most ${LAYERS_MAX}`,
    )
  }
  const decoders = layers.map((name) => {
    const decoder = Object.hasOwn(DECODERS, name) ? DECODERS[name] : undefined
    if (decoder === undefined) {
      throw new DecodeError(
        'bad_response',
        `content encoding ${JSON.stringify(name.slice(0, 40))}, expected ${ACCEPT_ENCODING}`,
      )
    }
    return decoder
  })
  // They are named in the order in which they were applied.
  decoders.reverse()
  const single = decoders.length === 1 ? decoders[0] : undefined
  if (single !== undefined && body.length <= SYNC_WIRE_BYTES_MAX) {
    try {
      return single.sync(body, Math.min(bytesMax, SYNC_BYTES_MAX))
    } catch (error) {
      if (!(isTooLarge(error) && bytesMax > SYNC_BYTES_MAX)) throw translate(error, named, bytesMax)
    }
  }
  return pooled(decoders, body, { named, bytesMax })
}

async function pooled(
  decoders: readonly Decoder[],
  body: Buffer,
  options: { named: string; bytesMax: number },
): Promise<Buffer> {
  let decoded = body
  try {
    for (const decoder of decoders) decoded = await decoder.pooled(decoded, options.bytesMax)
  } catch (error) {
    throw translate(error, options.named, options.bytesMax)
  }
  return decoded
}

function isTooLarge(error: unknown): boolean {
  return codeOf(error) === 'ERR_BUFFER_TOO_LARGE'
}

function translate(error: unknown, named: string, bytesMax: number): DecodeError {
  if (isTooLarge(error)) {
    return new DecodeError('too_large', `the body has more than ${bytesMax} bytes after ${named} decoding`)
  }
  return new DecodeError(
    'bad_response',
    `the body is not ${named}, or was cut short (${codeOf(error) ?? 'no code'})`,
  )
}

function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}
