import { readFile } from 'node:fs/promises'

/** Hundredths of a second, as Linux has it. */
const TICK_MS = 10

/** CPU time of a process so far, in ms, all its threads together. Linux only. */
export async function cpuMsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The name, in brackets, may have blanks; user and system time are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}
