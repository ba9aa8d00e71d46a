import { randomUUID } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import { messageOf } from '../job/errors.ts'
import { createClient, RedisLink, type RedisLinkOptions, type RedisUser } from '../redis/link.ts'
import type { Log } from '../telemetry/log.ts'
import { type Member, memberOf, type Report } from './member.ts'
import { type Order, orderOf } from './order.ts'

export interface FleetOptions {
  readonly redis: RedisLinkOptions
  /** Between two beats. Default 2,000. */
  readonly beatMs?: number
}

export interface FleetPorts {
  /** What this daemon says of itself. */
  readonly report: () => Report
  /** An order of somebody, here or at another daemon. Called once for each; at the start only with platforms that are to pause. */
  readonly onOrder: (order: Order) => void
  readonly log: Log
}

const USER: RedisUser = {
  name: 'fleet',
  whileAway: 'consoles do not know of other daemons',
  pipelines: true,
}
const BEAT_MS = 2_000
/** Whoever has been silent for so long is forgotten; the clocks of two machines may be apart a little. */
const FORGET_MS = 60_000
const MEMBERS_MAX = 200

/**
 * The daemons that share a Redis, each with what it says of itself every two seconds, and the orders that are for all of them: a
 * platform that somebody pauses in one console is paused by every daemon within a beat, and by one that starts later. Two
 * hashes under one hash tag, so that a cluster takes them. Nothing waits for any of this: while Redis is away the list is empty.
 */
export class Fleet {
  readonly #id = randomUUID()
  readonly #client: Redis | Cluster
  readonly #link: RedisLink
  readonly #ports: FleetPorts
  readonly #beatMs: number
  readonly #daemonsKey: string
  readonly #ordersKey: string
  /** Time of the last order that was carried out, by platform. */
  readonly #done = new Map<string, number>()
  /** How many orders were given here. */
  #given = 0
  #members: readonly Member[] = []
  #heard = false
  #beating: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor({ redis, beatMs = BEAT_MS }: FleetOptions, ports: FleetPorts) {
    this.#client = createClient(redis, USER)
    this.#link = new RedisLink(this.#client, redis, USER, ports.log)
    this.#ports = ports
    this.#beatMs = beatMs
    this.#daemonsKey = `{${redis.keyPrefix}}:daemons`
    this.#ordersKey = `{${redis.keyPrefix}}:orders`
  }

  /** Rejects with ServiceAwayError when Redis does not answer in time. */
  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    await this.#link.start()
    this.#timer = setInterval(() => void this.#beat(), this.#beatMs).unref()
    await this.#beat()
  }

  /** Says good-bye, so that nobody takes this daemon for one that has fallen silent. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#beating
    await this.#link.run(() => this.#client.hdel(this.#daemonsKey, this.#id)).catch(() => 0)
    await this.#link.stop()
  }

  /** By name and age; this daemon is `isSelf`. Empty while Redis is away. */
  get members(): readonly Member[] {
    return this.#members
  }

  /** Tells all daemons, this one at once. Rejects with ServiceAwayError: then nobody has been told. */
  async order(order: Order): Promise<void> {
    const { platform, ...rest } = order
    this.#given += 1
    await this.#link.run(() => this.#client.hset(this.#ordersKey, platform, JSON.stringify(rest)))
    this.#carryOut(order)
  }

  async #beat(): Promise<void> {
    this.#beating ??= this.#exchange()
      .catch((error: unknown) => {
        this.#members = []
        this.#ports.log.debug({ error: messageOf(error) }, 'the fleet was not heard')
      })
      .finally(() => {
        this.#beating = undefined
      })
    await this.#beating
  }

  async #exchange(): Promise<void> {
    const client = this.#client
    const nowMs = Date.now()
    const given = this.#given
    const mine = JSON.stringify({ ...this.#ports.report(), seenMs: nowMs })
    const [, told, orders] = await this.#link.run(() =>
      Promise.all([
        client.hset(this.#daemonsKey, this.#id, mine),
        client.hgetall(this.#daemonsKey),
        client.hgetall(this.#ordersKey),
      ]),
    )
    const members: Member[] = []
    const silent: string[] = []
    for (const [id, text] of Object.entries(told)) {
      const member = memberOf(id, text, { nowMs, selfId: this.#id })
      if (member === undefined || member.silentMs > FORGET_MS) silent.push(id)
      else members.push(member)
    }
    const sorted = members.sort(
      (a, b) => a.name.localeCompare(b.name) || (a.startedAt < b.startedAt ? -1 : 1),
    )
    this.#members = sorted.slice(0, MEMBERS_MAX)
    // What was read before an order of ours was written would undo it until the next beat. By time it cannot be told: clocks differ.
    if (given === this.#given) {
      for (const [platform, text] of Object.entries(orders)) {
        const order = orderOf(platform, text)
        if (order !== undefined) this.#carryOut(order)
      }
      this.#heard = true
    }
    if (silent.length > 0) await this.#link.run(() => client.hdel(this.#daemonsKey, ...silent))
  }

  #carryOut(order: Order): void {
    const { platform, atMs, paused } = order
    if (this.#done.get(platform) === atMs) return
    this.#done.set(platform, atMs)
    // At the start nothing has been paused yet that could be resumed.
    if (this.#heard || paused) this.#ports.onOrder(order)
  }
}
