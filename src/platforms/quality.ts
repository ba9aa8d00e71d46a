/** Above this many followers an engagement of more than a fifth does not happen by itself. */
const SUSPICIOUS_FOLLOWERS_MIN = 100_000
const SUSPICIOUS_ENGAGEMENT_MIN = 0.2

export interface Snapshot {
  /** Undefined when the platform hides them. */
  readonly followers?: number | undefined
  /** A ratio, 0 to 1 and sometimes above: see `engagementRate`. */
  readonly engagementRate?: number | undefined
}

/**
 * Flags that one snapshot earns: `suspicious_engagement` for more than 100,000 followers with an engagement above 20%;
 * `hidden_followers` when the platform keeps their number to itself.
 */
export function qualityFlags(snapshot: Snapshot): string[] {
  const { followers, engagementRate } = snapshot
  if (followers === undefined) return ['hidden_followers']
  const suspicious =
    followers > SUSPICIOUS_FOLLOWERS_MIN &&
    engagementRate !== undefined &&
    engagementRate > SUSPICIOUS_ENGAGEMENT_MIN
  return suspicious ? ['suspicious_engagement'] : []
}

/** `suspicious_drop` when more than half of the followers went between two snapshots of one creator. */
export function dropFlags(previous: Snapshot, current: Snapshot): string[] {
  if (previous.followers === undefined || current.followers === undefined) return []
  return current.followers < previous.followers / 2 ? ['suspicious_drop'] : []
}

/**
 * How much a creator's audience reacts: the mean over recent posts of (likes + comments) / followers, as a ratio. The same on all
 * platforms, so shares and views, which not all of them tell, stay out. Posts that hide their likes do not count. Undefined
 * without followers or posts.
 */
export function engagementRate(
  followers: number | undefined,
  posts: readonly { readonly likes?: number | undefined; readonly comments?: number | undefined }[],
): number | undefined {
  if (followers === undefined || followers <= 0) return undefined
  let sum = 0
  let counted = 0
  for (const { likes, comments } of posts) {
    if (likes === undefined) continue
    sum += likes + (comments ?? 0)
    counted += 1
  }
  return counted === 0 ? undefined : sum / counted / followers
}
