import { pino } from 'pino'
import pretty from 'pino-pretty'
import { Secrets } from './secrets.ts'

/** The part of pino that components use. */
export type Log = pino.Logger

export interface LogOptions {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'
  /** Readable lines instead of JSON; default: when standard error is a terminal. */
  readonly pretty: boolean
  /** Values that must never appear in a line, wherever they stand: keys, tokens, passwords. */
  readonly secrets: Secrets | readonly string[]
  /** Default: standard error. */
  readonly file?: string
}

/**
 * A JSON log on standard error (standard output belongs to commands that print data). Secrets are replaced by value in the
 * finished line, so they are found in URLs and messages too. Lines are written asynchronously.
 */
export function createLog(options: LogOptions): Log {
  const { redact } = options.secrets instanceof Secrets ? options.secrets : new Secrets(options.secrets)
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
