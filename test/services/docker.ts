import { randomBytes } from 'node:crypto'
import { command, onPath, tryCommand } from './command.ts'
import { removeContainerWithUs } from './reaper.ts'
import type { Plan } from './running.ts'

/** Long enough for a busy engine, short enough for a `docker` whose engine is not there. */
const ANSWER_WITHIN_MS = 10_000
const PULL_WITHIN_MS = 5 * 60_000

let answers: Promise<boolean> | undefined

/**
 * Whether a docker engine answers, asked once per process; the program alone is no engine. MILLRACE_TEST_DOCKER=0 says no,
 * for those who have one and rather use what is installed.
 */
export function dockerAnswers(): Promise<boolean> {
  answers ??= askEngine()
  return answers
}

/** Whether the image is here, or could be pulled. */
export async function hasImage(image: string): Promise<boolean> {
  if (!(await dockerAnswers())) return false
  const here = await tryCommand('docker', ['image', 'inspect', image], { withinMs: 20_000 }).catch(
    () => undefined,
  )
  if (here?.code === 0) return true
  const pulled = await tryCommand('docker', ['pull', '--quiet', image], { withinMs: PULL_WITHIN_MS }).catch(
    () => undefined,
  )
  return pulled?.code === 0
}

export interface ContainerOptions {
  readonly image: string
  /** The port of this machine (on 127.0.0.1) and the one inside. */
  readonly ports: readonly (readonly [outside: number, inside: number])[]
  readonly env?: Readonly<Record<string, string>>
  /** What comes after the image's name. */
  readonly args?: readonly string[]
  readonly dockerArgs?: readonly string[]
}

/**
 * The part of a plan that runs a container. Its writable layer is its folder: it stays over `kill` and `restart`, and goes
 * with `stop`.
 */
export function containerPlan(
  options: ContainerOptions,
): Required<Pick<Plan, 'command' | 'args' | 'prepare' | 'end' | 'hold' | 'cleanUp'>> {
  const name = `millrace-test-${randomBytes(6).toString('hex')}`
  let forget = () => {}
  return {
    command: 'docker',
    args: ['start', '--attach', name],
    async prepare() {
      forget = removeContainerWithUs(name)
      const ports = options.ports.flatMap(([outside, inside]) => [
        '--publish',
        `127.0.0.1:${outside}:${inside}`,
      ])
      const env = Object.entries(options.env ?? {}).flatMap(([key, value]) => ['--env', `${key}=${value}`])
      const args = ['create', '--name', name, ...ports, ...env, ...(options.dockerArgs ?? []), options.image]
      await command('docker', [...args, ...(options.args ?? [])], { withinMs: 60_000 })
    },
    async end(signal) {
      const args = signal === 'SIGKILL' ? ['kill', name] : ['stop', '--time', '10', name]
      await tryCommand('docker', args, { withinMs: 30_000 })
    },
    async hold(frozen) {
      await tryCommand('docker', [frozen ? 'pause' : 'unpause', name], { withinMs: 30_000 })
    },
    async cleanUp() {
      await tryCommand('docker', ['rm', '--force', '--volumes', name], { withinMs: 30_000 })
      forget()
    },
  }
}

async function askEngine(): Promise<boolean> {
  if (process.env.MILLRACE_TEST_DOCKER === '0' || onPath('docker') === undefined) return false
  const options = { withinMs: ANSWER_WITHIN_MS }
  const reply = await tryCommand('docker', ['version', '--format', '{{.Server.Version}}'], options).catch(
    () => undefined,
  )
  return reply?.code === 0 && reply.stdout.trim() !== ''
}
