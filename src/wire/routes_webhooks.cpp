#include <calyx/webhooks.hpp>

#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

void append_webhook(std::string& out, const Webhook& webhook) {
  Members(out)
      .id("job_id", webhook.job)
      .text("status", word(webhook.status))
      .integer("attempts", webhook.attempts)
      .integer("answered", webhook.answered)
      .text_or_null("error", webhook.error)
      .instant("created_at", webhook.created_at)
      .instant("last_at", webhook.last_at)
      .instant("next_at", webhook.next_at)
      .close();
}

Response secret_response(int status, WalletId wallet, const WebhookSecret& secret) {
  std::string out;
  Members(out)
      .id("wallet_id", wallet)
      .integer("version", secret.version)
      .instant("created_at", secret.created_at)
      .instant("previous_until", secret.previous_until)
      .text_or_null("secret", secret.secret)
      .close();
  return json_response(status, std::move(out));
}

}  // namespace

Result<Response> get_webhook_secret(Call& call) {
  CALYX_TRY(const WalletId id, wallet_id(call));
  CALYX_TRY(const WebhookSecret secret, call.session->webhook_secret(id));
  return secret_response(200, id, secret);
}

Result<Response> rotate_webhook_secret(Call& call) {
  CALYX_TRY(const WalletId id, wallet_id(call));
  CALYX_TRY(const WebhookSecret secret, call.session->rotate_webhook_secret(id));
  return secret_response(201, id, secret);
}

Result<Response> list_dead_webhooks(Call& call) {
  CALYX_TRY(const Page page, read_page(call));
  CALYX_TRY(const Listed<Webhook> listed, call.session->dead_webhooks(page));
  return json_response(200, page_text(listed, append_webhook));
}

Result<Response> deliver_webhooks(Call& call) {
  constexpr std::uint64_t most_default = 64, most_max = 1'000;
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(const std::uint64_t most, query.number("limit", most_default));
  if (most < 1 || most > most_max)
    return field_fault(Reason::field_value, "limit", "is " + std::to_string(most) + ", takes 1 to 1000");
  CALYX_CHECK(query.done());
  CALYX_TRY(const WebhookRound round, call.session->deliver_webhooks(most));
  std::string out;
  Members(out)
      .count("delivered", round.delivered)
      .count("failed", round.failed)
      .count("dead", round.dead)
      .instant("next_at", round.next_at)
      .close();
  return json_response(200, std::move(out));
}

Result<Response> list_job_webhooks(Call& call) {
  CALYX_TRY(const JobId id, job_id(call));
  Listed<Webhook> listed;
  CALYX_TRY(listed.items, call.session->job_webhooks(id));
  return json_response(200, page_text(listed, append_webhook));
}

Result<Response> replay_webhook(Call& call) {
  CALYX_TRY(const JobId id, job_id(call));
  CALYX_TRY(const Webhook webhook, call.session->replay_webhook(id));
  std::string out;
  append_webhook(out, webhook);
  return json_response(200, std::move(out));
}

}  // namespace calyx::wire
