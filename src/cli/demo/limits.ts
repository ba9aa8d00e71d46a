/**
 * The limits of the demo, for the daemon and the simulator alike: the published shape, with shorter windows and higher
 * rates so that minutes fit into seconds. They are what decides how long the demo takes.
 */
export const DEMO_LIMITS = {
  global: { rate: 60, burst: 120 },
  platforms: {
    instagram: { rate: 16, burst: 40 },
    youtube: { rate: 24, burst: 60 },
    tiktok: { rate: 16, burst: 40 },
  },
  endpoints: {
    instagram: { user_profile: { limit: 60, windowMs: 5_000 }, user_media: { limit: 50, windowMs: 5_000 } },
    youtube: {
      channel: { limit: 60, windowMs: 5_000 },
      playlist_items: { limit: 50, windowMs: 5_000 },
      videos: { limit: 50, windowMs: 5_000 },
    },
    tiktok: { user_info: { limit: 60, windowMs: 5_000 }, video_query: { limit: 50, windowMs: 5_000 } },
  },
  defaultEndpoint: { limit: 50, windowMs: 5_000 },
} as const

/** The same, as the simulator takes them: endpoints by `platform/endpoint`. */
export function simulatorLimits() {
  const endpoints: Record<string, { limit: number; windowMs: number }> = {}
  for (const [platform, windows] of Object.entries(DEMO_LIMITS.endpoints)) {
    for (const [endpoint, window] of Object.entries(windows)) endpoints[`${platform}/${endpoint}`] = window
  }
  return { ...DEMO_LIMITS, endpoints }
}

/** The same, as the configuration takes them. */
export function configuredLimits() {
  const section = (window: { limit: number; windowMs: number }) => ({
    limit: window.limit,
    window: `${window.windowMs}ms`,
  })
  return {
    global: DEMO_LIMITS.global,
    platforms: DEMO_LIMITS.platforms,
    endpoints: Object.fromEntries(
      Object.entries(DEMO_LIMITS.endpoints).map(([platform, windows]) => [
        platform,
        Object.fromEntries(Object.entries(windows).map(([endpoint, window]) => [endpoint, section(window)])),
      ]),
    ),
    default_endpoint: section(DEMO_LIMITS.defaultEndpoint),
    // The simulator keeps none here, and ten thousand creators would wait for midnight.
    quotas: { youtube: false as const, tiktok: false as const },
    // On loopback nothing takes longer; the smaller it is, the more of a burst can be used.
    jitter: '500ms',
    latency: '100ms',
    // The simulator was started for us: nobody has called it.
    cold_start: 'full' as const,
  }
}
