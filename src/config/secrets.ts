import type { Config } from './schema.ts'

/** Every value of the configuration that must never be seen: passwords, keys, tokens, and the user info of addresses. */
export function secretsOf(config: Config): string[] {
  const { kafka, redis, clickhouse, store, platforms, admin, api } = config
  const addresses = [redis?.url, ...(redis?.cluster ?? []), clickhouse?.url]
  const secrets = [
    ...[kafka?.sasl?.password, redis?.password, clickhouse?.password],
    ...[admin.token, api.auth.jwt?.secret, api.cursor_secret],
  ]
  if (store?.kind === 's3') secrets.push(store.secret_access_key, store.access_key_id)
  for (const { origin, credentials } of Object.values(platforms)) {
    addresses.push(origin)
    secrets.push(...textsIn(credentials))
  }
  secrets.push(...addresses.flatMap(userInfoOf))
  return secrets.filter((secret): secret is string => secret !== undefined && secret !== '')
}

/** Every text, however the credentials are arranged. */
function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : []
}

/** The password as it is and as the address writes it; without one, what stands in its place may be a token. */
function userInfoOf(address: string | undefined): string[] {
  const url = address === undefined ? null : URL.parse(address)
  if (url === null) return []
  const written = url.password === '' ? url.username : url.password
  return [written, decoded(written)]
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
