/** How a service or a tool came to be here, in the order in which it is looked for. */
export type How = 'environment' | 'docker' | 'installed' | 'cache' | 'fetched'

/** What a `find…` function found: enough to start it, and what the table of a run says about it. */
export interface Found {
  readonly how: How
  /** As the thing itself says it, or `?` when it cannot be asked. */
  readonly version: string
  /** An address when `how` is `environment`, an image when it is `docker`, else a path on this machine. */
  readonly at: string
}

/** A service that this machine does not have and cannot fetch. The message says what was looked for and what to do. */
export class ServiceMissing extends Error {
  override readonly name = 'ServiceMissing'
  readonly service: string

  constructor(service: string, message: string, options: { cause?: unknown } = {}) {
    super(`${service}: ${message}`, options.cause === undefined ? {} : { cause: options.cause })
    this.service = service
  }
}
