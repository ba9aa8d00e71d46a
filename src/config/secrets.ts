import type { Config } from './schema.ts'

/** Every value of the configuration that must never be seen: passwords, keys, tokens, and the user info of addresses. */
export function secretsOf(config: Config): string[] {
  const secrets: (string | undefined)[] = [
    config.kafka?.sasl?.password,
    config.redis?.password,
    config.clickhouse?.password,
    ...[config.redis?.url, config.clickhouse?.url].map(passwordIn),
  ]
  if (config.store?.kind === 's3') secrets.push(config.store.secret_access_key)
  for (const platform of Object.values(config.platforms))
    for (const given of Object.values(platform.credentials ?? {}))
      secrets.push(...(typeof given === 'string' ? [given] : Object.values(given)))
  return secrets.filter((secret): secret is string => secret !== undefined && secret !== '')
}

function passwordIn(url: string | undefined): string | undefined {
  if (url === undefined || !URL.canParse(url)) return undefined
  return decodeURIComponent(new URL(url).password)
}
