import { type CommandResult, onPath, tryCommand, versionOf } from './command.ts'
import { canInstallPackages, installPackage } from './debian.ts'
import { type Found, ServiceMissing } from './found.ts'

/** kcat, a Kafka client on librdkafka: what producers that are not ours send. Debian calls it kcat, older ones kafkacat. */
export async function findKcat(): Promise<Found> {
  const installed = onPath('kcat') ?? onPath('kafkacat')
  if (installed !== undefined)
    return { how: 'installed', version: await versionOf(installed, ['-V']), at: installed }
  if (canInstallPackages()) {
    try {
      await installPackage('kcat')
    } catch (error) {
      throw new ServiceMissing('kcat', `could not be installed: ${(error as Error).message}`, {
        cause: error,
      })
    }
    const at = onPath('kcat')
    if (at !== undefined) return { how: 'fetched', version: await versionOf(at, ['-V']), at }
  }
  throw new ServiceMissing(
    'kcat',
    'not on PATH; install it (Debian: apt-get install kcat), or set MILLRACE_TEST_KCAT',
  )
}

/** Runs kcat at `path` with `input` on its standard input. Ended after `withinMs`, default 20 s. */
export function runKcat(
  path: string,
  args: readonly string[],
  options: { input?: string; withinMs?: number } = {},
): Promise<CommandResult> {
  const { input = '', withinMs = 60_000 } = options
  return tryCommand(path, args, { input, withinMs })
}
