import { createHash } from 'node:crypto'
import { S3Client } from '@aws-sdk/client-s3'

export interface S3User {
  readonly accessKey: string
  readonly secretKey: string
}

/** Gives the store of tests one more user, who may do everything. `address` is the store's, with its own keys. */
export async function addS3User(address: string, { accessKey, secretKey }: S3User): Promise<void> {
  const account = { Access: accessKey, Secret: secretKey, Role: 'admin' }
  const fields = Object.entries(account).map(([name, value]) => `<${name}>${value}</${name}>`)
  await ask(address, '/create-user', {}, `<Account>${fields.join('')}</Account>`)
}

/** From now on the key is one that the store does not know. */
export async function removeS3User(address: string, { accessKey }: S3User): Promise<void> {
  await ask(address, '/delete-user', { access: accessKey }, '')
}

/** versitygw's own API, signed as every other request. */
async function ask(
  address: string,
  path: string,
  query: Record<string, string>,
  body: string,
): Promise<void> {
  const { origin, host, hostname, port, username, password } = new URL(address)
  const client = new S3Client({
    endpoint: origin,
    region: 'us-east-1',
    credentials: { accessKeyId: username, secretAccessKey: password },
  })
  const signer = await client.config.signer()
  type Request = Parameters<typeof signer.sign>[0]
  const unsigned = {
    method: 'PATCH',
    protocol: 'http:',
    hostname,
    port: Number(port),
    path,
    query,
    headers: { host, 'x-amz-content-sha256': createHash('sha256').update(body).digest('hex') },
    body,
  }
  const { headers } = await signer.sign(unsigned as unknown as Request)
  client.destroy()
  const search = new URLSearchParams(query).toString()
  const reply = await fetch(`${origin}${path}${search === '' ? '' : `?${search}`}`, {
    method: 'PATCH',
    headers,
    body,
  })
  if (!reply.ok) throw new Error(`${path}: ${reply.status} ${(await reply.text()).slice(0, 300)}`)
}
