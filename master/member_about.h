// What a membership tells of a member beside its id (raft::MemberRecord::about): its name and, of one that joined,
// where it is, for the others may have started with a cluster.toml that doesn't name it yet.
#pragma once
#include <string>

namespace cairn {

struct MemberAbout {
  std::string name;
  std::string address;  // host:port; empty: as in cluster.toml
};

inline std::string toText(const MemberAbout& about) {
  return about.address.empty() ? about.name : about.name + " " + about.address;
}
inline MemberAbout memberAbout(const std::string& text) {
  size_t space = text.find(' ');
  return space == std::string::npos ? MemberAbout{text, ""}
                                    : MemberAbout{text.substr(0, space), text.substr(space + 1)};
}

}  // namespace cairn
