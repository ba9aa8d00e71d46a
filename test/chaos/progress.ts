import { highWatermarks } from '../services/kafka-watermarks.ts'

const STEP_MS = 500
/** Steps that a rate is taken over. */
const SPAN_STEPS = 4

interface Sample {
  readonly atMs: number
  readonly results: number
}

/** How many results the group has published, looked at every 500 ms; nothing is seen while the broker is away. */
export class Progress implements Disposable {
  readonly #look: () => Promise<number>
  readonly #samples: Sample[] = []
  readonly #timer: NodeJS.Timeout
  #looking = false
  /** Results that were found to be of a job that had one already. */
  repeated = 0

  constructor(broker: string, topic: string, partitions: number) {
    this.#look = async () =>
      (await highWatermarks(broker, topic, partitions)).reduce((sum, one) => sum + one, 0)
    this.#timer = setInterval(() => void this.#step(), STEP_MS)
  }

  /** Results so far, repeated ones among them. */
  get results(): number {
    return this.#samples.at(-1)?.results ?? 0
  }

  /** Jobs that have a result, more or less: those repeated since somebody last looked count as well. */
  get jobs(): number {
    return this.results - this.repeated
  }

  /** Results a second over the time before `atMs`. */
  rateBefore(atMs: number, spanMs: number): number {
    const last = this.#samples.findLast((sample) => sample.atMs <= atMs)
    const first = this.#samples.findLast((sample) => sample.atMs <= atMs - spanMs) ?? this.#samples[0]
    if (last === undefined || first === undefined || last === first) return 0
    return perSecond(first, last)
  }

  /**
   * How long after `fromMs` the group was at `rate` again and stayed there for `calmMs`: results come in batches of a second,
   * so it is looked at over two, and the time is when the first of those began. Undefined while that is not so.
   */
  settled(rate: number, fromMs: number, calmMs: number): number | undefined {
    const after = this.#samples.filter((sample) => sample.atMs >= fromMs)
    let since: number | undefined
    for (const [i, first] of after.entries()) {
      const last = after[i + SPAN_STEPS]
      if (last === undefined) break
      if (perSecond(first, last) < rate) since = undefined
      else since ??= first.atMs
    }
    if (since === undefined || after.at(-1)!.atMs - since < calmMs) return undefined
    return since - fromMs
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  async #step(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const results = await this.#look()
      this.#samples.push({ atMs: performance.now(), results })
    } catch {
      // Away, frozen, or not there yet.
    } finally {
      this.#looking = false
    }
  }
}

function perSecond(first: Sample, last: Sample): number {
  return ((last.results - first.results) * 1000) / (last.atMs - first.atMs)
}
