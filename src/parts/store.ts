import { join } from 'node:path'
import type { Config } from '../config/schema.ts'
import type { ObjectStore } from '../job/store.ts'
import { FolderStore } from '../store/folder.ts'

/** The folder of the embedded store. */
export function storeFolderOf(config: Config): string {
  return (config.store?.kind === 'folder' ? config.store.path : undefined) ?? join(config.data, 'store')
}

/** The store that the configuration names, or a folder. No I/O: `check` proves that it can be written to. */
export async function openStore(config: Config): Promise<ObjectStore> {
  const section = config.store
  if (section?.kind !== 's3') return new FolderStore({ folder: storeFolderOf(config) })
  // The SDK takes a while to load, and most do not need it.
  const { S3Store } = await import('../store/s3.ts')
  const { access_key_id: accessKeyId, secret_access_key: secretAccessKey } = section
  return new S3Store({
    bucket: section.bucket,
    region: section.region,
    pathStyle: section.path_style,
    ...(section.endpoint === undefined ? {} : { endpoint: section.endpoint }),
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : { credentials: { accessKeyId, secretAccessKey } }),
  })
}
