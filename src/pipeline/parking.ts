import type { Delivery } from '../job/record.ts'
import type { Log } from '../telemetry/log.ts'
import { Standing } from './standing.ts'

/** What the intake does for parking. */
export interface Gate {
  /** Takes nothing in of a topic until it is released. */
  holdTopic(topic: string): void
  releaseTopic(topic: string): void
  /** Records of a topic that nobody has finished; undefined while it is not known. */
  backlog(topic: string): number | undefined
}

export interface ParkingOptions {
  /** The topic for a platform's parked jobs, by platform. */
  readonly parked: ReadonlyMap<string, string>
  /** Platforms that can take jobs at all: that others are in their way is no matter for the rest. */
  readonly live: ReadonlySet<string>
  /** Topics whose jobs are all of one platform, by topic: they are held, not parked. */
  readonly dedicated: ReadonlyMap<string, string>
  /** Topics with jobs of any platform. */
  readonly shared: readonly string[]
  /** So many jobs of one platform may wait for it in memory. */
  readonly jobsMax: number
  /** Or so many bytes of them. */
  readonly bytesMax: number
  /** So many jobs of a platform may be parked; more are taken in, and hold up whoever is behind them. */
  readonly parkedMax: number
}

/** What waits for one platform. */
interface Load {
  readonly platform: string
  readonly parkedTopic: string
  /** Topics that hold nothing but its jobs. */
  readonly ownTopics: readonly string[]
  jobs: number
  bytes: number
  /** Its own topics are held. */
  held: boolean
  /** Its jobs from other topics are parked. */
  parking: boolean
  toldFull: boolean
}

export interface ParkingState {
  readonly platform: string
  /** Jobs in memory that wait for the platform. */
  readonly waiting: number
  readonly parking: boolean
  /** Jobs in its parked topic, all daemons together; null while it is not known. */
  readonly parked: number | null
}

const LOOK_EVERY_MS = 1_000

/**
 * Keeps the jobs of a platform that cannot take them (out of quota, blocked, paused, or just slower than they come) out of the
 * way of others: when as many of them wait in memory as are its share, those that still come are put aside into its own topic,
 * in order, and their places are free for whoever is behind them. The platform's own topics, the parked one among them, are
 * held until half of its share is free; from there nothing is parked again. While jobs are parked the newer ones go behind them;
 * only when what is parked fits into memory do jobs go straight to the platform again. When every platform has its share, the
 * shared topics are held: whatever comes next is in nobody's way.
 */
export class Parking {
  readonly #options: ParkingOptions
  readonly #gate: Gate
  readonly #log: Log
  readonly #loads = new Map<string, Load>()
  #sharedHeld = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: ParkingOptions, gate: Gate, log: Log) {
    this.#options = options
    this.#gate = gate
    this.#log = log
    for (const [platform, parkedTopic] of options.parked) {
      const dedicated = [...options.dedicated].filter(([, of]) => of === platform).map(([topic]) => topic)
      this.#loads.set(platform, {
        platform,
        parkedTopic,
        ownTopics: [parkedTopic, ...dedicated],
        jobs: 0,
        bytes: 0,
        held: false,
        parking: false,
        toldFull: false,
      })
    }
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      for (const load of this.#loads.values()) this.#look(load)
    }, LOOK_EVERY_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** The topic that a job is to be parked in; undefined for one that may be done now. */
  topicFor(platform: string, { record: { topic } }: Delivery): string | undefined {
    const load = this.#loads.get(platform)
    // When all have their share nothing is gained: these were on their way before the shared topics were held.
    if (load === undefined || load.ownTopics.includes(topic) || this.#sharedHeld) return undefined
    return this.#isParking(load) ? load.parkedTopic : undefined
  }

  /** Where a job stands that is done now. */
  admit(platform: string, { bytes }: Delivery): Standing {
    const load = this.#loads.get(platform)
    return new Standing((waits) => {
      if (load !== undefined) this.#count(load, waits ? 1 : -1, waits ? bytes : -bytes)
    })
  }

  get states(): readonly ParkingState[] {
    return [...this.#loads.values()].map(({ platform, jobs, parking, parkedTopic }) => ({
      platform,
      waiting: jobs,
      parking,
      parked: this.#gate.backlog(parkedTopic) ?? null,
    }))
  }

  #isParking(load: Load): boolean {
    const { jobsMax, bytesMax, parkedMax } = this.#options
    const parked = this.#gate.backlog(load.parkedTopic) ?? 0
    if (!load.parking) {
      // Also behind what was parked by others, or by the process before this one.
      if (load.jobs < jobsMax && load.bytes < bytesMax && parked <= jobsMax) return false
      load.parking = true
      const { platform, jobs } = load
      this.#log.info(
        { platform, waiting: jobs, parked },
        `${platform} cannot take more jobs: they are parked`,
      )
    }
    if (parked < parkedMax) return true
    if (!load.toldFull) {
      load.toldFull = true
      this.#log.error(
        { platform: load.platform, parked },
        'as many jobs are parked as may be (intake.parked_max): they hold up other platforms',
      )
    }
    return false
  }

  #count(load: Load, jobs: number, bytes: number): void {
    const { jobsMax, bytesMax } = this.#options
    load.jobs += jobs
    load.bytes += bytes
    if (!load.held && (load.jobs >= jobsMax || load.bytes >= bytesMax)) {
      load.held = true
      for (const topic of load.ownTopics) this.#gate.holdTopic(topic)
      this.#weigh()
    } else if (load.held && load.jobs <= jobsMax / 2 && load.bytes <= bytesMax / 2) {
      load.held = false
      for (const topic of load.ownTopics) this.#gate.releaseTopic(topic)
      this.#weigh()
    }
  }

  #weigh(): void {
    const { live, shared } = this.#options
    const allHeld = [...this.#loads.values()].every(({ platform, held }) => held || !live.has(platform))
    if (allHeld === this.#sharedHeld) return
    this.#sharedHeld = allHeld
    for (const topic of shared) {
      if (allHeld) this.#gate.holdTopic(topic)
      else this.#gate.releaseTopic(topic)
    }
  }

  /** Ends the parking when what is parked fits into memory. */
  #look(load: Load): void {
    const parked = this.#gate.backlog(load.parkedTopic)
    if (!load.parking || load.held || parked === undefined || load.jobs + parked > this.#options.jobsMax / 2)
      return
    load.parking = false
    load.toldFull = false
    this.#log.info(
      { platform: load.platform },
      `${load.platform} takes its jobs again: none is parked any more`,
    )
  }
}
