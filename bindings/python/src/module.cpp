/// \file
/// The Python module `calyx._native`: the C++ API with Python's types, and nothing decided here.
///
/// What goes in is text and integers (amounts in micro-FLOPS, ids as text), already checked for their type by
/// the Python files beside this; what comes out is dictionaries of `Flops`, `str`, `int` and `datetime`,
/// which those files give their names. Errors become exceptions in one place, `raise_error`.
///
/// Threads: every call into the engine is made without the GIL (`outside`), also the short ones: a call that
/// kept it would wait for a lock whose holder may be waiting for the GIL to run a callback.
/// Owns: a call holds its engine, so `close` beside a running call takes effect when that call is over.
#include "native.hpp"
// After Python.h, which the header above brings and it does not.
#include <datetime.h>

#include <algorithm>
#include <cstring>

namespace calyx_python {

py::object out(calyx::Instant instant) {
  constexpr std::int64_t us_per_day = 86'400 * core::us_per_second;
  const core::Date date = core::date_of(instant.us / us_per_day);  // an engine's instants are from 1970 on
  const std::int64_t of_day = instant.us % us_per_day;
  const auto seconds = static_cast<int>(of_day / core::us_per_second);
  PyObject* made = PyDateTimeAPI->DateTime_FromDateAndTime(
      static_cast<int>(date.year), static_cast<int>(date.month), static_cast<int>(date.day), seconds / 3600,
      seconds / 60 % 60, seconds % 60, static_cast<int>(of_day % core::us_per_second),
      PyDateTime_TimeZone_UTC, PyDateTimeAPI->DateTimeType);
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

namespace {

using calyx_python::out;  // the overloads below stand beside those

// ── values for Python ──

// Declared before the records that hold them, and defined after all of those that they may hold.
template <class T>
py::object out(const std::optional<T>& value);
template <class T>
py::object out(const std::vector<T>& values);

py::object out(const calyx::Policy& policy) {
  return record({{"spend_cap_per_job", out(policy.spend_cap_per_job)},
                 {"spend_cap_per_hour", out(policy.spend_cap_per_hour)},
                 {"approval_threshold", out(policy.approval_threshold)},
                 {"allowed_gpu_types", out(policy.allowed_gpu_types)}});
}
py::object out(const calyx::Wallet& wallet) {
  return record({{"id", out(wallet.id)},
                 {"owner_type", out(word(wallet.owner_type))},
                 {"owner_id", out(wallet.owner_id)},
                 {"parent_id", out(wallet.parent)},
                 {"status", out(word(wallet.status))},
                 {"policy", out(wallet.policy)},
                 {"created_at", out(wallet.created_at)},
                 {"balance", out(wallet.balance)},
                 {"held", out(wallet.held)},
                 {"expired_pending", out(wallet.expired_pending)},
                 {"txn_count", out(wallet.txn_count)}});
}
py::object out(const calyx::WalletCreated& created) {
  return record({{"wallet", out(created.wallet)},
                 {"api_key", text_or_none(created.api_key)},
                 {"key_id", out(created.key)},
                 {"key_last4", out(created.key_last4)},
                 {"replayed", out(created.replayed)}});
}
py::object out(const calyx::Moved& moved) {
  return record({{"txn_id", out(moved.txn)},
                 {"amount", out(moved.amount)},
                 {"new_balance", out(moved.new_balance)},
                 {"replayed", out(moved.replayed)}});
}
py::object out(const calyx::Spent& spent) {
  return record({{"txn_id", out(spent.txn)},
                 {"job_id", out(spent.job_id)},
                 {"amount_locked", out(spent.amount_locked)},
                 {"new_balance", out(spent.new_balance)},
                 {"replayed", out(spent.replayed)}});
}
py::object out(const calyx::Earned& earned) {
  return record({{"txn_id", out(earned.txn)},
                 {"gross_amount", out(earned.gross_amount)},
                 {"platform_fee", out(earned.platform_fee)},
                 {"net_payout", out(earned.net_payout)},
                 {"new_balance", out(earned.new_balance)},
                 {"receipt_id", out(earned.receipt)},
                 {"replayed", out(earned.replayed)}});
}
py::object out(const calyx::Released& released) {
  return record({{"txn_id", out(released.txn)},
                 {"job_id", out(released.job_id)},
                 {"amount", out(released.amount)},
                 {"new_balance", out(released.new_balance)},
                 {"burned", out(released.burned)},
                 {"replayed", out(released.replayed)}});
}
py::object out(const calyx::EntryView& entry) {
  return record({{"txn_id", out(entry.txn)},
                 {"seq", out(entry.seq)},
                 {"kind", out(entry.kind)},
                 {"amount", out(entry.amount)},
                 {"job_id", text_or_none(entry.job_id)},
                 {"reference", text_or_none(entry.reference)},
                 {"at", out(entry.at)}});
}
py::object out(const calyx::EscrowView& escrow) {
  return record({{"job_id", out(escrow.job_id)},
                 {"payer_id", out(escrow.payer)},
                 {"host_id", out(escrow.host)},
                 {"amount", out(escrow.amount)},
                 {"gpu_type", out(escrow.gpu_type)},
                 {"state", out(word(escrow.state))},
                 {"locked_by", out(escrow.locked_by)},
                 {"locked_at", out(escrow.locked_at)},
                 {"expires_at", out(escrow.expires_at)},
                 {"ended_by", out(escrow.ended_by)},
                 {"receipt_id", out(escrow.receipt)}});
}
py::object out(const calyx::Approval& approval) {
  return record({{"id", out(approval.id)},
                 {"wallet_id", out(approval.wallet)},
                 {"status", out(word(approval.status))},
                 {"operation", out(approval.operation)},
                 {"amount", out(approval.amount)},
                 {"job_id", text_or_none(approval.job_id)},
                 {"gpu_type", out(approval.gpu_type)},
                 {"created_at", out(approval.created_at)},
                 {"expires_at", out(approval.expires_at)}});
}
py::object out(const calyx::ApiKey& key) {
  return record({{"id", out(key.id)},
                 {"wallet_id", out(key.wallet)},
                 {"label", out(key.label)},
                 {"last4", out(key.last4)},
                 {"created_at", out(key.created_at)},
                 {"revoked_at", out(key.revoked_at)},
                 {"kind", out(word(key.kind))},
                 {"expires_at", out(key.expires_at)}});
}
py::object out(const calyx::SignInChallenge& challenge) {
  return record({{"id", out(challenge.id)},
                 {"message", out(challenge.message)},
                 {"expires_at", out(challenge.expires_at)}});
}
py::object out(const calyx::KeyIssued& issued) {
  return record({{"key", out(issued.key)},
                 {"api_key", text_or_none(issued.api_key)},
                 {"replayed", out(issued.replayed)}});
}
py::object out(const calyx::Receipt& receipt) {
  return record({{"id", out(receipt.id)}, {"jws", out(receipt.jws)}, {"leaf", out(receipt.leaf)}});
}
py::object out(const calyx::ReceiptVerdict& verdict) {
  return record({{"valid", out(verdict.valid)},
                 {"reason", text_or_none(verdict.reason)},
                 {"payload", out(verdict.payload)}});
}
py::object out(const calyx::Payout& payout) {
  return record({{"id", out(payout.id)},
                 {"txn_id", out(payout.txn)},
                 {"wallet_id", out(payout.wallet)},
                 {"amount", out(payout.amount)},
                 {"destination", out(payout.destination)},
                 {"status", out(word(payout.status))},
                 {"new_balance", out(payout.new_balance)},
                 {"created_at", out(payout.created_at)},
                 {"replayed", out(payout.replayed)}});
}
py::object out(const calyx::WebhookRequest& request) {
  py::dict headers;
  for (const auto& [name, value] : request.headers) headers[out(name)] = out(value);
  return record({{"url", out(request.url)},
                 {"host", out(request.target.host)},
                 {"port", out(std::int64_t{request.target.port})},
                 {"https", out(request.target.https)},
                 {"target", out(request.target.target)},
                 {"address", out(request.address)},
                 {"headers", headers},
                 {"body", out(Bytes{request.body})},
                 {"timeout_s", out(request.timeout_s)}});
}
py::object out(const calyx::WebhookRound& round) {
  return record({{"delivered", out(round.delivered)},
                 {"failed", out(round.failed)},
                 {"dead", out(round.dead)},
                 {"next_at", round.next_at ? out(*round.next_at) : py::none()}});
}
py::object out(const calyx::Granted& granted) {
  return record({{"txn_id", out(granted.moved.txn)},
                 {"amount", out(granted.moved.amount)},
                 {"new_balance", out(granted.moved.new_balance)},
                 {"remaining", out(granted.remaining)},
                 {"replayed", out(granted.moved.replayed)}});
}
py::object out(const calyx::WaitlistEntry& entry) {
  return record({{"id", out(entry.id)},
                 {"owner_id", out(entry.owner_id)},
                 {"status", out(word(entry.status))},
                 {"created_at", out(entry.created_at)},
                 {"replayed", out(entry.replayed)}});
}
py::object out(const calyx::WaitlistApproved& approved) {
  return record({{"entry", out(approved.entry)}, {"created", out(approved.created)}});
}
py::object out(const calyx::InclusionProof& proof) {
  return record({{"leaf", out(proof.leaf)},
                 {"size", out(proof.size)},
                 {"leaf_hash", out(proof.leaf_hash)},
                 {"root", out(proof.root)},
                 {"path", out(proof.path)},
                 {"checkpoint", out(proof.checkpoint)}});
}
py::object out(const calyx::ConsistencyProof& proof) {
  return record({{"old_size", out(proof.old_size)},
                 {"new_size", out(proof.new_size)},
                 {"old_root", out(proof.old_root)},
                 {"new_root", out(proof.new_root)},
                 {"path", out(proof.path)}});
}
py::object out(const calyx::AuditReport& report) {
  return record({{"ok", out(report.ok)},
                 {"events", out(report.events)},
                 {"entries", out(report.entries)},
                 {"receipts", out(report.receipts)},
                 {"signatures", out(report.signatures)},
                 {"checkpoints", out(report.checkpoints)},
                 {"first_fault", text_or_none(report.first_fault)},
                 {"head", out(report.head)},
                 {"seq", out(report.seq)}});
}
py::object out(const calyx::EngineStats& stats) {
  return record({{"commits", out(stats.commits)},
                 {"calls_committed", out(stats.calls_committed)},
                 {"checkpoints", out(stats.checkpoints)},
                 {"statements_prepared", out(stats.statements_prepared)}});
}
py::object out(const calyx::Done&) { return py::none(); }

/// A body that comes in pieces. It may be let go of at any time, also after its market.
class PyBodyStream {
 public:
  PyBodyStream(OpenPtr open, std::shared_ptr<calyx::BodyStream> stream)
      : open_(std::move(open)), stream_(std::move(stream)) {}

  py::object next(std::int64_t most_ms) {
    const std::unique_lock lock = only_one(mutex_);
    constexpr std::int64_t most_ms_max = 86'400'000;
    const std::chrono::milliseconds most(std::clamp<std::int64_t>(most_ms, 0, most_ms_max));
    if (open_->engine == nullptr) return py::bytes();  // closed: its end, as for who waits meanwhile
    const calyx::BodyPiece piece = outside(open_, [&](calyx::Engine&) { return stream_->next(most); });
    if (piece.kind == calyx::BodyPiece::Kind::nothing_yet) return py::none();
    return py::bytes(piece.bytes);
  }

 private:
  OpenPtr open_;
  std::mutex mutex_;
  std::shared_ptr<calyx::BodyStream> stream_;
};

py::object response_of(const OpenPtr& open, calyx::Response response) {
  py::list headers;
  for (const calyx::HeaderField& field : response.headers)
    headers.append(py::make_tuple(field.name, field.value));
  py::object stream = py::none();
  if (response.stream != nullptr)
    stream = py::cast(std::make_unique<PyBodyStream>(open, std::move(response.stream)));
  return py::make_tuple(response.status, headers, py::bytes(response.body), stream);
}

py::object exception_of(const Error& error) {
  return known().error_of(word(error.status()), word(error.reason), error.message,
                          out(error.details, Reals::amounts));
}
py::object out(const calyx::Outcome& outcome) {
  return std::visit(
      [](const auto& one) -> py::object {
        if constexpr (std::is_same_v<std::decay_t<decltype(one)>, Error>)
          return exception_of(one);
        else
          return out(one);
      },
      outcome);
}
template <class T>
py::object out(const std::optional<T>& value) {
  return value ? out(*value) : py::none();
}
template <class T>
py::object out(const std::vector<T>& values) {
  py::list items;
  for (const T& value : values) items.append(out(value));
  return items;
}
template <class T>
py::object out(const calyx::Listed<T>& page) {
  return py::make_tuple(out(page.items), page.next);
}
template <class T>
py::object out(Result<T> result) {
  return out(std::move(result).value());
}

/// The one place where an error of calyx becomes an exception of Python.
void raise_error(const Error& error) {
  try {
    const py::object made = exception_of(error);
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
  } catch (py::error_already_set& raised) {
    raised.restore();
  }
}

// ── values from Python ──

calyx::AddressChain chain_of(Text text) {
  for (const auto chain : {calyx::AddressChain::base, calyx::AddressChain::solana})
    if (text == word(chain)) return chain;
  throw Failure(fail(Reason::field_value, "a chain is base or solana", json::object({{"field", "/chain"}})));
}
/// `headers` are the values of the six, in the order of `core::request_signature::Headers`.
PySession session_of_request(const OpenPtr& self, Text method, Text target, const py::bytes& body,
                             const std::vector<std::string>& headers, bool needs_whitelist) {
  constexpr std::size_t count = 6;
  if (headers.size() != count) throw py::type_error("a request is signed by six headers");
  const std::string octets = body;
  const calyx::SignedRequest request{
      .method = method,
      .target = target,
      .body = octets,
      .headers = {headers[0], headers[1], headers[2], headers[3], headers[4], headers[5]}};
  auto session =
      outside(self, [&](calyx::Engine& engine) { return engine.session(request, needs_whitelist); });
  return PySession{self, std::move(session).value()};
}

calyx::Spend spend_of(Text wallet, Text job_id, std::int64_t micro, MaybeText gpu_type, MaybeText host,
                      MaybeMicro expires_in_s) {
  return {.wallet = wallet_id(wallet),
          .job_id = job_id,
          .amount = money_of(micro),
          .gpu_type = gpu_type,
          .host_wallet = wallet_id(host),
          .expires_in_s = expires_in_s};
}
calyx::Earn earn_of(Text host, Text job_id, std::int64_t gross_micro, Text output_hash, Text gpu_model,
                    std::int64_t duration_seconds, MaybeText payer) {
  const auto digest = core::read_output_hash(output_hash);
  if (!digest)
    throw Failure(fail(Reason::field_value,
                       "an output_hash is 64 hex digits, with sha256: before them or not",
                       json::object({{"field", "/output_hash"}})));
  return {.host = wallet_id(host),
          .job_id = job_id,
          .gross_amount = money_of(gross_micro),
          .output_hash = *digest,
          .gpu_model = gpu_model,
          .duration_seconds = duration_seconds,
          .payer_wallet = wallet_id(payer)};
}
calyx::Release release_of(Text wallet, Text job_id) {
  return {.wallet = wallet_id(wallet), .job_id = job_id};
}
calyx::TopUp topup_of(Text wallet, std::int64_t micro, Text reference, Text idempotency_key) {
  return {.wallet = wallet_id(wallet),
          .amount = money_of(micro),
          .reference = reference,
          .idempotency_key = idempotency_key};
}
calyx::WalletTransfer transfer_of(Text from, Text to, std::int64_t micro, Text reference,
                                  Text idempotency_key) {
  return {.from = wallet_id(from),
          .to = wallet_id(to),
          .amount = money_of(micro),
          .reference = reference,
          .idempotency_key = idempotency_key};
}

/// Calls `make` with the items of `values`, each as the type that `make` takes at its place.
template <class Made, class... Arguments, std::size_t... At>
Made made_of(Made (*make)(Arguments...), const py::tuple& values, std::index_sequence<At...>) {
  if (values.size() != sizeof...(Arguments) + 1)
    throw py::type_error("an operation has too few or many items");
  return make(values[At + 1].template cast<std::decay_t<Arguments>>()...);
}
template <class Made, class... Arguments>
Made made_of(Made (*make)(Arguments...), const py::tuple& values) {
  return made_of(make, values, std::index_sequence_for<Arguments...>());
}
calyx::Operation operation_of(const py::tuple& values) {
  if (values.empty()) throw py::type_error("an operation has a name");
  const auto name = values[0].cast<std::string>();
  if (name == "spend") return made_of(spend_of, values);
  if (name == "earn") return made_of(earn_of, values);
  if (name == "release") return made_of(release_of, values);
  if (name == "topup") return made_of(topup_of, values);
  if (name == "transfer") return made_of(transfer_of, values);
  throw py::type_error("no operation " + name);
}

/// The micro-FLOPS that `text` spells; `field` is what an error names.
std::int64_t read_money(Text text, Text field) {
  const core::MoneyReading reading = core::read_money(text);
  if (reading.fault != core::MoneyFault::none)
    throw Failure(fail(core::reason_of(reading.fault), std::string(core::message_of(reading.fault)),
                       json::object({{"field", field}})));
  return reading.money.micro;
}

// ── callbacks ──

/// A Python function that an engine keeps, asked with what the records here become.
class Function : public Callback {
 public:
  using Callback::Callback;

  /// `read(answer)` of what the function answers to `arguments`, or `otherwise`.
  template <class T, class Read, class... Arguments>
  T ask(T otherwise, Read read, const Arguments&... arguments) const {
    return use(std::move(otherwise),
               [&](const py::object& function) -> T { return read(function(out(arguments)...)); });
  }
};

/// Copies the bytes object `answer`, which must have `size` bytes, to `to`.
bool copy_bytes(const py::object& answer, void* to, std::size_t size) {
  if (!PyBytes_Check(answer.ptr()) || static_cast<std::size_t>(PyBytes_GET_SIZE(answer.ptr())) != size)
    throw py::type_error("gives bytes, " + std::to_string(size) + " of them");
  std::memcpy(to, PyBytes_AS_STRING(answer.ptr()), size);
  return true;
}

/// Sends what is due through Python's functions. What they raise is no answer.
py::object deliver_webhooks(const OpenPtr& self, const py::object& resolve, const py::object& send,
                            std::size_t most) {
  calyx::WebhookTransport transport;
  transport.resolve = [resolve_ = Function(resolve)](const std::string& host) {
    const auto read = [](const py::object& answer) { return answer.cast<std::vector<std::string>>(); };
    return resolve_.ask(std::vector<std::string>(), read, host);
  };
  transport.send = [send_ = Function(send)](const calyx::WebhookRequest& request) {
    const auto read = [](const py::object& answer) {
      const auto [status, retry_after_s] = answer.cast<std::pair<int, std::int64_t>>();
      return calyx::WebhookAnswer{status, retry_after_s};
    };
    return send_.ask(calyx::WebhookAnswer{}, read, request);
  };
  return out(outside(self, [&](calyx::Engine& engine) { return engine.deliver_webhooks(transport, most); }));
}

// ── the engine and its sessions ──

}  // namespace

template <class Call>
py::object PySession::ask(Call call) {
  return out(outside(open, [&](calyx::Engine&) { return call(session); }));
}
template <class List>
py::object PySession::list(List member, Text wallet, Text after, std::uint32_t limit) {
  const calyx::WalletId id = wallet_id(wallet);
  return ask([&](calyx::Session& s) { return (s.*member)(id, calyx::Page{after, limit}); });
}

namespace {

/// What `open` takes, with its callbacks as the engine calls them.
calyx::Options options_of(std::string path, bool read_only, std::uint64_t busy_timeout_ms, std::string issuer,
                          std::int32_t fee_basis_points, const py::object& random, const py::object& sign,
                          const std::optional<py::bytes>& sign_public_key, const py::object& pay_out,
                          const std::optional<std::tuple<bool, bool, std::vector<std::uint16_t>>>& callbacks,
                          const std::optional<py::dict>& commands, const py::object& settlement,
                          unsigned signing_threads) {
  calyx::Options options;
  options.signing_threads = signing_threads;
  options.settlement = settlement_from(settlement);
  if (commands) options.commands = commands_from(*commands);
  if (callbacks)
    options.callbacks = {std::get<0>(*callbacks), std::get<1>(*callbacks), std::get<2>(*callbacks)};
  options.path = std::move(path);
  options.read_only = read_only;
  options.busy_timeout_ms = busy_timeout_ms;
  options.issuer = std::move(issuer);
  options.fee_basis_points = fee_basis_points;
  if (!random.is_none())
    options.random = [random_ = Function(random)](void* to, std::size_t size) {
      return random_.ask(
          false, [&](const py::object& answer) { return copy_bytes(answer, to, size); }, size);
    };
  if (!sign.is_none())
    options.sign = [sign_ = Function(sign)](std::string_view kid, std::string_view message,
                                            std::uint8_t to[64]) {
      return sign_.ask(
          false, [&](const py::object& answer) { return copy_bytes(answer, to, 64); }, kid, Bytes{message});
    };
  if (sign_public_key) {
    const std::string key = *sign_public_key;
    auto& kept = options.sign_public_key.emplace();
    if (key.size() != kept.size())
      throw Failure(fail(Reason::options_invalid, "sign_public_key has " + std::to_string(key.size()) +
                                                      " bytes, an Ed25519 key has 32"));
    std::memcpy(kept.data(), key.data(), key.size());
  }
  if (!pay_out.is_none())
    options.pay_out = [pay_out_ = Function(pay_out)](const calyx::Payout& payout) {
      using calyx::PayoutOutcome;
      const auto read = [](const py::object& answer) {
        if (answer.is_none()) return PayoutOutcome::pending;
        const auto said = answer.cast<std::string>();
        if (said == "pending") return PayoutOutcome::pending;
        if (said == "confirmed") return PayoutOutcome::confirmed;
        if (said == "failed") return PayoutOutcome::failed;
        throw py::value_error("answers pending, confirmed or failed");
      };
      // When it raised, nobody knows whether money went out: the operator looks, then confirms or fails it.
      return pay_out_.ask(PayoutOutcome::pending, read, payout);
    };
  return options;
}

OpenPtr open_market(std::string path, bool read_only, std::uint64_t busy_timeout_ms, std::string issuer,
                    std::int32_t fee_basis_points, const py::object& clock, const py::object& random,
                    const py::object& sign, const std::optional<py::bytes>& sign_public_key,
                    const py::object& pay_out,
                    const std::optional<std::tuple<bool, bool, std::vector<std::uint16_t>>>& callbacks,
                    const std::optional<py::dict>& commands, const py::object& settlement,
                    unsigned signing_threads) {
  if (going_down) throw Failure(fail(Reason::closed, "the interpreter is shutting down"));
  calyx::Options options =
      options_of(std::move(path), read_only, busy_timeout_ms, std::move(issuer), fee_basis_points, random,
                 sign, sign_public_key, pay_out, callbacks, commands, settlement, signing_threads);
  const auto open = std::make_shared<Open>();
  if (!clock.is_none()) {
    open->clock = clock;
    open->instant_us = std::make_shared<std::atomic<std::int64_t>>(Open::read_clock(clock));
    options.now_us = [instant = open->instant_us] { return instant->load(); };
  }
  std::optional<Result<calyx::Engine>> engine;
  {
    const Outside none;
    engine.emplace(calyx::Engine::open(std::move(options)));
  }
  if (interrupted) std::rethrow_exception(std::exchange(interrupted, nullptr));
  auto kept = std::make_unique<calyx::Engine>(std::move(*engine).value());
  open->engine = {kept.release(), [owner = getpid()](calyx::Engine* last) {
                    if (getpid() == owner) delete last;
                  }};
  std::erase_if(all_open(), [](const std::weak_ptr<Open>& one) { return one.expired(); });
  all_open().push_back(open);
  return open;
}

calyx::WalletChange change_of(const py::dict& fields) {
  calyx::WalletChange change;
  const auto amount = [](const py::handle& value) {
    return money_of(value.cast<std::optional<std::int64_t>>());
  };
  for (const auto& [key, value] : fields) {
    const auto name = key.cast<std::string>();
    if (name == "status") {
      using enum calyx::WalletStatus;
      const auto said = value.cast<std::string>();
      for (const auto status : {active, frozen, closed})
        if (said == word(status)) change.status = status;
    } else if (name == "spend_cap_per_job") {
      change.spend_cap_per_job.emplace(amount(value));
    } else if (name == "spend_cap_per_hour") {
      change.spend_cap_per_hour.emplace(amount(value));
    } else if (name == "approval_threshold") {
      change.approval_threshold.emplace(amount(value));
    } else if (name == "allowed_gpu_types") {
      change.allowed_gpu_types.emplace(value.cast<std::optional<std::vector<std::string>>>());
    } else {
      throw py::type_error("a wallet has no " + name);
    }
  }
  return change;
}

calyx::WalletCreate create_of(Text owner_type, Text owner_id, MaybeText parent, MaybeMicro cap_per_job,
                              MaybeMicro cap_per_hour, MaybeMicro approval_threshold,
                              std::optional<std::vector<std::string>> gpu_types, Text idempotency_key) {
  if (owner_type != "human" && owner_type != "agent")
    throw Failure(fail(Reason::field_value, "an owner_type is human or agent",
                       json::object({{"field", "/owner_type"}})));
  return {.owner_type = owner_type == "human" ? calyx::OwnerType::human : calyx::OwnerType::agent,
          .owner_id = owner_id,
          .parent = wallet_id(parent),
          .policy = {.spend_cap_per_job = money_of(cap_per_job),
                     .spend_cap_per_hour = money_of(cap_per_hour),
                     .approval_threshold = money_of(approval_threshold),
                     .allowed_gpu_types = std::move(gpu_types)},
          .idempotency_key = idempotency_key};
}

/// Hands the ledger to `write` piece by piece, as bytes. What `write` raises ends the export and is raised.
void export_ledger(PySession& self, Text format, const py::function& write) {
  using calyx::ExportFormat;
  ExportFormat asked;
  if (format == "csv")
    asked = ExportFormat::csv;
  else if (format == "jsonl")
    asked = ExportFormat::jsonl;
  else if (format == "hledger")
    asked = ExportFormat::hledger;
  else
    throw Failure(
        fail(Reason::field_value, "a format is csv, jsonl or hledger", json::object({{"field", "format"}})));
  std::exception_ptr raised;
  const auto sink = [&](std::string_view piece) {
    const py::gil_scoped_acquire gil;
    try {
      write(out(Bytes{piece}));
      return true;
    } catch (py::error_already_set&) {
      raised = std::current_exception();
      return false;
    }
  };
  const auto done =
      outside(self.open, [&](calyx::Engine&) { return self.session.export_ledger(asked, sink); });
  if (raised) std::rethrow_exception(raised);
  if (!done.ok()) throw Failure(done.error());
}

}  // namespace
}  // namespace calyx_python

PYBIND11_MODULE(_native, module) {
  using namespace calyx_python;
  using py::arg;
  using Session = calyx::Session;
  using calyx::Engine;

  PyDateTime_IMPORT;
  if (PyDateTimeAPI == nullptr) throw py::error_already_set();
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const Failure& failure) {
      raise_error(failure.error());
    }
  });
  py::module_::import("atexit").attr("register")(py::cpp_function([owner = getpid()] { at_exit(owner); }));

  module.doc() = "The engine behind calyx, as text and integers. Use the package calyx instead.";
  module.attr("__version__") = CALYX_VERSION;
  module.def("read_money", &read_money, arg("text"), arg("field"),
             "The micro-FLOPS that the digits of text spell.");
  module.def(
      "money_text", [](std::int64_t micro) { return core::money_text(money_of(micro)); }, arg("micro"),
      "An amount in FLOPS with two to six decimals.");
  module.def(
      "verify_receipt",
      [](Text receipt, Text jwks) {
        std::optional<calyx::ReceiptVerdict> verdict;
        {
          const Outside none;
          verdict = calyx::verify_receipt(receipt, jwks);
        }
        return out(*verdict);
      },
      arg("receipt"), arg("jwks"), "Judges a receipt by a key set, with no market at hand.");
  module.def(
      "derive_key",
      [](Text api_key, Text limits) {
        const calyx::Result<std::string> made = [&] {
          const Outside none;
          const calyx::Result<calyx::KeyLimits> read = calyx::read_key_limits(limits);
          return read.ok() ? calyx::derive_key(api_key, *read) : calyx::Result<std::string>(read.error());
        }();
        if (!made.ok()) throw Failure(made.error());
        return out(*made);
      },
      arg("api_key"), arg("limits"),
      "A key that may do what api_key may, within limits, a JSON object, besides.");
  module.def(
      "verify_webhook",
      [](Text secret, Text id, Text timestamp, Text signature, const py::bytes& body, std::int64_t now_us) {
        const std::string octets = body;
        const calyx::WebhookReceived received{
            .id = id, .timestamp = timestamp, .signature = signature, .body = octets};
        return out(calyx::verify_webhook(secret, received, calyx::Instant{now_us}).reason);
      },
      arg("secret"), arg("id"), arg("timestamp"), arg("signature"), arg("body"), arg("now_us"),
      "Why a webhook is not to be believed; empty for one that is.");
  module.def("open", &open_market, arg("path"), arg("read_only"), arg("busy_timeout_ms"), arg("issuer"),
             arg("fee_basis_points"), arg("clock"), arg("random"), arg("sign"), arg("sign_public_key"),
             arg("pay_out"), arg("callbacks"), arg("commands"), arg("settlement"), arg("signing_threads"),
             "Opens or creates a market; an empty path is one in memory.");

  py::class_<Open, OpenPtr> engines(module, "Engine", "One open market file.");
  py::class_<PySession> sessions(module, "Session", "What one principal may ask.");
  py::class_<PyBodyStream>(module, "BodyStream", "A body that comes in pieces.")
      .def("next", &PyBodyStream::next, arg("most_ms"),
           "The next piece; None when there is none in time, and nothing at the end.");
  engines.def("close", &Open::close)
      .def_property_readonly("closed", [](const Open& self) { return self.engine == nullptr; })
      .def("as_operator",
           [](const OpenPtr& self) {
             return PySession{self, outside(self, [](Engine& engine) { return engine.as_operator(); })};
           })
      .def(
          "session",
          [](const OpenPtr& self, Text api_key) {
            return PySession{self,
                             outside(self, [&](Engine& engine) { return engine.session(api_key); }).value()};
          },
          arg("api_key"))
      .def("session_of_request", &session_of_request, arg("method"), arg("target"), arg("body"),
           arg("headers"), arg("needs_whitelist"))
      .def(
          "sign_in_challenge",
          [](const OpenPtr& self, Text chain, Text address) {
            const auto of = chain_of(chain);
            return out(outside(self, [&](Engine& engine) { return engine.sign_in_challenge(of, address); }));
          },
          arg("chain"), arg("address"))
      .def(
          "sign_in",
          [](const OpenPtr& self, Text challenge, Text signature) {
            return out(outside(self, [&](Engine& engine) { return engine.sign_in(challenge, signature); }));
          },
          arg("challenge"), arg("signature"))
      .def(
          "issue_management_key",
          [](const OpenPtr& self, Text payment) {
            const auto id = id_of<calyx::PaymentId>(payment, Reason::payment_unknown, "payment");
            return out(outside(self, [&](Engine& engine) { return engine.issue_management_key(id); }));
          },
          arg("payment"))
      .def(
          "issue_operator_key",
          [](const OpenPtr& self, Text label) {
            return out(outside(self, [&](Engine& engine) { return engine.issue_operator_key(label); }));
          },
          arg("label"))
      .def("public_keys",
           [](const OpenPtr& self) {
             return out(outside(self, [](Engine& engine) { return engine.public_keys(); }));
           })
      .def("rotate_signing_key",
           [](const OpenPtr& self) {
             return out(outside(self, [](Engine& engine) { return engine.rotate_signing_key(); }));
           })
      .def(
          "verify",
          [](const OpenPtr& self, Text receipt) {
            return out(outside(self, [&](Engine& engine) { return engine.verify(receipt); }));
          },
          arg("receipt"))
      .def("deliver_webhooks", &deliver_webhooks, arg("resolve"), arg("send"), arg("most"))
      .def(
          "backup",
          [](const OpenPtr& self, Text path) {
            return out(outside(self, [&](Engine& engine) { return engine.backup(path); }));
          },
          arg("path"))
      .def("stats",
           [](const OpenPtr& self) {
             return out(outside(self, [](Engine& engine) { return engine.stats(); }));
           })
      .def("issuer",
           [](const OpenPtr& self) {
             return out(outside(self, [](Engine& engine) { return engine.issuer(); }));
           })
      .def(
          "request",
          [](const OpenPtr& self, Text method, Text target,
             const std::vector<std::pair<std::string, std::string>>& headers, const py::bytes& body,
             bool remote_is_local) {
            calyx::Request request{method, target, {}, body, remote_is_local};
            for (const auto& [name, value] : headers) request.headers.push_back({name, value});
            return response_of(self,
                               outside(self, [&](Engine& engine) { return calyx::handle(engine, request); }));
          },
          arg("method"), arg("target"), arg("headers"), arg("body"), arg("remote_is_local"));

  sessions
      .def_property_readonly("role",
                             [](const PySession& self) {
                               switch (self.session.principal().role) {
                                 case calyx::Role::operator_: return "operator";
                                 case calyx::Role::human: return "human";
                                 case calyx::Role::agent: return "agent";
                               }
                               return "";
                             })
      .def_property_readonly("wallet_id",
                             [](const PySession& self) { return out(self.session.principal().wallet); })
      .def_property_readonly("key_id",
                             [](const PySession& self) { return out(self.session.principal().key); })
      .def_property_readonly("whitelisted",
                             [](const PySession& self) { return self.session.principal().whitelisted; })
      .def(
          "issue_compute_key",
          [](PySession& self, Text label, Text idempotency_key) {
            return self.ask(
                [&](Session& session) { return session.issue_compute_key(label, idempotency_key); });
          },
          arg("label"), arg("idempotency_key"))
      .def(
          "whitelist",
          [](PySession& self, Text chain, Text address, bool allowed) {
            const auto of = chain_of(chain);
            return self.ask([&](Session& session) { return session.whitelist(of, address, allowed); });
          },
          arg("chain"), arg("address"), arg("allowed"))
      .def(
          "narrowed",
          [](const PySession& self, MaybeMicro cap_per_job, MaybeMicro cap_per_hour, MaybeMicro threshold,
             std::optional<std::vector<std::string>> gpu_types) {
            const calyx::Policy policy{.spend_cap_per_job = money_of(cap_per_job),
                                       .spend_cap_per_hour = money_of(cap_per_hour),
                                       .approval_threshold = money_of(threshold),
                                       .allowed_gpu_types = std::move(gpu_types)};
            return PySession{self.open, self.session.narrowed(policy)};
          },
          arg("spend_cap_per_job"), arg("spend_cap_per_hour"), arg("approval_threshold"),
          arg("allowed_gpu_types"))

      .def(
          "create_wallet",
          [](PySession& self, Text owner_type, Text owner_id, MaybeText parent, MaybeMicro cap_per_job,
             MaybeMicro cap_per_hour, MaybeMicro threshold, std::optional<std::vector<std::string>> gpu_types,
             Text idempotency_key) {
            const auto asked = create_of(owner_type, owner_id, parent, cap_per_job, cap_per_hour, threshold,
                                         std::move(gpu_types), idempotency_key);
            return self.ask([&](Session& session) { return session.create_wallet(asked); });
          },
          arg("owner_type"), arg("owner_id"), arg("parent"), arg("spend_cap_per_job"),
          arg("spend_cap_per_hour"), arg("approval_threshold"), arg("allowed_gpu_types"),
          arg("idempotency_key"))
      .def(
          "wallets",
          [](PySession& self, Text after, std::uint32_t limit) {
            return self.ask([&](Session& session) { return session.wallets({after, limit}); });
          },
          arg("after"), arg("limit"))
      .def(
          "wallet",
          [](PySession& self, Text wallet) {
            const auto id = wallet_id(wallet);
            return self.ask([&](Session& session) { return session.wallet(id); });
          },
          arg("wallet"))
      .def(
          "change_wallet",
          [](PySession& self, Text wallet, const py::dict& fields) {
            const auto id = wallet_id(wallet);
            const auto change = change_of(fields);
            return self.ask([&](Session& session) { return session.change_wallet(id, change); });
          },
          arg("wallet"), arg("fields"))

      .def(
          "topup",
          [](PySession& self, Text wallet, std::int64_t micro, Text reference, Text idempotency_key) {
            const auto asked = topup_of(wallet, micro, reference, idempotency_key);
            return self.ask([&](Session& session) { return session.topup(asked); });
          },
          arg("wallet"), arg("micro"), arg("reference"), arg("idempotency_key"))
      .def(
          "transfer",
          [](PySession& self, Text from, Text to, std::int64_t micro, Text reference, Text idempotency_key) {
            const auto asked = transfer_of(from, to, micro, reference, idempotency_key);
            return self.ask([&](Session& session) { return session.transfer(asked); });
          },
          arg("source"), arg("to"), arg("micro"), arg("reference"), arg("idempotency_key"))
      .def(
          "spend",
          [](PySession& self, Text wallet, Text job_id, std::int64_t micro, MaybeText gpu_type,
             MaybeText host, MaybeMicro expires_in_s) {
            const auto asked = spend_of(wallet, job_id, micro, gpu_type, host, expires_in_s);
            return self.ask([&](Session& session) { return session.spend(asked); });
          },
          arg("wallet"), arg("job_id"), arg("micro"), arg("gpu_type"), arg("host"), arg("expires_in_s"))
      .def(
          "earn",
          [](PySession& self, Text host, Text job_id, std::int64_t gross_micro, Text output_hash,
             Text gpu_model, std::int64_t duration_seconds, MaybeText payer) {
            const auto asked =
                earn_of(host, job_id, gross_micro, output_hash, gpu_model, duration_seconds, payer);
            return self.ask([&](Session& session) { return session.earn(asked); });
          },
          arg("host"), arg("job_id"), arg("gross_micro"), arg("output_hash"), arg("gpu_model"),
          arg("duration_seconds"), arg("payer"))
      .def(
          "release",
          [](PySession& self, Text wallet, Text job_id) {
            const auto asked = release_of(wallet, job_id);
            return self.ask([&](Session& session) { return session.release(asked); });
          },
          arg("wallet"), arg("job_id"))
      .def(
          "bulk",
          [](PySession& self, const std::vector<py::tuple>& tuples) {
            std::vector<calyx::Operation> operations;
            operations.reserve(tuples.size());
            for (const py::tuple& values : tuples) operations.push_back(operation_of(values));
            return self.ask([&](Session& session) { return session.bulk(operations); });
          },
          arg("operations"))

      .def(
          "entries",
          [](PySession& self, Text wallet, Text after, std::uint32_t limit) {
            return self.list(&Session::entries, wallet, after, limit);
          },
          arg("wallet"), arg("after"), arg("limit"))
      .def(
          "escrows",
          [](PySession& self, Text wallet, Text after, std::uint32_t limit) {
            return self.list(&Session::escrows, wallet, after, limit);
          },
          arg("wallet"), arg("after"), arg("limit"))
      .def(
          "approvals",
          [](PySession& self, Text wallet, Text after, std::uint32_t limit) {
            return self.list(&Session::approvals, wallet, after, limit);
          },
          arg("wallet"), arg("after"), arg("limit"))
      .def(
          "keys",
          [](PySession& self, Text wallet, Text after, std::uint32_t limit) {
            return self.list(&Session::keys, wallet, after, limit);
          },
          arg("wallet"), arg("after"), arg("limit"))
      .def(
          "receipts",
          [](PySession& self, Text wallet, Text after, std::uint32_t limit) {
            return self.list(&Session::receipts, wallet, after, limit);
          },
          arg("wallet"), arg("after"), arg("limit"))

      .def(
          "operator_keys",
          [](PySession& self, Text after, std::uint32_t limit) {
            return self.ask([&](Session& session) { return session.operator_keys({after, limit}); });
          },
          arg("after"), arg("limit"))
      .def(
          "issue_key",
          [](PySession& self, Text wallet, Text label, Text kind, Text idempotency_key) {
            const auto id = wallet_id(wallet);
            // Any other word is a kind that the call refuses.
            const auto as = kind == word(calyx::KeyKind::api)    ? calyx::KeyKind::api
                            : kind == word(calyx::KeyKind::jobs) ? calyx::KeyKind::jobs
                                                                 : calyx::KeyKind::session;
            return self.ask(
                [&](Session& session) { return session.issue_key(id, label, idempotency_key, as); });
          },
          arg("wallet"), arg("label"), arg("kind"), arg("idempotency_key"))
      .def(
          "revoke_key",
          [](PySession& self, Text key) {
            const auto id = key_id(key);
            return self.ask([&](Session& session) { return session.revoke_key(id); });
          },
          arg("key"))
      .def(
          "rotate_webhook_secret",
          [](PySession& self, Text wallet) {
            const calyx::WalletId id = wallet_id(wallet);
            return outside(self.open, [&](Engine&) { return self.session.rotate_webhook_secret(id); })
                .value()
                .secret;
          },
          arg("wallet"))
      .def(
          "rotate_key",
          [](PySession& self, Text key, Text idempotency_key) {
            const auto id = key_id(key);
            return self.ask([&](Session& session) { return session.rotate_key(id, idempotency_key); });
          },
          arg("key"), arg("idempotency_key"))

      .def(
          "approve",
          [](PySession& self, Text approval) {
            const auto id = approval_id(approval);
            return self.ask([&](Session& session) { return session.approve(id); });
          },
          arg("approval"))
      .def(
          "deny",
          [](PySession& self, Text approval) {
            const auto id = approval_id(approval);
            return self.ask([&](Session& session) { return session.deny(id); });
          },
          arg("approval"))

      .def(
          "request_payout",
          [](PySession& self, Text wallet, std::int64_t micro, Text destination, Text idempotency_key) {
            const calyx::PayoutRequest asked{.wallet = wallet_id(wallet),
                                             .amount = money_of(micro),
                                             .destination = destination,
                                             .idempotency_key = idempotency_key};
            return self.ask([&](Session& session) { return session.request_payout(asked); });
          },
          arg("wallet"), arg("micro"), arg("destination"), arg("idempotency_key"))
      .def(
          "confirm_payout",
          [](PySession& self, Text payout) {
            const auto id = payout_id(payout);
            return self.ask([&](Session& session) { return session.confirm_payout(id); });
          },
          arg("payout"))
      .def(
          "fail_payout",
          [](PySession& self, Text payout) {
            const auto id = payout_id(payout);
            return self.ask([&](Session& session) { return session.fail_payout(id); });
          },
          arg("payout"))
      .def(
          "grant",
          [](PySession& self, Text wallet) {
            const auto id = wallet_id(wallet);
            return self.ask([&](Session& session) { return session.grant(id); });
          },
          arg("wallet"))
      .def(
          "join_waitlist",
          [](PySession& self, Text owner_id) {
            return self.ask([&](Session& session) { return session.join_waitlist(owner_id); });
          },
          arg("owner_id"))
      .def(
          "approve_waitlist",
          [](PySession& self, Text entry) {
            const auto id = waitlist_id(entry);
            return self.ask([&](Session& session) { return session.approve_waitlist(id); });
          },
          arg("entry"))

      .def(
          "receipt",
          [](PySession& self, Text receipt) {
            const auto id = receipt_id(receipt);
            return self.ask([&](Session& session) { return session.receipt(id); });
          },
          arg("receipt"))
      .def(
          "inclusion_proof",
          [](PySession& self, Text receipt) {
            const auto id = receipt_id(receipt);
            return self.ask([&](Session& session) { return session.inclusion_proof(id); });
          },
          arg("receipt"))
      .def(
          "consistency_proof",
          [](PySession& self, std::uint64_t old_size, std::uint64_t new_size) {
            return self.ask([&](Session& session) { return session.consistency_proof(old_size, new_size); });
          },
          arg("old_size"), arg("new_size"))
      .def("checkpoint",
           [](PySession& self) { return self.ask([](Session& session) { return session.checkpoint(); }); })
      .def(
          "audit",
          [](PySession& self, Text anchor, bool each) {
            const auto depth = each ? calyx::AuditDepth::each : calyx::AuditDepth::covered;
            return self.ask([&](Session& session) { return session.audit(anchor, depth); });
          },
          arg("anchor"), arg("each"))
      .def("export_ledger", &export_ledger, arg("format"), arg("write"));

  add_jobs(module, engines, sessions);
  add_projects(module, sessions);
  add_settlement(module, engines, sessions);
  add_recipes(module);
}
