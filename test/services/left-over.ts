import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface LeftOver {
  readonly pid: number
  readonly command: string
}

/**
 * Processes that belong to a run whose temporary folder is `folder`: started with it as TMPDIR, or standing in it (some
 * servers overwrite the memory in which their environment is shown). Being somebody else's child by now does not hide
 * them. Empty where there is no /proc.
 */
export function processesUsing(folder: string): LeftOver[] {
  const found: LeftOver[] = []
  for (const name of entries('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const environment = `\0${text(`/proc/${name}/environ`)}\0`
    const cwd = link(`/proc/${name}/cwd`)
    const uses =
      environment.includes(`\0TMPDIR=${folder}\0`) || cwd === folder || cwd.startsWith(`${folder}/`)
    if (!uses || hasEnded(name)) continue
    const command = text(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim()
    found.push({ pid: Number(name), command })
  }
  return found
}

/** A zombie waits only for its parent to read its exit code. */
function hasEnded(pid: string): boolean {
  const stat = text(`/proc/${pid}/stat`)
  return stat === '' || stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) === 'Z'
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
