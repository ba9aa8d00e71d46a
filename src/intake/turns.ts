import type { PartitionIntake } from './partition-intake.ts'

interface TopicTurns {
  readonly weight: number
  readonly partitions: PartitionIntake[]
  /** Where the next search begins. */
  at: number
  credit: number
}

/**
 * Whose turn it is to hand out a record: topics by their weights, the partitions of a topic one after the other. Smooth weighted
 * round-robin, as nginx spreads requests: every topic that has something gains its weight, the richest goes and pays what all of
 * them gained. Over any stretch each has its share, and none goes many times in a row.
 */
export class Turns {
  readonly #weights: Readonly<Record<string, number>>
  readonly #topics = new Map<string, TopicTurns>()

  /** `weights`: by topic; default 1. */
  constructor(weights: Readonly<Record<string, number>>) {
    this.#weights = weights
  }

  add(partition: PartitionIntake): void {
    const { topic } = partition.partition
    const turns = this.#topics.get(topic)
    if (turns !== undefined) turns.partitions.push(partition)
    else
      this.#topics.set(topic, {
        weight: this.#weights[topic] ?? 1,
        partitions: [partition],
        at: 0,
        credit: 0,
      })
  }

  remove(partition: PartitionIntake): void {
    const { topic } = partition.partition
    const turns = this.#topics.get(topic)
    const index = turns?.partitions.indexOf(partition) ?? -1
    if (turns === undefined || index < 0) return
    turns.partitions.splice(index, 1)
    if (turns.partitions.length === 0) this.#topics.delete(topic)
  }

  /** The partition that goes next, of those that may; undefined when none may. */
  next(may: (partition: PartitionIntake) => boolean): PartitionIntake | undefined {
    let chosen: PartitionIntake | undefined
    let richest: TopicTurns | undefined
    let gained = 0
    for (const turns of this.#topics.values()) {
      const found = this.#find(turns, may)
      if (found === undefined) {
        // Who has nothing saves nothing up.
        turns.credit = 0
        continue
      }
      turns.credit += turns.weight
      gained += turns.weight
      if (richest !== undefined && turns.credit <= richest.credit) continue
      richest = turns
      chosen = found
    }
    if (richest === undefined || chosen === undefined) return undefined
    richest.credit -= gained
    richest.at = (richest.partitions.indexOf(chosen) + 1) % richest.partitions.length
    return chosen
  }

  #find({ partitions, at }: TopicTurns, may: (partition: PartitionIntake) => boolean) {
    for (let step = 0; step < partitions.length; step++) {
      const partition = partitions[(at + step) % partitions.length]!
      if (may(partition)) return partition
    }
    return undefined
  }
}
