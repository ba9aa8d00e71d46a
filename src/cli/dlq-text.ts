import { isUtf8 } from 'node:buffer'
import type { LetterGroup } from '../dead-letters/groups.ts'
import { idText, jsonOf } from '../dead-letters/letter.ts'
import { LEFT_OUT_TEXT, type LeftOut } from '../dead-letters/replay-plan.ts'
import { HEADERS } from '../job/job.ts'
import { headerText, type SourceRecord } from '../job/record.ts'
import { prettyJson } from './pretty-json.ts'
import { cutText, printable } from './printable.ts'
import { grouped, table } from './table.ts'
import { clock } from './time.ts'

const MESSAGE_LENGTH = 80
const MESSAGE_LENGTH_MIN = 20
const DUMP_BYTES = 256
const DUMP_WIDTH = 16

/** `columns`: of the terminal; without one messages are cut to 80 characters. */
export function groupTable(
  groups: readonly LetterGroup[],
  { columns, nowMs }: { columns: number | undefined; nowMs: number },
): string {
  const rows = groups.map((group) => [
    printable(group.platform),
    printable(group.reason),
    group.count,
    group.replayed,
    clock(group.oldestMs, nowMs),
    clock(group.newestMs, nowMs),
    idText(group.newestId),
  ])
  const titles = [
    { title: 'platform' },
    { title: 'reason' },
    { title: 'letters', numeric: true },
    { title: 'replayed', numeric: true },
    { title: 'oldest' },
    { title: 'newest' },
    { title: 'id of newest' },
  ]
  const width = Math.max(
    ...table(titles, rows)
      .split('\n')
      .map((line) => line.length),
  )
  const room = columns === undefined ? MESSAGE_LENGTH : Math.max(MESSAGE_LENGTH_MIN, columns - width - 2)
  const text = table(
    [...titles, { title: 'its message' }],
    rows.map((row, index) => [...row, cutText(printable(groups[index]!.message), room)]),
  )
  const sum = (of: (group: LetterGroup) => number) => groups.reduce((total, group) => total + of(group), 0)
  const replayed = sum((group) => group.replayed)
  return `${text}\n${letters(sum((group) => group.count))}, ${grouped(replayed)} replayed`
}

/** One group for programs. */
export function groupReport({ oldestMs, newestMs, newestId, ...group }: LetterGroup): object {
  const { message, ...counts } = group
  return {
    ...counts,
    oldest: new Date(oldestMs).toISOString(),
    newest: new Date(newestMs).toISOString(),
    newestId: idText(newestId),
    message,
  }
}

/** One letter for people: where it stands, its headers, its key and its value. */
export function letterText(record: SourceRecord): string {
  const { topic, partition, offset, timestampMs, key, value } = record
  const headers = Object.keys(record.headers).flatMap((name) => {
    const values = record.headers[name]!
    return (Buffer.isBuffer(values) ? [values] : values).map((one) => `${printable(name)}: ${bytesText(one)}`)
  })
  return [
    `${idText(record)}: ${topic}, partition ${partition}, offset ${offset}, ${new Date(timestampMs).toISOString()}`,
    '',
    ...headers,
    '',
    `key: ${key === null ? 'none' : bytesText(key)}`,
    valueText(value, headerText(record.headers, HEADERS.cut)),
  ].join('\n')
}

/** One letter for programs. Bytes that are not UTF-8 are `{"base64": …}`; `json` is there when the value is JSON. */
export function letterReport(record: SourceRecord): object {
  const { topic, partition, offset, timestampMs, key, value } = record
  const headers = Object.fromEntries(
    Object.keys(record.headers).map((name) => {
      const values = record.headers[name]!
      return [name, Buffer.isBuffer(values) ? stored(values) : values.map(stored)]
    }),
  )
  const json = jsonOf(value)
  return {
    id: idText(record),
    topic,
    partition,
    offset,
    at: new Date(timestampMs).toISOString(),
    headers,
    key: key === null ? null : stored(key),
    bytes: value?.length ?? 0,
    value: value === null ? null : stored(value),
    ...(json === undefined ? {} : { json }),
  }
}

/** `3 left out: 2 replayed before, 1 cut …`, or nothing. */
export function leftOutText(leftOut: ReadonlyMap<LeftOut, number>): string {
  const counts = [...leftOut].filter(([, count]) => count > 0)
  if (counts.length === 0) return ''
  const total = counts.reduce((sum, [, count]) => sum + count, 0)
  const parts = counts.map(([why, count]) => `${grouped(count)} ${LEFT_OUT_TEXT[why]}`)
  return `${grouped(total)} left out: ${parts.join(', ')}`
}

/** `30 sent back to a`, or with several topics `30 sent back to a (20), b (10)`. `done`: `sent back`. */
export function sentText(byTopic: ReadonlyMap<string, number>, done: string): string {
  const total = [...byTopic.values()].reduce((sum, count) => sum + count, 0)
  if (byTopic.size === 0) return `0 ${done}`
  const names = [...byTopic].map(([topic, count]) =>
    byTopic.size === 1 ? topic : `${topic} (${grouped(count)})`,
  )
  return `${grouped(total)} ${done} to ${names.join(', ')}`
}

export function letters(count: number): string {
  return `${grouped(count)} dead letter${count === 1 ? '' : 's'}`
}

function valueText(value: Buffer | null, wholeBytes: string | undefined): string {
  if (value === null) return 'value: none'
  const cut = wholeBytes === undefined ? '' : `, the beginning of ${printable(wholeBytes)}`
  const caption = `value, ${grouped(value.length)} bytes${cut}`
  if (jsonOf(value) !== undefined) {
    return `${caption}, JSON:\n${printable(prettyJson(value.toString('utf8')), { multiline: true })}`
  }
  if (value.length === 0) return caption
  if (isUtf8(value)) return `${caption}, text:\n${printable(value.toString('utf8'), { multiline: true })}`
  const first = value.length > DUMP_BYTES ? `, the first ${DUMP_BYTES} of them` : ''
  return `${caption}, not UTF-8${first}:\n${dump(value.subarray(0, DUMP_BYTES))}`
}

function bytesText(bytes: Buffer): string {
  return isUtf8(bytes) ? printable(bytes.toString('utf8')) : `0x${bytes.toString('hex')}`
}

/** Sixteen bytes a line: place, bytes, and those of them that are ASCII. */
function dump(bytes: Buffer): string {
  return Array.from({ length: Math.ceil(bytes.length / DUMP_WIDTH) }, (_, row) => {
    const part = bytes.subarray(row * DUMP_WIDTH, (row + 1) * DUMP_WIDTH)
    const place = (row * DUMP_WIDTH).toString(16).padStart(8, '0')
    const hex = [...part].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const ascii = part.toString('latin1').replaceAll(/[^ -~]/g, '.')
    return `${place}  ${hex.padEnd(DUMP_WIDTH * 3 - 1)}  ${ascii}`
  }).join('\n')
}

function stored(bytes: Buffer): string | { readonly base64: string } {
  return isUtf8(bytes) ? bytes.toString('utf8') : { base64: bytes.toString('base64') }
}
