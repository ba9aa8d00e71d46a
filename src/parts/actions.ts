import type { Actions } from '../admin/actions.ts'
import type { Config } from '../config/schema.ts'
import { ReplayDesk } from '../dead-letters/replay-desk.ts'
import type { Fleet } from '../fleet/fleet.ts'
import type { Order } from '../fleet/order.ts'
import { messageOf } from '../job/errors.ts'
import type { Publisher } from '../job/record.ts'
import type { PlatformSwitch } from '../pipeline/platform-switch.ts'
import type { Log } from '../telemetry/log.ts'
import { openDeadLetters } from './dead-letters.ts'
import type { Topics } from './topics.ts'

export interface ActionsParts {
  readonly platforms: ReadonlySet<string>
  readonly pauses: PlatformSwitch
  readonly fleet: Fleet | undefined
  readonly replays: ReplayDesk
}

/** What the console may change. Pausing and resuming is for all daemons that share our Redis, or for this one without it. */
export function actionsOf({ platforms, pauses, fleet, replays }: ActionsParts): Actions {
  const order = async (platform: string, paused: boolean, because: string): Promise<string | null> => {
    if (!platforms.has(platform)) return `There is no platform ${platform} here.`
    if (!pauses.isLive(platform)) return `${platform} has no credentials here: nothing is asked of it anyway.`
    const given = { platform, paused, because, atMs: Date.now() }
    if (fleet === undefined) {
      carryOut(pauses, given)
      return null
    }
    try {
      await fleet.order(given)
      return null
    } catch (error) {
      return `Nothing was changed: ${messageOf(error, 300)}`
    }
  }
  return {
    pause: (platform, because) => order(platform, true, because === '' ? 'by hand' : `by hand, ${because}`),
    resume: (platform) => order(platform, false, ''),
    replay: async (reason) =>
      replays.begin(reason) ? null : 'Dead letters are being sent back already: wait until that is done.',
  }
}

export function carryOut(pauses: PlatformSwitch, { platform, paused, because }: Order): void {
  if (paused) pauses.pause(platform, because)
  else pauses.resume(platform)
}

/** Sends dead letters back through the daemon's own publisher; where to is as with `millrace dlq replay`. */
export function openReplays(config: Config, topics: Topics, publisher: Publisher, log: Log): ReplayDesk {
  const isKafka = config.kafka !== undefined
  const jobTopics = topics.jobs.map(({ name }) => name)
  return new ReplayDesk(
    {
      topics: new Set(isKafka ? jobTopics : [...jobTopics, topics.followUps]),
      marksTopic: topics.replayed,
      destinationOf: (topic) => (isKafka ? topic : topics.followUps),
    },
    { open: () => openDeadLetters(config, topics, log), publisher, log },
  )
}
