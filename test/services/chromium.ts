import { onPath, versionOf } from './command.ts'
import { canInstallPackages, installPackage } from './debian.ts'
import { type Found, ServiceMissing } from './found.ts'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']

/** A browser for the console's tests; playwright-core drives it. */
export async function findChromium(): Promise<Found> {
  const installed = firstOnPath()
  if (installed !== undefined)
    return { how: 'installed', version: await versionOf(installed, ['--version']), at: installed }
  if (canInstallPackages()) {
    try {
      await installPackage('chromium')
    } catch (error) {
      throw new ServiceMissing('chromium', `could not be installed: ${(error as Error).message}`, {
        cause: error,
      })
    }
    const at = firstOnPath()
    if (at !== undefined) return { how: 'fetched', version: await versionOf(at, ['--version']), at }
  }
  throw new ServiceMissing(
    'chromium',
    'not on PATH; install it (Debian: apt-get install chromium), or set MILLRACE_TEST_CHROMIUM',
  )
}

function firstOnPath(): string | undefined {
  return NAMES.map(onPath).find((path) => path !== undefined)
}
