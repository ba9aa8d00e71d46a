export interface RoomOptions {
  readonly jobsMax: number
  readonly bytesMax: number
}

/**
 * How much is in memory. A record is `waiting` when it came from the source and `handed` from when the pipeline has it. The
 * room is full at either bound, both kinds taken together, and stays full until half of it is free again, so that partitions
 * are not paused and resumed with every record.
 */
export class Room {
  readonly #options: RoomOptions
  #waiting = 0
  #waitingBytes = 0
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
    const jobs = this.#waiting + this.#handed
    const bytes = this.#waitingBytes + this.#handedBytes
    const { jobsMax, bytesMax } = this.#options
    this.#full = this.#full
      ? jobs > jobsMax / 2 || bytes > bytesMax / 2
      : jobs >= jobsMax || bytes >= bytesMax
    return this.#full
  }

  get handed(): number {
    return this.#handed
  }

  get waiting(): number {
    return this.#waiting
  }

  wait(bytes: number): void {
    this.#waiting += 1
    this.#waitingBytes += bytes
  }

  /** A waiting record goes away. */
  unwait(bytes: number): void {
    this.#waiting -= 1
    this.#waitingBytes -= bytes
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
