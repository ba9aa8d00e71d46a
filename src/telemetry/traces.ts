import {
  type Attributes,
  type Context,
  ProxyTracerProvider,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { headerText, type RecordHeaders, type SourceRecord } from '../job/record.ts'
import type { EndStep, StepName, Steps } from '../job/steps.ts'

/** Spans of jobs, for whoever has loaded an SDK of OpenTelemetry ahead of us. */
export class Traces {
  readonly #tracer: Tracer

  constructor(tracer: Tracer) {
    this.#tracer = tracer
  }

  /** Begins the span of a delivery, below whatever its producer was doing when it sent the record. */
  job({ topic, partition, offset, headers }: SourceRecord, attributes: Attributes): JobTrace {
    const producer = propagation.extract(ROOT_CONTEXT, headers, HEADERS)
    const span = this.#tracer.startSpan(
      `job ${attributes['millrace.platform']}`,
      {
        kind: SpanKind.CONSUMER,
        attributes: {
          'messaging.system': 'kafka',
          'messaging.destination.name': topic,
          'messaging.destination.partition.id': String(partition),
          'messaging.kafka.offset': offset,
          ...attributes,
        },
      },
      producer,
    )
    return new JobTrace(this.#tracer, span, trace.setSpan(producer, span))
  }
}

/** One delivery of a job: a span with a child for each step. */
export class JobTrace implements Steps {
  readonly #tracer: Tracer
  readonly #span: Span
  readonly #context: Context
  #ended = false

  constructor(tracer: Tracer, span: Span, context: Context) {
    this.#tracer = tracer
    this.#span = span
    this.#context = context
  }

  /** Headers for what follows from the job, of the kinds that the propagator in use writes; empty when there is none. */
  get headers(): RecordHeaders {
    const carrier: Record<string, string> = {}
    propagation.inject(this.#context, carrier)
    return Object.fromEntries(Object.entries(carrier).map(([name, value]) => [name, Buffer.from(value)]))
  }

  step(name: StepName, attributes: Attributes = {}): EndStep {
    // Not chosen by the sampler.
    if (!this.#span.isRecording()) return nothing
    const kind = name === 'fetch' || name === 'download' ? SpanKind.CLIENT : SpanKind.INTERNAL
    const span = this.#tracer.startSpan(name, { kind, attributes }, this.#context)
    let ended = false
    return (error) => {
      if (ended) return
      ended = true
      // Its name alone: what a message says is for the log, which knows what to hide.
      if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: nameOf(error) })
      span.end()
    }
  }

  /** Only the first end counts. `outcome`: done, skipped, dead, retry, parked, repeated, abandoned. */
  end(outcome: string, attributes: Attributes = {}): void {
    if (this.#ended) return
    this.#ended = true
    this.#span.setAttributes({ 'millrace.outcome': outcome, ...attributes })
    if (outcome === 'dead') this.#span.setStatus({ code: SpanStatusCode.ERROR })
    this.#span.end()
  }
}

/** Undefined when no SDK was loaded: then jobs are not traced at all, instead of by spans that record nothing. */
export function openTraces(version: string): Traces | undefined {
  const provider = trace.getTracerProvider()
  const isNobodys =
    provider instanceof ProxyTracerProvider && provider.getDelegateTracer('millrace') === undefined
  return isNobodys ? undefined : new Traces(provider.getTracer('millrace', version))
}

const nothing: EndStep = () => {}

function nameOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'reason' in error) return String(error.reason)
  return error instanceof Error ? error.name : 'error'
}

const HEADERS: TextMapGetter<RecordHeaders> = {
  keys: (headers) => Object.keys(headers),
  get: headerText,
}
