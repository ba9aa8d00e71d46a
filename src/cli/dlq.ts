import { z } from 'zod'
import type { Config } from '../config/schema.ts'
import { parseDuration } from '../config/values.ts'
import type { DeadLetters } from '../dead-letters/dead-letters.ts'
import { groupLetters } from '../dead-letters/groups.ts'
import { idText, type LetterId, parseId } from '../dead-letters/letter.ts'
import { type Replay, replay } from '../dead-letters/replay.ts'
import { type LeftOut, planReplay, type ReplayPlan } from '../dead-letters/replay-plan.ts'
import type { Selection } from '../dead-letters/selection.ts'
import { MillraceError } from '../job/errors.ts'
import { isReason, REASONS } from '../job/reason.ts'
import type { Publisher, SourceRecord } from '../job/record.ts'
import { openDeadLetters } from '../parts/dead-letters.ts'
import { openPublisher } from '../parts/publisher.ts'
import { type Topics, topicsOf } from '../parts/topics.ts'
import { createLog, type Log } from '../telemetry/log.ts'
import {
  groupReport,
  groupTable,
  leftOutText,
  letterReport,
  letters,
  letterText,
  sentText,
} from './dlq-text.ts'
import { EXIT } from './exit.ts'
import { printable } from './printable.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'

/** What narrows a selection, as it was typed. */
export interface DlqFilter {
  readonly reason?: readonly string[]
  readonly platform?: string
  /** A duration (that long ago), or RFC 3339. */
  readonly since?: string
}

export interface DlqReplayOptions extends DlqFilter {
  readonly id?: readonly string[]
  readonly dryRun: boolean
  /** `50/s` */
  readonly rate?: string
}

/** `millrace dlq list`: dead letters by platform and reason, the largest group first. */
export async function dlqList(
  config: Config,
  options: DlqFilter & { readonly json: boolean },
  terminal: Terminal,
): Promise<number> {
  const selection = selectionOf(options)
  const { stdout } = terminal
  return await withLetters(config, terminal, async ({ dead, stopping }) => {
    const groups = await groupLetters(dead, selection, stopping)
    if (options.json) for (const group of groups) stdout.write(`${JSON.stringify(groupReport(group))}\n`)
    else if (groups.length === 0) stdout.write(`${noneText(dead, selection)}\n`)
    else {
      const columns = stdout.isTTY === true ? stdout.columns : undefined
      stdout.write(`${groupTable(groups, { columns, nowMs: Date.now() })}\n`)
    }
    return EXIT.done
  })
}

/** `millrace dlq show`: one dead letter whole: its headers, its key, its value decoded. Exit code 1 when there is none with the id. */
export async function dlqShow(
  config: Config,
  options: { readonly id: string; readonly json: boolean },
  terminal: Terminal,
): Promise<number> {
  const id = idOf(options.id)
  return await withLetters(config, terminal, async ({ dead, stopping }) => {
    let found: SourceRecord | undefined
    const take = (record: SourceRecord) => {
      found = record
    }
    await dead.pick([id], take, stopping)
    if (found === undefined) throw unknownLetters(dead, [id])
    const text = options.json ? JSON.stringify(letterReport(found)) : letterText(found)
    terminal.stdout.write(`${text}\n`)
    return EXIT.done
  })
}

/**
 * `millrace dlq replay`: sends the originals back, once each: what was sent is remembered. With Kafka they go to the topics they
 * came from. Without, they are appended to `<data>/<follow-ups>.ndjson`, beside the jobs that follow from others: every `run` on
 * that folder reads it as a growing input, so they are done by the one that runs, or by the next. Told to stop, it finishes and
 * remembers the batch that is under way. Exit code 1 when not all that it should send was sent.
 */
export async function dlqReplay(
  config: Config,
  options: DlqReplayOptions,
  terminal: Terminal,
): Promise<number> {
  const ids = options.id?.map(idOf)
  if ((options.reason === undefined) === (ids === undefined)) {
    throw usage(
      'replay: expected which letters: --reason with one or more reasons, or --id with one or more ids',
    )
  }
  const selection = { ...selectionOf(options), ...(ids === undefined ? {} : { ids }) }
  const perSecond = options.rate === undefined ? undefined : rateOf(options.rate)
  if (options.dryRun)
    return await withLetters(config, terminal, (parts) => dryRun(parts, selection, terminal))

  return await withLetters(config, terminal, async (parts) => {
    const publisher = await openPublisher(config, parts.topics, logOf(terminal))
    await publisher.start()
    try {
      return await sendBack({ ...parts, publisher, perSecond }, selection, terminal)
    } finally {
      await publisher.stop()
    }
  })
}

interface Parts {
  readonly dead: DeadLetters
  readonly topics: Topics
  readonly isKafka: boolean
  readonly stopping: AbortSignal
}

async function sendBack(
  parts: Parts & { readonly publisher: Publisher; readonly perSecond: number | undefined },
  selection: Selection,
  { stdout }: Terminal,
): Promise<number> {
  const { dead, publisher, topics, isKafka, perSecond, stopping } = parts
  const plan = await planOf(parts, selection)
  if (plan.size === 0 && plan.leftOut.size === 0) {
    stdout.write(`${noneText(dead, selection)}\n`)
    return EXIT.done
  }
  const planned = plan.size
  const progress: Replay = { sent: new Map(), refused: 0, uncertain: 0 }
  const destinationOf = (topic: string) => (isKafka ? topic : topics.followUps)
  const options = { marksTopic: topics.replayed, destinationOf, perSecond }
  const tell = (isAll: boolean) => {
    const { sent, refused, uncertain } = progress
    const leftOut = new Map<LeftOut, number>([...plan.leftOut, ['refused', refused]])
    const missing = planned - total(sent) - refused
    const rest = [
      sentText(sent, 'sent back'),
      leftOutText(leftOut),
      isAll || missing === 0 ? '' : `${letters(missing)} not sent yet: the same command goes on`,
      uncertain === 0 ? '' : `of them ${letters(uncertain)} may have been sent, and would be sent again`,
    ].filter((text) => text !== '')
    return rest.join(', ')
  }
  try {
    await replay(plan, selection, { letters: dead, publisher }, options, progress, stopping)
  } catch (error) {
    stdout.write(`${stopping.aborted ? 'stopped: ' : ''}${tell(false)}\n`)
    if (stopping.aborted) return EXIT.failed
    throw error
  }
  // A letter that expired in between is not there a second time.
  stdout.write(`${tell(plan.size === 0)}\n`)
  return plan.size === 0 && progress.refused === 0 ? EXIT.done : EXIT.failed
}

async function dryRun(parts: Parts, selection: Selection, { stdout }: Terminal): Promise<number> {
  const plan = await planOf(parts, selection)
  if (plan.size === 0 && plan.leftOut.size === 0) {
    stdout.write(`${noneText(parts.dead, selection)}\n`)
    return EXIT.done
  }
  if (plan.size > 0) {
    const columns = [{ title: 'platform' }, { title: 'reason' }, { title: 'letters', numeric: true }]
    const rows = plan
      .byReason()
      .map(({ platform, reason, count }) => [printable(platform), printable(reason), count])
    stdout.write(`${table(columns, rows)}\n`)
  }
  const byTopic = parts.isKafka ? plan.byTopic() : new Map([[parts.topics.followUps, plan.size]])
  const leftOut = leftOutText(plan.leftOut)
  const sent = sentText(plan.size === 0 ? new Map() : byTopic, 'would be sent back')
  stdout.write(`${sent}${leftOut === '' ? '' : `, ${leftOut}`}\n`)
  return EXIT.done
}

/** Throws when an id was asked for that is not there: then nothing is sent at all. */
async function planOf({ dead, topics, isKafka, stopping }: Parts, selection: Selection): Promise<ReplayPlan> {
  const jobTopics = topics.jobs.map(({ name }) => name)
  const plan = await planReplay(
    dead,
    selection,
    { topics: new Set(isKafka ? jobTopics : [...jobTopics, topics.followUps]), nowMs: Date.now() },
    stopping,
  )
  if (plan.unknown.length > 0) throw unknownLetters(dead, plan.unknown)
  return plan
}

/** Runs `work` with the dead letters open. Told to stop in the middle, it says so and the exit code is 1. */
async function withLetters(
  config: Config,
  terminal: Terminal,
  work: (parts: Parts) => Promise<number>,
): Promise<number> {
  const { stdout, stderr } = terminal
  // The reader of a pipe has seen enough, which is no failure. What was written last may fail after we are done.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
  const topics = topicsOf(config, [])
  const dead = await openDeadLetters(config, topics, logOf(terminal))
  const { stopping } = terminal
  try {
    return await work({ dead, topics, isKafka: config.kafka !== undefined, stopping })
  } catch (error) {
    if (!stopping.aborted || error !== stopping.reason) throw error
    stderr.write('stopped\n')
    return EXIT.failed
  } finally {
    await dead.close()
  }
}

function logOf({ stderr, secrets }: Terminal): Log {
  return createLog({ level: 'error', pretty: stderr.isTTY === true, secrets })
}

function total(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0)
}

function noneText({ name }: DeadLetters, { ids, reasons, platform, sinceMs }: Selection): string {
  const isNarrowed = [ids, reasons, platform, sinceMs].some((part) => part !== undefined)
  return isNarrowed ? `no dead letter in ${name} matches` : `no dead letters in ${name}`
}

function unknownLetters({ name }: DeadLetters, ids: readonly LetterId[]): MillraceError {
  const shown = ids.slice(0, 10).map(idText).join(', ')
  const more = ids.length > 10 ? ` and ${ids.length - 10} more` : ''
  return new MillraceError('NO_SUCH_LETTER', `dlq: there is no dead letter ${shown}${more} in ${name}`)
}

function selectionOf({ reason, platform, since }: DlqFilter): Selection {
  const unknown = reason?.find((code) => !isReason(code))
  if (unknown !== undefined) {
    const known = Object.keys(REASONS).join(', ')
    throw usage(`--reason: found ${JSON.stringify(unknown)}, expected ${known}`)
  }
  return {
    ...(reason === undefined ? {} : { reasons: reason.filter(isReason) }),
    ...(platform === undefined ? {} : { platform }),
    ...(since === undefined ? {} : { sinceMs: timeOf(since) }),
  }
}

const instant = z.iso.datetime({ offset: true })

function timeOf(text: string): number {
  const ago = parseDuration(text)
  if (ago !== undefined) return Date.now() - ago
  if (instant.safeParse(text).success) return Date.parse(text)
  throw usage(
    `--since: found ${JSON.stringify(text)}, expected a duration such as 2h, or a time such as 2026-01-31T08:00:00Z`,
  )
}

const RATE_MAX = 100_000

function rateOf(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\/s$/.exec(text.trim())
  const rate = Number(match?.[1])
  if (match === null || !(rate > 0 && rate <= RATE_MAX))
    throw usage(`--rate: found ${JSON.stringify(text)}, expected letters a second, such as 50/s or 0.5/s`)
  return rate
}

function idOf(text: string): LetterId {
  const id = parseId(text)
  if (id !== undefined) return id
  throw usage(
    `found ${JSON.stringify(text)}, expected the id of a dead letter: partition-offset, such as 3-1207`,
  )
}

function usage(message: string): MillraceError {
  return new MillraceError('USAGE', `dlq: ${message}`, { kind: 'usage' })
}
