import { createInterface } from 'node:readline'
import type { Config } from '../config/schema.ts'
import { secretsOf } from '../config/secrets.ts'
import { MillraceError } from '../job/errors.ts'
import { describeIssues, type JobMessage, jobSchema } from '../job/job.ts'
import type { OutRecord } from '../job/record.ts'

import { openPublisher } from '../parts/publisher.ts'
import { topicsOf } from '../parts/topics.ts'
import { jobRecord } from '../pipeline/messages.ts'
import { createLog } from '../telemetry/log.ts'
import { EXIT } from './exit.ts'
import type { Terminal } from './terminal.ts'

export interface EnqueueOptions {
  readonly platform?: string
  readonly creatorId?: string
  readonly jobType?: string
  readonly priority?: number
  /** JSON. */
  readonly params?: string
  readonly topic?: string
}

const BATCH_JOBS = 500

/**
 * `millrace enqueue`: one job from the command line, or NDJSON from standard input. Every line is checked before it is
 * published; wrong ones are named with their line and left out, and the command then fails.
 */
export async function enqueue(config: Config, options: EnqueueOptions, terminal: Terminal): Promise<number> {
  if (config.kafka === undefined) {
    throw new MillraceError(
      'USAGE',
      'enqueue: there is no `kafka` in the configuration; `millrace run --input` takes NDJSON',
      {
        kind: 'usage',
      },
    )
  }
  const topic = options.topic ?? config.kafka.topics[0]?.name ?? 'millrace.jobs'
  const log = createLog({
    level: 'error',
    pretty: terminal.stderr.isTTY === true,
    secrets: secretsOf(config),
  })
  const single = options.platform === undefined ? null : checked(jobOf(options))
  if (single !== null && 'problem' in single)
    throw new MillraceError('USAGE', `enqueue: ${single.problem}`, { kind: 'usage' })
  const publisher = await openPublisher(config, topicsOf(config, []), log)
  await publisher.start()
  let published = 0
  let refused = 0
  try {
    if (single !== null) {
      await publisher.publish(topic, [single.record], terminal.stopping)
      published = 1
    } else {
      let batch: OutRecord[] = []
      const flush = async () => {
        await publisher.publish(topic, batch, terminal.stopping)
        published += batch.length
        batch = []
      }
      let line = 0
      for await (const text of createInterface({
        input: terminal.stdin,
        crlfDelay: Number.POSITIVE_INFINITY,
      })) {
        line++
        if (text.trim() === '') continue
        const one = parsed(text)
        if ('problem' in one) {
          refused++
          terminal.stderr.write(`line ${line}: ${one.problem}\n`)
          continue
        }
        batch.push(one.record)
        if (batch.length >= BATCH_JOBS) await flush()
      }
      if (batch.length > 0) await flush()
    }
  } finally {
    await publisher.stop()
  }
  terminal.stdout.write(`${published} published to ${topic}${refused === 0 ? '' : `, ${refused} refused`}\n`)
  return refused === 0 ? EXIT.done : EXIT.failed
}

type Checked = { readonly record: OutRecord } | { readonly problem: string }

function jobOf({ platform, creatorId, jobType, priority, params }: EnqueueOptions): unknown {
  return {
    platform,
    creator_id: creatorId,
    job_type: jobType,
    ...(priority === undefined ? {} : { priority }),
    ...(params === undefined ? {} : { params: json(params, '--params') }),
  }
}

function json(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new MillraceError('USAGE', `${what}: found ${JSON.stringify(text.slice(0, 80))}, expected JSON`, {
      kind: 'usage',
    })
  }
}

function parsed(text: string): Checked {
  try {
    return checked(JSON.parse(text))
  } catch {
    return { problem: `found ${JSON.stringify(text.slice(0, 80))}, expected JSON` }
  }
}

function checked(job: unknown): Checked {
  const result = jobSchema.safeParse(job)
  return result.success ? { record: jobRecord(job as JobMessage) } : { problem: describeIssues(result.error) }
}
