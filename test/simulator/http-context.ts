import { AttemptError } from '../../src/job/errors.ts'
import type {
  Authorisation,
  CallContext,
  CallOptions,
  Endpoints,
  JsonReply,
  Platform,
} from '../../src/job/platform.ts'
import { contextAround } from '../platforms/recorded-context.ts'

/** A call context that really calls, without permits or retries: what is between an adapter and a server, and no more. */
export function httpContext<E extends Endpoints>(
  platform: Omit<Platform, 'endpoints' | 'jobs' | 'credentials'> & { readonly endpoints: E },
  options: { readonly origin: string; readonly credentials: unknown },
): CallContext<E> {
  let authorisation: Promise<Authorisation> | undefined
  const get = async (name: string, call: CallOptions = {}): Promise<unknown> => {
    const endpoint = platform.endpoints[name]!
    let added: Authorisation = {}
    if (endpoint.authorised !== false) {
      authorisation ??= Promise.resolve(
        platform.authorise?.(options.credentials, context as unknown as CallContext) ?? {},
      )
      added = await authorisation
    }
    const path = endpoint.path.replaceAll(
      /:(\w+)/g,
      (_, part: string) => call.path?.[part] ?? added.path?.[part] ?? '',
    )
    const url = new URL(options.origin + path)
    for (const [key, value] of Object.entries({ ...call.query, ...added.query })) {
      if (value !== undefined) url.searchParams.set(key, String(value))
    }
    const body = call.form === undefined ? undefined : new URLSearchParams(call.form)
    const response = await fetch(url, {
      method: endpoint.method ?? 'GET',
      headers: { ...added.headers },
      ...(body === undefined ? {} : { body }),
      ...(call.json === undefined ? {} : { body: JSON.stringify(call.json) }),
    })
    const reply: JsonReply = {
      endpoint: name,
      status: response.status,
      headers: Object.fromEntries(response.headers),
      json: await response.json(),
    }
    const throttle = platform.throttled?.(reply)
    if (throttle !== undefined) {
      throw new AttemptError(throttle.reason, throttle.message, {
        retryAfterMs: throttle.retryAfterMs,
        blocks: throttle.scope,
      })
    }
    const refusal = platform.refused?.(reply)
    if (refusal !== undefined) throw new AttemptError(refusal.reason, refusal.message)
    if (!response.ok) throw new AttemptError('upstream_error', `status ${response.status}`)
    return endpoint.response.parse(reply.json)
  }
  const context = contextAround(platform.endpoints, get)
  return context
}
