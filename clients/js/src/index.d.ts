// SPDX-License-Identifier: Apache-2.0
// Types of the Firstcome client. Field names are those of the API.

export interface Options {
  /** Token of an API key. An issue key belongs on the shop's server, never in a page. */
  key: string;
  /** Write API, such as https://shop.example:8080. Needed for writes. */
  commandUrl?: string;
  /** Read API. Needed for reads. */
  queryUrl?: string;
  /** Longest time for one call with all its attempts (default 10 s). */
  timeoutMs?: number;
  /** Longest time for one attempt (default 3 s). */
  attemptTimeoutMs?: number;
  /** Most attempts for one call (default 5). */
  attempts?: number;
  backoffBaseMs?: number;
  backoffCapMs?: number;
  /** Shared by several clients where they talk to the same service. */
  budget?: RetryBudget;
  fetch?: typeof fetch;
  random?: () => number;
  onRetry?: (info: { attempt: number; pauseMs: number; error: FirstcomeError | NetworkError }) => void;
}

export interface CallOptions {
  signal?: AbortSignal;
  timeoutMs?: number;
}

export interface WriteOptions extends CallOptions {
  /** Made by the client where it is not given. Keep it to repeat a write whose outcome is unknown. */
  idempotencyKey?: string;
  /** Of calls that change a campaign: what `campaign()` gave, or its ETag. Refused with `precondition-failed` where it is not that any more. */
  ifMatch?: Campaign | string;
}

/** The ETag of what a read gave. */
export function etagOf(answer: object): string | undefined;

export interface IssueOptions extends WriteOptions {
  /** Sends `Prefer: respond-async` and follows a 202 to its outcome. */
  async?: boolean;
}

export interface Position {
  slice: number;
  position: number;
}

export type Discount =
  | { type: "percent"; percent: number; max_amount?: number }
  | { type: "fixed"; amount: number };

export type CampaignStatus = "scheduled" | "active" | "sold_out" | "paused" | "ended" | "closed";

export interface NewCampaign {
  id?: string;
  name: string;
  discount: Discount;
  currency: string;
  min_order_amount?: number;
  quantity: number;
  released?: number;
  per_user_limit?: number;
  starts_at?: string;
  ends_at?: string;
  coupon_valid_days?: number;
  coupon_expires_at?: string;
  utc_offset?: string;
  tags?: string[];
  code_prefix?: string;
  release_plan?: { at: string; quantity: number }[];
}

export interface Campaign extends Omit<NewCampaign, "id"> {
  id: string;
  status: CampaignStatus;
  /** Of a paused or closed campaign: since when, by which API key, and why where that was said. */
  status_since?: string;
  status_by?: string;
  status_reason?: string;
  issued: number;
  remaining: number;
  redeemed: number;
  [field: string]: unknown;
}

export type CouponStatus = "issued" | "reserved" | "redeemed" | "revoked" | "expired";

export interface Coupon {
  coupon_id: string;
  code: string;
  campaign_id: string;
  user_id: string;
  sequence: number;
  status?: CouponStatus;
  issued_at: string;
  expires_at?: string | null;
  position?: Position;
  discount_amount?: number;
  revoked_at?: string;
  revoked_by?: string;
  [field: string]: unknown;
}

export interface BatchResult {
  results: ({ user_id: string; status: string; refusal?: string } & Partial<Coupon>)[];
  issued: number;
  refused: number;
}

export interface FeedEvent extends Position {
  type: string;
  type_id: number;
  version: number;
  recorded_at: string;
  campaign_id: string;
  user_id?: string;
  coupon_id?: string;
  trace_id?: string;
  [field: string]: unknown;
}

export interface HistoryItem {
  type: string;
  recorded_at: string;
  actor: string | null;
  reason: string | null;
  position: Position;
  trace_id?: string;
  campaign_id: string | null;
  coupon_id: string | null;
  user_id: string | null;
  data: Record<string, unknown>;
}

export interface Decision {
  decision: string;
  campaign_id: string;
  user_id: string;
  as_of: string;
  position: Position;
  issued: number;
  released: number;
  last_sequence: number | null;
  held: number;
  per_user_limit: number;
  message: { en: string; ko: string };
}

export interface Problem {
  type: string;
  code: string;
  title: string;
  status: number;
  retryable: boolean;
  detail?: string;
  field?: string;
  [field: string]: unknown;
}

export class FirstcomeError extends Error {
  code: string;
  status: number;
  title?: string;
  detail?: string;
  retryable: boolean;
  retryAfterMs?: number;
  requestId?: string;
  problem: Problem;
  /** Set for writes. */
  idempotencyKey?: string;
  is(...codes: string[]): boolean;
}

export class NetworkError extends Error {
  /** Set for writes: send the write again with it to learn what became of it. */
  idempotencyKey?: string;
}

export class LogChangedError extends Error {
  slice: number;
  was: string;
  now: string;
}

/** 128 random bits as hex digits: what the client takes for an Idempotency-Key where none is given. */
export function randomKey(): string;

export class RetryBudget {
  constructor(options?: { perCall?: number; max?: number });
}

export class Firstcome {
  constructor(options: Options);

  createCampaign(campaign: NewCampaign, options?: WriteOptions): Promise<Campaign>;
  /** What is not named stays; what was promised can only grow. */
  changeCampaign(
    id: string,
    body: { name?: string; quantity?: number; per_user_limit?: number; ends_at?: string; tags?: string[]; reason?: string },
    options?: WriteOptions,
  ): Promise<Campaign>;
  pauseCampaign(id: string, body?: { reason?: string }, options?: WriteOptions): Promise<Campaign>;
  resumeCampaign(id: string, body?: { reason?: string }, options?: WriteOptions): Promise<Campaign>;
  closeCampaign(id: string, body?: { reason?: string }, options?: WriteOptions): Promise<Campaign>;
  releaseStock(id: string, body: { quantity: number; reason?: string }, options?: WriteOptions): Promise<Campaign>;
  deleteCampaign(id: string, options?: WriteOptions): Promise<undefined>;
  voidCampaigns(
    filter: { created_by?: string; created_before?: string; created_after?: string; dry_run?: boolean },
    options?: WriteOptions,
  ): Promise<{ matched: number; voided: number }>;

  issue(campaignId: string, who: { userId: string }, options?: IssueOptions): Promise<Coupon>;
  issueMany(campaignId: string, who: { userIds: string[] }, options?: WriteOptions): Promise<BatchResult>;
  reserve(
    coupon: string,
    body: { user_id: string; order_id: string; order_amount: number; ttl_seconds: number; currency?: string },
    options?: WriteOptions,
  ): Promise<Coupon>;
  redeem(
    coupon: string,
    body: { user_id: string; order_id: string; order_amount: number; currency?: string },
    options?: WriteOptions,
  ): Promise<Coupon>;
  release(coupon: string, body: { order_id: string }, options?: WriteOptions): Promise<Coupon>;
  restore(coupon: string, body: { order_id: string }, options?: WriteOptions): Promise<Coupon>;
  revoke(coupon: string, body: { reason: string }, options?: WriteOptions): Promise<Coupon>;

  suspendIssuer(name: string, body?: { reason?: string }, options?: WriteOptions): Promise<unknown>;
  resumeIssuer(name: string, body?: { reason?: string }, options?: WriteOptions): Promise<unknown>;
  putSetting(name: string, value: number | string | null, options?: WriteOptions & { reason?: string }): Promise<unknown>;
  settings(options?: CallOptions): Promise<unknown>;
  requests(idempotencyKey: string, options?: CallOptions): Promise<{ items: unknown[] }>;

  campaign(id: string, options?: CallOptions & { asOf?: string; fromStore?: boolean }): Promise<Campaign>;
  coupon(idOrCode: string, options?: CallOptions): Promise<Coupon>;
  validity(
    idOrCode: string,
    options?: CallOptions & { userId?: string; orderId?: string; orderAmount?: number; currency?: string },
  ): Promise<{ valid: boolean; reason?: string; discount_amount?: number }>;
  userInCampaign(
    campaignId: string,
    userId: string,
    options?: CallOptions,
  ): Promise<{ issued: number; sequence?: number; coupon_ids: string[] }>;
  ranking(
    options?: CallOptions & {
      by?: "issued" | "redeemed";
      window?: "1h" | "24h" | "7d" | "all";
      tag?: string;
      limit?: number;
      asOf?: string;
    },
  ): Promise<{ items: { rank: number; campaign_id: string; name: string; count: number }[] }>;
  status(options?: CallOptions): Promise<unknown>;
  commandStatus(options?: CallOptions): Promise<unknown>;
  decision(campaignId: string, userId: string, options?: CallOptions & { asOf?: string }): Promise<Decision>;

  campaigns(options?: CallOptions & { status?: CampaignStatus; tag?: string; limit?: number }): AsyncIterable<Campaign>;
  holders(campaignId: string, options?: CallOptions & { limit?: number }): AsyncIterable<Coupon>;
  couponHistory(idOrCode: string, options?: CallOptions & { limit?: number }): AsyncIterable<HistoryItem>;
  campaignHistory(id: string, options?: CallOptions & { limit?: number }): AsyncIterable<HistoryItem>;
  audit(options?: CallOptions & { limit?: number }): AsyncIterable<HistoryItem>;
  userCoupons(userId: string, options?: CallOptions & { status?: CouponStatus; limit?: number }): AsyncIterable<Coupon>;
  orderCoupons(orderId: string, options?: CallOptions & { limit?: number }): AsyncIterable<Coupon>;

  events(options: {
    slice: number;
    after?: number;
    limit?: number;
    waitSeconds?: number;
    campaign?: string;
    type?: string;
    log?: string;
    signal?: AbortSignal;
  }): AsyncIterable<FeedEvent>;
}
