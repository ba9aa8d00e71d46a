import type { Redis } from 'ioredis'
import { endpointLevel, GLOBAL_LEVEL, platformLevel } from '../../src/limiter/plan.ts'
import { endpointName, GRAIN_US, PLATFORM } from './cost-plan.ts'

/** What the state holds before it is asked. */
export interface Filling {
  /** Of the platform, whether a call asks for them or not. */
  readonly endpoints: number
  /** Of every endpoint, one unit each. */
  readonly logEntries: number
  /** In the queue of every level, waiting for one permit each. */
  readonly daemons: number
}

/**
 * ARGV: entries of the log, grain in microseconds, then names of windows. The layout of decide.lua; logs end now, on
 * the server's clock.
 */
const WINDOWS = `
local entries, grain = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local log = {}
for i = entries - 1, 0, -1 do
  log[#log + 1] = (math.floor(now / grain) - i) * grain
  log[#log + 1] = 1
end
local packed = cmsgpack.pack({ 'window', 0, 0, 1000, 0, {}, log, {} })
for i = 3, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], packed) end`

/** ARGV: daemons, then names of levels. */
const QUEUES = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local queue = {}
for i = 1, tonumber(ARGV[1]) do
  for _, value in ipairs({ 'daemon-' .. i .. '/${PLATFORM}', now, now + 3600000000, 1, 1, 1, 0 }) do queue[#queue + 1] = value end
end
local packed = cmsgpack.pack(queue)
for i = 2, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], packed) end`

/** Puts a state into Redis that would take long to reach by calls. Who calls it checks that the limiter reads it so. */
export async function fill(redis: Redis, keyPrefix: string, filling: Filling): Promise<void> {
  const { endpoints, logEntries, daemons } = filling
  const windows = Array.from({ length: endpoints }, (_, i) => endpointLevel(PLATFORM, endpointName(i)))
  await redis.eval(WINDOWS, 1, `{${keyPrefix}}:levels`, logEntries, GRAIN_US, ...windows)
  if (daemons === 0) return
  const levels = [GLOBAL_LEVEL, platformLevel(PLATFORM), ...windows]
  await redis.eval(QUEUES, 1, `{${keyPrefix}}:queues`, daemons, ...levels)
}
