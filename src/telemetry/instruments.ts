import type { Registry } from 'prom-client'
import { type Labels, Series } from './series.ts'

export interface InstrumentOptions<Name extends string> {
  readonly name: string
  readonly help: string
  readonly labels: readonly Name[]
}

/** A line of what is read: a value under its labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
  /** Where the line is not named like its instrument. */
  readonly metricName?: string
}

/** What prom-client's registry asks of an instrument. */
export interface Reading {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly aggregator: 'sum'
  readonly values: Sample[]
}

/** Stands in a registry, which writes it out. Those without labels are called without them. */
export abstract class Instrument<Name extends string> {
  abstract readonly type: Reading['type']
  readonly name: string
  readonly help: string

  constructor({ name, help }: InstrumentOptions<Name>, registry: Registry) {
    this.name = name
    this.help = help
    // Its type admits the library's own classes only; what it needs of them is what stands here.
    registry.registerMetric(this as never)
  }

  async get(): Promise<Reading> {
    const { name, help, type } = this
    return { name, help, type, aggregator: 'sum', values: this.samples() }
  }

  protected abstract samples(): Sample[]

  /** What a scrape shows of it: first what it is, then the lines of one combination of labels after the other. */
  *blocks(): Generator<string> {
    const { name, help, type } = this
    yield `# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n`
    yield* this.lines()
  }

  protected abstract lines(): Generator<string>
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

/** Name and labels of a line, up to its value. */
function lineOf(name: string, labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(
    ([label, value]) => `${label}="${escaped(value).replaceAll('"', '\\"')}"`,
  )
  return pairs.length === 0 ? `${name} ` : `${name}{${pairs.join(',')}} `
}

function numberOf(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value)
}

/** A counter or a gauge. */
abstract class Single<Name extends string> extends Instrument<Name> {
  // The line of each is made once: of thousands, making them anew took most of a scrape.
  protected readonly series: Series<Name, { value: number; line?: string }>

  constructor(options: InstrumentOptions<Name>, registry: Registry) {
    super(options, registry)
    this.series = new Series(options.labels, () => ({ value: 0 }))
  }

  protected samples(): Sample[] {
    return this.series.entries().map(({ labels, state: { value } }) => ({ labels, value }))
  }

  protected override *lines(): Generator<string> {
    for (const { labels, state } of this.series.entries()) {
      state.line ??= lineOf(this.name, labels)
      yield `${state.line}${numberOf(state.value)}\n`
    }
  }
}

export class Counter<Name extends string> extends Single<Name> {
  readonly type = 'counter'

  /** `by`: default 1; RangeError when it is less than 0. */
  inc(labels: Labels<Name>, by?: number): void
  inc(by?: number): void
  inc(first?: Labels<Name> | number, second = 1): void {
    const by = typeof first === 'number' ? first : second
    if (!(by >= 0)) throw new RangeError(`${this.name}: found ${by}, expected 0 or more`)
    this.series.of(typeof first === 'number' ? undefined : first).value += by
  }
}

export class Gauge<Name extends string> extends Single<Name> {
  readonly type = 'gauge'

  set(labels: Labels<Name>, value: number): void
  set(value: number): void
  set(first: Labels<Name> | number, second = 0): void {
    if (typeof first === 'number') this.series.of().value = first
    else this.series.of(first).value = second
  }

  inc(labels: Labels<Name>, by = 1): void {
    this.series.of(labels).value += by
  }

  dec(labels: Labels<Name>, by = 1): void {
    this.series.of(labels).value -= by
  }

  remove(labels: Labels<Name>): void {
    this.series.remove(labels)
  }
}

interface HistogramState {
  readonly counts: number[]
  count: number
  sum: number
  /** Of the buckets, the sum and the count, each up to its value. */
  lines?: string[]
}

export class Histogram<Name extends string> extends Instrument<Name> {
  readonly type = 'histogram'
  /** Upper bounds, ascending. */
  readonly #buckets: readonly number[]
  readonly #series: Series<Name, HistogramState>

  constructor(options: InstrumentOptions<Name> & { buckets: readonly number[] }, registry: Registry) {
    super(options, registry)
    const { labels, buckets } = options
    this.#buckets = buckets
    this.#series = new Series(
      labels,
      (): HistogramState => ({ counts: buckets.map(() => 0), count: 0, sum: 0 }),
    )
  }

  /** RangeError for what is no finite number. */
  observe(labels: Labels<Name> | undefined, value: number): void {
    if (!Number.isFinite(value)) throw new RangeError(`${this.name}: found ${value}, expected a number`)
    const state = this.#series.of(labels)
    state.count += 1
    state.sum += value
    const bucket = this.#buckets.findIndex((bound) => value <= bound)
    if (bucket >= 0) state.counts[bucket]! += 1
  }

  protected override *lines(): Generator<string> {
    for (const { labels, state } of this.#series.entries()) {
      state.lines ??= this.#linesOf(labels)
      let text = ''
      let below = 0
      for (const [index, inBucket] of state.counts.entries()) {
        below += inBucket
        text += `${state.lines[index]}${below}\n`
      }
      const [all, sum, count] = state.lines.slice(-3)
      yield `${text}${all}${state.count}\n${sum}${numberOf(state.sum)}\n${count}${state.count}\n`
    }
  }

  #linesOf(labels: Labels<Name>): string[] {
    const { name } = this
    const bounds = [...this.#buckets.map(String), '+Inf']
    return [
      ...bounds.map((le) => lineOf(`${name}_bucket`, { le, ...labels })),
      lineOf(`${name}_sum`, labels),
      lineOf(`${name}_count`, labels),
    ]
  }

  /** Starts a clock; call what it returns to observe how many seconds have passed. */
  startTimer(labels?: Labels<Name>): () => void {
    const startedMs = performance.now()
    return () => this.observe(labels, (performance.now() - startedMs) / 1000)
  }

  protected samples(): Sample[] {
    return this.#series.entries().flatMap(({ labels, state: { counts, count, sum } }) => {
      let below = 0
      const buckets = counts.map((inBucket, index) => {
        below += inBucket
        return { labels: { le: this.#buckets[index]!, ...labels }, value: below }
      })
      const all = { labels: { le: '+Inf', ...labels }, value: count }
      return [
        ...[...buckets, all].map((sample) => ({ ...sample, metricName: `${this.name}_bucket` })),
        { labels, value: sum, metricName: `${this.name}_sum` },
        { labels, value: count, metricName: `${this.name}_count` },
      ]
    })
  }
}
