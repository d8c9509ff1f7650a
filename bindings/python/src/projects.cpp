/// \file
/// Projects for Python: what `Session` says of them, and their streams.
#include "native.hpp"

namespace calyx_python {
namespace {

using calyx::ProjectName;
using calyx::Session;

py::object project_of(const calyx::Project& project) {
  return record({{"name", out(project.name)},
                 {"wallet_id", maybe(project.wallet)},
                 {"remote_dir", out(project.remote_dir)},
                 {"description", out(project.description)},
                 {"created_at", out(project.created_at)},
                 {"active_revision", out(project.active_revision)}});
}
py::object revision_of(const calyx::Revision& revision) {
  return record({{"number", out(revision.number)},
                 {"at", out(revision.at)},
                 {"sha256", out(revision.sha256)},
                 {"size", out(revision.size)},
                 {"files", list_of(revision.files,
                                   [](const calyx::ProjectFile& file) {
                                     return record({{"path", out(file.path)},
                                                    {"size", out(file.size)},
                                                    {"mode", out(file.mode)},
                                                    {"sha256", out(file.sha256)}});
                                   })},
                 {"manifest", plain(json::Value(revision.manifest))},
                 {"added", texts_of(revision.tarball_diff.added)},
                 {"removed", texts_of(revision.tarball_diff.removed)},
                 {"changed", texts_of(revision.tarball_diff.changed)}});
}
py::object status_of(const calyx::ProjectStatus& status) {
  return record({{"name", out(status.name)},
                 {"can_accept_new_jobs", out(status.can_accept_new_jobs)},
                 {"ready_for_jobs", out(status.ready_for_jobs)},
                 {"active_revision", out(status.active_revision)},
                 {"revision_state", out(word(status.revision_state))}});
}
py::object details_of(const calyx::ProjectStatusDetails& details) {
  return record({{"status", status_of(details.status)},
                 {"revision", details.revision ? revision_of(*details.revision) : py::none()},
                 {"diagnostics", list_of(details.diagnostics, [](const calyx::ProjectDiagnostic& one) {
                    return record({{"code", out(one.code)},
                                   {"message", out(one.message)},
                                   {"recommended_action", text_or_none(one.recommended_action)}});
                  })}});
}
py::object entry_of(const calyx::KvEntry& entry) {
  return record({{"key", out(entry.key)}, {"value", plain(entry.value)}, {"version", out(entry.version)}});
}
py::object done_of(calyx::Done) { return py::none(); }

/// A call about one project: `make` of what `call(session, named, more...)` answers.
template <class Answer, class... More, class Make>
auto about(Answer (*call)(Session&, const ProjectName&, More...), Make make) {
  return [call, make](const PySession& self, Text name, MaybeText wallet, More... more) -> py::object {
    const ProjectName named{name, wallet_id(wallet)};
    return make(asked(self, [&](Session& session) { return call(session, named, more...); }));
  };
}

/// A stream of a project. It may be let go of at any time, also after its market.
class PyProjectStream {
 public:
  PyProjectStream(OpenPtr open, calyx::ProjectStream stream)
      : open_(std::move(open)), stream_(std::move(stream)) {}

  py::object next(std::int64_t most_ms) {
    const std::unique_lock lock = only_one(mutex_);
    const auto most = *most_of(most_ms);
    const auto news = outside(open_, [&](calyx::Engine&) { return stream_.next(most); }).value();
    if (!news) return py::none();
    return record({{"kind", out(word(news->kind))},
                   {"cursor", out(news->cursor)},
                   {"status", status_of(news->status)}});
  }
  bool ended() {
    const std::unique_lock lock = only_one(mutex_);
    return stream_.ended();
  }

 private:
  OpenPtr open_;
  std::mutex mutex_;
  calyx::ProjectStream stream_;
};

}  // namespace

void add_projects(py::module_& module, py::class_<PySession>& sessions) {
  using py::arg;

  py::class_<PyProjectStream>(module, "ProjectStream", "What a project's status is and becomes.")
      .def_property_readonly("ended", &PyProjectStream::ended, "Whether nothing will come any more.")
      .def("next", &PyProjectStream::next, arg("most_ms"), "What is new; None when nothing came in time.");

  const auto add = [&](const char* name, auto call, auto make, const auto&... more) {
    sessions.def(name, about(+call, make), arg("name"), arg("wallet"), more...);
  };
  add(
      "create_project",
      [](Session& s, const ProjectName& named, Text remote_dir, Text description) {
        return s.create_project({named.name, remote_dir, description, named.wallet});
      },
      project_of, arg("remote_dir"), arg("description"));
  add(
      "project", [](Session& s, const ProjectName& named) { return s.project(named); }, project_of);
  add(
      "change_project",
      [](Session& s, const ProjectName& named, MaybeText remote_dir, MaybeText description) {
        return s.change_project(named, {remote_dir, description});
      },
      project_of, arg("remote_dir"), arg("description"));
  add(
      "delete_project", [](Session& s, const ProjectName& named) { return s.delete_project(named); },
      done_of);
  add(
      "project_status", [](Session& s, const ProjectName& named) { return s.project_status(named); },
      status_of);
  add(
      "project_details", [](Session& s, const ProjectName& named) { return s.project_status_details(named); },
      details_of);
  add(
      "init_project", [](Session& s, const ProjectName& named) { return s.init_project(named); }, status_of);
  add(
      "invalidate_project", [](Session& s, const ProjectName& named) { return s.invalidate_project(named); },
      status_of);
  add(
      "push_project",
      [](Session& s, const ProjectName& named, const py::bytes& tarball) {
        return s.push_project(named,
                              std::string_view(PyBytes_AS_STRING(tarball.ptr()),
                                               static_cast<std::size_t>(PyBytes_GET_SIZE(tarball.ptr()))));
      },
      revision_of, arg("tarball"));
  add(
      "kv_get", [](Session& s, const ProjectName& named, Text key) { return s.kv_get(named, key); }, entry_of,
      arg("key"));
  sessions
      .def(
          "kv_put",
          [](const PySession& self, Text name, MaybeText wallet, Text key, const py::object& value,
             MaybeMicro version) {
            const ProjectName named{name, wallet_id(wallet)};
            const calyx::KvPut put{key, value_from(value, Numbers::finite, "/value", 0), version};
            return entry_of(asked(self, [&](Session& session) { return session.kv_put(named, put); }));
          },
          arg("name"), arg("wallet"), arg("key"), arg("value"), arg("version"))
      .def(
          "stream_project",
          [](const PySession& self, Text name, MaybeText wallet, Text after) {
            const ProjectName named{name, wallet_id(wallet)};
            return std::make_unique<PyProjectStream>(self.open, asked(self, [&](Session& session) {
                                                       return session.stream_project(named, after);
                                                     }));
          },
          arg("name"), arg("wallet"), arg("after"))
      .def(
          "projects",
          [](const PySession& self, MaybeText wallet, Text after, std::uint32_t limit) {
            const auto id = wallet_id(wallet);
            return page_of(asked(self,
                                 [&](Session& session) {
                                   return session.projects({after, limit}, id);
                                 }),
                           project_of);
          },
          arg("wallet"), arg("after"), arg("limit"));
}

}  // namespace calyx_python
