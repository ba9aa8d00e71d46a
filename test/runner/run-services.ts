import { setTimeout as sleep } from 'node:timers/promises'
import { SERVICE_VARIABLES, type ServiceName } from '../need.ts'
import { type Provided, provide } from '../services/provide.ts'
import type { Standing } from '../services/table.ts'

/** Longer than any start of something that is in the cache, far shorter than a build. */
const PATIENCE_MS = 20_000

/** The services of one run: started side by side, each either there, or missing for a reason, or still being built. */
export class RunServices {
  readonly #names: readonly ServiceName[]
  readonly #settled = new Map<ServiceName, Standing>()
  readonly #provided: Provided[] = []
  #starts: Promise<void>[] = []
  #stopped = false

  constructor(names: readonly ServiceName[]) {
    this.#names = names
  }

  /** Resolves when all are settled, or after a while, when one has to be fetched or built. */
  async start(signal: AbortSignal): Promise<void> {
    this.#starts = this.#names.map((name) => this.#start(name))
    const patience = new AbortController()
    const waited = sleep(PATIENCE_MS, undefined, {
      signal: AbortSignal.any([signal, patience.signal]),
    }).catch(() => {})
    await Promise.race([Promise.all(this.#starts), waited])
    patience.abort()
  }

  /** Resolves with the ones that were not settled when it was called, once they are. */
  async rest(): Promise<Standing[]> {
    const names = this.#names.filter((name) => !this.#settled.has(name))
    await Promise.all(this.#starts)
    return names.map((name) => this.#settled.get(name)!)
  }

  isSettled(name: ServiceName): boolean {
    return this.#settled.has(name) || !this.#names.includes(name)
  }

  get standings(): Standing[] {
    return this.#names.map((name) => this.#settled.get(name) ?? { name, pending: true })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#provided.map((service) => service.stop()))
  }

  async #start(name: ServiceName): Promise<void> {
    try {
      const provided = await provide(name)
      this.#provided.push(provided)
      if (this.#stopped) await provided.stop()
      process.env[SERVICE_VARIABLES[name]] = provided.address
      this.#settled.set(name, { name, provided })
    } catch (error) {
      // An address that nobody answers at must not reach the tests.
      delete process.env[SERVICE_VARIABLES[name]]
      this.#settled.set(name, { name, missing: (error as Error).message })
    }
  }
}
