import type { SimulatorCredentials } from './options.ts'

/**
 * Who may call: as many accounts of each platform as there are, numbered from 1. The first has the credentials that the options
 * say; the n-th has them with `-n` behind each text, and an `ig_user_id` that is n − 1 higher.
 */
export class Accounts {
  readonly #ofKey = new Map<string, number>()
  readonly #ofToken = new Map<string, number>()
  readonly #ofClient = new Map<string, { readonly account: number; readonly secret: string }>()
  readonly #userIds = new Set<string>()
  /** The first account's id, under which usage is told. */
  readonly firstInstagramUser: string

  constructor(first: SimulatorCredentials, count: number) {
    this.firstInstagramUser = first.instagram.ig_user_id
    for (let account = 1; account <= count; account += 1) {
      const { youtube, instagram, tiktok } = credentialsOf(first, account)
      this.#ofKey.set(youtube.key, account)
      this.#ofToken.set(instagram.access_token, account)
      this.#userIds.add(instagram.ig_user_id)
      this.#ofClient.set(tiktok.client_key, { account, secret: tiktok.client_secret })
    }
  }

  /** Undefined for a key that is none. */
  ofYoutubeKey(key: string): number | undefined {
    return this.#ofKey.get(key)
  }

  ofInstagramToken(token: string): number | undefined {
    return this.#ofToken.get(token)
  }

  /** Whether it is one of the accounts' own ids, which business discovery is asked by. */
  isInstagramUser(id: string): boolean {
    return this.#userIds.has(id)
  }

  ofTiktokClient(key: string | null, secret: string | null): number | undefined {
    const client = this.#ofClient.get(key ?? '')
    return client?.secret === secret ? client?.account : undefined
  }
}

/** The credentials of one account, in the shape of `platforms.<name>.credentials`. */
export function credentialsOf(first: SimulatorCredentials, account: number): SimulatorCredentials {
  if (account === 1) return first
  const suffix = `-${account}`
  return {
    youtube: { key: first.youtube.key + suffix },
    instagram: {
      access_token: first.instagram.access_token + suffix,
      ig_user_id: String(BigInt(first.instagram.ig_user_id) + BigInt(account - 1)),
    },
    tiktok: {
      client_key: first.tiktok.client_key + suffix,
      client_secret: first.tiktok.client_secret + suffix,
    },
  }
}
