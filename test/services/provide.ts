import { connect } from 'node:net'
import { SERVICE_VARIABLES, type ServiceName } from '../need.ts'
import { findChromium } from './chromium.ts'
import { startClickhouse } from './clickhouse.ts'
import { isProgram } from './command.ts'
import { type Found, ServiceMissing } from './found.ts'
import { startKafka } from './kafka.ts'
import { findKcat } from './kcat.ts'
import { poll } from './poll.ts'
import { findPrometheus, findPromtool } from './prometheus.ts'
import { startRedis } from './redis.ts'
import type { Running } from './running.ts'
import { startS3 } from './s3.ts'

/** A service that tests can use now. */
export interface Provided {
  readonly name: ServiceName
  /** What its variable in test/need.ts is set to. */
  readonly address: string
  readonly found: Found
  /** From the question until it answers, fetching included. */
  readonly readyInMs: number
  readonly stop: () => Promise<void>
}

const STARTS: Partial<Record<ServiceName, () => Promise<Running>>> = {
  // Nobody kills the one of all tests: on a machine that stands still for some seconds it must not fence itself.
  kafka: () => startKafka({ properties: { 'broker.session.timeout.ms': '30000' } }),
  redis: startRedis,
  clickhouse: startClickhouse,
  s3: startS3,
}

/** Tools: their "address" is the path of a program, and nothing is started. */
const TOOLS: Partial<Record<ServiceName, () => Promise<Found>>> = {
  prometheus: findPrometheus,
  promtool: findPromtool,
  kcat: findKcat,
  chromium: findChromium,
}

export const SERVICE_NAMES = Object.keys(SERVICE_VARIABLES) as ServiceName[]

/**
 * A service at the address that its variable says, or one that is started here and ended by `stop`. Rejects with
 * ServiceMissing when there is none to be had, and with another error when it is there and does not start.
 */
export async function provide(name: ServiceName): Promise<Provided> {
  const startedAt = performance.now()
  const nothing = async () => {}
  const given = process.env[SERVICE_VARIABLES[name]]
  if (given !== undefined && given !== '') {
    await checkGiven(name, given)
    const found: Found = { how: 'environment', version: '?', at: given }
    return { name, address: given, found, readyInMs: performance.now() - startedAt, stop: nothing }
  }
  const tool = TOOLS[name]
  if (tool !== undefined) {
    const found = await tool()
    return { name, address: found.at, found, readyInMs: performance.now() - startedAt, stop: nothing }
  }
  const running = await STARTS[name]!()
  const readyInMs = performance.now() - startedAt
  return { name, address: running.address, found: running.found, readyInMs, stop: () => running.stop() }
}

/** An address that nobody answers would fail every test one by one; this says it once. */
async function checkGiven(name: ServiceName, given: string): Promise<void> {
  const variable = SERVICE_VARIABLES[name]
  if (TOOLS[name] !== undefined) {
    if (!isProgram(given))
      throw new ServiceMissing(name, `${variable}=${given}: expected the path of a program`)
    return
  }
  const address = hostAndPort(given)
  if (address === undefined) {
    throw new ServiceMissing(
      name,
      `${variable} is no address: expected host:port for kafka, else a URL with a port`,
    )
  }
  try {
    await poll(() => connects(address), { withinMs: 3_000, everyMs: 200, what: `${variable} answers` })
  } catch (error) {
    throw new ServiceMissing(name, `${variable}: nothing listens at ${address.host}:${address.port}`, {
      cause: error,
    })
  }
}

/** Of `127.0.0.1:9092` (the first, when there are several) and of `redis://user:password@host:6379/0`. */
function hostAndPort(address: string): { host: string; port: number } | undefined {
  const first = address.split(',')[0]!
  const text = first.includes('://') ? first : `tcp://${first}`
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  const port = Number(
    url.port || { 'http:': 80, 'https:': 443, 'redis:': 6379, 'rediss:': 6379 }[url.protocol],
  )
  return url.hostname === '' || !Number.isInteger(port) ? undefined : { host: url.hostname, port }
}

function connects(address: { host: string; port: number }): Promise<true> {
  return new Promise((resolve, reject) => {
    const socket = connect(address, () => {
      socket.destroy()
      resolve(true)
    })
    socket.setTimeout(1_000, () => socket.destroy(new Error('no connection within 1000 ms')))
    socket.once('error', reject)
  })
}
