import { type LevelLoad, PERIOD_MS, type PlatformCapacity } from '../limiter/capacity.ts'
import { GLOBAL_LEVEL, type LimitPlan } from '../limiter/plan.ts'
import { windowUtilisation } from '../limiter/plan-check.ts'
import { limitText, windowSpan } from './limit-text.ts'
import { grouped, percent, table } from './table.ts'
import { span } from './time.ts'

/** What was asked about one platform, and what came out. */
export interface Plan {
  readonly platform: string
  readonly jobType: string
  /** Of one job, by endpoint. */
  readonly calls: Readonly<Record<string, number>>
  /** Endpoints among them whose calls jobs may share. */
  readonly shared: readonly string[]
  readonly creators: number
  readonly everyMs: number
  readonly latencyMs: number
  readonly limits: LimitPlan
  /** Undefined when the job type does not declare its calls. */
  readonly capacity: PlatformCapacity | undefined
}

/** One platform for people: what each level has to give and can give, and in a sentence what follows. */
export function planTable(plan: Plan): string {
  const { platform, jobType, capacity, everyMs } = plan
  if (capacity === undefined) return `${platform}: ${undeclared(plan)}`
  const columns = [
    { title: 'level' },
    { title: 'limit' },
    { title: 'needs', numeric: true },
    { title: `gives in ${period(everyMs)}`, numeric: true },
    { title: 'load', numeric: true },
    { title: 'one round', numeric: true },
  ]
  const rows = capacity.levels.map((one) => [
    one.level.name,
    limitText(one.level),
    grouped(one.needed),
    grouped(Math.floor(one.capacity)),
    loadText(one.load),
    span(one.roundMs),
  ])
  const calls = Object.entries(plan.calls).map(([endpoint, count]) => `${grouped(count)} ${endpoint}`)
  return `${platform}, ${jobType} (${calls.join(' + ')})\n${table(columns, rows)}\n${sentence(plan, capacity)}`
}

/** One platform for programs: the terms are those of limiter/capacity. */
export function planReport(plan: Plan): object {
  const { platform, jobType, calls, shared, creators, everyMs, latencyMs, capacity } = plan
  const asked = { platform, jobType, creators, everyMs, latencyMs }
  if (capacity === undefined) return { ...asked, calls: null, fits: null, problem: undeclared(plan) }
  const { requests, fits, creatorsMax, everyMsMin, decisive, slowest } = capacity
  return {
    ...asked,
    calls,
    shared,
    requests,
    fits,
    load: decisive.load,
    decisive: decisive.level.name,
    roundMs: slowest.roundMs,
    slowest: slowest.level.name,
    creatorsMax,
    everyMsMin,
    levels: capacity.levels.map(({ level, ...figures }) => ({
      level: level.name,
      kind: level.kind,
      limit: level.limit,
      ...figures,
    })),
  }
}

/** What the figures rest on. `share`: this daemon's part of the limits, when they are divided. */
export function footnotes(plans: readonly Plan[], share: number | undefined): string {
  const [first] = plans
  const lines = ['Not counted: retries, and calls for an authorisation, such as a token every two hours.']
  const shared = plans.flatMap(({ platform, shared }) => shared.map((endpoint) => `${platform}/${endpoint}`))
  if (shared.length > 0) {
    lines.push(
      `Counted in full, so this is the most that is needed: calls that jobs share while they wait for them (${shared.join(', ')}).`,
    )
  }
  const shortest = plans
    .flatMap(({ capacity }) => capacity?.levels ?? [])
    .flatMap(({ level }) => (level.kind === 'window' ? [level.limit] : []))
    .sort((a, b) => a.windowMs - b.windowMs)[0]
  if (first !== undefined && shortest !== undefined) {
    const used = percent(windowUtilisation(shortest, first.limits, first.latencyMs))
    lines.push(
      `Windows: a slot is free again one window after its reply began, here ${windowSpan(first.latencyMs)} after the call ` +
        `(limits.latency): of ${windowSpan(shortest.windowMs)} that leaves ${used}.`,
    )
  }
  if (share !== undefined)
    lines.push(
      `limits.share: these are the creators of one daemon, which has ${percent(share)} of every limit.`,
    )
  return lines.join('\n')
}

function sentence(plan: Plan, capacity: PlatformCapacity): string {
  const { platform, creators, everyMs } = plan
  const { decisive, slowest, requests, fits, creatorsMax, everyMsMin } = capacity
  const needs = `${platform}: ${count(creators, 'creator')} every ${period(everyMs)} need ${count(requests, 'call')}`
  const { level } = decisive
  const together = level.name === GLOBAL_LEVEL ? ', all platforms together' : ''
  const slow = slowest.level.name === level.name ? '' : ` (${slowest.level.name})`
  // After the last period of a quota has begun, its part of the round has to be fetched yet.
  const least = slowest.level.kind === 'quota' ? 'at least ' : ''
  const round = `one round takes ${least}${span(slowest.roundMs)}${slow}`
  const why = `${needs}; ${level.name} decides${together}: ${limitText(level)}${pace(decisive, everyMs)} → ${round}`
  if (fits) return `${why}, fits (load ${loadText(decisive.load)})`
  const fewer = creatorsMax === 0 ? 'not one creator would' : `${grouped(creatorsMax)} would`
  return `${why}, does not fit (load ${loadText(decisive.load)}): ${fewer}, or ${grouped(creators)} every ${span(everyMsMin)}`
}

/** What the limit comes to, in a time that can be compared with the others. */
function pace({ level, capacity }: LevelLoad, everyMs: number): string {
  if (level.kind === 'quota') {
    const gives = grouped(Math.floor(capacity))
    const whole = PERIOD_MS[level.limit.period]
    if (everyMs === whole) return ''
    return everyMs < whole
      ? `, of which ${period(everyMs)} may use its part, ${gives}`
      : ` → ${gives} in ${period(everyMs)}`
  }
  return ` → ${grouped(Math.floor((capacity / everyMs) * HOUR_MS))} an hour`
}

const HOUR_MS = 3_600_000

/** `24h` as somebody would say it who plans. */
function period(ms: number): string {
  const days = ms / (24 * HOUR_MS)
  if (Number.isInteger(days) && days > 2) return `${days}d`
  return Number.isInteger(ms / HOUR_MS) ? `${ms / HOUR_MS}h` : span(ms)
}

/** 20 → `2,000.0%`. */
function loadText(load: number): string {
  return `${(load * 100).toLocaleString('en-US', { minimumFractionDigits: 1, maximumFractionDigits: 1 })}%`
}

function count(amount: number, what: string): string {
  return `${grouped(amount)} ${what}${amount === 1 ? '' : 's'}`
}

function undeclared({ jobType }: Plan): string {
  return `the job type ${jobType} does not declare the \`calls\` it makes, so nothing can be said about it`
}
