#include "engine/printing.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace calyx;
using engine::ShownNames;
using engine::ShownStream;

namespace {

ShownNames names() {
  ShownNames out;
  out.add("/srv/m.db-projects/3/1", "project");
  out.add("/dev/shm/calyx-runner-Ab1/20", "work");
  out.add("repo/name:tag", "[image]");
  out.add("", "nothing");
  return out;
}

}  // namespace

TEST_CASE("CP-91: paths of this machine are shown by short names, wherever a write is split") {
  const std::string raw =
      "File \"/srv/m.db-projects/3/1/run.py\", line 2\n/dev/shm/calyx-runner-Ab1/20/result.json: "
      "\xC3\xA9\xFF "
      "/srv/m.db is not, nor is /dev/shm//srv/m.db-projects/3/1\nin repo/name:tag /dev/shm/calyx-runner-Ab";
  const std::string shown =
      "File \"project/run.py\", line 2\nwork/result.json: \xC3\xA9\\xff /srv/m.db is not, nor is "
      "/dev/shm/project\nin [image] /dev/shm/calyx-runner-Ab";
  CHECK(names().shown("/srv/m.db-projects/3/1/run.py: no such file") == "project/run.py: no such file");
  for (std::size_t first = 0; first <= raw.size(); ++first) {
    CAPTURE(first);
    ShownStream stream;
    stream.add(raw.substr(0, first), names(), false);
    // Nothing of a name is shown before it is known that it is none.
    const std::string sofar = stream.kept().text();
    CHECK(shown.starts_with(sofar));
    stream.add(raw.substr(first), names(), true);
    CHECK(stream.kept().text() == shown);
  }
  ShownStream bytes;
  for (const char byte : raw) bytes.add(std::string_view(&byte, 1), names(), false);
  bytes.add({}, names(), true);
  CHECK(bytes.kept().text() == shown);
}

TEST_CASE("of a stream its beginning and its end are kept, and a line says what is missing") {
  constexpr std::size_t head = core::printed_head_bytes, tail = core::printed_tail_bytes;
  core::KeptText kept;
  kept.add(std::string(head, 'a'));
  kept.add(std::string(tail, 'b'));
  CHECK(kept.dropped() == 0);
  CHECK(kept.text() == std::string(head, 'a') + std::string(tail, 'b'));
  kept.add("c");
  CHECK(kept.text() ==
        std::string(head, 'a') + "\n[… 1 bytes dropped …]\n" + std::string(tail - 1, 'b') + "c");
  kept.skip(1'234'567);
  kept.add("end");
  CHECK(kept.dropped() == 1'234'567 + 1 + tail);
  CHECK(kept.text() == std::string(head, 'a') + "\n[… 1,431,176 bytes dropped …]\nend");

  // Never in the middle of a character: 64 KiB less one byte, then one of two.
  core::KeptText wide;
  wide.add(std::string(head - 1, 'a'));
  wide.add("\xC3\xA9");
  wide.add(std::string(tail - 1, 'b'));
  CHECK(wide.text() == std::string(head - 1, 'a') + "\n[… 2 bytes dropped …]\n" + std::string(tail - 1, 'b'));

  std::string text(core::printed_bytes_max, 'x');
  std::uint64_t dropped = 0;
  core::keep_printed(text, dropped);
  CHECK(text.size() == core::printed_bytes_max);
  CHECK(dropped == 0);
  text += 'x';
  core::keep_printed(text, dropped);
  CHECK(dropped == 129);
  CHECK(text.size() < core::printed_bytes_max);
}
