#include "strategy/code_pages.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace calyx::strategy {

CodePages::~CodePages() {
  if (pages_ != nullptr) munmap(pages_, mapped_);
}

std::string CodePages::make(std::span<const unsigned char> code) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t mapped = (code.size() + page - 1) / page * page;
  void* const pages = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return "no memory for code";
  pages_ = pages;
  mapped_ = mapped;
  size_ = code.size();
  std::memcpy(pages, code.data(), code.size());
  if (mprotect(pages, mapped, PROT_READ | PROT_EXEC) != 0) return "the system allows no executable memory";
  return "";
}

}  // namespace calyx::strategy
