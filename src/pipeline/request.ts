import type { FetchRequest } from '../job/fetch.ts'
import type { Authorisation, CallOptions, Endpoint } from '../job/platform.ts'

/**
 * The request of one call. `origin` has no slash at its end. Throws TypeError when a part of the path is given neither by the call
 * nor by the authorisation.
 */
export function requestOf(
  origin: string,
  endpoint: Endpoint,
  options: CallOptions,
  authorisation: Authorisation,
): FetchRequest {
  // Most paths have no parts to fill, and this runs for every call.
  const path = !endpoint.path.includes(':')
    ? endpoint.path
    : endpoint.path.replaceAll(/:([a-z_]+)/g, (_whole, part: string) => {
        const value = options.path?.[part] ?? authorisation.path?.[part]
        if (value === undefined) throw new TypeError(`${endpoint.path}: the call gives no ${part}`)
        return encodeURIComponent(value)
      })
  const url = new URL(origin + path)
  for (const [key, value] of Object.entries({ ...options.query, ...authorisation.query })) {
    if (value !== undefined) url.searchParams.set(key, String(value))
  }
  const headers: Record<string, string> = { accept: 'application/json', ...authorisation.headers }
  const method = endpoint.method ?? 'GET'
  if (options.form !== undefined) {
    headers['content-type'] = 'application/x-www-form-urlencoded'
    return { method, url, headers, body: new URLSearchParams(options.form).toString() }
  }
  if (options.json !== undefined) {
    headers['content-type'] = 'application/json'
    return { method, url, headers, body: JSON.stringify(options.json) }
  }
  return { method, url, headers }
}
