/** What a platform's file may use: `definePlatform`, and the helpers that the built-in platforms use themselves. */
export { AttemptError } from '../job/errors.ts'
export type { FollowUp, Harvest } from '../job/outcome.ts'
export type { Advice } from '../job/permit.ts'
export type { PictureRequest } from '../job/picture.ts'
export type {
  Authorisation,
  CallContext,
  CallOptions,
  JsonReply,
  Refusal,
  Throttle,
} from '../job/platform.ts'
export type { AdapterRow } from '../job/row.ts'
export { parseCount } from './count.ts'
export { definePlatform, problemsOf } from './define.ts'
export { emailIn } from './email.ts'
export { isChannelId, normaliseHandle } from './handle.ts'
export { dropFlags, engagementRate, qualityFlags } from './quality.ts'
export { BUILT_IN, loadPlatform } from './registry.ts'
export { answeredAtMs, linkQuery, retryAfterMs, untilMidnightMs } from './reply.ts'
export {
  mediaHarvest,
  type Post,
  type Profile,
  pictureRequests,
  pointRows,
  postRows,
  profileHarvest,
  profileRows,
} from './snapshot.ts'
export { cleanLine, cleanText } from './text.ts'
