import { pino } from 'pino'
import pretty from 'pino-pretty'

/** The part of pino that components use. */
export type Log = pino.Logger

export interface LogOptions {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'
  /** Readable lines instead of JSON; default: when standard error is a terminal. */
  readonly pretty: boolean
  /** Values that must never appear in a line, wherever they stand: keys, tokens, passwords. */
  readonly secrets: readonly string[]
  /** Default: standard error. */
  readonly file?: string
}

/** Shorter values would redact ordinary words. */
const SECRET_LENGTH_MIN = 6

/**
 * A JSON log on standard error (standard output belongs to commands that print data). Secrets are replaced by value in the
 * finished line, so they are found in URLs and messages too. Lines are written asynchronously.
 */
export function createLog(options: LogOptions): Log {
  const redact = redactor(options.secrets)
  const destination = options.pretty
    ? pretty({ colorize: true, destination: options.file ?? 2, ignore: 'pid,hostname' })
    : pino.destination({ dest: options.file ?? 2, sync: false })
  return pino(
    {
      level: options.level,
      base: { name: 'millrace' },
      timestamp: pino.stdTimeFunctions.isoTime,
      hooks: { streamWrite: redact },
    },
    destination,
  )
}

/** Replaces every secret, also as it looks inside JSON or a URL, by `[redacted]`. */
export function redactor(secrets: readonly string[]): (text: string) => string {
  const forms = new Set<string>()
  for (const secret of secrets) {
    if (secret.length < SECRET_LENGTH_MIN) continue
    forms.add(secret)
    forms.add(JSON.stringify(secret).slice(1, -1))
    forms.add(encodeURIComponent(secret))
  }
  if (forms.size === 0) return (text) => text
  const ordered = [...forms].sort((a, b) => b.length - a.length)
  const pattern = new RegExp(
    ordered.map((form) => form.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'),
    'g',
  )
  return (text) => text.replaceAll(pattern, '[redacted]')
}
