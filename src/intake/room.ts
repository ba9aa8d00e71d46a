export interface RoomOptions {
  readonly jobsMax: number
  readonly bytesMax: number
}

/**
 * How many records the pipeline has, and their bytes. Full at either bound, and full it stays until half of it is free again, so
 * that partitions are not paused and resumed with every record.
 */
export class Room {
  readonly #options: RoomOptions
  #handed = 0
  #handedBytes = 0
  #full = false

  constructor(options: RoomOptions) {
    this.#options = options
  }

  /** One more is handed out only under the bounds; a single record passes however large it is. */
  get canHand(): boolean {
    if (this.#handed === 0) return true
    return this.#handed < this.#options.jobsMax && this.#handedBytes < this.#options.bytesMax
  }

  get isFull(): boolean {
    const { jobsMax, bytesMax } = this.#options
    this.#full = this.#full
      ? this.#handed > jobsMax / 2 || this.#handedBytes > bytesMax / 2
      : this.#handed >= jobsMax || this.#handedBytes >= bytesMax
    return this.#full
  }

  get handed(): number {
    return this.#handed
  }

  hand(bytes: number): void {
    this.#handed += 1
    this.#handedBytes += bytes
  }

  /** A handed record is settled, or lost. */
  settle(bytes: number): void {
    this.#handed -= 1
    this.#handedBytes -= bytes
  }
}
