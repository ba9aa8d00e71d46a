export interface KafkaSourceOptions {
  readonly brokers: readonly string[]
  readonly groupId: string
  /** Jobs topics and retry topics alike. They must exist. */
  readonly topics: readonly string[]
  /** Where a group that never committed begins. Default `earliest`: jobs that were published before are jobs. */
  readonly from?: 'earliest' | 'latest'
  /** Default 30,000. A daemon that is silent for so long loses its partitions. */
  readonly sessionTimeoutMs?: number
  /** Default 3,000. */
  readonly heartbeatIntervalMs?: number
  /** Default 60,000. */
  readonly rebalanceTimeoutMs?: number
  /**
   * Default 250. kafkajs fetches again only after so long when all partitions of a broker are paused, so it is also how long a
   * resume, or the news of a rebalance, may lag.
   */
  readonly fetchWaitMs?: number
  /** One fetch from one broker, as it is on the wire. Default 4 MiB: what may come on top of the intake's bounds. */
  readonly fetchBytesMax?: number
  /** How often the ends of the partitions are asked for. Default 5,000; 0 turns it off (lag is then known only after records). */
  readonly lagEveryMs?: number
  /** For start: connecting and finding the group's coordinator. Default 15,000. */
  readonly startTimeoutMs?: number
}
