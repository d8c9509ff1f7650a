/// \file
/// Projects on the disk: beside the market lies `<market>-projects/<project>/<revision>`, made from the kept
/// tarball when a revision is first used.
#pragma once

#include <calyx/core/transfer.hpp>
#include <calyx/projects.hpp>
#include <string>

#include "services/projects.hpp"

namespace calyx {
class Market;
}

namespace calyx::engine {

/// `<market>-projects`.
std::string projects_path(std::string_view market_path);

struct PreparedFolder {
  std::string path;
  core::Digest tarball;  ///< What it was made from.
  services::ProjectNumber project = 0;
  std::uint32_t market = 0;  ///< What all ids of the market have.
  std::optional<WalletId> wallet{};
  std::string manifest = "{}";
  Instant created{};  ///< Tells it from one that has its number after a backup was put back.
};

/// A folder with the files of the revision that a job of `account` was submitted with, also where the project
/// was deleted since. Made whole or not at all, once for all who ask, in this process and in others; the
/// active revision counts as prepared from then on. Who runs something there changes nothing in it.
///
/// Fails: `project_unknown`; `unsupported` of a market in memory; `read_only` where it is not there yet;
/// `artifact_unknown` when the tarball is gone; `not_built`; `disk_full`, `io_error`.
Result<PreparedFolder> project_folder(Market& market, core::AccountNumber account, const std::string& project,
                                      std::int64_t revision);

}  // namespace calyx::engine
