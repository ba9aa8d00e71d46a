import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * Ends what this process started, whatever way this process ends. On a normal end, an exception or a signal that exits,
 * the `exit` listener below does it. SIGKILL runs no listener: for that a second, tiny process holds the other end of a
 * pipe, and does the same when the pipe closes.
 */
const PROCESS_FILE = fileURLToPath(new URL('reaper-process.ts', import.meta.url))

const pids = new Map<number, string>()
const folders = new Set<string>()
let reaper: ChildProcess | undefined

/** Kills this process group when we end. Returns what to call once it has ended, or is to live on. */
export function tieToUs(pid: number): () => void {
  const line = `${pid} ${bornAt(pid)}`
  pids.set(pid, line)
  tell(`+pid ${line}`)
  return () => {
    if (pids.delete(pid)) tell(`-pid ${line}`)
  }
}

/** Removes this folder when we end, after everything was killed. Returns what to call when it is gone already. */
export function removeWithUs(folder: string): () => void {
  folders.add(folder)
  tell(`+folder ${folder}`)
  return () => {
    if (folders.delete(folder)) tell(`-folder ${folder}`)
  }
}

/** Removes this container when only SIGKILL ended us; a normal end has removed it itself. */
export function removeContainerWithUs(name: string): () => void {
  tell(`+container ${name}`)
  return () => tell(`-container ${name}`)
}

/** Unmounts what is mounted there when only SIGKILL ended us; a normal end has done so itself. */
export function unmountWithUs(folder: string): () => void {
  tell(`+mount ${folder}`)
  return () => tell(`-mount ${folder}`)
}

/** Kills, when we end by SIGKILL, every process whose temporary folder is `folder`: all descendants of a test run. */
export function killUsersOf(folder: string): void {
  tell(`+users ${folder}`)
}

/** The process id of the second process, which a search for left-over processes must not mistake for one. */
export function reaperPid(): number | undefined {
  return reaper?.pid
}

/** When a process was born, in ticks since boot, so that a reused id is not killed; `?` where there is no /proc. */
export function bornAt(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // Field 22; the second field, a name in parentheses, may hold spaces.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '?'
  } catch {
    return '?'
  }
}

/** Kills a process and its group, if it is still the one that was born then. */
export function killGroup(pid: number, born: string): void {
  if (born !== '?' && bornAt(pid) !== born) return
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, 'SIGKILL')
    } catch {
      // Ended already.
    }
  }
}

function tell(line: string): void {
  if (reaper === undefined) {
    process.once('exit', endAll)
    reaper = spawn(process.execPath, [PROCESS_FILE], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
    reaper.on('error', () => {})
    reaper.unref()
    const pipe = reaper.stdin
    pipe?.on('error', () => {})
    // A pipe alone would keep this process alive.
    if (pipe !== null && 'unref' in pipe && typeof pipe.unref === 'function') pipe.unref()
  }
  reaper.stdin?.write(`${line}\n`)
}

function endAll(): void {
  for (const line of pids.values()) {
    const [pid, born] = line.split(' ')
    killGroup(Number(pid), born ?? '?')
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
}
