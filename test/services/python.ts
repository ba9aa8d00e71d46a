import { join } from 'node:path'
import { cached } from './cache.ts'
import { command, onPath } from './command.ts'
import { ServiceMissing } from './found.ts'

/**
 * The Python of a virtual environment with these packages from PyPI, made once and kept in the cache: `name` stands for the
 * packages, versions included. Rejects with ServiceMissing where there is no Python, or they cannot be installed.
 */
export async function pythonWith(
  name: string,
  packages: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const python = onPath('python3')
  if (python === undefined) throw new ServiceMissing('python', 'python3 is not on PATH')
  try {
    const { folder } = await cached(`python-${name}`, async (made) => {
      await command(python, ['-m', 'venv', made], { withinMs: 120_000 })
      // By `python -m pip`: the scripts of an environment name the folder that it was made in, and this one is renamed.
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages]
      await command(join(made, 'bin', 'python'), pip, { withinMs: 600_000, env })
    })
    return join(folder, 'bin', 'python')
  } catch (error) {
    throw new ServiceMissing('python', (error as Error).message, { cause: error })
  }
}
