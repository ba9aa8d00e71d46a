// Generated from the OpenAPI document by scripts/docs.ts; do not edit.

export type ScrapeRequestInput = {
  readonly platform: 'instagram' | 'tiktok' | 'youtube'
  /** The platform's id or handle of the creator. */
  readonly creator_id: string
  readonly job_type?: string
  readonly priority?: number
  /** Default: one that is made up. */
  readonly job_id?: string
  readonly expires_at?: string
  /** The adapter's own. */
  readonly params?: Readonly<Record<string, unknown>>
}

export type Problem = {
  /** An address, relative to the API, that explains the code. */
  readonly type: string
  readonly title: string
  readonly status: number
  /** Stable: branch on it. */
  readonly code: 'invalid_request' | 'cursor_invalid' | 'unauthenticated' | 'forbidden' | 'not_found' | 'method_not_allowed' | 'request_timeout' | 'idempotency_in_progress' | 'too_large' | 'unsupported_media_type' | 'misdirected' | 'idempotency_mismatch' | 'job_refused' | 'rate_limited' | 'too_many_queries' | 'headers_too_large' | 'internal' | 'unavailable' | 'query_timeout'
  /** What was found and what was expected, in a sentence. */
  readonly detail: string
  /** The id of the request, as in `x-request-id`. */
  readonly instance: string
  /** Each thing that is wrong with the request. */
  readonly errors?: readonly ({
    readonly path: string
    readonly message: string
  })[]
}

export type CreatorsPage = {
  /** The moment that the followers of all pages are of. */
  readonly as_of: string
  readonly items: readonly ({
    readonly platform: string
    readonly creator_id: string
    readonly name?: string
    readonly handle?: string
    readonly biography?: string
    readonly verified?: boolean
    readonly gone?: boolean
    readonly flags?: readonly (string)[]
    readonly followers?: number | null
    readonly engagement_rate?: number | null
    /** Of the newest snapshot. */
    readonly ts?: string | null
  })[]
  /** null on the last page. */
  readonly next_cursor: string | null
}

export type Creator = {
  readonly platform: string
  readonly creator_id: string
  readonly name: string
  readonly handle: string
  readonly biography: string
  readonly verified: boolean
  /** The platform says that there is no such creator any more. */
  readonly gone: boolean
  readonly flags: readonly (string)[]
  readonly email: string
  /** The platform's own. */
  readonly picture_url: string
  /** By metric. */
  readonly numbers: Readonly<Record<string, number>>
  /** Of the snapshot before. */
  readonly followers_before: number | null
  readonly followers_before_ts: string | null
  /** The logical time of the snapshot: when it was asked for. */
  readonly ts: string
  /** When the platform answered, if more than a minute from `ts`. */
  readonly observed_at: string | null
  /** How old the snapshot was when this was made. */
  readonly age_s: number
  readonly pictures: readonly ({
    /** `avatar`, or the id of a post. */
    readonly subject: string
    readonly variant: string
    readonly key: string
    /** Opens it for some hours; null where the store has no addresses. */
    readonly url: string | null
    readonly width: number
    readonly height: number
    readonly bytes: number
    readonly thumbhash: string
  })[]
}

export type History = {
  readonly platform: string
  readonly creator_id: string
  readonly metric: string
  readonly step: 'hour' | 'day' | 'week'
  readonly from: string
  readonly to: string
  /** One for each step, also for those without a number: a gap is a gap. */
  readonly points: readonly ({
    /** When the step begins. */
    readonly at: string
    /** The last number in it; null where there is none. */
    readonly value: number | null
    readonly ts: string | null
    /** When the platform answered, if more than a minute from `ts`. */
    readonly observed_at: string | null
  })[]
}

export type MediaPage = {
  readonly items: readonly ({
    readonly media_id: string
    readonly kind: string
    readonly title: string
    readonly url: string
    readonly published_at: string | null
    readonly ts: string
    /** The newest, by metric. */
    readonly numbers: Readonly<Record<string, number>>
  })[]
  /** null on the last page. */
  readonly next_cursor: string | null
}

export type Readiness = {
  readonly ready: boolean
  readonly reasons: readonly (string)[]
}

export type Dashboard = {
  readonly at: string
  readonly platforms: readonly ({
    readonly platform: string
    readonly creators: number
    readonly gone: number
    readonly verified: number
    readonly flagged: number
    readonly followers: number
    readonly coverage: {
      /** Share of the creators that were seen in the last 24 hours. */
      readonly seen_24h: number
      readonly seen_7d: number
    }
    readonly freshness: {
      readonly newest: string | null
      readonly median_age_s: number
      readonly p95_age_s: number
    }
  })[]
  /** Of the creators that were seen on each day. */
  readonly daily: readonly ({
    readonly platform: string
    readonly day: string
    readonly creators: number
    readonly followers: number
  })[]
  readonly rising: readonly ({
    readonly platform: string
    readonly creator_id: string
    readonly name: string
    readonly handle: string
    readonly first_day: string
    readonly last_day: string
    readonly followers_from: number
    readonly followers_to: number
    readonly absolute: number
    /** 0.05 is five per cent; null when the first number is 0. */
    readonly relative: number | null
  })[]
  readonly falling: readonly ({
    readonly platform: string
    readonly creator_id: string
    readonly name: string
    readonly handle: string
    readonly first_day: string
    readonly last_day: string
    readonly followers_from: number
    readonly followers_to: number
    readonly absolute: number
    /** 0.05 is five per cent; null when the first number is 0. */
    readonly relative: number | null
  })[]
  readonly jobs_24h: readonly ({
    readonly platform: string
    readonly status: string
    readonly reason: string
    readonly jobs: number
  })[]
}

export type Scrape = {
  readonly job_id: string
  /** `running` from its first call to the platform on; `queued` before, and while it waits for its next try. */
  readonly state: 'queued' | 'running' | 'done' | 'skipped' | 'dead'
  readonly platform: string
  readonly creator_id: string
  readonly job_type: string
  /** A code of docs/reasons.md, when not done. */
  readonly reason: string | null
  readonly attempts: number
  readonly requested_at: string
  readonly finished_at: string | null
}

export type ScrapesAccepted = {
  readonly jobs: readonly ({
    readonly job_id: string
    readonly href: string
  })[]
}

export type Event = {
  readonly kind: 'snapshot' | 'job'
  readonly platform: string
  /** As the platform normalises it. */
  readonly creator_id: string
  readonly job_id: string
  readonly job_type: string
  readonly status: 'done' | 'skipped' | 'dead'
  readonly reason: string | null
  readonly rows: number
  readonly finished_at: string
  /** Of a snapshot: what the adapter returned, when it is small. */
  readonly data: unknown
}

export type Trending = {
  readonly window: '1d' | '7d' | '30d' | '90d'
  readonly items: readonly ({
    readonly platform: string
    readonly creator_id: string
    readonly name: string
    readonly handle: string
    readonly first_day: string
    readonly last_day: string
    readonly followers_from: number
    readonly followers_to: number
    readonly absolute: number
    /** 0.05 is five per cent; null when the first number is 0. */
    readonly relative: number | null
  })[]
}

export interface Operations {
  /** Whether the process answers: `GET /healthz`. */
  health: {
    path: Readonly<Record<string, never>>
    query: Readonly<Record<string, never>>
    body: undefined
    reply: {
      readonly alive: true
    }
  }
  /** Whether what it needs answers too: `GET /readyz`. */
  readiness: {
    path: Readonly<Record<string, never>>
    query: Readonly<Record<string, never>>
    body: undefined
    reply: Readiness
  }
  /** Creators by what they are, page by page: `GET /v1/creators`. */
  listCreators: {
    path: Readonly<Record<string, never>>
    query: {
      readonly platform?: string
      readonly followers_min?: number
      readonly followers_max?: number
      /** 0.05 is five per cent. */
      readonly engagement_min?: number
      readonly verified?: boolean
      /** Text in name, handle or biography, in any case. */
      readonly q?: string
      /** Such as suspicious_engagement or suspicious_drop. */
      readonly flag?: string
      readonly sort?: '-followers' | 'followers' | '-engagement_rate' | 'creator_id'
      /** Of name, handle, biography, verified, gone, flags, followers, engagement_rate, ts, with commas. Default: all but biography. */
      readonly fields?: string
      readonly limit?: number
      /** `next_cursor` of the page before; with the same filters and sort. */
      readonly cursor?: string
    }
    body: undefined
    reply: CreatorsPage
  }
  /** The newest snapshot of a creator: `GET /v1/creators/{platform}/{id}`. */
  getCreator: {
    path: {
      readonly platform: string
      /** The platform's id or handle of the creator. */
      readonly id: string
    }
    query: Readonly<Record<string, never>>
    body: undefined
    reply: Creator
  }
  /** One number of a creator over time: `GET /v1/creators/{platform}/{id}/history`. */
  getHistory: {
    path: {
      readonly platform: string
      /** The platform's id or handle of the creator. */
      readonly id: string
    }
    query: {
      readonly metric?: string
      /** Default: 30 days before `to`. */
      readonly from?: string
      /** Default: now. */
      readonly to?: string
      readonly step?: 'hour' | 'day' | 'week'
    }
    body: undefined
    reply: History
  }
  /** Posts of a creator with their newest numbers, newest post first: `GET /v1/creators/{platform}/{id}/media`. */
  listMedia: {
    path: {
      readonly platform: string
      /** The platform's id or handle of the creator. */
      readonly id: string
    }
    query: {
      readonly limit?: number
      /** `next_cursor` of the page before; with the same filters and sort. */
      readonly cursor?: string
    }
    body: undefined
    reply: MediaPage
  }
  /** Creators who grow fastest: `GET /v1/trending`. */
  listTrending: {
    path: Readonly<Record<string, never>>
    query: {
      readonly window?: '1d' | '7d' | '30d' | '90d'
      readonly by?: 'absolute' | 'relative'
      readonly platform?: string
      /** At the beginning of the window. */
      readonly followers_min?: number
      readonly limit?: number
    }
    body: undefined
    reply: Trending
  }
  /** The overview: totals, daily lines, movers, coverage, freshness: `GET /v1/dashboard`. */
  getDashboard: {
    path: Readonly<Record<string, never>>
    query: Readonly<Record<string, never>>
    body: undefined
    reply: Dashboard
  }
  /** Asks for one job, or up to 1,000: `POST /v1/scrapes`. */
  requestScrapes: {
    path: Readonly<Record<string, never>>
    query: Readonly<Record<string, never>>
    body: ScrapeRequestInput | {
      readonly jobs: readonly (ScrapeRequestInput)[]
    }
    reply: ScrapesAccepted
  }
  /** What has become of a job: `GET /v1/scrapes/{job_id}`. */
  getScrape: {
    path: {
      readonly job_id: string
    }
    query: Readonly<Record<string, never>>
    body: undefined
    reply: Scrape
  }
  /** All rows of a dataset as NDJSON, CSV or Parquet, streamed: `GET /v1/export`. */
  export: {
    path: Readonly<Record<string, never>>
    query: {
      readonly what: 'creators' | 'points' | 'daily' | 'media'
      readonly format?: 'ndjson' | 'csv' | 'parquet'
      readonly platform?: string
      /** Needs `platform`. */
      readonly creator_id?: string
      /** Of points and daily. */
      readonly metric?: string
      readonly from?: string
      readonly to?: string
    }
    body: undefined
    reply: string
  }
  /** New snapshots and finished jobs as they come: server-sent events, or a WebSocket: `GET /v1/stream`. */
  listen: {
    path: Readonly<Record<string, never>>
    query: {
      readonly platform?: string
      /** The platform's id or handle of the creator. */
      readonly creator_id?: string
      readonly kind?: 'snapshot' | 'job'
      readonly status?: 'done' | 'skipped' | 'dead'
      /** The id of the last event that was had: what came since then is told first. */
      readonly last_event_id?: string
    }
    body: undefined
    reply: Event
  }
}

/** Where each operation is. */
export const PLACES = {
  health: ['GET', '/healthz'],
  readiness: ['GET', '/readyz'],
  listCreators: ['GET', '/v1/creators'],
  getCreator: ['GET', '/v1/creators/{platform}/{id}'],
  getHistory: ['GET', '/v1/creators/{platform}/{id}/history'],
  listMedia: ['GET', '/v1/creators/{platform}/{id}/media'],
  listTrending: ['GET', '/v1/trending'],
  getDashboard: ['GET', '/v1/dashboard'],
  requestScrapes: ['POST', '/v1/scrapes'],
  getScrape: ['GET', '/v1/scrapes/{job_id}'],
  export: ['GET', '/v1/export'],
  listen: ['GET', '/v1/stream'],
} as const satisfies Record<keyof Operations, readonly [string, string]>
