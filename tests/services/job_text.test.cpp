#include "services/job_text.hpp"

#include <doctest/doctest.h>

#include <calyx/jobs.hpp>
#include <string>

#include "crypto/sha256.hpp"

using calyx::JobSubmit;
using calyx::LongList;
using calyx::Reason;
using calyx::crypto::Sha256;
using calyx::services::cut_items;
using calyx::services::items_a_segment;
using calyx::services::JobText;
using calyx::services::spell_job;
namespace json = calyx::core::json;

namespace {

json::Object object_of(std::string_view text) {
  auto value = calyx::read_json(text, {.bytes = text.size()});
  REQUIRE(value.ok());
  return *value->object();
}

/// The list of `count` items, whose members are in another order than canonical.
std::string list_of(std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i)
    out += (i == 0 ? R"([{"w":0.50,"i":)" : R"(,{"w":0.50,"i":)") + std::to_string(i) + "}";
  return out + "]";
}

}  // namespace

TEST_CASE("what the tasks are made from is the payload without its device, or all that makes payloads") {
  struct Row {
    const char* says;
    const char* job;
    const char* input;
  };
  const Row rows[] = {
      {"nothing", R"({"task":"t"})", "{}"},
      {"a payload alone", R"({"task":"t","payload":{"b":1,"a":{"device":2}}})",
       R"({"a":{"device":2},"b":1})"},
      {"without its device", R"({"payload":{"device":"gpu","a":1},"tags":["x"]})", R"({"a":1})"},
      {"a payload and what splits it", R"({"fan_out":{"chunks":2},"payload":{"device":"gpu","a":1}})",
       R"({"fan_out":{"chunks":2},"payload":{"a":1}})"},
      {"other members alone", R"({"parameters":{"x":[1,2]},"type":"sweep"})",
       R"({"parameters":{"x":[1,2]}})"},
      {"a device elsewhere stays", R"({"fixed_payload":{"device":1},"split":{}})",
       R"({"fixed_payload":{"device":1},"split":{}})"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const json::Object job = object_of(row.job);
    const JobText text = spell_job(job, "r", {});
    CHECK(text.input == Sha256{}(row.input));
    CHECK(text.spec == json::canonical(json::object({{"job", job}, {"recipe", "r"}})));
    CHECK(text.request == Sha256{}(text.spec));
  }
}

TEST_CASE("explicit items are hashed where they stood, and stored without") {
  struct Row {
    const char* says;
    std::string before, after;
    const char* pointer;
    const char* input;  // with @ for the list
    const char* spec;
  };
  const Row rows[] = {
      {"fan_out.items", R"({"task":"t","payload":{"device":1,"z":2},"fan_out":{"batch_size":3,"items":)",
       "}}", "/fan_out/items", R"({"fan_out":{"batch_size":3,"items":@},"payload":{"z":2}})",
       R"({"job":{"fan_out":{"batch_size":3,"items":[]},"payload":{"device":1,"z":2},"task":"t"},"recipe":""})"},
      {"fan_out.by, of a name to escape", R"({"fan_out":{"by":"a/b~"},"payload":{"device":1,"a/b~":)", "}}",
       "/payload/a~1b~0", R"({"fan_out":{"by":"a/b~"},"payload":{"a/b~":@}})",
       R"({"job":{"fan_out":{"by":"a/b~"},"payload":{"a/b~":[],"device":1}},"recipe":""})"},
      {"split.items", R"({"type":"map_reduce","reduce":{"op":"sum"},"split":{"chunk_size":5,"items":)", "}}",
       "/split/items", R"({"reduce":{"op":"sum"},"split":{"chunk_size":5,"items":@}})",
       R"({"job":{"reduce":{"op":"sum"},"split":{"chunk_size":5,"items":[]},"type":"map_reduce"},"recipe":""})"},
  };
  for (const Row& row : rows)
    for (const std::size_t count :
         {std::size_t{1}, items_a_segment, items_a_segment + 1, 3 * items_a_segment - 1}) {
      CAPTURE(row.says);
      CAPTURE(count);
      const std::string text = row.before + list_of(count) + row.after;
      const json::Object job = object_of(text);
      const LongList items = cut_items(job, row.pointer);
      CHECK(items.items == count);
      CHECK(items.segments.size() == (count + items_a_segment - 1) / items_a_segment);

      const JobText spelled = spell_job(job, "", items);
      CHECK(spelled.spec == row.spec);
      std::string input = row.input;
      const std::string list = json::canonical(*calyx::read_json(list_of(count)));
      CHECK(spelled.input == Sha256{}(input.replace(input.find('@'), 1, list)));
      CHECK(spelled.request != Sha256{}(spelled.spec));

      // Read from the text it is the same, to the last byte.
      const auto read = JobSubmit::read(text);
      REQUIRE(read.ok());
      CHECK((read->items != nullptr) == (count > items_a_segment));
      if (read->items == nullptr) continue;
      CHECK(read->items->segments == items.segments);
      const JobText again = spell_job(read->job, "", *read->items);
      CHECK(again.spec == spelled.spec);
      CHECK(again.input == spelled.input);
      CHECK(again.request == spelled.request);
    }
}

TEST_CASE("a long list that is no list of items stays what it is, and so does one with a fault") {
  const std::string list = list_of(items_a_segment + 1);
  const auto other = JobSubmit::read(R"({"task":"t","payload":{"data":)" + list + "}}");
  REQUIRE(other.ok());
  CHECK(other->items == nullptr);
  CHECK(other->job.find("payload")->find("data")->array()->size() == items_a_segment + 1);

  std::string faulty = list;
  faulty.insert(faulty.size() - 1, ",17");
  const auto number = JobSubmit::read(R"({"task":"t","fan_out":{"items":)" + faulty + "}}");
  REQUIRE(number.ok());
  CHECK(number->items == nullptr);
  const auto mixed = JobSubmit::read(R"({"task":"t","fan_out":{"chunks":2,"items":)" + list + "}}");
  REQUIRE(mixed.ok());
  CHECK(mixed->items == nullptr);

  CHECK(JobSubmit::read("[]").reason() == Reason::field_type);
  CHECK(JobSubmit::read("{").reason() == Reason::not_json);
}
