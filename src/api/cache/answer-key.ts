/** Names an answer: the route with its parameters, in their canonical form. */
export interface AnswerKey {
  readonly id: string
  /** `platform:creator_id` of whom alone it is; undefined for one over many creators. */
  readonly creator?: string | undefined
}
