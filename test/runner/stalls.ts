import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { processesUsing } from '../services/left-over.ts'

const GAP_MS_MEAN = 250
const SHORTEST_MS = 20
const LONGEST_MS = 900
/** Node processes are held this much more often than servers, which are many and mostly idle. */
const NODE_SHARE = 0.75

/**
 * Holds processes of the run in `folder` up, one at a time, at random and for 20 to 900 ms (the logarithm is uniform), as
 * a machine does that has neighbours: a test that passes only where everything happens in time fails here. A process that
 * a test itself has stopped is left alone (one that is stopped by its test while it is held up here is let go: the test may fail). Ends, and lets everything go, when `signal` aborts.
 */
export async function stallAtRandom(folder: string, spared: ReadonlySet<number>, signal: AbortSignal) {
  while (!signal.aborted) {
    await sleep(-Math.log(1 - Math.random()) * GAP_MS_MEAN)
    const held = chosen(processesUsing(folder).filter(({ pid }) => !spared.has(pid) && !isStopped(pid)))
    if (held === undefined || !tell(held, 'SIGSTOP')) continue
    await sleep(SHORTEST_MS * (LONGEST_MS / SHORTEST_MS) ** Math.random())
    tell(held, 'SIGCONT')
  }
}

/** A copy in random order. */
export function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((value) => ({ value, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value)
}

function chosen(processes: readonly { pid: number; command: string }[]): number | undefined {
  const nodes = processes.filter(({ command }) => /^\S*node\b/.test(command))
  const among = nodes.length > 0 && Math.random() < NODE_SHARE ? nodes : processes
  return among[Math.floor(Math.random() * among.length)]?.pid
}

function isStopped(pid: number): boolean {
  try {
    return /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return true
  }
}

function tell(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal)
    return true
  } catch {
    return false
  }
}
