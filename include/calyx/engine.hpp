/// \file
/// The engine: one market file, opened.
///
/// It starts no thread that the host did not ask for, opens no socket, prints nothing and installs no signal
/// handler. The clock, the random source and the signer can be the host's.
///
/// Units: instants are microseconds since 1970-01-01 UTC.
/// Threads: any, at any time. Processes: any number may open the same file; a forked child must open its
/// own (calls on a parent's engine answer `forked`). Fork while no other thread is inside a call, and before
/// workers start: what SQLite had locked there stays locked in the child, whose own engine then answers
/// `store_busy`.
/// Callbacks: `now_us`, `random` and `sign` run inside a call, so they must not call the engine that called
/// them: it answers `handle_invalid`. `pay_out` and an export's sink run outside every lock and may.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/payments.hpp>
#include <calyx/session.hpp>
#include <calyx/version.hpp>
#include <calyx/webhooks.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace calyx {

/// How a payout went, as far as the host's interface knows when it returns.
enum class PayoutOutcome : std::uint8_t { pending, confirmed, failed };

inline constexpr unsigned signing_threads_max = 64;

struct Options {
  /// The market file, at most 4000 bytes and 500 once resolved; created when absent. Empty: in memory, gone
  /// with the engine, an ephemeral key. Beside it live `<path>-wal`, `<path>-shm`, `<path>-gate` and
  /// `<path>-keys` (0600: never copy it with the market).
  std::string path{};
  bool read_only = false;
  std::uint64_t busy_timeout_ms = 5000;
  /// Who issues receipts, 1 to 128 bytes of 0x21-0x7E; fixed when the market is created. Empty: `calyx`.
  std::string issuer{};
  /// The fee, fixed when the market is created. Units: hundredths of a percent, 0 to 10,000.
  std::int32_t fee_basis_points = 1500;

  /// Empty: the system's clock. Must not call the engine. Time never runs back in a market: an instant before
  /// that of the last event counts as that event's. So one call under a clock that is far ahead makes time
  /// stand still, in the file and for all who open it, until the clock has come that far: calls pass and bear
  /// that instant, but no deadline that they set falls due and no hour of spending rolls on. Before 1970 and
  /// after 9999 calls answer `io_error`.
  std::function<std::int64_t()> now_us{};
  std::function<bool(void* out, std::size_t size)>
      random{};  ///< Empty: the system's. Must not call the engine.
  /// Signs for key `kid`; must not call calyx. False rolls the batch back, and so does being late: all
  /// receipts of a batch together have 5 s, from the first one that it is asked for. Empty: the newest key in
  /// the key file signs.
  std::function<bool(std::string_view kid, std::string_view message, std::uint8_t out[64])> sign{};
  /// How many threads the engine keeps to sign receipts with, beside the threads of its callers, which sign
  /// while they wait. Worth a core or two where few callers settle much at once, as in a bulk: its thread
  /// orders what others sign meanwhile. They sleep otherwise and end with the engine. They take no signals
  /// but those of their own faults; a `sign` of the host's runs on them, too, and a process that it starts
  /// there inherits that. A reader has none. 0 to 64. Fails: `no_memory` where the system gives no thread.
  unsigned signing_threads = 0;
  /// The public half of the host's signing key; needed with `sign`.
  std::optional<std::array<std::uint8_t, 32>> sign_public_key{};
  /// Handed each payout after its debit is durable, outside every lock; what it says is written by a second
  /// commit. It may be handed the same payout again (a retry finds it pending still, when that commit did not
  /// come about), also on two threads at once: answer by `Payout::id` and pay once. What throws says
  /// `pending`. Empty: payouts wait for `confirm_payout` or `fail_payout`.
  std::function<PayoutOutcome(const Payout&)> pay_out{};
  /// Settles payments (payments.hpp), until `Engine::set_settlement` says who else does. Called outside every
  /// lock. Null: none is taken.
  std::shared_ptr<SettlementBackend> settlement{};
  /// Who presents this in place of an API key may read `GET /metrics`, and nothing else. 16 to 128 bytes of
  /// 0x21-0x7E, kept in memory alone. Empty: there is none.
  std::string metrics_token{};
  /// The first of the nine lines that `X-Auth-` requests sign (core/request_signature.hpp). The published
  /// clients' own says nothing of the host, so that a signature made for another one that takes it counts
  /// here, too, within its five minutes, and the other way round: where that matters, set one that is yours
  /// alone, here and in your clients. 1 to 128 bytes of 0x21-0x7E.
  std::string signature_first_line{core::request_signature::first_line_default};
  /// Which URLs a job may name as its `callback_url`; webhooks.hpp says how its end gets there. Empty: none,
  /// until `Engine::set_webhooks` says otherwise.
  std::optional<core::CallbackRules> callbacks{};
  /// How `Session::run_job` runs commands on its caller's thread; judged when it first does. Absent: it runs
  /// none, and workers have options of their own.
  std::optional<CommandOptions> commands{};

  /// For tests: the SQLite VFS that holds the file; empty is the system's. A VFS of its own has no gate
  /// and no key file: the market is for one process and its key is `random`'s.
  std::string vfs{};
  /// With `vfs`: where the gate and the key file lie after all, as if this were the market's path. Empty:
  /// neither.
  std::string sidecars{};
  bool synchronous_normal = false;  ///< For tests of the tests: loses acknowledged calls on power loss.
};

/// A payment that came with a call, in place of a key.
struct PaidCall {
  PaymentAnswer answer{};
  /// Once paid, of the payer's wallet, for what derived keys may do (keys.hpp): it may spend what was paid,
  /// less what it has spent and did not get back, however often the payment comes. `quote_lasts_s` after it
  /// was paid it begins nothing new; what it began is answered again.
  std::optional<Session> session{};
};

class CALYX_EXPORT Engine {
 public:
  /// Opens or creates a market. A market whose file is gone while its log or its key file stands is not begun
  /// anew (`file_missing`), and what is no market is left with nothing beside it. One of an older schema goes
  /// forward, after a copy of it was made beside it (`<path>-schema<N>`). Fails: `options_invalid`,
  /// `path_refused`, `file_missing`, `keys_missing`, `keys_foreign`, `not_a_market`, `file_newer`,
  /// `read_only` for an older schema that would have to go forward, `store_busy`, `disk_full`, `io_error`,
  /// `corrupt`. Each message says what to do.
  static Result<Engine> open(Options options);

  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  /// Ends its streams. Waits for no one but those of them that wait: no other call may be under way.
  ~Engine();
  /// Ends all streams (streams.hpp, `Response::stream`), also those that are asked for later: each answers
  /// `closed`, one that waits at once. For a host that closes, before it waits for its threads.
  void end_streams();

  /// The principal behind an API key, or a key derived of one (`derive_key`). Fails: `unauthorized`, for any
  /// key that is not good; `keys_missing`, for a reader without the key file, which cannot tell.
  Result<Session> session(std::string_view api_key);
  /// The wallet whose owner signed `request`, opened when it is the address's first signature; a signature
  /// counts once. `needs_whitelist`: only for a wallet that may run jobs. What fails leaves nothing behind.
  /// Fails: `signature_invalid`, with the reason as `code` in the details; `not_whitelisted`;
  /// `too_many_wallets`; `too_many_nonces` where 1,024 of the address are still in their time;
  /// `not_built` on base without libsecp256k1; the store.
  Result<Session> session(const SignedRequest& request, bool needs_whitelist = false);
  /// What the wallet of `address` signs to sign in to the host at `PaymentTerms::base_url`; nothing is kept.
  /// Fails: `field_value`; `unsupported` while no base URL is set; `keys_missing`; `io_error`.
  Result<SignInChallenge> sign_in_challenge(AddressChain chain, std::string_view address);
  /// A key of kind `session`, for the wallet that signed a challenge; each is answered once. `signature` is
  /// of 65 octets in hexadecimal with `0x` on base, of 64 in base64 on solana. Fails: `challenge_invalid`,
  /// with `unknown`, `expired` or `used` as `code`, also after the base URL changed; `signature_invalid`;
  /// `not_whitelisted`; `too_many_nonces`; `not_built`; the store.
  Result<KeyIssued> sign_in(std::string_view challenge_id, std::string_view signature);
  /// What a call of `price` asks of whoever makes it without a key, at `PaymentAsk::resource`. Nothing is
  /// kept. Fails: `amount_zero`, `amount_out_of_range`; as `Session::payment_challenge`.
  Result<PaymentChallenge> payment_challenge(Money price, const PaymentAsk& ask = {});
  /// Judges the payment that came with such a call, and settles it. Credited is the wallet of the payer's
  /// address, as its own signature would open it; nobody's is opened before `Options::settlement` says that
  /// the payment would settle. The same words again, to the byte, are the same payment, whatever the price is
  /// by then. So is, in those words alone, a payment that its client gave an id (`payment-identifier` of x402
  /// version 2), one for each payer: another one with it is `payment_reused`, though the first failed. Do the
  /// call with an idempotency key of the payment's own (`Payment::id`): so one pays for one call.
  ///
  /// Fails, in this order: as `payment_challenge`; `payment_malformed`, `payment_invalid`, as
  /// `Session::pay_quote`, also where a contract off Base signed, which has no wallet here; `outcome_unknown`
  /// while the backend does not say whether it would settle; `payment_reused`; `payment_insufficient`;
  /// `too_many_wallets`; `too_many_quotes` after 32 payments of the payer within an hour that did not settle;
  /// `wallet_not_active`, `balance_out_of_range`, `supply_out_of_range`; the store.
  Result<PaidCall> pay_for_call(Money price, const PaymentWords& words);
  /// A key of kind `compute` for the wallet of who paid for a call by MPP, shown once; where the wallet has
  /// one that is not revoked, that one, and no new secret. Fails: `payment_unknown` for any other payment,
  /// and `quote_lasts_s` after it was paid; `not_whitelisted` for a stranger's wallet that has had all the
  /// keys it may have.
  Result<KeyIssued> issue_management_key(PaymentId paid);
  /// Trusted, in process: everything is allowed.
  Session as_operator();

  /// Mints an operator's API key, shown this once. `label` as in `Session::issue_key`.
  Result<KeyIssued> issue_operator_key(std::string_view label);
  /// The signing keys, old and new, as a JSON Web Key Set (RFC 7517). Empty in a forked child and in a
  /// callback.
  std::string public_keys() const;
  /// Adds a new signing key; receipts are signed with it from now on and old ones still verify.
  Result<std::string> rotate_signing_key();
  /// Judges a receipt against this market's keys.
  ReceiptVerdict verify(std::string_view receipt) const;

  /// Makes `run` what jobs with `"task": name` do, in workers of this process; a name that is taken is
  /// replaced. `name`: 1 to 128 bytes of 0x21-0x7E. Fails: `field_value`, `field_missing`.
  Result<Done> register_task(const std::string& name, TaskFunction run);
  /// The same for a recipe. Fails: `field_value`, `field_missing`; for a `payload_schema` beyond the subset
  /// of `core/schema.hpp` also `field_unknown` and `field_type`, with the place below `/payload_schema`.
  Result<Done> register_recipe(RecipeDefinition recipe);

  /// Has `backend` settle payments from now on, in place of who did; null: none is taken. Calls under way end
  /// with the one that they began with, which goes with the last of them. Threads: any.
  void set_settlement(std::shared_ptr<SettlementBackend> backend);

  /// Takes what somebody has to tell the operators; no key is asked for. Fails: `field_value`;
  /// `feedback_full`, `too_much_feedback`, whose limits feedback.hpp names.
  Result<Feedback> submit_feedback(const FeedbackSubmit& asked);

  /// Lets jobs name the URLs of `rules` from now on, in place of `Options::callbacks`, and has `transport`
  /// send where `Session::deliver_webhooks` is called; without functions nobody does there. Calls under way
  /// end as they began. In a forked child, and in a callback, it does nothing. Threads: any.
  void set_webhooks(core::CallbackRules rules, WebhookTransport transport);
  /// Sends messages of jobs' ends that are due, `most` at most, one after the other, outside every lock. Call
  /// it every few seconds, from one thread or from several: no two send one message at a time, also not from
  /// two processes. Fails: `unsupported` where jobs may name no URL; `field_missing`; the store, and then
  /// what was sent and could not be written is sent again.
  Result<WebhookRound> deliver_webhooks(const WebhookTransport& transport, std::size_t most = 64);

  /// Takes the artifact of a ticket (`Session::direct_artifact`); no key is asked for. The same bytes again
  /// give the first answer. Fails: `upload_unknown`; as `Session::put_artifact`.
  Result<ArtifactStored> put_direct(std::string_view ticket, const ArtifactSource& source);
  Result<ArtifactStored> put_direct(std::string_view ticket, std::string_view bytes);

  /// A copy of the market file, made under the gate while others wait. Tarballs and artifacts, which lie in
  /// `<market>-artifacts`, are not copied: copy that folder afterwards. Fails: `path_refused`, the store.
  Result<Done> backup(const std::string& path);

  EngineStats stats() const noexcept;
  /// Whether `presented` is `Options::metrics_token`, compared in constant time; never when there is none.
  bool is_metrics_token(std::string_view presented) const noexcept;
  std::string issuer() const;  ///< Empty in a forked child and in a callback.

 private:
  friend class Worker;
  explicit Engine(std::unique_ptr<Market> market);
  Result<Session> session_of_derived(std::string_view api_key);
  std::unique_ptr<Market> market_;
};

}  // namespace calyx
