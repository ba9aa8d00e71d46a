import { ApiServer } from '../src/api/server.ts'
import { BUILT_IN } from '../src/platforms/registry.ts'
import type { Document } from './api-types.ts'

/** The OpenAPI document of the analytics API with the built-in platforms, as `/openapi.json` has it. Nothing is started. */
export async function apiDocument(): Promise<Document> {
  // Routes are only declared: none of what they work with is touched.
  const ports = { context: { platforms: [...BUILT_IN.keys()] }, gate: {}, health: {} }
  const server = new ApiServer({ host: '127.0.0.1', port: 0, corsOrigins: [] }, ports as never)
  return JSON.parse(JSON.stringify(await server.document())) as Document
}
