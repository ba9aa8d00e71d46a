import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { MillraceError, messageOf } from '../job/errors.ts'
import type { Platform } from '../job/platform.ts'
import { problemsOf } from './define.ts'
import { instagram } from './instagram.ts'
import { tiktok } from './tiktok.ts'
import { youtube } from './youtube.ts'

/** The platforms that come with millrace, by name. */
export const BUILT_IN: ReadonlyMap<string, Platform> = new Map(
  ([instagram, tiktok, youtube] as const).map((platform) => [platform.name, platform]),
)

export interface LoadOptions {
  /** Absolute directory that a relative path starts from: where the configuration file lies. */
  readonly directory: string
  /** The name it stands under in the configuration; the module has to say the same. */
  readonly name?: string
}

/**
 * Loads a user's platform: a .ts, .js or .mjs file with a definition as its default export. Its code runs with all the rights
 * of this process. Throws MillraceError (kind `usage`): `PLATFORM_MODULE` when it cannot be loaded, `PLATFORM_INVALID` when
 * it is not a platform, with everything that is wrong with it.
 */
export async function loadPlatform(modulePath: string, options: LoadOptions): Promise<Platform> {
  const file = resolve(options.directory, modulePath)
  let module: { readonly default?: unknown }
  try {
    module = await import(pathToFileURL(file).href)
  } catch (error) {
    if (error instanceof MillraceError) {
      throw new MillraceError(error.code, `${file}: ${error.message}`, { kind: 'usage', cause: error })
    }
    throw new MillraceError('PLATFORM_MODULE', `${file}: ${explained(error)}`, {
      kind: 'usage',
      cause: error,
    })
  }
  if (module.default === undefined) {
    throw new MillraceError(
      'PLATFORM_INVALID',
      `${file}: found no default export, expected \`export default definePlatform({ … })\``,
      { kind: 'usage' },
    )
  }
  const problems = problemsOf(module.default)
  if (problems.length > 0) {
    throw new MillraceError('PLATFORM_INVALID', `${file}: ${problems.join('; ')}`, { kind: 'usage' })
  }
  const platform = module.default as Platform
  if (options.name !== undefined && platform.name !== options.name) {
    throw new MillraceError(
      'PLATFORM_INVALID',
      `${file}: its name is ${platform.name}, expected ${options.name}, as under \`platforms\` in the configuration`,
      { kind: 'usage' },
    )
  }
  return platform
}

function explained(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ERR_MODULE_NOT_FOUND')
    return `not found, or something it imports is not: ${messageOf(error, 500)}`
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION') return 'expected a .ts, .js or .mjs file'
  return `failed while loading: ${messageOf(error, 500)}`
}
