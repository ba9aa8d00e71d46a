interface Link {
  readonly operationId: string
  readonly parameters: Readonly<Record<string, string>>
}

type Responses = Record<string, { links?: Readonly<Record<string, Link>> }>
interface Operation {
  readonly operationId?: string
  readonly responses?: Responses
}

const OF_CREATOR = ['getCreator', 'getHistory', 'listMedia'] as const

/** What is to be had of a creator, by where its platform and its id stand. */
function ofCreator(
  operations: readonly string[],
  platform: string,
  id: string,
): Readonly<Record<string, Link>> {
  return Object.fromEntries(
    operations.map((operationId) => [operationId, { operationId, parameters: { platform, id } }]),
  )
}

const FIRST = ['$response.body#/items/0/platform', '$response.body#/items/0/creator_id'] as const
const SAME = ['$request.path.platform', '$request.path.id'] as const

/** What may be asked next with what an operation has answered, by operation and status. */
const LINKS: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, Link>>>>>> = {
  listCreators: { 200: ofCreator(OF_CREATOR, ...FIRST) },
  listTrending: { 200: ofCreator(OF_CREATOR, ...FIRST) },
  getCreator: { 200: ofCreator(['getHistory', 'listMedia'], ...SAME) },
  requestScrapes: {
    202: {
      getScrape: {
        operationId: 'getScrape',
        parameters: { job_id: '$response.body#/jobs/0/job_id' },
      },
    },
  },
}

/** Adds OpenAPI links to a document's operations: generators and fuzzers follow them. */
export function addLinks(paths: unknown): void {
  const operations = Object.values((paths ?? {}) as Record<string, Record<string, Operation>>)
  for (const { operationId = '', responses = {} } of operations.flatMap((path) => Object.values(path))) {
    for (const [status, links] of Object.entries(LINKS[operationId] ?? {})) {
      const response = responses[status]
      if (response !== undefined) response.links = links
    }
  }
}
