import type { Suffered, Summary } from './chaos.ts'

/** The run for people: recovery by kind of fault, the books, and what the daemons took. */
export function reportOf(summary: Summary): string {
  const { books, daemons, faults } = summary
  const { calls } = books
  const slowest = Math.max(0, ...daemons.stopped.map(({ tookMs }) => tookMs))
  const rows = Object.entries(books.rows).map(
    ([table, { distinct, stored }]) => `${table} ${distinct} (${stored})`,
  )
  return [
    ...recoveryTable(faults),
    '',
    `jobs       ${books.published} published = ${books.done} done + ${books.skipped} skipped + ${books.dead} dead ` +
      `(${books.malformed} malformed, ${books.notFound} not found)`,
    `results    ${books.results}, ${books.resultsRepeated} repeated (${percent(books.resultsRepeated, books.published)})`,
    `rows       ${rows.join(', ')}: distinct (stored)`,
    `pictures   ${books.pictures}`,
    `upstream   ${calls.arrivals} calls: ${calls.needed} needed, ${calls.refused} refused and made again, ` +
      `${calls.repeated} repeated (${percent(calls.repeated, calls.needed)}); ${calls.violations} violations`,
    `daemons    ${daemons.started} started, ${daemons.killed} killed, ${daemons.stopped.length} told to stop: ` +
      `all exit 0, the slowest in ${seconds(slowest)}; peak RSS ${Math.round(daemons.peakRssBytes / 1024 ** 2)} MiB; ` +
      `event loop p99 at worst ${daemons.worstLoopP99Ms.toFixed(0)} ms`,
    `time       ${seconds(summary.tookMs)} for ${summary.jobs} jobs and ${faults.length} faults; seed ${summary.seed}`,
  ].join('\n')
}

function recoveryTable(faults: readonly Suffered[]): string[] {
  const kinds = Map.groupBy(faults, ({ name }) => name)
  const width = Math.max(...[...kinds.keys()].map((name) => name.length), 5)
  const line = (...[name, ...rest]: string[]) =>
    [name!.padEnd(width), ...rest.map((cell) => cell.padStart(9))].join('  ')
  const rows = [...kinds].map(([name, ones]) => {
    const times = ones.map(({ recoveredMs }) => recoveredMs).sort((a, b) => a - b)
    return line(name, String(ones.length), seconds(medianOf(times)), seconds(times.at(-1)!))
  })
  return [
    'recovery to half of the rate before, from the end of the fault',
    line('fault', 'count', 'median', 'worst'),
    ...rows.sort(),
  ]
}

function medianOf(sorted: readonly number[]): number {
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(2)}%`
}
