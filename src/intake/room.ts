/** So many records, and so many bytes of them. */
export interface Bounds {
  readonly jobsMax: number
  readonly bytesMax: number
}

export interface RoomOptions extends Bounds {
  /** Full it stays until no more than this share of it is taken, (0, 1). */
  readonly resumeShare: number
  /** What a topic may take of it, for those that may not take all. */
  readonly ofTopics: ReadonlyMap<string, Bounds>
}

class Taken {
  jobs = 0
  bytes = 0

  /** A single record fits, however large it is. */
  fits({ jobsMax, bytesMax }: Bounds): boolean {
    return this.jobs === 0 || (this.jobs < jobsMax && this.bytes < bytesMax)
  }

  add(jobs: number, bytes: number): void {
    this.jobs += jobs
    this.bytes += bytes
  }
}

/**
 * How many records the pipeline has, and their bytes. Full at either bound, and full it stays until some of it is free again, so
 * that partitions are not paused and resumed with every record.
 */
export class Room {
  readonly #options: RoomOptions
  readonly #all = new Taken()
  readonly #ofTopics = new Map<string, Taken>()
  #full = false

  constructor(options: RoomOptions) {
    this.#options = options
    for (const topic of options.ofTopics.keys()) this.#ofTopics.set(topic, new Taken())
  }

  /** One more is handed out only under the bounds; a single record passes however large it is. */
  get canHand(): boolean {
    return this.#all.fits(this.#options)
  }

  /** Whether the topic has not taken yet what it may; nothing is said of the room as a whole. */
  canHandOf(topic: string): boolean {
    const bounds = this.#options.ofTopics.get(topic)
    return bounds === undefined || this.#ofTopics.get(topic)!.fits(bounds)
  }

  get isFull(): boolean {
    const { jobsMax, bytesMax, resumeShare } = this.#options
    const { jobs, bytes } = this.#all
    this.#full = this.#full
      ? jobs > jobsMax * resumeShare || bytes > bytesMax * resumeShare
      : jobs >= jobsMax || bytes >= bytesMax
    return this.#full
  }

  get handed(): number {
    return this.#all.jobs
  }

  hand(topic: string, bytes: number): void {
    this.#all.add(1, bytes)
    this.#ofTopics.get(topic)?.add(1, bytes)
  }

  /** A handed record is settled, or lost. */
  settle(topic: string, bytes: number): void {
    this.#all.add(-1, -bytes)
    this.#ofTopics.get(topic)?.add(-1, -bytes)
  }
}
