import { printable } from './printable.ts'
import { grouped } from './table.ts'

/** One size of a picture, and what became of it. */
export interface WrittenVariant {
  readonly variant: string
  readonly path: string
  /** Where the daemon would store it. */
  readonly key: string
  readonly width: number
  readonly height: number
  readonly bytes: number
  /** Why it is not written, or null when it is. */
  readonly failed: string | null
  readonly writeMs: number
}

/** What became of one file. `bytes` and `sha256` are the source's. */
export type FileReport =
  | {
      readonly status: 'made'
      readonly file: string
      readonly bytes: number
      readonly sha256: string
      readonly format: string
      readonly thumbhash: string
      readonly variants: readonly WrittenVariant[]
      readonly timings: {
        readonly readMs: number
        readonly waitMs: number
        readonly decodeMs: number
        readonly encodeMs: number
      }
    }
  | {
      readonly status: 'rejected'
      readonly file: string
      readonly why: string
      readonly bytes?: number
      readonly sha256?: string
    }
  | { readonly status: 'unreadable'; readonly file: string; readonly why: string }

/** For people. What could not be read is told of on standard error. */
export function reportLines(report: FileReport): string[] {
  const file = printable(report.file)
  switch (report.status) {
    case 'unreadable':
      return []
    case 'rejected':
      return [`${file}: rejected: ${printable(report.why)}`]
    case 'made': {
      const { readMs, waitMs, decodeMs, encodeMs } = report.timings
      const times = `read ${ms(readMs)}, wait ${ms(waitMs)}, decode ${ms(decodeMs)}, encode ${ms(encodeMs)} ms`
      return [
        `${file}: ${report.format}, ${grouped(report.bytes)} bytes, sha256 ${report.sha256.slice(0, 12)}…, ${times}`,
        ...report.variants.map(({ variant, path, width, height, bytes, failed }) => {
          const made = `${variant} ${width} × ${height}, ${grouped(bytes)} bytes`
          return failed === null
            ? `  ${made}: ${printable(path)}`
            : `  ${made}: not written: ${printable(failed)}`
        }),
      ]
    }
  }
}

/** One JSON object for each variant, or one for the file when there are none. */
export function reportObjects(report: FileReport): string[] {
  if (report.status !== 'made') return [JSON.stringify(report)]
  const { file, format, bytes, sha256, thumbhash, timings } = report
  return report.variants.map(({ writeMs, failed, ...made }) =>
    JSON.stringify({
      status: failed === null ? 'written' : 'not_written',
      file,
      ...made,
      ...(failed === null ? {} : { why: failed }),
      thumbhash,
      source: { format, bytes, sha256 },
      ms: {
        read: rounded(timings.readMs),
        wait: rounded(timings.waitMs),
        decode: rounded(timings.decodeMs),
        encode: rounded(timings.encodeMs),
        write: rounded(writeMs),
      },
    }),
  )
}

export function summaryOf(
  reports: readonly FileReport[],
  { folder, tookMs }: { readonly folder: string; readonly tookMs: number },
): string {
  const count = (status: FileReport['status']) => reports.filter((report) => report.status === status).length
  const variants = reports.flatMap((report) => (report.status === 'made' ? report.variants : []))
  const written = variants.filter(({ failed }) => failed === null)
  const bytes = written.reduce((sum, one) => sum + one.bytes, 0)
  const made = count('made')
  const seconds = tookMs / 1000
  const parts = [
    `${many(made, 'picture')} resized in ${seconds.toFixed(1)} s (${(made / seconds).toFixed(1)} a second)`,
    `${many(written.length, 'file')} of ${grouped(bytes)} bytes written to ${printable(folder)}`,
    ...named(variants.length - written.length, 'not written'),
    ...named(count('rejected'), 'rejected'),
    ...named(count('unreadable'), 'not readable'),
  ]
  return parts.join(', ')
}

function named(count: number, what: string): string[] {
  return count === 0 ? [] : [`${grouped(count)} ${what}`]
}

function many(count: number, what: string): string {
  return `${grouped(count)} ${what}${count === 1 ? '' : 's'}`
}

function ms(value: number): string {
  return value.toFixed(0)
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10
}
