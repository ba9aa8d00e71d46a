import type { Redis } from 'ioredis'
import type { Violation } from '../../test/limiter/oracle.ts'
import type { Contestant } from './gate.ts'
import { ENDPOINTS, LIMITS, PLATFORM } from './limits.ts'
import { ours } from './ours.ts'
import { figure, textTable } from './text-table.ts'
import { threeCalls } from './three-calls.ts'
import { union } from './union.ts'
import { type Figures, run } from './work.ts'

interface Server {
  readonly url: string
  readonly redis: Redis
}

export interface Span {
  readonly leadMs: number
  readonly measureMs: number
}

const CONTESTANTS: readonly Contestant[] = [ours, union, threeCalls]

const HEAD = [
  'limiter',
  'waiters',
  'permits/s',
  'calls/permit',
  'Redis µs/permit',
  'CPU µs/permit',
  'platform',
  ...ENDPOINTS,
  'violations',
  'worst',
]

/** One table: every contestant with so many waiters, spread over so many daemons. One run after the other. */
export async function sharedLimits(
  server: Server,
  options: { readonly daemons: number; readonly waiters: readonly number[]; readonly span: Span },
): Promise<string> {
  const { daemons, span } = options
  const rows: string[][] = []
  for (const waiters of options.waiters) {
    for (const contestant of CONTESTANTS) {
      const figures = await run(contestant, { ...server, ...span, daemons, waiters })
      rows.push(rowOf(contestant.name, waiters, figures))
    }
  }
  return textTable(HEAD, rows)
}

function rowOf(name: string, waiters: number, figures: Figures): string[] {
  const used = (level: string) => `${((figures.utilisation.get(level) ?? 0) * 100).toFixed(1)}%`
  return [
    name,
    waiters.toLocaleString('en'),
    figures.permitsPerS.toFixed(1),
    figure(figures.callsPerPermit),
    figure(figures.redisUsPerPermit),
    figure(figures.cpuUsPerPermit),
    used(`platform:${PLATFORM}`),
    ...ENDPOINTS.map((endpoint) => used(`endpoint:${PLATFORM}/${endpoint}`)),
    `${figures.violations.length} of ${figures.arrivals}`,
    worstOf(figures.violations),
  ]
}

/** The furthest that any level was exceeded, in units beyond what it holds. */
function worstOf(violations: readonly Violation[]): string {
  let worst: { level: string; beyond: number; holds: number } | undefined
  for (const { level, found, allowed } of violations) {
    // Of a bucket the oracle tells what it is short of, below nothing.
    const isBucket = found < 0
    const beyond = isBucket ? Math.ceil(-found) : found - allowed
    const holds = isBucket ? burstOf(level) : allowed
    if (worst === undefined || beyond > worst.beyond) worst = { level, beyond, holds }
  }
  if (worst === undefined) return '-'
  return `${groupOrEndpoint(worst.level)} ${worst.holds} + ${worst.beyond}`
}

function burstOf(level: string): number {
  return (level === 'global' ? LIMITS.global : LIMITS.platforms[PLATFORM]!).burst
}

/** `endpoint:bench/media` is known by its endpoint, `platform:bench` as the platform. */
function groupOrEndpoint(level: string): string {
  return level.split('/')[1] ?? level.split(':')[0]!
}
