import { AttemptError, messageOf } from '../job/errors.ts'
import type { Downloader, Reply } from '../job/fetch.ts'
import { REASONS } from '../job/reason.ts'
import { sleep } from '../lib/abort.ts'

export interface Validators {
  readonly etag?: string
  readonly lastModified?: string
}

export type Source =
  | { readonly status: 'bytes'; readonly body: Buffer; readonly validators: Validators | undefined }
  /** The server says that the picture is what `validators` described. */
  | { readonly status: 'unchanged' }
  | { readonly status: 'rejected'; readonly why: string }

export interface SourceOptions {
  readonly bytesMax: number
  /** Tries of one picture, for failures that may pass. */
  readonly attemptsMax: number
  /** Before the second try; doubles with each. */
  readonly backoffMs: number
}

const BACKOFF_MS_MAX = 10_000
const ADDRESS_LENGTH_MAX = 4096
/** An ETag or date beyond this is not worth remembering. */
const VALIDATOR_LENGTH_MAX = 256

/** The address of a picture, or why it is none. */
export function addressOf(text: string): URL | { readonly why: string } {
  if (text.length > ADDRESS_LENGTH_MAX)
    return { why: `the address has ${text.length} characters; expected at most ${ADDRESS_LENGTH_MAX}` }
  const url = URL.parse(text)
  if (url === null) return { why: 'the address is not a URL' }
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    return { why: `the address begins with ${url.protocol}; expected https:` }
  return url
}

/**
 * Downloads a picture's bytes. What may pass by itself (time-outs, broken connections, 5xx, 429) is tried again, with back-off or
 * after what the server asked for; the rest, and the last try's failure, is a rejection. Rejects only when aborted.
 */
export async function downloaded(
  downloader: Downloader,
  url: URL,
  options: SourceOptions & { readonly validators: Validators | undefined; readonly signal: AbortSignal },
): Promise<Source> {
  const { signal, bytesMax, attemptsMax, validators } = options
  for (let attempt = 1; ; attempt++) {
    let failure: { why: string; retryAfterMs: number | undefined }
    try {
      const reply = await downloader.download(url, {
        signal,
        bodyBytesMax: bytesMax,
        ...(validators === undefined ? {} : { validators }),
      })
      const judged = judge(reply, validators, bytesMax)
      if (!('again' in judged)) return judged
      failure = { why: judged.again, retryAfterMs: retryAfterOf(reply) }
    } catch (error) {
      if (signal.aborted) throw signal.reason
      const why = `could not be downloaded: ${messageOf(error, 200)}`
      if (!(error instanceof AttemptError) || REASONS[error.reason].kind === 'content')
        return { status: 'rejected', why }
      failure = { why, retryAfterMs: error.retryAfterMs }
    }
    if (attempt >= attemptsMax) return { status: 'rejected', why: `${failure.why} (${attempt} tries)` }
    const backoffMs = options.backoffMs * 2 ** (attempt - 1) * (0.5 + Math.random() / 2)
    await sleep(Math.min(BACKOFF_MS_MAX, failure.retryAfterMs ?? backoffMs), signal)
  }
}

function judge(
  reply: Reply,
  validators: Validators | undefined,
  bytesMax: number,
): Source | { readonly again: string } {
  const { status, body } = reply
  if (status === 304 && validators !== undefined) return { status: 'unchanged' }
  if (status === 200) {
    if (body.length === 0) return { status: 'rejected', why: 'the server sent an empty body' }
    // The downloader's own bound; said here as well, because nothing larger may reach the codec.
    if (body.length > bytesMax)
      return { status: 'rejected', why: `has ${body.length} bytes; expected at most ${bytesMax}` }
    return { status: 'bytes', body, validators: validatorsOf(reply) }
  }
  const why = `the server answered ${status}`
  return status === 429 || status === 408 || status >= 500 ? { again: why } : { status: 'rejected', why }
}

function validatorsOf({ headers }: Reply): Validators | undefined {
  const etag = remembered(headers.etag)
  const lastModified = remembered(headers['last-modified'])
  if (etag === undefined && lastModified === undefined) return undefined
  return { ...(etag === undefined ? {} : { etag }), ...(lastModified === undefined ? {} : { lastModified }) }
}

function remembered(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' && value.length > 0 && value.length <= VALIDATOR_LENGTH_MAX
    ? value
    : undefined
}

/** Seconds or a date, as milliseconds from now. */
function retryAfterOf({ headers }: Reply): number | undefined {
  const value = headers['retry-after']
  if (typeof value !== 'string') return undefined
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.max(0, ms)
}
