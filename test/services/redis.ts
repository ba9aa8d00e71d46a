import { chmod, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { cached } from './cache.ts'
import { command, onPath, versionOf } from './command.ts'
import { canInstallPackages, installPackage } from './debian.ts'
import { containerPlan, hasImage } from './docker.ts'
import { type Found, ServiceMissing } from './found.ts'
import { type Running, startService } from './running.ts'

const IMAGE = 'redis:7-alpine'
/** A jar that holds redis-server 6.2 for Linux and macOS, each for x64 and arm64. */
const JAR = 'com.github.codemonstur:embedded-redis:1.4.3'
const UNPACK = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack'

export interface RedisOptions {
  /** Every write is on disk before it is answered, so that a SIGKILL loses nothing. Default: nothing is kept. */
  readonly durable?: boolean
  /** More of redis-server's arguments. */
  readonly args?: readonly string[]
}

/** Redis: docker, redis-server on PATH, Debian's package (as root), or the binary inside of a Java library. */
export async function findRedis(): Promise<Found> {
  if (await hasImage(IMAGE)) return { how: 'docker', version: '7', at: IMAGE }
  const installed = onPath('redis-server')
  if (installed !== undefined)
    return { how: 'installed', version: await versionOf(installed, ['--version']), at: installed }
  if (canInstallPackages()) {
    await installPackage('redis-server').catch(() => {})
    const at = onPath('redis-server')
    if (at !== undefined) return { how: 'fetched', version: await versionOf(at, ['--version']), at }
  }
  return findInJar()
}

/** Starts a Redis of one's own. `address` is `redis://127.0.0.1:<port>`. */
export async function startRedis(options: RedisOptions = {}): Promise<Running> {
  const found = await findRedis()
  const durability =
    options.durable === true ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no']
  return startService(found, {
    ports: 1,
    plan(folder, [port]) {
      const args = ['--save', '', ...durability, ...(options.args ?? [])]
      const server =
        found.how === 'docker'
          ? containerPlan({ image: IMAGE, ports: [[port!, 6379]], args: ['redis-server', ...args] })
          : {
              command: found.at,
              args: [
                '--port',
                String(port),
                '--bind',
                '127.0.0.1',
                '--dir',
                folder,
                '--daemonize',
                'no',
                ...args,
              ],
            }
      return {
        ...server,
        name: 'Redis',
        address: `redis://127.0.0.1:${port}`,
        ready: () => answersPing(port!),
        readyWithinMs: 20_000,
        stopWithinMs: 5_000,
      }
    },
  })
}

/** A Redis that is loading its file answers with an error, one that asks for a password is up too. */
function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.setTimeout(1_000, () => socket.destroy(new Error('no answer to PING within 1000 ms')))
    socket.once('error', reject)
    socket.once('close', () => resolve(false))
    socket.once('data', (reply) => {
      resolve(/^(\+PONG|-NOAUTH)/.test(reply.toString('latin1')))
      socket.destroy()
    })
    socket.write('PING\r\n')
  })
}

async function findInJar(): Promise<Found> {
  const platform = { linux: 'linux', darwin: 'darwin' }[process.platform as string]
  const machine = { x64: 'amd64', arm64: 'arm64' }[process.arch as string]
  const maven = onPath('mvn')
  if (platform === undefined || machine === undefined || maven === undefined) {
    throw new ServiceMissing(
      'redis',
      'no docker engine answers and there is no redis-server on PATH; install one, or Maven (mvn) to fetch one, or set MILLRACE_TEST_REDIS',
    )
  }
  try {
    const { folder, fetched } = await cached(
      `redis-embedded-1.4.3-${platform}-${machine}`,
      async (unfinished) => {
        // Maven leaves notes of its own beside what it unpacks.
        const jar = join(unfinished, 'jar')
        await mkdir(jar)
        const include = `-Dmdep.unpack.includes=redis-server-*-${platform}-${machine}`
        const args = [`-Dartifact=${JAR}`, include, `-DoutputDirectory=${jar}`]
        await command(maven, ['-B', '-ntp', '-q', UNPACK, ...args], { withinMs: 3 * 60_000, cwd: jar })
        const name = (await readdir(jar)).find((candidate) => candidate.startsWith('redis-server-'))
        if (name === undefined) throw new Error(`${JAR} holds no redis-server for ${platform} ${machine}`)
        await rename(join(jar, name), join(unfinished, 'redis-server'))
        await chmod(join(unfinished, 'redis-server'), 0o755)
        await rm(jar, { recursive: true })
      },
    )
    const at = join(folder, 'redis-server')
    return { how: fetched ? 'fetched' : 'cache', version: await versionOf(at, ['--version']), at }
  } catch (error) {
    throw new ServiceMissing('redis', `could not be fetched: ${(error as Error).message}`, { cause: error })
  }
}
