import { z } from 'zod'
import { text } from './values.ts'

/** PEM files and the switch for TLS; `true` is TLS with the system's certificate authorities. */
export const tls = z.union([
  z.boolean(),
  z.strictObject({
    ca: text.optional().describe('Path of a PEM file with the certificate authorities to trust.'),
    cert: text.optional().describe('Path of the client certificate, PEM.'),
    key: text.optional().describe('Path of the key of the client certificate, PEM.'),
    server_name: text.optional().describe('Name to expect in the certificate, when it is not the host.'),
  }),
])
