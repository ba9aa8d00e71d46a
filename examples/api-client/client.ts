import { type Operations, PLACES, type Problem } from './api-types.ts'

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
  async ask<O extends keyof Operations>(operation: O, asked: Asked<O>): Promise<Operations[O]['reply']> {
    const [method, place] = PLACES[operation]
    const path = place.replaceAll(/\{(\w+)\}/g, (_all, name: string) =>
      encodeURIComponent(String((asked.path as Record<string, unknown> | undefined)?.[name])),
    )
    const query = new URLSearchParams(
      Object.entries(asked.query ?? {}).flatMap(([name, value]): [string, string][] =>
        value === undefined ? [] : [[name, String(value)]],
      ),
    )
    const reply = await fetch(`${this.#url}${path}?${query}`, {
      method,
      headers: {
        ...this.#headers,
        ...(asked.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...('idempotencyKey' in asked && asked.idempotencyKey !== undefined
          ? { 'idempotency-key': asked.idempotencyKey }
          : {}),
      },
      ...(asked.body === undefined ? {} : { body: JSON.stringify(asked.body) }),
    })
    const body: unknown = await reply.json()
    if (!reply.ok) throw new ApiError(body as Problem)
    return body as Operations[O]['reply']
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
