import type { S3Client } from '@aws-sdk/client-s3'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import type { ClickHouseClient } from '@clickhouse/client'
import { poll } from '../services/poll.ts'
import type { Running } from '../services/running.ts'
import type { Daemon, Fleet } from './fleet.ts'
import type { Parts } from './parts.ts'

/** What faults are done to. */
export interface Arena {
  readonly parts: Parts
  readonly fleet: Fleet
  readonly objects: S3Client
  readonly database: ClickHouseClient
  /** The name of the database and of the bucket. */
  readonly run: string
  readonly sessionMs: number
}

/** One fault, with everything about it decided. */
export interface Fault {
  readonly name: FaultName
  /** Whom it hits, for the log. */
  readonly whom: string
  /** Between `do` and `heal`. */
  readonly lastsMs: number
  /** Whether the group has to recover from when it was done; else from when it was healed. */
  readonly overOnceDone: boolean
  do(): Promise<void>
  heal(): Promise<void>
}

/** Draws whole numbers from a seed: `from` to `to`, both included. */
export type Draw = (from: number, to: number) => number

type Make = (arena: Arena, draw: Draw) => Omit<Fault, 'name'>

export const FAULTS = {
  'daemon killed': (arena, draw) => daemonEnded(arena, draw, (daemon) => arena.fleet.kill(daemon)),
  'daemon told to stop': (arena, draw) => daemonEnded(arena, draw, (daemon) => arena.fleet.stop(daemon)),
  'daemon frozen': (arena, draw) => {
    const daemon = oneOf(arena, draw)
    return {
      whom: daemon.name,
      // Longer than its session: the group goes on without it, and it wakes up believing that it is still a member.
      lastsMs: arena.sessionMs + draw(500, 3_000),
      overOnceDone: false,
      do: async () => daemon.freeze(),
      heal: async () => daemon.thaw(),
    }
  },
  'daemon joins and leaves': ({ fleet }, draw) => {
    let extra: Daemon | undefined
    return {
      whom: 'one more',
      lastsMs: draw(1_000, 3_000),
      overOnceDone: false,
      do: async () => {
        const place = Math.max(...fleet.daemons.map((daemon) => daemon.place)) + 1
        extra = await fleet.start(place)
      },
      heal: async () => {
        if (extra !== undefined) await fleet.stop(extra)
      },
    }
  },
  'broker killed': ({ parts }, draw) => serviceKilled(parts.kafka, draw(300, 3_000)),
  'broker frozen': ({ parts }, draw) => serviceFrozen(parts.kafka, draw(3_000, 8_000)),
  'Redis killed': ({ parts }, draw) => serviceKilled(parts.redis, draw(300, 4_000)),
  'Redis frozen': ({ parts }, draw) => serviceFrozen(parts.redis, draw(1_000, 5_000)),
  'ClickHouse killed': ({ parts }, draw) => serviceKilled(parts.clickhouse, draw(300, 4_000)),
  'ClickHouse frozen': ({ parts }, draw) => serviceFrozen(parts.clickhouse, draw(2_000, 6_000)),
  'ClickHouse refuses rows': (arena, draw) => insertsRefused(arena, draw(2_000, 6_000)),
  'store killed': ({ parts }, draw) => serviceKilled(parts.s3, draw(500, 5_000)),
  'store full': (arena, draw) => storeFull(arena, draw(2_000, 6_000)),
} as const satisfies Record<string, Make>

export type FaultName = keyof typeof FAULTS
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[]

export function makeFault(name: FaultName, arena: Arena, draw: Draw): Fault {
  return { name, ...FAULTS[name](arena, draw) }
}

function oneOf({ fleet }: Arena, draw: Draw): Daemon {
  const { daemons } = fleet
  return daemons[draw(0, daemons.length - 1)]!
}

/** Ended in one way or the other, and another one started in its place. */
function daemonEnded(arena: Arena, draw: Draw, end: (daemon: Daemon) => Promise<void>): Omit<Fault, 'name'> {
  const daemon = oneOf(arena, draw)
  return {
    whom: daemon.name,
    lastsMs: draw(0, 2_000),
    overOnceDone: true,
    do: () => end(daemon),
    heal: async () => {
      await arena.fleet.start(daemon.place)
    },
  }
}

function serviceKilled(service: Running, lastsMs: number): Omit<Fault, 'name'> {
  return {
    whom: '',
    lastsMs,
    overOnceDone: false,
    do: () => service.kill(),
    heal: () => service.restart(),
  }
}

function serviceFrozen(service: Running, lastsMs: number): Omit<Fault, 'name'> {
  return {
    whom: '',
    lastsMs,
    overOnceDone: false,
    do: () => service.freeze(),
    heal: () => service.thaw(),
  }
}

/**
 * Too many parts, the way in which ClickHouse most often refuses: with the limit at one part every insert is too many, and
 * queries go on. It says so in system.errors.
 */
function insertsRefused({ database, run }: Arena, lastsMs: number): Omit<Fault, 'name'> {
  const alterAll = async (what: string) => {
    const tables = await rowsOf<{ name: string }>(
      database,
      `SELECT name FROM system.tables WHERE database = '${run}' AND engine LIKE '%MergeTree' AND name NOT LIKE '.inner%'`,
    )
    if (tables.length === 0) throw new Error(`the database ${run} has no tables`)
    for (const { name } of tables) await database.command({ query: `ALTER TABLE ${run}.${name} ${what}` })
  }
  const refused = async () => {
    const query = "SELECT toUInt32(sum(value)) AS n FROM system.errors WHERE name = 'TOO_MANY_PARTS'"
    return (await rowsOf<{ n: number }>(database, query))[0]?.n ?? 0
  }
  let before = 0
  return {
    whom: '',
    lastsMs,
    overOnceDone: false,
    do: async () => {
      before = await refused()
      await alterAll('MODIFY SETTING parts_to_throw_insert = 1')
    },
    heal: async () => {
      // On a slow machine nothing was inserted meanwhile.
      await poll(async () => ((await refused()) > before ? true : undefined), {
        withinMs: 60_000,
        what: 'ClickHouse refuses an insert',
      })
      await rowsOf(database, `SELECT count() FROM ${run}.points FINAL`)
      await alterAll('RESET SETTING parts_to_throw_insert')
    },
  }
}

function storeFull({ parts, objects, run }: Arena, lastsMs: number): Omit<Fault, 'name'> {
  return {
    whom: parts.disk.how,
    lastsMs,
    overOnceDone: false,
    do: async () => {
      await parts.disk.fill()
      const put = new PutObjectCommand({ Bucket: run, Key: 'chaos/probe', Body: Buffer.alloc(100_000) })
      const stored = await objects.send(put).then(
        () => true,
        () => false,
      )
      if (stored) throw new Error('the store was to be full, and took an object')
    },
    heal: () => parts.disk.free(),
  }
}

async function rowsOf<T>(database: ClickHouseClient, query: string): Promise<T[]> {
  return (await database.query({ query, format: 'JSONEachRow' })).json<T>()
}
