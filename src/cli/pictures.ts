import type { Config } from '../config/schema.ts'
import { parseDuration } from '../config/values.ts'
import { type AuditParts, type Swept, sweepPictures, type Verified, verifyPictures } from '../images/audit.ts'
import { MillraceError } from '../job/errors.ts'
import { openStore } from '../parts/store.ts'
import { openEngine, requireDatabase } from '../parts/timeseries.ts'
import { StoredPictureRows } from '../timeseries/picture-rows.ts'
import { EXIT } from './exit.ts'
import { printable } from './printable.ts'
import { mayBeCutOff, say } from './say.ts'
import { grouped } from './table.ts'
import type { Terminal } from './terminal.ts'

/**
 * `millrace pictures verify`: the object of every row in `pictures`. Names what is missing or not as long as its row says; exit code 1
 * when there is any. Changes nothing.
 */
export async function verify(
  config: Config,
  options: { readonly deep: boolean; readonly json: boolean },
  terminal: Terminal,
): Promise<number> {
  return await withParts(config, terminal, async (parts) => {
    const tally = await verifyPictures(parts, {
      deep: options.deep,
      signal: terminal.stopping,
      onFault: ({ status, row, why }) => {
        const { key, platform, creatorId, subject, variant, bytes } = row
        const object = { status, key, platform, creator_id: creatorId, subject, variant, bytes, why }
        const names = printable(`${platform} ${creatorId} ${subject} ${variant}`)
        return say(terminal, options.json ? JSON.stringify(object) : `${key} ${why} (${names})`)
      },
    })
    await sayLast(terminal, options.json, verifiedText(tally, options.deep))
    return tally.missing + tally.wrongLength + tally.damaged === 0 ? EXIT.done : EXIT.failed
  })
}

function verifiedText(tally: Verified, deep: boolean): string {
  const { keys, objects, missing, wrongLength, damaged } = tally
  if (keys === 0) return 'the database names no picture'
  const faults = missing + wrongLength + damaged
  const said = `${grouped(keys)} pictures named by rows, ${grouped(objects)} of them in the store`
  if (faults === 0) return `${said}, each as long as its row says${deep ? ' and whole' : ''}`
  const found = [
    ...some(missing, 'missing'),
    ...some(wrongLength, 'not as long as their rows say'),
    ...some(damaged, 'damaged'),
  ]
  return `${said}; ${found.join(', ')}: new jobs for these creators store them again (docs/guides/pictures.md)`
}

export interface SweepCommand {
  /** A duration, such as `7d`. */
  readonly grace: string
  readonly maxShare: number
  readonly dryRun: boolean
  readonly json: boolean
}

const GRACE_MS_MIN = 60 * 60 * 1000

/**
 * `millrace pictures sweep`: deletes objects that no row names. What is younger than the grace period stays, since a running daemon
 * stores pictures before it writes their rows.
 */
export async function sweep(config: Config, options: SweepCommand, terminal: Terminal): Promise<number> {
  const graceMs = parseDuration(options.grace)
  if (graceMs === undefined || graceMs < GRACE_MS_MIN) {
    throw new MillraceError(
      'USAGE',
      `pictures sweep: --grace: found ${JSON.stringify(options.grace)}, expected a duration of at least 1h, such as 7d`,
      { kind: 'usage' },
    )
  }
  const { dryRun, json, maxShare: shareMax } = options
  return await withParts(config, terminal, async (parts) => {
    // Also removes what writers who died left behind.
    if (!dryRun) await parts.store.check()
    const status = dryRun ? 'would_be_deleted' : 'deleted'
    const tally = await sweepPictures(parts, {
      ...{ graceMs, shareMax, dryRun, nowMs: Date.now(), signal: terminal.stopping },
      onOrphan: ({ key, bytes, modifiedAtMs }) => {
        const modified_at = new Date(modifiedAtMs).toISOString()
        const text = `${key} ${grouped(bytes)} bytes, stored ${modified_at}`
        return say(terminal, json ? JSON.stringify({ status, key, bytes, modified_at }) : text)
      },
    })
    await sayLast(terminal, json, sweptText(tally, options))
    return EXIT.done
  })
}

function sweptText(tally: Swept, { dryRun, grace }: SweepCommand): string {
  const { named, young, foreign, orphans, orphanBytes } = tally
  const kept = [
    ...some(named, 'kept because rows name them'),
    ...some(young, `kept because they are younger than ${grace}, though no row names them yet`),
    ...some(foreign, 'left alone because they are not named as millrace names pictures'),
  ]
  const did = `${grouped(orphans)} objects (${grouped(orphanBytes)} bytes) ${dryRun ? 'would be deleted' : 'deleted'}`
  return [did, ...kept].join(', ')
}

/** Runs `work` with database and store open. Told to stop in the middle, it says so and the exit code is 1. */
async function withParts(
  config: Config,
  terminal: Terminal,
  work: (parts: AuditParts) => Promise<number>,
): Promise<number> {
  requireDatabase(config)
  mayBeCutOff(terminal)
  await using open = new AsyncDisposableStack()
  const engine = open.adopt(openEngine(config), (one) => one.close())
  const store = open.adopt(await openStore(config), (one) => one.stop())
  await engine.open()
  try {
    return await work({ rows: new StoredPictureRows(engine), store })
  } catch (error) {
    if (!terminal.stopping.aborted || error !== terminal.stopping.reason) throw error
    terminal.stderr.write('stopped\n')
    return EXIT.failed
  }
}

/** Beside JSON the summary would be in the way. */
async function sayLast(terminal: Terminal, json: boolean, text: string): Promise<void> {
  if (json) terminal.stderr.write(`${text}\n`)
  else await say(terminal, text)
}

function some(count: number, what: string): string[] {
  return count === 0 ? [] : [`${grouped(count)} ${what}`]
}
