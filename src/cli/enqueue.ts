import { createInterface } from 'node:readline'
import type { Config } from '../config/schema.ts'
import { MillraceError } from '../job/errors.ts'
import { describeIssues, type JobMessage, jobSchema } from '../job/job.ts'
import type { OutRecord } from '../job/record.ts'

import { openPublisher } from '../parts/publisher.ts'
import { jobTopicOf, topicsOf } from '../parts/topics.ts'
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
  const topics = topicsOf(config, [])
  const topicOf = ({ platform }: JobMessage) => options.topic ?? jobTopicOf(topics, platform)
  const log = createLog({
    level: 'error',
    pretty: terminal.stderr.isTTY === true,
    secrets: terminal.secrets,
  })
  const single = options.platform === undefined ? null : checked(jobOf(options))
  if (single !== null && 'problem' in single)
    throw new MillraceError('USAGE', `enqueue: ${single.problem}`, { kind: 'usage' })
  const publisher = await openPublisher(config, topics, log)
  await publisher.start()
  const published = new Map<string, number>()
  let refused = 0
  try {
    let batch: { readonly topic: string; readonly record: OutRecord }[] = []
    const flush = async () => {
      for (const [topic, entries = []] of Object.entries(Object.groupBy(batch, (entry) => entry.topic))) {
        const records = entries.map(({ record }) => record)
        await publisher.publish(topic, records, terminal.stopping)
        published.set(topic, (published.get(topic) ?? 0) + records.length)
      }
      batch = []
    }
    if (single !== null) batch.push({ topic: topicOf(single.job), record: single.record })
    else {
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
        batch.push({ topic: topicOf(one.job), record: one.record })
        if (batch.length >= BATCH_JOBS) await flush()
      }
    }
    await flush()
  } finally {
    await publisher.stop()
  }
  const told = [...published].map(([topic, count]) => `${count} published to ${topic}`)
  const counts = told.length === 0 ? ['0 published'] : told
  terminal.stdout.write(`${[...counts, ...(refused === 0 ? [] : [`${refused} refused`])].join(', ')}\n`)
  return refused === 0 ? EXIT.done : EXIT.failed
}

type Checked = { readonly job: JobMessage; readonly record: OutRecord } | { readonly problem: string }

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
  if (!result.success) return { problem: describeIssues(result.error) }
  return { job: job as JobMessage, record: jobRecord(job as JobMessage) }
}
