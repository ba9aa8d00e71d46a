import type { ServiceName } from '../need.ts'
import type { Provided } from './provide.ts'

/** What became of a service: there, missing for a reason, or still being fetched. */
export type Standing =
  | { readonly name: ServiceName; readonly provided: Provided }
  | { readonly name: ServiceName; readonly missing: string }
  | { readonly name: ServiceName; readonly pending: true }

/** One line per service: how it was found, version, address, time until it answered, or why it is missing. */
export function tableOf(standings: readonly Standing[]): string {
  const rows = standings.map((standing) => {
    if ('pending' in standing)
      return [standing.name, 'pending', '', '', 'still being fetched; its tests run last']
    if ('missing' in standing)
      return [standing.name, 'MISSING', '', '', standing.missing.replace(`${standing.name}: `, '')]
    const { found, address, readyInMs } = standing.provided
    return [standing.name, found.how, found.version, `${Math.round(readyInMs)} ms`, withoutPassword(address)]
  })
  const head = ['service', 'how', 'version', 'ready in', 'at']
  const widths = head.map((title, column) =>
    Math.max(...[head, ...rows].map((row) => row[column]!.length), title.length),
  )
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => {
        if (column === row.length - 1) return cell
        return column === 3 ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)
      })
      .join('  ')
  return [head, ...rows].map((row) => `${line(row)}\n`).join('')
}

/** An address from the environment may hold a real one, and logs of a build are read by many. */
function withoutPassword(address: string): string {
  return address.replace(/(:\/\/[^:/@]*):[^@/]*@/, '$1:***@')
}
