import type { ResultMessage } from '../../job/outcome.ts'
import type { OutRecord, Publisher } from '../../job/record.ts'

export interface AnnouncingOptions {
  readonly topic: string
  /** Must not throw: the result has been published already. */
  readonly onResult: (result: ResultMessage) => void
}

/** Tells of results as soon as they are published: how the API hears of them inside the daemon's own process. */
export class AnnouncingPublisher implements Publisher {
  readonly #inner: Publisher
  readonly #options: AnnouncingOptions

  constructor(inner: Publisher, options: AnnouncingOptions) {
    this.#inner = inner
    this.#options = options
  }

  get healthy(): boolean {
    return this.#inner.healthy
  }

  async publish(topic: string, records: readonly OutRecord[], signal: AbortSignal): Promise<void> {
    await this.#inner.publish(topic, records, signal)
    if (topic !== this.#options.topic) return
    for (const { value } of records) {
      if (value !== null) this.#options.onResult(JSON.parse(value.toString()) as ResultMessage)
    }
  }

  start(): Promise<void> {
    return this.#inner.start()
  }

  stop(): Promise<void> {
    return this.#inner.stop()
  }
}
