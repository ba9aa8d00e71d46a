import assert from 'node:assert/strict'
import type { z } from 'zod'
import { AttemptError } from '../../src/job/errors.ts'
import type {
  CallContext,
  CallOptions,
  Endpoints,
  JsonReply,
  Platform,
  TypedJob,
} from '../../src/job/platform.ts'
import { itemsOf, withIds } from '../../src/pipeline/batches.ts'

/** A call that an adapter made. */
export interface RecordedCall extends CallOptions {
  readonly endpoint: string
}

/** What a platform answers to one call: a body, a body with headers, or an error as the engine would throw it. */
export type Recorded = object | AttemptError | WithHeaders

/** A recorded reply whose headers matter, such as one page of several that `Link` connects. */
export class WithHeaders {
  readonly body: object
  readonly headers: JsonReply['headers']

  constructor(body: object, headers: JsonReply['headers']) {
    this.body = body
    this.headers = headers
  }
}

/**
 * A call context that answers from recorded replies, in order for each endpoint, through the endpoints' own schemas. `calls`
 * holds what was asked. A call without a recording left fails the test.
 */
export function recordedContext<E extends Endpoints>(
  platform: { readonly endpoints: E },
  replies: Readonly<Record<string, readonly Recorded[]>>,
): { context: CallContext<E>; calls: RecordedCall[] } {
  const calls: RecordedCall[] = []
  const left = new Map(Object.entries(replies).map(([name, list]) => [name, [...list]]))
  let headers: JsonReply['headers'] = {}
  const get = async (endpoint: string, options: CallOptions = {}): Promise<unknown> => {
    calls.push({ endpoint, ...options })
    const reply = left.get(endpoint)?.shift()
    assert.ok(reply !== undefined, `no recorded reply is left for ${endpoint}`)
    if (reply instanceof AttemptError) throw reply
    headers = reply instanceof WithHeaders ? reply.headers : {}
    return platform.endpoints[endpoint]!.response.parse(reply instanceof WithHeaders ? reply.body : reply)
  }
  return { context: contextAround(platform.endpoints, get, () => headers), calls }
}

/** The port around one way to call an endpoint; what is batched goes in one call. `headersOf` gives the headers of the newest reply, for those who page by them. */
export function contextAround<E extends Endpoints>(
  endpoints: E,
  get: (endpoint: string, options?: CallOptions) => Promise<unknown>,
  headersOf: () => JsonReply['headers'] = () => ({}),
): CallContext<E> {
  const context: CallContext = {
    get: get as CallContext['get'],
    getMany: (async (endpoint: string, ids: readonly string[], options: CallOptions = {}) => {
      const batch = endpoints[endpoint]?.batch
      assert.ok(batch !== undefined, `${endpoint} has no batch`)
      const found = itemsOf(await get(endpoint, withIds(options, ids, batch)), batch)
      const inOrder: ReadonlyMap<string, unknown> = new Map(
        ids.flatMap((id) => (found.has(id) ? [[id, found.get(id)]] : [])),
      )
      return inOrder
    }) as CallContext['getMany'],
    async *paginate(endpoint, options, next, limits) {
      let turn: CallOptions | undefined = options
      for (let page = 0; turn !== undefined && page < (limits?.pagesMax ?? 50); page += 1) {
        const reply = (await get(endpoint, turn)) as Parameters<typeof next>[0]
        const headers = headersOf()
        yield reply
        const following = next(reply, headers)
        turn = JSON.stringify(following) === JSON.stringify(turn) ? undefined : following
      }
    },
    signal: new AbortController().signal,
    now: Date.now,
  }
  return context as unknown as CallContext<E>
}

/** A job with `params` as its type's schema completes them. */
export function jobOf<P extends z.ZodType>(
  type: { readonly params: P },
  creatorId: string,
  params: z.input<P>,
  requestedAt = '2026-11-20T12:00:00Z',
): TypedJob<z.output<P>> {
  const requestedAtMs = Date.parse(requestedAt)
  return {
    id: 'job-1',
    platform: 'p',
    creatorId,
    type: 't',
    priority: 5,
    requestedAtMs,
    expiresAtMs: requestedAtMs + 86_400_000,
    params: type.params.parse(params),
    extra: {},
    attempts: 0,
    throttled: 0,
    parkedAtMs: undefined,
    watched: false,
    replayOf: '',
    traceparent: undefined,
  }
}

export function jsonReply(
  endpoint: string,
  status: number,
  json: unknown,
  headers: Record<string, string> = {},
): JsonReply {
  return { endpoint, status, headers, json }
}

/** The reason that a platform reads from a reply, as the pipeline asks: throttle first. */
export function reasonOf(platform: Platform, reply: JsonReply): string | undefined {
  return platform.throttled?.(reply)?.reason ?? platform.refused?.(reply)?.reason
}
