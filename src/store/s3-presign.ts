import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { MillraceError } from '../job/errors.ts'

/** Signature version 4 allows a week. */
const EXPIRES_S_MAX = 604_800

const PAYLOAD_HEADER = 'x-amz-content-sha256'

type SdkRequest = Parameters<Awaited<ReturnType<S3Client['config']['signer']>>['sign']>[0]

/**
 * A signed address for GET, made by the client's own signer and without any request. The SDK builds the request, so that host,
 * path style and region come out as in every other call; it is taken away before it is sent.
 */
export async function presigned(
  client: S3Client,
  target: { readonly bucket: string; readonly key: string; readonly expiresInS: number },
): Promise<string> {
  const { bucket, key, expiresInS } = target
  if (!Number.isInteger(expiresInS) || expiresInS < 1 || expiresInS > EXPIRES_S_MAX) {
    const expected = `expected whole seconds, 1 to ${EXPIRES_S_MAX}`
    throw new MillraceError('STORE_EXPIRY_INVALID', `An address valid for ${expiresInS} s: ${expected}.`)
  }
  let built: SdkRequest | undefined
  const command = new GetObjectCommand({ Bucket: bucket, Key: key })
  command.middlewareStack.add(
    () => async (args) => {
      built = args.request as SdkRequest
      return { output: { $metadata: {} }, response: {} }
    },
    { step: 'build', priority: 'low', name: 'takeRequest' },
  )
  await client.send(command)
  const signer = await client.config.signer()
  if (built === undefined || !('presign' in signer)) {
    throw new MillraceError(
      'STORE_PRESIGN',
      'The S3 library built no request to sign; its version is not one we know.',
    )
  }
  // Whoever opens the address sends none of the SDK's own headers, so only the host is signed. The payload header is how the
  // signer is told that a presigned address covers no body; it must stay out of the signature and of the query.
  const headers = { host: built.headers.host ?? built.hostname, [PAYLOAD_HEADER]: 'UNSIGNED-PAYLOAD' }
  const signed = await (signer as unknown as Presigner).presign({ ...built, headers } as SdkRequest, {
    expiresIn: expiresInS,
    unhoistableHeaders: new Set([PAYLOAD_HEADER]),
    unsignableHeaders: new Set([PAYLOAD_HEADER]),
  })
  const query = new URLSearchParams(signed.query as Record<string, string>)
  const port = signed.port === undefined ? '' : `:${signed.port}`
  return `${signed.protocol}//${signed.hostname}${port}${signed.path}?${query}`
}

interface Presigner {
  presign(
    request: SdkRequest,
    options: { expiresIn: number; unhoistableHeaders: Set<string>; unsignableHeaders: Set<string> },
  ): Promise<SdkRequest>
}
