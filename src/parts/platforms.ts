import type { Config } from '../config/schema.ts'
import { isLocalhost, isPublicAddress, literalOf } from '../fetch/address-guard.ts'
import { type Credential, MAIN_CREDENTIAL } from '../job/credential.ts'
import { MillraceError } from '../job/errors.ts'
import { describeIssues } from '../job/job.ts'
import type { Platform } from '../job/platform.ts'
import { costProblems } from '../limiter/plan-check.ts'
import { BUILT_IN, loadPlatform } from '../platforms/registry.ts'
import { planOf } from './limits.ts'

/** A platform with what the configuration says of it. */
export interface ConfiguredPlatform {
  readonly platform: Platform
  readonly origin: string
  readonly privateOrigin: boolean
  /** Checked by the platform's own schema; empty when there are none: its jobs wait. */
  readonly credentials: readonly Credential[]
  /** By job type: for how long a creator counts as scraped, ms. */
  readonly minIntervalsMs: Readonly<Record<string, number>>
}

/**
 * The built-in platforms and the user's own, with their credentials checked, and whether the limits let every call through. Relative module paths start at `directory`.
 * Throws one MillraceError of kind `usage` that lists everything that is wrong.
 */
export async function platformsOf(config: Config, directory: string): Promise<ConfiguredPlatform[]> {
  const problems: string[] = []
  const configured: ConfiguredPlatform[] = []
  const names = new Set([...BUILT_IN.keys(), ...Object.keys(config.platforms)])
  for (const name of names) {
    const section = config.platforms[name]
    if (section?.enabled === false) continue
    let platform: Platform | undefined
    try {
      platform =
        section?.module === undefined
          ? BUILT_IN.get(name)
          : await loadPlatform(section.module, { directory, name })
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error
      problems.push(error.message)
      continue
    }
    if (platform === undefined) {
      problems.push(
        `platforms.${name}: no such platform comes with millrace (${[...BUILT_IN.keys()].join(', ')}); ` +
          'give the path of a module of your own as `module`',
      )
      continue
    }
    const credentials = credentialsOf(platform, section?.credentials, problems)
    const { jobs } = platform
    const minIntervalsMs = section?.min_interval ?? {}
    for (const type of Object.keys(minIntervalsMs).filter((type) => !Object.hasOwn(jobs, type))) {
      problems.push(
        `platforms.${name}.min_interval.${type}: ${name} has no such job type, it offers ${Object.keys(jobs).join(', ')}`,
      )
    }
    const calls = Object.entries(platform.endpoints)
    problems.push(
      ...costProblems(
        planOf(config),
        calls.map(([endpoint, { cost = 1 }]) => ({ platform: name, endpoint, cost })),
      ),
    )
    const origin = section?.origin ?? platform.origin
    const privateOrigin = section?.private_origin ?? false
    if (!privateOrigin && isPrivate(origin)) {
      problems.push(
        `platforms.${name}: its origin ${origin} is not a public address; set platforms.${name}.private_origin: true to allow it`,
      )
    }
    configured.push({
      platform,
      origin,
      privateOrigin,
      credentials,
      minIntervalsMs,
    })
  }
  if (problems.length > 0)
    throw new MillraceError('PLATFORMS_INVALID', problems.join('\n'), { kind: 'usage' })
  return configured
}

/** One credential, or several by name. Adds to `problems` what the platform's schema says against them. */
function credentialsOf(platform: Platform, given: Given, problems: string[]): Credential[] {
  const at = `platforms.${platform.name}.credentials`
  const entries = Object.entries(given ?? {})
  const named = entries.filter(([, value]) => typeof value !== 'string')
  if (named.length > 0 && named.length < entries.length) {
    problems.push(`${at}: found texts beside named credentials, expected one of the two`)
    return []
  }
  const several = named.length > 0
  return (several ? named : [[MAIN_CREDENTIAL, given ?? {}] as const]).flatMap(
    ([name, value]): Credential[] => {
      const place = several ? `${at}.${name}` : at
      if (!CREDENTIAL_NAME.test(name)) {
        problems.push(`${place}: expected a name of 1 to 64 letters, digits, _ and -`)
        return []
      }
      const parsed = platform.credentials.safeParse(value)
      if (parsed.success) return [{ name, value: parsed.data }]
      // What is not given is not wrong: jobs wait for it.
      if (given !== undefined) problems.push(`${place}: ${describeIssues(parsed.error)}`)
      return []
    },
  )
}

type Given = Config['platforms'][string]['credentials']

/** It becomes part of the names of limits. */
const CREDENTIAL_NAME = /^[\w-]{1,64}$/

/** What can be told without asking DNS; a name's addresses are judged when it is called. */
function isPrivate(origin: string): boolean {
  const { hostname } = new URL(origin)
  const literal = literalOf(hostname)
  return isLocalhost(hostname) || (literal !== undefined && !isPublicAddress(literal))
}
