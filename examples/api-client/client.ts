import { type Event, type Operations, PLACES, type Problem } from './api-types.ts'

/** Operations whose answer is one piece of JSON; the two others are `export` and `events`. */
type Plain = Exclude<keyof Operations, 'export' | 'listen'>

/** What an operation takes: only what it has. */
type Asked<O extends keyof Operations> = (Record<string, never> extends Operations[O]['path']
  ? { path?: never }
  : { path: Operations[O]['path'] }) & {
  query?: Operations[O]['query']
} & (Operations[O]['body'] extends undefined
    ? { body?: never }
    : { body: Operations[O]['body']; idempotencyKey?: string })

/** A problem that the API answered with; branch on `problem.code`. */
export class ApiError extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(`${problem.code}: ${problem.detail}`)
    this.problem = problem
  }
}

/** Before the stream is asked for again when it was cut off. */
const AGAIN_MS = 1_000

/** A client of the analytics API whose types are generated from its OpenAPI document. */
export class MillraceClient {
  readonly #url: string
  readonly #headers: Readonly<Record<string, string>>

  /** `url` without a slash at the end; `proof` an API key or a token, or nothing for an API on loopback. */
  constructor(url: string, proof: { readonly key?: string; readonly token?: string } = {}) {
    this.#url = url
    this.#headers = {
      ...(proof.key === undefined ? {} : { 'x-api-key': proof.key }),
      ...(proof.token === undefined ? {} : { authorization: `Bearer ${proof.token}` }),
    }
  }

  /** Rejects with ApiError. */
  async ask<O extends Plain>(operation: O, asked: Asked<O>): Promise<Operations[O]['reply']> {
    const [method, place] = PLACES[operation]
    const path = place.replaceAll(/\{(\w+)\}/g, (_all, name: string) =>
      encodeURIComponent(String((asked.path as Record<string, unknown> | undefined)?.[name])),
    )
    const reply = await this.#fetch(path, asked.query ?? {}, {
      method,
      headers: {
        ...(asked.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...('idempotencyKey' in asked && asked.idempotencyKey !== undefined
          ? { 'idempotency-key': asked.idempotencyKey }
          : {}),
      },
      ...(asked.body === undefined ? {} : { body: JSON.stringify(asked.body) }),
    })
    return (await reply.json()) as Operations[O]['reply']
  }

  /** Every creator of a list, page after page. */
  async *creators(query: Omit<Operations['listCreators']['query'], 'cursor'> = {}) {
    let cursor: string | null = null
    do {
      const page: Operations['listCreators']['reply'] = await this.ask('listCreators', {
        query: { ...query, ...(cursor === null ? {} : { cursor }) },
      })
      yield* page.items
      cursor = page.next_cursor
    } while (cursor !== null)
  }

  /** A dataset's bytes as they come. Reading them rejects when the export breaks off: what came until then is not whole. */
  async export(
    query: Operations['export']['query'],
    signal?: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const reply = await this.#fetch(PLACES.export[1], query, signal === undefined ? {} : { signal })
    return reply.body!
  }

  /**
   * What is new, as it comes, until `signal` is aborted. A connection that is lost is made anew, and brings what was missed; `null`
   * stands where more was missed than the API keeps.
   */
  async *events(query: Operations['listen']['query'], signal: AbortSignal): AsyncGenerator<Event | null> {
    let last = query.last_event_id
    while (!signal.aborted) {
      try {
        const asked = { ...query, ...(last === undefined ? {} : { last_event_id: last }) }
        const reply = await this.#fetch(PLACES.listen[1], asked, { signal })
        for await (const { id, data } of blocksOf(reply.body!)) {
          if (id !== undefined) last = id
          if (data !== undefined) yield data.kind === 'gap' ? null : data
        }
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof ApiError) throw error
      }
      if (!signal.aborted) await new Promise((done) => setTimeout(done, AGAIN_MS))
    }
  }

  async #fetch(path: string, query: object, init: RequestInit): Promise<Response> {
    const given = Object.entries(query).flatMap(([name, value]: [string, unknown]): [string, string][] =>
      value === undefined ? [] : [[name, String(value)]],
    )
    const headers = { ...this.#headers, ...(init.headers as Record<string, string> | undefined) }
    const reply = await fetch(`${this.#url}${path}?${new URLSearchParams(given)}`, { ...init, headers })
    if (!reply.ok) throw new ApiError((await reply.json()) as Problem)
    return reply
  }
}

/** The blocks of server-sent events that say something. */
async function* blocksOf(body: AsyncIterable<Uint8Array>) {
  const decoder = new TextDecoder()
  let text = ''
  for await (const bytes of body) {
    const blocks = (text + decoder.decode(bytes, { stream: true })).split('\n\n')
    text = blocks.pop() ?? ''
    for (const block of blocks) {
      const data = /^data: (.+)$/m.exec(block)?.[1]
      yield {
        id: /^id: (.+)$/m.exec(block)?.[1],
        data: data === undefined ? undefined : (JSON.parse(data) as Event | { kind: 'gap' }),
      }
    }
  }
}

// node examples/api-client/client.ts http://127.0.0.1:9480 [key]
if (import.meta.main) {
  const [url = 'http://127.0.0.1:9480', key] = process.argv.slice(2)
  const client = new MillraceClient(url, key === undefined ? {} : { key })
  const board = await client.ask('getDashboard', {})
  for (const { platform, creators, followers } of board.platforms)
    console.log(`${platform}: ${creators} creators with ${followers} followers`)
  let shown = 0
  for await (const creator of client.creators({ sort: '-followers', limit: 5 })) {
    console.log(`  ${creator.platform} ${creator.creator_id} ${creator.followers}`)
    if (++shown === 10) break
  }
}
