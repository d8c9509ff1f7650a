/// \file
/// A session: everything a caller may ask of a market, judged by whose key it holds.
///
/// Start at `Engine::session` (an API key) or `Engine::as_operator` (trusted, in process).
///
/// Units: amounts are micro-FLOPS (`Money`), instants are microseconds since 1970-01-01 UTC.
/// Owns: a session is a small value; its engine outlives it.
/// Threads: any, at any time; concurrent calls share commits. A call that moved money returns after the
/// bytes are on disk.
///
/// Every call that names a wallet fails with `unauthorized` (the key was revoked meanwhile), `key_limited` (a
/// derived key, which `derive_key` in keys.hpp tells of, does not do this), `wallet_unknown`,
/// `not_your_wallet`, `operator_only` or `human_only` before anything else is looked at;
/// and any call may fail with `store_busy`, `disk_full`, `io_error`, `outcome_unknown`, `closed`, `forked`,
/// `corrupt` or `internal`. Those are not repeated below.
#pragma once

#include <calyx/approvals.hpp>
#include <calyx/artifacts.hpp>
#include <calyx/bulk.hpp>
#include <calyx/core/result.hpp>
#include <calyx/feedback.hpp>
#include <calyx/identity.hpp>
#include <calyx/jobs.hpp>
#include <calyx/keys.hpp>
#include <calyx/ledger.hpp>
#include <calyx/metrics.hpp>
#include <calyx/payments.hpp>
#include <calyx/payouts.hpp>
#include <calyx/projects.hpp>
#include <calyx/receipts.hpp>
#include <calyx/streams.hpp>
#include <calyx/version.hpp>
#include <calyx/webhooks.hpp>
#include <calyx/worker.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace calyx {

class Market;  // the engine's inside

enum class Role : std::uint8_t { operator_, human, agent };

/// On whose behalf a session speaks.
struct Principal {
  Role role = Role::operator_;
  std::optional<WalletId> wallet{};  ///< Absent for the operator.
  std::optional<KeyId> key{};        ///< Absent for the operator in process, and where an owner signed.
  bool whitelisted = true;           ///< Whether it may run jobs: identity.hpp says who may not.
  std::shared_ptr<const core::KeyBlocks> blocks{};  ///< Of a derived key (`derive_key`); null: of none.
};

class CALYX_EXPORT Session {
 public:
  const Principal& principal() const noexcept { return principal_; }

  /// The same principal, whose outgoing calls (spend, transfer, payout, alone or in bulk) are also judged by
  /// `policy`: after replays, and each rule before the wallet's own and its parent's. Its hour cap counts the
  /// wallet's own rolling hour, in which a call that it judged then counts; its threshold asks for the same
  /// approvals. A refusal says "this session's" and `"owner": "session"` in the details. Of a session that is
  /// narrowed already, both policies bind.
  Session narrowed(const Policy& policy) const;

  // ── wallets ──

  /// Creates a wallet and its first key. The operator creates any; a human creates agents under itself.
  /// Fails: `field_value`, `agent_needs_parent`, `human_has_parent`, `parent_not_human`, `key_reused`.
  Result<WalletCreated> create_wallet(const WalletCreate& asked);
  /// The wallets this principal may read, oldest first. Fails: `field_value`.
  Result<Listed<Wallet>> wallets(const Page& page = {});
  /// One wallet; never waits for writers.
  Result<Wallet> wallet(WalletId id);
  /// Changes policy or status (operator; a human for its agents). Closing needs an empty wallet without
  /// open escrows (`wallet_not_empty`) and is for ever (`wallet_not_active`).
  Result<Wallet> change_wallet(WalletId id, const WalletChange& change);

  // ── money ──

  /// Credits FLOPS bought outside (operator). The same `reference` for the same wallet counts once; the id of
  /// a quote or of a payment is none. Fails: `field_value`, `amount_zero`, `amount_out_of_range`,
  /// `key_reused`, `wallet_not_active`, `balance_out_of_range`, `supply_out_of_range`.
  Result<Moved> topup(const TopUp& asked);
  /// Moves credits between wallets, free. With an agent's key it passes the caps, the approval and the
  /// balance of a spend. Fails: `amount_zero`, `same_wallet`, `wallet_not_active`, `spend_cap_per_job`,
  /// `spend_cap_per_hour`, `approval_required`, `insufficient_balance`, `key_reused`, `balance_out_of_range`.
  Result<Moved> transfer(const WalletTransfer& asked);
  /// Locks escrow. Fails, in this order: `field_value`, `amount_zero`; `job_id_reused`, `job_burned`;
  /// `wallet_not_active`; `gpu_not_allowed`; `spend_cap_per_job`; `spend_cap_per_hour`;
  /// `approval_required` (which leaves a pending approval, named in the details) or `too_many_approvals`;
  /// `insufficient_balance`.
  Result<Spent> spend(const Spend& asked);
  /// Settles. Fails, in this order: `field_value`; `job_unknown`; `not_the_host`; `job_ambiguous`;
  /// `already_settled`, `escrow_released`; `escrow_expired`; `gross_above_locked`; `wallet_not_active`.
  Result<Earned> earn(const Earn& asked);
  /// Returns a lock, or burns a `job_id` never seen. Fails: `field_value`, `already_settled`,
  /// `escrow_expired`.
  Result<Released> release(const Release& asked);
  /// Up to `bulk_max` operations in one commit, judged in order, each with its own outcome: a refusal
  /// stops nothing. With `once`, operation i gets a key made of `once` and i where it takes one and has none:
  /// of the same bulk again, what stood is replayed and what was refused is tried again. `places`, when not
  /// empty, says which i each operation is. Fails as a whole: `field_value`, `too_many_operations`, or the
  /// store.
  Result<std::vector<Outcome>> bulk(std::span<const Operation> operations, const IdempotencyKey& once = {},
                                    std::span<const std::size_t> places = {});

  // ── reading a wallet ──
  //
  // A call looks at 10,000 events at most, so a page may be shorter than its limit, or empty: `next` alone
  // tells the end. Fails: `field_value`.

  Result<Listed<EntryView>> entries(WalletId wallet, const Page& page = {});
  Result<Listed<EscrowView>> escrows(WalletId wallet, const Page& page = {});
  Result<Listed<Approval>> approvals(WalletId wallet, const Page& page = {});
  Result<Listed<ApiKey>> keys(WalletId wallet, const Page& page = {});
  /// Of jobs that the wallet paid for, or was the host of.
  Result<Listed<Receipt>> receipts(WalletId wallet, const Page& page = {});
  /// As they stand; `new_balance` is the wallet's now.
  Result<Listed<Payout>> payouts(WalletId wallet, const Page& page = {});

  // ── keys ──

  /// The operators' keys, revoked ones too, oldest first (operator). Fails: `field_value`.
  Result<Listed<ApiKey>> operator_keys(const Page& page = {});
  /// Issues one more key for `wallet` (operator; a human for itself and its agents). `label`: at most 64
  /// bytes of UTF-8 without controls. `kind`: `api` or `jobs`. Fails: `field_value`, `key_reused`.
  Result<KeyIssued> issue_key(WalletId wallet, std::string_view label, const IdempotencyKey& once = {},
                              KeyKind kind = KeyKind::api);
  /// Revokes a key; once revoked it stays so, and revoking again answers the same. Of kind `compute` the
  /// owner's signature or an operator does it. Fails: `key_unknown`, `signature_needed`.
  Result<ApiKey> revoke_key(KeyId key);
  /// A new key of the same wallet and label in exchange for an old one, in one commit.
  /// Fails: `signature_needed` for a key of another kind than `api`.
  Result<KeyIssued> rotate_key(KeyId key, const IdempotencyKey& once = {});
  /// A key of kind `compute` for the own wallet, in a session that the owner's signature opened
  /// (`Engine::session`). Such a key makes and revokes no keys. Fails: `signature_needed`, `field_value`,
  /// `key_reused`.
  Result<KeyIssued> issue_compute_key(std::string_view label, const IdempotencyKey& once = {});

  /// Puts the wallet of an address on the whitelist, opened if there is none, or takes it off (operator).
  /// `address`: on base 20 octets in hexadecimal with `0x`, passing EIP-55; on solana 32 octets in base 58.
  /// Fails: `field_value`.
  Result<Wallet> whitelist(AddressChain chain, std::string_view address, bool allowed = true);

  // ── webhooks ──

  /// Whether `wallet` has a secret for its jobs' messages, and since when.
  Result<WebhookSecret> webhook_secret(WalletId wallet);
  /// Makes the next secret of `wallet`, shown this once (operator; a human for itself and its agents). The
  /// one before it signs as well for `webhook_overlap_s`.
  Result<WebhookSecret> rotate_webhook_secret(WalletId wallet);
  /// The message of a job's end: one, or none. Fails: `job_unknown`.
  Result<std::vector<Webhook>> job_webhooks(JobId id);
  /// Messages that were given up, by job (operator). Fails: `field_value`.
  Result<Listed<Webhook>> dead_webhooks(const Page& page = {});
  /// `Engine::deliver_webhooks` by the transport of `Engine::set_webhooks` (operator). Fails: as it does;
  /// `unsupported` without one.
  Result<WebhookRound> deliver_webhooks(std::size_t most = 64);
  /// A message that is dead, or was delivered, is due again, at once and with all its attempts (operator).
  /// One that is pending stays as it is. Fails: `job_unknown`, also for a job that has no message.
  Result<Webhook> replay_webhook(JobId id);

  // ── approvals ──

  /// The parent's human decides for its agents; the operator for a human's own. Deciding the same again is
  /// the same answer, until the approval's end. Fails: `approval_unknown` (one that ended long ago may be),
  /// `human_only`, `approval_expired`, `approval_decided`.
  Result<Approval> approve(ApprovalId id);
  Result<Approval> deny(ApprovalId id);

  // ── outside money ──

  /// Answers with the payout as `pending` and the balance right after the debit, whatever `Options::pay_out`
  /// then says of it: read it with `payout`. Fails: as `transfer`, and `field_value`.
  Result<Payout> request_payout(const PayoutRequest& asked);
  /// One payout as it stands; `new_balance` is the wallet's now. Fails: `payout_unknown`, `not_your_wallet`.
  Result<Payout> payout(PayoutId id);
  /// The host says how it went (operator). Saying the same again is a replay; `once` is taken and judged for
  /// its shape, the payout's state is the key. Fails: `field_value`, `payout_unknown`, `payout_decided`.
  Result<Payout> confirm_payout(PayoutId id, const IdempotencyKey& once = {});
  Result<Payout> fail_payout(PayoutId id, const IdempotencyKey& once = {});
  /// The promotion (operator): `grant_amount` for a human wallet, once an owner.
  /// Fails: `field_value`, `key_reused`, `human_only`, `grant_taken`, `grants_exhausted`,
  /// `wallet_not_active`, `balance_out_of_range`, `supply_out_of_range`.
  Result<Granted> grant(WalletId wallet, const IdempotencyKey& once = {});
  /// (operator) The same owner again gives the same entry. Fails: `field_value`, `key_reused`.
  Result<WaitlistEntry> join_waitlist(std::string_view owner_id, const IdempotencyKey& once = {});
  /// (operator) Opens a human wallet for the entry.
  /// Fails: `field_value`, `waitlist_unknown`, `key_reused`, `waitlist_decided`.
  Result<WaitlistApproved> approve_waitlist(WaitlistId id, const IdempotencyKey& once = {});

  // ── payments ──

  /// A price for credits, which a payment may meet until it expires. The same key again gives the first
  /// quote, as it stands. Fails: `field_value`, `amount_zero`, `amount_out_of_range`; `key_reused`;
  /// `too_many_quotes`, of a wallet that was given 64 within an hour (not to an operator);
  /// `wallet_not_active` of one that is closed, `balance_out_of_range`, `supply_out_of_range`.
  Result<Quote> quote_topup(const QuoteTopup& asked);
  /// Fails: `quote_unknown`, also for somebody else's.
  Result<Quote> quote(QuoteId id);
  /// Of one wallet, oldest first, their payments without `payload`. Fails: `field_value`.
  Result<Listed<Quote>> quotes(WalletId wallet, const Page& page = {});
  /// Where and in what payments are taken: nowhere, until an operator has said so.
  Result<PaymentTerms> payment_terms();
  /// Changes it, and sets prices where they are given: both or neither, in one commit (operator). Gives the
  /// payment terms as they are kept. Fails: `field_value`; as `set_prices`.
  Result<PaymentTerms> change_settings(const PaymentTermsChange& change,
                                       const std::optional<core::Prices>& prices = {});
  /// What an open quote asks of its payer. MPP is asked where there are a realm and a network whose token
  /// takes EIP-3009. Fails: `quote_unknown`; `quote_paid` of one that has its payment, `quote_failed`,
  /// `quote_expired`; `unsupported` without networks or `Options::settlement`; `not_built` where all networks
  /// are EVM chains and there is no libsecp256k1; `amount_out_of_range` where no token comes in so fine
  /// amounts.
  Result<PaymentChallenge> payment_challenge(QuoteId id, const PaymentAsk& ask = {});
  /// Judges a payment as it came, and presents it. The same words again, to the byte, give the same payment,
  /// also once their time is over, or no payments are taken any more.
  ///
  /// Fails, in this order: as `payment_challenge`; `payment_malformed`, `payment_invalid` (`code` of the
  /// details is what is said to the client: x402's `errorReason`, or the end of an MPP problem's type); then
  /// as `present_payment`. A contract's signature is `payment_invalid` where the backend judges none, and
  /// `outcome_unknown`, with nothing taken, while one that does cannot say whether it is good.
  Result<PaymentAnswer> pay_quote(QuoteId id, const PaymentWords& words);
  /// The same for credits that are asked for and paid at one place: the quote is the one that MPP's challenge
  /// names, or that had this very payment; else the open one of `kind` and `amount`, made if there is none.
  /// The own wallet's. Fails also: `field_value` for an operator, who has none; `payment_reused` where the
  /// client gave the id of this payment (`payment-identifier` of x402 version 2) to another one, also to one
  /// that failed, of those of the same kind among the 64 newest quotes; as `quote_topup`.
  Result<PaymentAnswer> pay_credits(Money amount, const PaymentWords& words,
                                    QuoteKind kind = QuoteKind::credits);
  /// What payments brought `wallet` so far. Reads its quotes, so its cost grows with their number.
  Result<Money> paid_in(WalletId wallet);
  /// Takes a payment for a quote, has it settled, and credits the quote's wallet, once: the answer is the
  /// payment as it then stands, also when it `failed`, or is still `authorized` or `settling` because the
  /// backend could not say. Present it again to ask again. One that was taken completes also when its quote
  /// expires meanwhile; one that is `on_chain` is credited also where its quote needs it no more.
  ///
  /// Fails, in this order: `unsupported` without `Options::settlement`; `field_value`, `amount_…`;
  /// `quote_unknown`; `payment_reused`, when the nonce came with another quote or with other contents;
  /// `quote_paid`; `quote_failed`; `quote_expired`; `payment_insufficient`. Then as a top-up of its wallet:
  /// of a payment that has settled this leaves it `settling`, to be credited once the wallet takes it.
  Result<Payment> present_payment(QuoteId id, const VerifiedPayment& payment);
  /// Asks the backend about every payment under way, and goes on with it, as after a crash (operator). Of one
  /// that has settled and that its wallet cannot take it says `waiting`. Fails: `unsupported`.
  Result<PaymentRound> settle_payments();

  // ── jobs ──

  /// What a job would hold, with nothing written. Fails: as `submit_job`, as far as its terms and its shape.
  Result<JobEstimate> estimate_job(const JobSubmit& asked);
  /// Takes a job in and holds its budget, in one commit: the worst case, or `max_cost`. Fails, in this order:
  /// `job_unknown`, `field_value` (the job that it does again); `recipe_unknown`; `field_…`, `amount_…`;
  /// `unsupported` (what this version, or this market, does not do); `not_your_wallet`; `field_value` of an
  /// artifact that its payer may not read; `key_reused`; `field_value` of a `callback_url` whose wallet has
  /// no secret; `project_unknown`, `project_not_ready` (nothing was pushed); `job_unknown` (a dependency);
  /// then as a spend of the hold: `wallet_not_active`, `gpu_not_allowed`, the caps, `approval_required` (an
  /// approval is for this very request), `insufficient_balance`.
  Result<JobSubmitted> submit_job(const JobSubmit& asked);
  /// Jobs in one commit, each with its own outcome: one that was refused, or could not even be read (then
  /// its error is given), stops none but those that wait for it.
  ///
  /// Here `job` may have an `alias`, 1 to 64 letters, digits and `_.-`, by which the `depends_on` of others
  /// names it, before it or behind it; a job's id is none. A job of an error is known by the `alias` in its
  /// details. Outcomes stand as the jobs do. A job fails also: `field_value` of an alias that two have;
  /// `dependency_refused`.
  ///
  /// Fails, with nothing submitted: `dependency_cycle`, with the aliases around it in `cycle`.
  Result<std::vector<Result<JobSubmitted>>> submit_jobs(std::span<const Result<JobSubmit>> asked);
  /// Fails: `job_unknown`, also for somebody else's, as do all below.
  Result<Job> job(JobId id);
  /// The caller's own jobs and its agents', the youngest first; an operator's are all.
  Result<Listed<Job>> jobs(const JobFilter& filter = {}, const Page& page = {});
  /// Ends a job; what runs is charged for the time that it ran, and the rest of the hold comes back. One that
  /// has ended stays as it is.
  Result<Job> cancel_job(JobId id);
  /// Tasks in the order of their index; `after` is the index that a page begins at.
  Result<Listed<JobTask>> job_tasks(JobId id, const Page& page = {});
  /// The merged result, once there is one, and each task's.
  Result<JobResults> job_results(JobId id, const Page& page = {});
  /// What the last attempt of a task printed. Fails: `task_unknown`.
  Result<JobOutput> job_output(JobId id, std::uint64_t task = 0);
  Result<Listed<JobEvent>> job_events(JobId id, const Page& page = {});
  /// What happens to the job behind its event `after`: of one that has ended the rest of its events, and its
  /// end. Fails: `field_value` for a place that its log does not have yet.
  Result<JobStream> stream_job(JobId id, std::int64_t after = 0);
  /// The same of 1 to `watched_jobs_max` jobs, each once. Fails: `too_many_operations`; `field_value`;
  /// `job_unknown`, when there is one that is not the caller's.
  Result<JobStream> watch_jobs(std::span<const JobCursor> jobs);
  /// Waits until the job has ended, or `most` has passed; the job as it is then.
  Result<Job> wait_job(JobId id, std::chrono::milliseconds most);
  /// The same, and does on this thread what this process can do of any job meanwhile: its functions and
  /// recipes; and commands as `Options::commands` says, where this job, or one that it waits for, runs one.
  /// Fails: also as `Worker::start` where it then looks for what commands need, and for `heartbeats`.
  Result<Job> run_job(JobId id, const RunOptions& options = {});

  /// For workers (operator): tasks to do, best first; a count of 0 when there is nothing. Fails:
  /// `field_value`, `wallet_unknown`.
  Result<Lease> lease_tasks(const LeaseAsked& asked);
  /// What the tasks of a lease read, in their order.
  Result<std::vector<core::json::Value>> task_payloads(const Lease& lease);
  /// The project's tarball that a lease's commands run in, as it was pushed. Fails: `lease_lost`;
  /// `project_not_ready` for a lease without a project; `corrupt` when the bytes are gone from the folder.
  Result<ArtifactReader> lease_source(std::int64_t token);
  /// How tasks at the front of a lease went; each counts once. Fails: `lease_lost`, `field_value`, also for
  /// an artifact that is none.
  Result<Reported> report_tasks(const Report& report);

  /// What a second of a task costs.
  Result<core::Prices> prices();
  /// (operator) Of jobs submitted from now on. Fails: `field_value`, `amount_…`.
  Result<core::Prices> set_prices(const core::Prices& prices);
  std::vector<std::shared_ptr<const RecipeDefinition>> recipes() const;
  /// Requirements to submit with, and what a second of a task with them costs now.
  Result<std::vector<Preset>> presets();

  // ── projects ──
  //
  // A project is its account's: its own key, its parent's and an operator's reach it. Every call that names
  // one fails with `project_unknown`, also for somebody else's.

  /// Fails: `field_value`; `project_exists`.
  Result<Project> create_project(const ProjectCreate& asked);
  /// The caller's own and its agents', or those of `wallet`; an operator's are all. The oldest first.
  Result<Listed<Project>> projects(const Page& page = {}, const std::optional<WalletId>& wallet = {});
  Result<Project> project(const ProjectName& project);
  /// Fails: `field_value`.
  Result<Project> change_project(const ProjectName& project, const ProjectChange& change);
  /// Takes the name away. Jobs that were submitted keep their revision.
  Result<Done> delete_project(const ProjectName& project);
  /// Publishes a revision, which is the active one from then on. Fails, having changed nothing:
  /// `archive_refused` with the broken rule, `field_…` of the manifest, with its name at `file` of the
  /// details; `unsupported` of a market in memory, `read_only`, `not_built`; what `source` says.
  Result<Revision> push_project(const ProjectName& project, const TarballSource& source);
  Result<Revision> push_project(const ProjectName& project, std::string_view tarball);
  Result<ProjectStatus> project_status(const ProjectName& project);
  Result<ProjectStatusDetails> project_status_details(const ProjectName& project);
  /// Prepares the active revision ahead of a job. Free, but its account has `init_balance_min` available.
  /// Fails: `project_not_ready` when nothing was pushed; `insufficient_balance` with the `shortfall`;
  /// `unsupported` of a market in memory, `not_built`.
  Result<ProjectStatus> init_project(const ProjectName& project);
  /// The active revision is to be prepared anew.
  Result<ProjectStatus> invalidate_project(const ProjectName& project);
  /// How its status stands, unless that is `after`, and what it becomes. Fails: `field_value` for a cursor of
  /// no shape.
  Result<ProjectStream> stream_project(const ProjectName& project, const ProjectCursor& after = {});
  /// Fails: `kv_unknown`.
  Result<KvEntry> kv_get(const ProjectName& project, std::string_view key);
  /// Of callers who name one version one succeeds. Fails: `field_value`; `kv_changed` with the `version` that
  /// stands (0: none).
  Result<KvEntry> kv_put(const ProjectName& project, const KvPut& asked);

  // ── artifacts ──
  //
  // Every call that writes bytes fails with `unsupported` of a market in memory, `read_only`, `disk_full`,
  // `io_error`; one that names an artifact or an upload with `artifact_unknown` or `upload_unknown`, also for
  // somebody else's.

  /// Stores what `source` gives, durably, and names it. The same key with the same bytes gives the first
  /// artifact again. Fails, having kept nothing: `field_value`; `too_large` as soon as the limit is passed;
  /// `content_mismatch` where the bytes are not what was said; `key_reused`; what `source` says.
  Result<ArtifactStored> put_artifact(const ArtifactPut& asked, const ArtifactSource& source);
  Result<ArtifactStored> put_artifact(const ArtifactPut& asked, std::string_view bytes);
  /// The same of a file, whose own name stands for a name that is empty. Fails also: `file_missing`.
  Result<ArtifactStored> put_artifact_file(const ArtifactPut& asked, const std::string& path);
  /// The caller's own and its agents', or those of `wallet`; an operator's are all. The youngest first.
  Result<Listed<Artifact>> artifacts(const Page& page = {}, const std::optional<WalletId>& wallet = {});
  Result<Artifact> artifact(ArtifactId id);
  /// Fails: `corrupt` when the bytes are gone from the folder.
  Result<ArtifactReader> open_artifact(ArtifactId id);
  /// A ticket with which `Engine::put_direct` takes the artifact, for `artifact_ticket_s`, once. Fails: as
  /// `put_artifact`.
  Result<ArtifactTicket> direct_artifact(const ArtifactPut& asked);
  /// Begins an upload in parts, which a restart does not end: it goes on for `artifact_upload_s`. Fails: as
  /// `put_artifact`.
  Result<ArtifactUpload> start_artifact(const ArtifactPut& asked);
  /// A part, durable when this returns; it replaces what was sent under its number before. Fails:
  /// `field_value`; `too_large`, also where all parts together are; `content_mismatch`.
  Result<ArtifactPart> put_artifact_part(UploadId id, std::uint32_t number, std::string_view bytes,
                                         const std::optional<core::Digest>& sha256 = {});
  /// What was sent so far, by number.
  Result<std::vector<ArtifactPart>> artifact_parts(UploadId id);
  /// Makes the artifact. After an error the upload stands as it was; of one that is complete the artifact is
  /// given again. Fails: `field_value`; `content_mismatch` with the `part`, or the `field` of the whole;
  /// `too_large`.
  Result<ArtifactStored> complete_artifact(UploadId id, const ArtifactComplete& asked = {});
  Result<Done> abort_artifact(UploadId id);
  /// Removes blobs that no artifact and no revision of a project names, once they are `artifact_grace_s` old,
  /// and the parts of uploads that are over (operator).
  Result<ArtifactsCollected> collect_artifacts();

  // ── receipts and the books ──

  /// Fails: `receipt_unknown` (also for a receipt of somebody else's wallets).
  Result<Receipt> receipt(ReceiptId id);
  Result<InclusionProof> inclusion_proof(ReceiptId id);
  Result<ConsistencyProof> consistency_proof(std::uint64_t old_size, std::uint64_t new_size);
  /// The log's head as a signed note (C2SP tlog-checkpoint).
  Result<std::string> checkpoint();
  /// Re-sums, re-chains and re-verifies everything (operator). Fails: `anchor_malformed`.
  Result<AuditReport> audit(const Anchor& anchor = {}, AuditDepth depth = AuditDepth::covered);
  /// Computes the job of a receipt again, from its recorded payload, on this thread, and compares what comes
  /// out with the `output_hash` that was signed (operator). It takes what the job took; `stopped` is asked
  /// between tasks and by those that run. Nothing is charged or kept.
  ///
  /// Fails: `receipt_unknown`; `not_reproducible` with `why` (`spend`: it is of no job; `work`: of a task or
  /// a command; `class`: its recipe promises no exact result; `no_result`: the job came to none);
  /// `recipe_unknown`; `corrupt` (the signature, or what was recorded); `stopped`.
  Result<ReceiptAudit> audit_receipt(ReceiptId id, const std::function<bool()>& stopped = {});
  /// What users told the operators, oldest first (operator). Fails: `field_value`.
  Result<Listed<Feedback>> feedback(const Page& page = {});
  /// The market in numbers (operator).
  Result<Metrics> metrics();
  /// Writes the ledger to `sink` piece by piece (operator).
  Result<Done> export_ledger(ExportFormat format, const ExportSink& sink);

 private:
  friend class Engine;
  Session(Market& market, Principal principal) : market_(&market), principal_(std::move(principal)) {}
  /// The bytes of `found`, called `what` where they are gone.
  Result<ArtifactReader> open_bytes(Artifact found, const std::string& what);
  Market* market_;
  Principal principal_;
  std::shared_ptr<const Policy> narrowing_{};  ///< Null: none.
};

}  // namespace calyx
