import { type SpawnOptions, spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { tieToUs } from './reaper.ts'

export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  readonly withinMs: number
  readonly cwd?: string
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
}

/** Enough to see why a build failed. */
const OUTPUT_LENGTH_MAX = 1024 * 1024

/** A command's exit code and output, whatever they are. Rejects when it cannot be started, or runs longer than `withinMs`. */
export function tryCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const spawnOptions: SpawnOptions = {
      stdio: 'pipe',
      env: { ...process.env, ...options.env },
      detached: true,
    }
    if (options.cwd !== undefined) spawnOptions.cwd = options.cwd
    const child = spawn(command, [...args], spawnOptions)
    const untie = child.pid === undefined ? () => {} : tieToUs(child.pid)
    let stdout = ''
    let stderr = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout = (stdout + text).slice(-OUTPUT_LENGTH_MAX)
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-OUTPUT_LENGTH_MAX)
    })
    let late = false
    const timer = setTimeout(() => {
      late = true
      // Its own group: a build has children that would go on without it.
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    }, options.withinMs)
    child.once('error', (error) => {
      clearTimeout(timer)
      untie()
      reject(error)
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      untie()
      if (late)
        reject(new Error(`${command} ${args.join(' ')}: not done within ${options.withinMs} ms\n${stderr}`))
      else resolve({ code, stdout, stderr })
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input ?? '')
  })
}

/** The standard output of a command that must succeed; otherwise rejects with what it said last. */
export async function command(
  name: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<string> {
  const result = await tryCommand(name, args, options)
  if (result.code !== 0) {
    const said = `${result.stdout}\n${result.stderr}`.trim().split('\n').slice(-30).join('\n')
    throw new Error(`${name} ${args.join(' ')}: exit code ${result.code}, expected 0\n${said}`)
  }
  return result.stdout
}

/** The full path of a program, or undefined. Also looks where Debian keeps servers and Homebrew keeps everything. */
export function onPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  for (const folder of [...folders, '/usr/sbin', '/usr/local/bin', '/opt/homebrew/bin']) {
    const path = join(folder, name)
    if (isProgram(path)) return path
  }
  return undefined
}

export function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** The first version number in what `<path> <args>` prints on either stream, or `?`. */
export async function versionOf(path: string, args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await tryCommand(path, args, { withinMs: 20_000 })
  return /\d+\.\d+(?:\.\d+)*/.exec(stdout + stderr)?.[0] ?? '?'
}
