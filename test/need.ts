import type { TestContext } from 'node:test'

/** The services that tests use, and the variable that says where each one is. */
export const SERVICE_VARIABLES = {
  kafka: 'MILLRACE_TEST_KAFKA',
  redis: 'MILLRACE_TEST_REDIS',
  clickhouse: 'MILLRACE_TEST_CLICKHOUSE',
  s3: 'MILLRACE_TEST_S3',
  prometheus: 'MILLRACE_TEST_PROMETHEUS_BINARY',
  promtool: 'MILLRACE_TEST_PROMTOOL',
  kcat: 'MILLRACE_TEST_KCAT',
  chromium: 'MILLRACE_TEST_CHROMIUM',
} as const

export type ServiceName = keyof typeof SERVICE_VARIABLES

/**
 * The address of a service (or the path of a tool) that the test runner found or started. Without it the test is skipped;
 * with MILLRACE_REQUIRE_SERVICES=1 it fails instead.
 */
export function need(t: TestContext, service: ServiceName): string | null {
  const address = process.env[SERVICE_VARIABLES[service]]
  if (address !== undefined && address !== '') return address
  if (process.env.MILLRACE_REQUIRE_SERVICES === '1') {
    throw new Error(
      `${service} is required: set ${SERVICE_VARIABLES[service]}, or run the tests with \`npm test\``,
    )
  }
  t.skip(`needs ${service}`)
  return null
}
