import { pino } from 'pino'
import pretty from 'pino-pretty'
import { Flood, type FloodOptions } from './flood.ts'
import { Secrets } from './secrets.ts'

/** The part of pino that components use. */
export type Log = pino.Logger

/** In the fields of a line that is written however many there are like it. */
export const EACH: unique symbol = Symbol('each line')

export interface LogOptions {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'
  /** Readable lines instead of JSON; default: when standard error is a terminal. */
  readonly pretty: boolean
  /** Values that must never appear in a line, wherever they stand: keys, tokens, passwords. */
  readonly secrets: Secrets | readonly string[]
  /** Default: standard error. */
  readonly file?: string
  /** When a message counts as a flood. Default: more than 20 lines in 10 seconds. */
  readonly flood?: FloodOptions
}

/**
 * A JSON log on standard error (standard output belongs to commands that print data). Secrets are replaced by value in the
 * finished line, so they are found in URLs and messages too. Lines are written asynchronously. A flood of one message is folded
 * into a count.
 */
export function createLog(options: LogOptions): Log {
  const { redact } = options.secrets instanceof Secrets ? options.secrets : new Secrets(options.secrets)
  const destination = options.pretty
    ? pretty({ colorize: true, destination: options.file ?? 2, ignore: 'pid,hostname' })
    : pino.destination({ dest: options.file ?? 2, sync: false })
  const flood = new Flood(options.flood)
  return pino(
    {
      level: options.level,
      base: { name: 'millrace' },
      timestamp: pino.stdTimeFunctions.isoTime,
      hooks: {
        streamWrite: redact,
        logMethod(args, method, level) {
          const [fields, text] = args as [Fields | string, string?]
          const isWritten =
            level >= FATAL ||
            (typeof fields === 'object' && fields?.[EACH] === true) ||
            flood.admits(likeness(fields, text, level), (folded, windowMs) => {
              const message = typeof fields === 'string' ? fields : text
              const kind = typeof fields === 'string' ? {} : kindOf(fields)
              method.call(
                this,
                { ...kind, folded, within_ms: windowMs },
                `${message}: and so ${folded} times more`,
              )
            })
          if (isWritten) method.apply(this, args)
        },
      },
    },
    destination,
  )
}

const FATAL = pino.levels.values.fatal!

type Fields = Readonly<Partial<Record<string, unknown>>> & { readonly [EACH]?: true }

/** Lines of one likeness are the same but for whom they are about. */
function likeness(fields: Fields | string, text: string | undefined, level: number): string {
  if (typeof fields === 'string') return `${level} ${fields}`
  const { platform, reason, service } = kindOf(fields)
  return `${level} ${text} ${platform} ${reason} ${service}`
}

function kindOf(fields: Fields | null): { platform?: unknown; reason?: unknown; service?: unknown } {
  const { platform, reason, service } = fields ?? {}
  return { platform, reason, service }
}
