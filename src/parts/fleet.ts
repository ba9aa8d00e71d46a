import { hostname, networkInterfaces } from 'node:os'
import type { AdminAddress } from '../admin/listen.ts'
import type { Config } from '../config/schema.ts'
import { Fleet, type FleetPorts } from '../fleet/fleet.ts'
import type { Report } from '../fleet/member.ts'
import type { Log } from '../telemetry/log.ts'
import { redisOptionsOf } from './redis.ts'

export interface OpenFleetPorts {
  readonly report: () => Omit<Report, 'name' | 'url'>
  /** Undefined while the console does not listen, or is switched off. */
  readonly address: () => AdminAddress | undefined
  readonly onOrder: FleetPorts['onOrder']
  readonly log: Log
}

/** The daemons that share our Redis; undefined for a daemon on its own. No I/O. */
export function openFleet({ redis, admin }: Config, ports: OpenFleetPorts): Fleet | undefined {
  if (redis === undefined) return undefined
  const name = hostname()
  const report = () => ({ ...ports.report(), name, url: admin.advertise ?? urlOf(ports.address()) })
  return new Fleet({ redis: redisOptionsOf(redis) }, { ...ports, report })
}

/** Where others find a console that listens everywhere: at this machine's first address that is not loopback. */
function urlOf(address: AdminAddress | undefined): string | null {
  if (address === undefined) return null
  if (address.host !== '0.0.0.0' && address.host !== '::') return address.url
  const outside = Object.values(networkInterfaces())
    .flat()
    .find((one) => one !== undefined && !one.internal && one.family === 'IPv4')
  return `http://${outside?.address ?? '127.0.0.1'}:${address.port}`
}
