import type { Permit } from './permit.ts'

export interface FetchRequest {
  readonly method: 'GET' | 'POST'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  /** Bytes of the body after decompression; above it the attempt ends with `too_large`. Default: the engine's. */
  readonly bodyBytesMax?: number
}

/** A complete reply: every status is a reply, only the lack of one is an error. */
export interface Reply {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Decompressed, complete, owned by the receiver. */
  readonly body: Buffer
  readonly durationMs: number
}

/** Sends requests to platforms, each under a permit. */
export interface Fetcher {
  /**
   * Spends the permit and resolves with the reply. `onArrived` is called at most once: on response headers, or when
   * the request ended before it was written. After a failure in between (a time-out, an abort, a broken connection) it is not
   * called: the request may still be counted by the upstream, and nobody can tell when.
   * Rejects with AttemptError (`timeout`, `connection`, `too_large`, `address_refused`, `bad_response`), or with the
   * signal's reason when aborted. No redirect is followed: a 3xx is a reply.
   */
  fetch(
    request: FetchRequest,
    permit: Permit,
    options: { signal: AbortSignal; onArrived?: () => void },
  ): Promise<Reply>
  /** How many requests the engine could send to that origin at once now: its free sockets, 0 while its breaker is open. */
  room(origin: string): number
}

/** Downloads user-supplied addresses (pictures), without permits but under the per-host socket limit and the address guard. */
export interface Downloader {
  /**
   * GET with at most 3 redirects, each checked. `validators` become If-None-Match / If-Modified-Since; a 304 is a reply.
   * Rejects with AttemptError as Fetcher does.
   */
  download(
    url: URL,
    options: {
      signal: AbortSignal
      bodyBytesMax: number
      validators?: { etag?: string; lastModified?: string }
    },
  ): Promise<Reply>
}
