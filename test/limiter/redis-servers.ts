import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Redis } from 'ioredis'
import { need } from '../need.ts'
import { freePorts } from '../services/ports.ts'
import { until } from '../until.ts'

const PORT_TRIES = 5

/** Whether a test may start Redis processes of its own; skips it, loudly, when not. */
export function ownRedis(t: TestContext): boolean {
  if (need(t, 'redis') === null) return false
  if (spawnSync('redis-server', ['--version']).status === 0) return true
  t.skip('needs redis-server on PATH')
  return false
}

/** A redis-server of a test's own, which can be killed and started again on its port with what it kept. */
export class RedisServer {
  port = 0
  readonly #folder = mkdtempSync(join(tmpdir(), 'millrace-redis-'))
  readonly #settings: readonly string[]
  #process: ChildProcess | undefined

  private constructor(settings: readonly string[]) {
    this.#settings = settings
  }

  /** Nothing is kept unless `settings` say so. It ends with the test. */
  static async start(t: TestContext, settings: readonly string[] = []): Promise<RedisServer> {
    const server = new RedisServer(settings)
    t.after(async () => {
      await server.kill()
      rmSync(server.#folder, { recursive: true, force: true, maxRetries: 10 })
    })
    for (let left = PORT_TRIES; ; left--) {
      server.port = (await freePorts(1, settings.includes('--cluster-enabled') ? [10_000] : []))[0]!
      try {
        await server.start()
        return server
      } catch (error) {
        // Somebody may have drawn the same port.
        if (left === 1) throw error
      }
    }
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const own = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.#folder, '--save', '']
    const child = spawn('redis-server', [...own, ...this.#settings], { stdio: 'ignore' })
    this.#process = child
    await this.#ask(async (redis) => {
      let pong = false
      redis.ping().then(
        () => {
          pong = true
        },
        () => {},
      )
      await until(() => pong || child.exitCode !== null, 'redis-server to answer')
    })
    if (child.exitCode !== null)
      throw new Error(`redis-server ended with ${child.exitCode} at port ${this.port}`)
  }

  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  /** One command, on a connection of its own. */
  command(name: string, ...args: (string | number)[]): Promise<unknown> {
    return this.#ask((redis) => redis.call(name, ...args))
  }

  async #ask<T>(ask: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis(this.port, '127.0.0.1', { retryStrategy: () => 20, maxRetriesPerRequest: null })
    redis.on('error', () => {})
    try {
      return await ask(redis)
    } finally {
      redis.disconnect()
    }
  }
}

/** Three masters that share the slots among them. */
export async function startCluster(t: TestContext): Promise<readonly RedisServer[]> {
  // A handshake that takes longer than the time-out is forgotten: at first it is longer than a node stands still.
  const settings = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '15000', '--appendonly', 'no']
  const nodes = await Promise.all([0, 1, 2].map(() => RedisServer.start(t, settings)))
  const each = Math.ceil(16_384 / nodes.length)
  for (const [index, node] of nodes.entries()) {
    const slots = Array.from({ length: each }, (_, i) => index * each + i).filter((slot) => slot < 16_384)
    await node.command('CLUSTER', 'ADDSLOTS', ...slots)
    if (index > 0) await node.command('CLUSTER', 'MEET', '127.0.0.1', nodes[0]!.port)
  }
  for (const node of nodes) {
    await until(async () => {
      const info = String(await node.command('CLUSTER', 'INFO'))
      return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${nodes.length}`)
    })
  }
  for (const node of nodes) await node.command('CONFIG', 'SET', 'cluster-node-timeout', 1_000)
  return nodes
}
